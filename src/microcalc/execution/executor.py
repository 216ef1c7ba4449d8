"""Running a function on many items: in this process, or in several.

Results come as they are done, each with the item that it belongs to. An item whose function raises an
error does not end the others. A worker process that dies (killed, out of memory, crashed in a library)
costs nobody but the item that killed it: the items that were in hand are run again one by one, each in a
process of its own, and the one whose process dies again is named as the failed one.

The standard library's ``concurrent.futures`` runs the processes. There, a worker that dies fails every item that
waits; the isolation described above is what this module adds.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar, cast

from microcalc.errors import WorkerDiedError

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: a result, or the error that its function raised.

    Attributes
    ----------
    item
        As it was given.
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
    """Where work runs."""

    def run(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Outcome[Item, Result]]:
        """Run a function on every item and yield the outcomes as they are done.

        Parameters
        ----------
        function
            A function of a module, so that other processes can import it.
        items
            Values that can be pickled: paths rather than pixels.
        """


class Serial:
    """Runs everything in this process, one item after the other, in the order given."""

    def run(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Outcome[Item, Result]]:
        """See ``Executor.run``; an outcome is computed when it is asked for."""
        for item in items:
            yield _outcome(function, item)


@dataclass(frozen=True, slots=True)
class Processes:
    """Runs items in several processes, each with one thread for its arithmetic.

    The processes end with the one that started them, however that one ends.

    Attributes
    ----------
    workers
        How many processes, at least 1.
    """

    workers: int

    def run(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Outcome[Item, Result]]:
        """See ``Executor.run``; at most two items for each worker are in hand at a time."""
        waiting = iter(items)
        while suspects := (yield from self._run_until_a_worker_dies(function, waiting)):
            for item in suspects:
                yield _run_in_a_process_of_its_own(function, item)

    def _run_until_a_worker_dies(
        self, function: Callable[[Item], Result], waiting: Iterator[Item]
    ) -> Generator[Outcome[Item, Result], None, list[Item]]:
        """Yield outcomes until no item waits or a worker dies; return the items that were in hand then."""
        in_hand: dict[Future[Outcome[Item, Result]], Item] = {}
        pool = _pool(self.workers)
        try:
            while True:
                for item in islice(waiting, 2 * self.workers - len(in_hand)):
                    try:
                        in_hand[pool.submit(_outcome, function, item)] = item
                    except BrokenProcessPool:
                        return [*in_hand.values(), item]
                if not in_hand:
                    return []
                for future in wait(in_hand, return_when=FIRST_COMPLETED).done:
                    if isinstance(future.exception(), BrokenProcessPool):
                        return list(in_hand.values())
                    item = in_hand.pop(future)
                    yield future.result()
        finally:
            pool.shutdown(wait=not in_hand, cancel_futures=True)


def executor_of(workers: int) -> Executor:
    """Return what runs work in that many processes; for one worker, in this process."""
    return Serial() if workers <= 1 else Processes(workers)


def _outcome(function: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    try:
        return Outcome(item, function(item))
    except Exception as error:
        return Outcome(item, None, _picklable(error))


def _picklable(error: Exception) -> Exception:
    """Return the error; one that cannot travel between processes, in words."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _run_in_a_process_of_its_own(function: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    with _pool(1) as pool:
        try:
            return pool.submit(_outcome, function, item).result()
        except BrokenProcessPool:
            died = WorkerDiedError("its worker process died twice (killed, or out of memory), expected it to live")
            return Outcome(item, None, died)


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: threads of the run-time engines do not survive a fork.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin_worker)


def _begin_worker() -> None:
    """Begin a worker: one thread for arithmetic, before a library is loaded; and an end when the parent ends."""
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = "1"
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
