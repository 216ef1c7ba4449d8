"""Run a function on many items on a Dask cluster that the user has started.

Dask is used directly: its back ends for other libraries hang, or fail as a whole, when a worker is killed. What this
module adds to ``Client.map``:

- a limited number of items is in hand, so that neither this process nor the scheduler holds a million;
- an item whose workers died is tried once more, alone, at the end; so it is named, and no neighbour of it is;
- workers with another version of the package are refused, before the work and in every task;
- relative paths are those of this process, what the workers log is logged here (``task``), and a scheduler that is
  lost, or was never there, is one error in words (``connection``).

Dask runs a task again whose worker died after it had been done. So results have to be small, and functions return at
once where what they write is there already.
"""

from __future__ import annotations

import logging
import pickle
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, Self

from microcalc.errors import ClusterError, WorkerDiedError
from microcalc.execution.connection import connected, lost
from microcalc.execution.executor import LOGGER, Attempt, Item, Outcome, Result
from microcalc.execution.task import build, call, log_record, pickled
from microcalc.wording import quantity

if TYPE_CHECKING:
    from distributed import Client, Future

_LOG = logging.getLogger(__name__)
_LOOK_S: Final = 5.0  # how often the number of workers is asked for
_LEAST_IN_HAND: Final = 64
_IN_HAND_PER_THREAD: Final = 2
_PARTS: Final = 4  # items are submitted when this part of those in hand is done
_DEATHS: Final = 10  # more than Dask's 3: a worker whose node is taken away dies by no fault of its item
_KNOWN_S: Final = 0.05


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
        self._shared = stack, stack.enter_context(connected(self.address, self.deaths))
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
            The address is none, or a certificate of Dask's configuration cannot be used.
        ClusterError
            The scheduler cannot be reached or is lost, or a worker has another version of the package.
        """
        with ExitStack() as stack:
            if self._shared is None:
                client = stack.enter_context(connected(self.address, self.deaths))
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
        self._client.subscribe_topic(self._name, log_record)
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(Exception):  # such as a scheduler that is gone
            self._client.cancel([future for future, _ in self._in_hand.values()])
            self._client.unsubscribe_topic(self._name)

    def run(self, waiting: Iterator[Item]) -> Iterator[tuple[Item, Outcome[Item, Result] | None]]:
        """Yield the items as they are done, each with its outcome, or with None where its workers died."""
        while True:
            if len(self._in_hand) <= self._room - self._room // _PARTS:
                self._submit(islice(waiting, self._room - len(self._in_hand)))
            if not self._in_hand:
                return
            for future, value in self._done_now():
                _, item = self._in_hand.pop(future.key)
                yield item, self._outcome(item, future, value)
            if time.monotonic() - self._looked_s > _LOOK_S:
                self._look()

    def run_alone(self, item: Item) -> Outcome[Item, Result] | None:
        """Return the outcome of an item while no other is in hand; None where its worker died once."""
        (key,) = self._submit([item])
        try:
            while not self._client.run_on_scheduler(_local_copy_of_last_try(), key=key):
                time.sleep(_KNOWN_S)
        except Exception as error:
            raise lost() from error
        ((_, outcome),) = self.run(iter(()))
        return outcome

    def _submit(self, items: Iterable[Item]) -> list[str]:
        """Submit items together: Dask keeps a record of each submission for as long as its scheduler runs."""
        chosen = list(items)
        # One group of tasks: the scheduler keeps those that wait.
        keys = [f"('{self._name}', {number})" for number in range(self._submitted, self._submitted + len(chosen))]
        self._submitted += len(chosen)
        payloads = [pickled((self._function, item)) for item in chosen]
        common = {"build_here": build(), "topic": self._name, "level": self._level}
        try:
            futures = self._client.map(call, payloads, key=keys, pure=False, **common) if chosen else []
        except Exception as error:
            raise lost() from error
        for key, future, item in zip(keys, futures, chosen, strict=True):
            self._in_hand[key] = (future, item)
            future.add_done_callback(self._done.put)
        return keys

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
            raise lost() from error
        return Outcome(item, *made)

    def _look(self) -> None:
        """Adjust the number of items in hand to the workers, and say once where there is none."""
        self._looked_s = time.monotonic()
        try:
            threads = sum(self._client.nthreads().values())
        except Exception as error:
            raise lost() from error
        self._room = max(_LEAST_IN_HAND, _IN_HAND_PER_THREAD * threads)
        if not threads and not self._is_waiting:
            _LOG.info("the cluster has no worker at present; waiting for one")
        self._is_waiting = not threads
