"""Locks, so that only one of several processes works on a file or folder while the others wait."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from microcalc.storage.write import saying_where


@contextmanager
def locked(file: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock file for the block, and wait while another process holds it.

    The system releases the lock when the process ends, whatever the cause.

    Parameters
    ----------
    file
        The lock file, which is not removed; its folder must exist.
    waiting
        Called once before waiting for another process.

    Raises
    ------
    OutputError
        The system refused to create the file, or has no locks in its folder.
    """
    with saying_where(file):
        handle = file.open("a")
    with handle:
        with saying_where(file):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is not None:
                    waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
