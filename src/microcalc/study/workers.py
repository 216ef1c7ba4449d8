"""Work in several processes: pieces in any order, and lanes beside each other."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_LOOK_EVERY_S = 0.2
_watched: set[int] = set()


def in_processes(jobs: Iterable[tuple[Callable[..., _Result], tuple[Any, ...]]], *, workers: int) -> Iterator[_Result]:
    """Results of functions on their arguments, as they are done; with one worker in this process, in order.

    Every process computes with one thread, so that results do not depend on the machine's cores.
    Processes end when the one that started them is gone: a killed study leaves none behind that would
    go on writing.
    """
    from joblib import Parallel, delayed, parallel_config

    calls = [delayed(_alone)(os.getpid(), function, arguments) for function, arguments in jobs]
    workers = max(1, min(workers, len(calls)))
    with parallel_config(backend="loky", inner_max_num_threads=1):
        done = Parallel(n_jobs=workers, return_as="generator_unordered")(calls)
    try:
        yield from done
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib: an interruption leaves work undone, which is as it should be
            done.close()


def _alone(parent: int, function: Callable[..., _Result], arguments: tuple[Any, ...]) -> _Result:
    """In a process of its own: leave when the parent does."""
    if os.getpid() != parent and parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    return function(*arguments)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)
