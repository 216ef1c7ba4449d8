"""Compile functions to machine code; the only module that imports numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import config

Function = TypeVar("Function", bound=Callable[..., object])

each = numba.prange
"""A ``range`` whose iterations may run in parallel, in a function that is ``compiled_parallel``."""


def compiled(function: Function) -> Function:
    """Compile a function when it is first called, and cache the code on disk."""
    fast: Any = numba.njit(cache=True, nogil=True)(function)
    return cast(Function, fast)


def compiled_parallel(function: Function) -> Function:
    """Compile a function as ``compiled`` does; iterations of ``each`` run on the threads set by ``use_threads``."""
    fast: Any = numba.njit(cache=True, nogil=True, parallel=True)(function)
    return cast(Function, fast)


_MOST_THREADS: int = getattr(config, "NUMBA_NUM_THREADS")  # noqa: B009 - its type is not declared


def use_threads(threads: int) -> None:
    """Set the number of threads of parallel loops (at most as many as numba was started with)."""
    numba.set_num_threads(max(1, min(threads, _MOST_THREADS)))
