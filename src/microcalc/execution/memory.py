"""The memory of a process that works on many images, one after the other."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from functools import cache
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_KEPT_BYTES: Final = 1 << 30


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory; it has no effect where the C library is not glibc.

    Each image takes dozens of arrays of its own size. By default glibc returns every one of them to the system when it
    is freed, and the system clears every page of the next one, which costs a tenth of the time. The largest amount of
    memory in use stays the same; what is in use between two images grows to it.
    """
    with suppress(AttributeError, OSError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, _KEPT_BYTES)
        set_option(_TRIM_THRESHOLD, _KEPT_BYTES)


@cache
def keep_what_is_loaded() -> None:
    """Tell Python's garbage collector not to look through what this process has loaded so far, libraries above all.

    It stays to the end anyway, and looking through it again and again takes a hundredth of the time. Later calls have
    no effect.
    """
    gc.collect()
    gc.freeze()
