"""Run a function on many items, in this process or in several; ``cluster`` has a third place for it.

Results come as they are done, each with the item that it belongs to. An item whose function raises an error does
not end the others. A worker process that dies (killed, out of memory, crashed in a library) costs only the item
that killed it: the items in hand are run again one by one, and the one whose process dies three times more is named as
the failed one. What workers log is logged in the process that started them.

The standard library's ``concurrent.futures`` runs the processes. There, a worker that dies fails every waiting
item; isolation and logging are what this module adds.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import islice
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from typing import Any, Final, Generic, Protocol, Self, TypeVar, cast

from microcalc.errors import WorkerDiedError
from microcalc.execution.cores import core_count
from microcalc.execution.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
LOGGER: Final = "microcalc"
"""Name of the logger whose records come from workers to the process that started them."""
_LAST_RECORDS_S: Final = 10.0  # a worker that was killed while it sent one may have left the others behind it
_DEATHS_ALONE: Final = 3
_DIED: Final = (
    f"its worker process died {_DEATHS_ALONE + 1} times, the last {_DEATHS_ALONE} while it ran alone (killed, or out "
    "of memory), expected it to finish"
)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Item, Result]):
    """Result of one item, or the error that its function raised.

    Attributes
    ----------
    item
        The item as it was given.
    error
        None where there is a result.
    """

    item: Item
    value: Result | None
    error: Exception | None = None

    def result(self) -> Result:
        """Return the result; raise the error where there is one."""
        if self.error is not None:
            raise self.error
        return cast(Result, self.value)


class Executor(Protocol):
    """Runs a function on items: the place where work runs.

    As a context manager it shares its processes between the runs in the block, where it has processes.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_error: Any) -> None: ...

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Run a function on every item and yield the outcomes as they are done.

        Closing the generator ends the work that is not finished.

        Parameters
        ----------
        function
            Function of a module, or a ``functools.partial`` of one, so that other processes can import it.
        items
            Values that can be pickled: paths rather than pixels.
        """


class Serial:
    """Runs everything in this process, one item after the other, in the order given."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """Do nothing: there are no processes to end."""

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Yield the outcomes in order; each is computed when it is asked for. See ``Executor.run``."""
        for item in items:
            yield Outcome(item, *attempt(function, item))


SERIAL: Final = Serial()
"""This process."""


@dataclass(slots=True)
class Processes:
    """Runs items in several processes, each with one thread for its arithmetic.

    The processes end with the one that started them, however that one ends. Each run starts its own processes, unless
    the executor is used as a context manager: then the runs in the block share them, and import their libraries once.

    Attributes
    ----------
    workers
        Number of processes, at least 1.
    """

    workers: int
    _is_shared: bool = field(default=False, init=False, compare=False)
    _shared: tuple[ExitStack, ProcessPoolExecutor] | None = field(default=None, init=False, compare=False, repr=False)

    def __enter__(self) -> Self:
        self._is_shared = True
        return self

    def __exit__(self, *error: Any) -> None:
        self._is_shared = False
        self._end_shared(*error)

    def prepare(self, module: str) -> None:
        """Let the shared processes start and import a module, while this process does something else.

        Within a ``with`` block of this executor.
        """
        pool = self._shared_pool()
        for _ in range(self.workers):  # the pool starts a process for each call, as long as none is idle
            pool.submit(import_module, module)

    def run(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Generator[Outcome[Item, Result], None, None]:
        """Yield the outcomes as they are done, with at most two items in hand per worker. See ``Executor.run``."""
        waiting = iter(items)
        while suspects := (yield from self._run_until_a_worker_dies(function, waiting)):
            yield from _run_one_by_one(function, suspects)

    def _run_until_a_worker_dies(
        self, function: Callable[[Item], Result], waiting: Iterator[Item]
    ) -> Generator[Outcome[Item, Result], None, list[Item]]:
        """Yield outcomes until no item waits or a worker dies; return the items that were in hand then."""
        in_hand: dict[Future[Attempt[Result]], Item] = {}
        try:
            with self._pool() as pool:
                while True:
                    for item in islice(waiting, 2 * self.workers - len(in_hand)):
                        in_hand[_submit(pool, function, item)] = item
                    if not in_hand:
                        return []
                    for future in wait(in_hand, return_when=FIRST_COMPLETED).done:
                        if isinstance(error := future.exception(), BrokenProcessPool):
                            raise error
                        yield Outcome(in_hand.pop(future), *future.result())
        except BrokenProcessPool:
            return list(in_hand.values())

    @contextmanager
    def _pool(self) -> Iterator[ProcessPoolExecutor]:
        if not self._is_shared:
            with _worker_pool(self.workers) as pool:
                yield pool
            return
        try:
            yield self._shared_pool()
        except BaseException as error:
            self._end_shared(type(error), error, error.__traceback__)
            raise

    def _shared_pool(self) -> ProcessPoolExecutor:
        if self._shared is None:
            stack = ExitStack()
            self._shared = stack, stack.enter_context(_worker_pool(self.workers))
        return self._shared[1]

    def _end_shared(self, *error: Any) -> None:
        """End the shared processes: at once where there is an error, else when they are done."""
        if self._shared is not None:
            stack, self._shared = self._shared[0], None
            stack.__exit__(*error)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Attempt[Result]]:
    """Submit an item to a pool; where the pool is broken already, return a future that says so."""
    try:
        return pool.submit(attempt, function, item)
    except BrokenProcessPool as error:
        broken: Future[Attempt[Result]] = Future()
        broken.set_exception(error)
        return broken


def executor_of(workers: int) -> Executor:
    """Return an executor with this number of processes; for one worker, this process."""
    return Serial() if workers <= 1 else Processes(workers)


def threads_of(executor: Executor) -> int:
    """Return the number of threads for the arithmetic of each item, so that the items in work share the cores."""
    if isinstance(executor, Serial):
        return core_count()
    return max(1, core_count() // executor.workers) if isinstance(executor, Processes) else 1


def run_in_order(
    executor: Executor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    work: str,
    name: Callable[[Item], str] | None = None,
) -> list[Result]:
    """Run a function on every item, log the progress, and return the results in the order of the items.

    Parameters
    ----------
    work
        What is done, for the log, such as ``"simulating exams"``.
    name
        Returns the name of an item, for the error of one whose worker died.

    Raises
    ------
    Exception
        The first error of an item; the work on the others ends.
    WorkerDiedError
        The worker of an item died; the work on the others is done.
    """
    results: dict[int, Result] = {}
    died: list[str] = []
    with closing(executor.run(partial(_second, function), list(enumerate(items)))) as outcomes:
        for outcome in track(outcomes, work, total=len(items)):
            number, item = outcome.item
            if isinstance(outcome.error, WorkerDiedError):
                died.append(f"{str(number) if name is None else name(item)}: {outcome.error}")
            else:
                results[number] = outcome.result()
    if died:
        raise WorkerDiedError("; ".join(died))
    return [results[number] for number in range(len(items))]


def _second(function: Callable[[Item], Result], numbered: tuple[int, Item]) -> Result:
    return function(numbered[1])


Attempt = tuple[Result | None, Exception | None]
"""Result and error of one call, one of which is None."""


def attempt(function: Callable[[Item], Result], item: Item) -> Attempt[Result]:
    """Return the result of a function, or its error where it raises one that can be pickled."""
    try:
        return function(item), None
    except Exception as error:
        return None, _picklable(error)


def _picklable(error: Exception) -> Exception:
    """Return the error, or, where it cannot travel between processes, a ``RuntimeError`` with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _run_one_by_one(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Outcome[Item, Result], None, None]:
    """Run items one after the other in one process, which is started again when it dies; then the item is tried again.

    One death says little about the item, as the system may end any process; so many do.
    """
    waiting, deaths = deque(items), 0
    while waiting:
        if deaths == _DEATHS_ALONE:
            yield Outcome(waiting.popleft(), None, WorkerDiedError(_DIED))
            deaths = 0
            continue
        with _worker_pool(1) as pool, suppress(BrokenProcessPool):
            while waiting:
                deaths += 1
                outcome = Outcome(waiting[0], *pool.submit(attempt, function, waiting[0]).result())
                waiting.popleft()
                deaths = 0
                yield outcome


@contextmanager
def _worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Start a pool of processes; end them with the block, at once where the block raises an error or is closed."""
    # Spawned, not forked: threads of the run-time engines do not survive a fork.
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)  # ``held`` is open in this process alone, for as long as it lives
    records: Any = context.Queue()
    records.cancel_join_thread()  # a killed worker may hold the queue's lock for ever
    forwarding = threading.Thread(target=_log_records_of, args=(records,), daemon=True)
    forwarding.start()
    level = logging.getLogger(LOGGER).getEffectiveLevel()
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(lifeline, records, level))
    try:
        yield pool
        pool.shutdown()
    finally:
        held.close()  # ends the workers
        pool.shutdown(cancel_futures=True)
        lifeline.close()
        records.put(None)
        forwarding.join(_LAST_RECORDS_S)
        records.close()


def _log_records_of(records: Any) -> None:
    """Log what workers have logged, until the queue gives None."""
    while (record := records.get()) is not None:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            with suppress(Exception):  # a handler that fails, as on a closed output, fails in the main thread too
                logger.handle(record)


def _begin_worker(lifeline: Connection, records: Any, level: int) -> None:
    """Prepare a worker: one thread for arithmetic, set before a library is loaded; a logger; an end with the parent."""
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends the workers
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    logger.addHandler(QueueHandler(records))
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """End this process as soon as the other end of the line is closed, or the process that holds it is gone."""
    with suppress(EOFError, OSError):
        lifeline.recv()
    os._exit(1)
