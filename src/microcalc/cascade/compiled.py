"""Compiles a function to machine code; the only module that imports numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import config

Function = TypeVar("Function", bound=Callable[..., object])

each = numba.prange
"""``range`` whose turns may run at once, in a function that is ``compiled_parallel``."""


def compiled(function: Function) -> Function:
    """Compile when first called, and keep the code on disk for the next process."""
    fast: Any = numba.njit(cache=True, nogil=True)(function)
    return cast(Function, fast)


def compiled_parallel(function: Function) -> Function:
    """As ``compiled``; turns of ``each`` run on as many threads as ``use_threads`` says."""
    fast: Any = numba.njit(cache=True, nogil=True, parallel=True)(function)
    return cast(Function, fast)


_MOST_THREADS: int = getattr(config, "NUMBA_NUM_THREADS")  # noqa: B009 - its type is not declared


def use_threads(threads: int) -> None:
    """How many threads parallel loops take (at most as many as numba was started with)."""
    numba.set_num_threads(max(1, min(threads, _MOST_THREADS)))
