"""Run a function on many items on a Dask cluster that the user has started.

Dask is used directly: its back ends for other libraries hang, or fail as a whole, when a worker is killed. What this
module adds to ``Client.submit``:

- a limited number of items is in hand, so that neither this process nor the scheduler holds a million;
- an item whose workers died is tried once more, alone, at the end; so it is named, and no neighbour of it is;
- workers with another version of the package are refused, before the work and in every task;
- relative paths are those of this process, what the workers log is logged here, and a scheduler that is lost is one
  error in words.

Dask runs a task again whose worker died after it had been done. So results have to be small, and functions return at
once where what they write is there already.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import logging
import pickle
import platform
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from logging.handlers import QueueHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, Self

from microcalc import __version__
from microcalc.errors import ClusterError, InputError, WorkerDiedError
from microcalc.execution.executor import LOGGER, Attempt, Item, Outcome, Result, attempt
from microcalc.wording import quantity

if TYPE_CHECKING:
    from distributed import Client, Future

_LOG = logging.getLogger(__name__)
_SCHEMES: Final = ("tcp://", "tls://")
_CONNECT_S: Final = 15.0
_LOOK_S: Final = 5.0  # how often the number of workers is asked for
_CLOSE_S: Final = 2.0
_LEAST_IN_HAND: Final = 64
_IN_HAND_PER_THREAD: Final = 2
_DEATHS: Final = 10  # more than Dask's 3: a worker whose node is taken away dies by no fault of its item
_KNOWN_S: Final = 0.05
_LIBRARY_LOGGERS: Final = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")


@dataclass(slots=True)
class Cluster:
    """Runs items on a Dask cluster, whose workers share the disk and have the same version of the package.

    As a context manager it connects at once, and stays connected between the runs in the block.

    Attributes
    ----------
    address
        ``tcp://HOST:PORT`` or ``tls://HOST:PORT`` of the scheduler, or the path of its scheduler file.
    deaths
        Number of workers that may die while they have an item in hand, before it is set aside and tried alone.
    """

    address: str
    deaths: int = _DEATHS
    _shared: tuple[ExitStack, Client] | None = field(default=None, init=False, compare=False, repr=False)

    def __enter__(self) -> Self:
        stack = ExitStack()
        self._shared = stack, stack.enter_context(_connected(self.address, self.deaths))
        return self

    def __exit__(self, *_error: Any) -> None:
        if self._shared is not None:
            stack, self._shared = self._shared[0], None
            stack.close()

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Yield the outcomes as they are done. See ``Executor.run``.

        Raises
        ------
        InputError
            The address is none.
        ClusterError
            The scheduler cannot be reached or is lost, or a worker has another version of the package.
        """
        with ExitStack() as stack:
            if self._shared is None:
                client = stack.enter_context(_connected(self.address, self.deaths))
            else:
                client = self._shared[1]
            work = stack.enter_context(_Work(client, function))
            suspects: list[Item] = []
            for item, outcome in work.run(iter(items)):
                if outcome is None:
                    suspects.append(item)
                else:
                    yield outcome
            for suspect in suspects:  # one at a time: where its worker dies now, it is by this item
                yield work.run_alone(suspect) or Outcome(suspect, None, _died(self.deaths))


def scheduler_address(given: str) -> str:
    """Return the address of a scheduler, read from its scheduler file where that is given.

    Raises
    ------
    InputError
        It is neither an address nor a scheduler file.
    """
    if given.startswith(_SCHEMES):
        return given
    file, expected = Path(given), "expected tcp://HOST:PORT, tls://HOST:PORT or the scheduler file of a Dask cluster"
    try:
        document = json.loads(file.read_bytes())
    except OSError:
        raise InputError(f"--cluster {file.name}: neither an address nor a file, {expected}") from None
    except ValueError:
        document = None
    address = document.get("address") if isinstance(document, dict) else None
    if not isinstance(address, str):
        raise InputError(f"--cluster {file.name}: states no address of a scheduler, {expected}")
    return address


@contextmanager
def _connected(address: str, deaths: int) -> Iterator[Client]:
    """Connect to a scheduler for the block, refuse workers with another version, and set what this module needs there.

    Dask logs nothing meanwhile: a lost connection is reported once, in words.
    """
    address = scheduler_address(address)
    import distributed  # noqa: F401  (it sets the levels of its loggers when it is imported)

    loggers = [logging.getLogger(name) for name in _LIBRARY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with _client(address) as client:
            try:
                builds = client.run(_local_copy_of_build(), on_error="return")
                client.run_on_scheduler(_local_copy_of_settings(), deaths=deaths)
            except OSError as error:
                raise _lost() from error
            _refuse_other_builds(builds)
            yield client
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"{address}: no connection to a Dask scheduler ({type(error).__name__}), expected one that runs"
        ) from error
    try:
        yield client
    finally:
        with suppress(Exception):  # such as a scheduler that is gone
            client.close(timeout=_CLOSE_S)


def _local_copy_of_build() -> Callable[[], str]:
    """Return a function that states a worker's version of the package, and that needs no module there to be sent."""

    def build_there() -> str:
        try:
            from microcalc.execution.cluster import build
        except Exception:
            return "no microcalc, or an earlier one"
        return build()

    return build_there


def _local_copy_of_settings() -> Callable[..., None]:
    """Return a function for the scheduler: items wait there and not at busy workers, and deaths blame none early."""

    def settings_there(dask_scheduler: Any, *, deaths: int) -> None:
        dask_scheduler.WORKER_SATURATION = 1.0
        dask_scheduler.allowed_failures = deaths

    return settings_there


@functools.cache
def build() -> str:
    """Return the version of the package and of Python, and a short hash of the package's code."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    return f"microcalc {__version__} (code {digest.hexdigest()[:8]}, Python {python})"


def _refuse_other_builds(builds: Mapping[str, object]) -> None:
    for worker, there in sorted(builds.items()):
        if isinstance(there, str) and there != build():  # an error: it died just now
            raise ClusterError(f"{worker}: the worker has {there}, expected {build()} as here")


def _local_copy_of_last_try() -> Callable[..., bool]:
    """Return a function for the scheduler that lets a task's worker die once more only; False: no such task yet."""

    def last_try_there(dask_scheduler: Any, *, key: str) -> bool:
        task = dask_scheduler.tasks.get(key)
        if task is not None:
            task.suspicious = dask_scheduler.allowed_failures
        return task is not None

    return last_try_there


def _died(deaths: int) -> WorkerDiedError:
    return WorkerDiedError(
        f"its worker died {quantity(deaths + 1, 'time')}, and once more while it ran alone (killed, or out of "
        "memory), expected it to finish"
    )


class _Work(Generic[Item, Result]):
    """The items of one run that are in hand; what is not done when the block ends is cancelled.

    Parameters
    ----------
    function
        See ``Executor.run``.
    """

    def __init__(self, client: Client, function: Callable[[Item], Result]) -> None:
        self._client = client
        self._function = function
        self._name = f"microcalc-{uuid.uuid4().hex}"
        self._level = logging.getLogger(LOGGER).getEffectiveLevel()
        self._done: SimpleQueue[Future] = SimpleQueue()
        self._in_hand: dict[str, tuple[Future, Item]] = {}
        self._submitted = 0
        self._looked_s = 0.0
        self._room = _LEAST_IN_HAND
        self._is_waiting = False

    def __enter__(self) -> Self:
        self._client.subscribe_topic(self._name, _log_record)
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(Exception):  # such as a scheduler that is gone
            self._client.cancel([future for future, _ in self._in_hand.values()])
            self._client.unsubscribe_topic(self._name)

    def run(self, waiting: Iterator[Item]) -> Iterator[tuple[Item, Outcome[Item, Result] | None]]:
        """Yield the items as they are done, each with its outcome, or with None where its workers died."""
        while True:
            for item in islice(waiting, self._room - len(self._in_hand)):
                self._submit(item)
            if not self._in_hand:
                return
            for future, value in self._done_now():
                _, item = self._in_hand.pop(future.key)
                yield item, self._outcome(item, future, value)
            if time.monotonic() - self._looked_s > _LOOK_S:
                self._look()

    def run_alone(self, item: Item) -> Outcome[Item, Result] | None:
        """Return the outcome of an item while no other is in hand; None where its worker died once."""
        key = self._submit(item)
        try:
            while not self._client.run_on_scheduler(_local_copy_of_last_try(), key=key):
                time.sleep(_KNOWN_S)
        except Exception as error:
            raise _lost() from error
        ((_, outcome),) = self.run(iter(()))
        return outcome

    def _submit(self, item: Item) -> str:
        key = f"('{self._name}', {self._submitted})"  # one group of tasks: the scheduler keeps those that wait
        self._submitted += 1
        try:
            future = self._client.submit(
                _call, _pickled((self._function, item)), build(), self._name, self._level, key=key, pure=False
            )
        except Exception as error:
            raise _lost() from error
        self._in_hand[key] = (future, item)
        future.add_done_callback(self._done.put)
        return key

    def _done_now(self) -> list[tuple[Future, bytes | None]]:
        """Wait for an item, and return all that are done; None beside those whose value has to be asked for."""
        try:
            done = [self._done.get(timeout=_LOOK_S)]
        except Empty:
            return []
        with suppress(Empty):
            while True:
                done.append(self._done.get_nowait())
        try:  # one question for all
            return list(zip(done, self._client.gather(done), strict=True))
        except Exception:
            return [(future, None) for future in done]

    def _outcome(self, item: Item, future: Future, value: bytes | None) -> Outcome[Item, Result] | None:
        from distributed import KilledWorker

        try:
            made: Attempt[Result] = pickle.loads(future.result() if value is None else value)
        except KilledWorker:
            return None
        except ClusterError:
            raise
        except Exception as error:
            if future.status == "error":  # the task itself cannot begin on its worker
                raise ClusterError(
                    f"a worker cannot run the task ({type(error).__name__}: {' '.join(str(error).split())}), "
                    f"expected {build()} on each"
                ) from error
            raise _lost() from error
        return Outcome(item, *made)

    def _look(self) -> None:
        """Adjust the number of items in hand to the workers, and say once where there is none."""
        self._looked_s = time.monotonic()
        try:
            threads = sum(self._client.nthreads().values())
        except Exception as error:
            raise _lost() from error
        self._room = max(_LEAST_IN_HAND, _IN_HAND_PER_THREAD * threads)
        if not threads and not self._is_waiting:
            _LOG.info("the cluster has no worker at present; waiting for one")
        self._is_waiting = not threads


def _lost() -> ClusterError:
    return ClusterError(
        "the connection to the Dask scheduler was lost, expected it to stay; what is done stays done, and the same "
        "command continues"
    )


class _Pickler(pickle.Pickler):
    """Makes relative paths absolute: a worker has another current folder."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Path) and not value.is_absolute():
            return type(value), (str(value.absolute()),)
        return NotImplemented


def _pickled(value: object) -> bytes:
    content = io.BytesIO()
    _Pickler(content, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return content.getvalue()


def _call(payload: bytes, build_here: str, topic: str, level: int) -> bytes:
    """Run the function on its item; called in a worker. Return the pickled result or error of the function."""
    if build() != build_here:
        raise ClusterError(f"a worker has {build()}, expected {build_here} as where the work was started")
    with _logging_to(topic, level):
        function, item = pickle.loads(payload)
        return pickle.dumps(attempt(function, item), protocol=pickle.HIGHEST_PROTOCOL)


@contextmanager
def _logging_to(topic: str, level: int) -> Iterator[None]:
    """Send what this thread logs to the process that started the work."""
    from distributed import get_worker

    logger, handler = logging.getLogger(LOGGER), _Sender(get_worker(), topic)
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Sender(QueueHandler):
    """Sends records as events of the cluster: each arrives before the result of the task that logged it."""

    def __init__(self, worker: Any, topic: str) -> None:
        super().__init__(SimpleQueue())  # prepares records to be pickled; the queue stays empty
        self._worker, self._topic, self._thread = worker, topic, threading.get_ident()

    def enqueue(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:  # a worker may run several tasks
            self._worker.log_event(self._topic, pickle.dumps(record))


def _log_record(event: tuple[float, bytes]) -> None:
    """Log what a worker has logged."""
    record: logging.LogRecord = pickle.loads(event[1])
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        with suppress(Exception):  # a handler that fails, as on a closed output, fails in the main thread too
            logger.handle(record)
