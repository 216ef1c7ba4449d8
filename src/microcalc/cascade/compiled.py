"""Compile functions to machine code, and run them in threads; the only module that imports numba."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, cast

import numba
from numba import config

Function = TypeVar("Function", bound=Callable[..., object])

MOST_THREADS: Final[int] = getattr(config, "NUMBA_NUM_THREADS")  # noqa: B009 - its type is not declared
"""Number of processors that this process may use, or the value of the environment variable NUMBA_NUM_THREADS."""
_PARTS_PER_THREAD: Final = 4  # a thread whose parts are quick takes more of them


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, and cache the code on disk.

    The compiled function releases the interpreter's lock. It is compiled once for every combination of the types of
    its arguments; in a call from another compiled function a literal number is a type of its own.
    """
    fast: Any = numba.njit(cache=True, nogil=True)(function)
    return cast(Function, fast)


def in_threads(function: Callable[[int, int], object], n: int, *, threads: int = MOST_THREADS) -> None:
    """Call ``function(first, last)`` for consecutive parts of ``range(n)``, in threads beside each other.

    numba's own parallel loops take two to three times as long to compile.
    """
    threads = min(threads, MOST_THREADS)
    if threads <= 1:
        function(0, n)
        return
    parts = min(n, threads * _PARTS_PER_THREAD)
    bounds = [n * k // parts for k in range(parts + 1)] if parts else []
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(function, bounds[:-1], bounds[1:]):
            pass
