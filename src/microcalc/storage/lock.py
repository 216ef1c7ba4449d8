"""Locks: of several processes that want the same file or folder, one works and the others wait."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from microcalc.storage.write import saying_where


@contextmanager
def locked(file: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock file for the block; wait where another process holds it.

    However the process that holds it ends, the system frees it.

    Parameters
    ----------
    file
        The lock file, which stays; its folder has to exist.
    waiting
        Called once before waiting for another process.

    Raises
    ------
    OutputError
        The system refused to make the file.
    """
    with saying_where(file):
        handle = file.open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
