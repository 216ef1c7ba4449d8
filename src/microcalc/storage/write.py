"""Write files atomically: completely or not at all.

A file is written under a temporary name in its folder, flushed to the disk, and renamed. So a reader finds the old
file, the new file or none, and a killed process leaves at most a hidden ``.part`` file. The temporary name is that of
the file as a hash, so the next process that writes the file uses what was left, and it is short, however long the
name of the file. While two processes write one file, which a lock tells, the second takes a name at random.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from microcalc.errors import OutputError

TEMPORARY_SUFFIX: Final = ".part"
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}\.part(\..*)?")
_FULL_BYTES: Final = 1 << 20  # less free space than this counts as none
_REASONS: Final = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENAMETOOLONG: "the name is too long for the file system",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write",
    errno.EPERM: "no permission to write",
}


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Provide a temporary path for the block, and rename it to ``path`` when the block ends without an error.

    The folder must exist. The block writes the temporary file, which may exist and is empty then. If the block raises
    an error, the temporary file is removed, and an existing file at ``path`` is not changed.

    Parameters
    ----------
    path
        The file to write.

    Yields
    ------
    Path
        Temporary path in the same folder, with the suffix of ``path``, at most 16 characters of it (libraries
        choose a format by the suffix).

    Raises
    ------
    OutputError
        The system refused to write: the disk is full, the name is too long, or permission is missing.
    """
    temporary, lock = _claim(path)
    try:
        with saying_where(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    except BaseException:
        if lock is None or _is_held(temporary, lock):
            temporary.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _claim(path: Path) -> tuple[Path, int | None]:
    """Return the temporary path for a file, and the descriptor that holds a lock on it.

    A process on another computer gets another path, as locks may not reach it. Where the lock cannot be had, the path
    is a random one that does not exist, without a descriptor.
    """
    name = hashlib.sha256(f"{os.uname().nodename}/{path.name}".encode(errors="surrogateescape")).hexdigest()
    temporary, at_random = _temporary(path, name[:16]), _temporary(path, secrets.token_hex(8))
    try:
        lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError:  # a link, or no permission, which the block will find too
        return at_random, None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_held(temporary, lock):
            temporary.write_bytes(b"?")  # by a second descriptor, which a lock on an SMB share keeps out
            os.ftruncate(lock, 0)
            return temporary, lock
    except BlockingIOError:  # another process writes the file
        pass
    except OSError:  # no locks, or such that keep everybody out, so nobody uses it
        with suppress(OSError):
            temporary.unlink()
    os.close(lock)
    return at_random, None


def _temporary(path: Path, name: str) -> Path:
    return path.with_name(f".{name}{TEMPORARY_SUFFIX}{path.suffix[:16]}")


def _is_held(file: Path, descriptor: int) -> bool:
    """Return whether a path still names the open file, which another process may have renamed or removed."""
    try:
        return os.path.samestat(file.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is one that ``writing`` has not renamed, or that a killed process left."""
    return _TEMPORARY.fullmatch(name) is not None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file completely or not at all.

    Raises
    ------
    OutputError
        The system refused to write; an existing file at ``path`` is not changed.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, completely or not at all; raise ``OutputError`` as ``write_whole`` does."""
    write_whole(path, text.encode())


def write_json(path: Path, document: object) -> None:
    """Write a document as indented JSON with sorted keys, completely or not at all; raise ``OutputError``."""
    write_text(path, json.dumps(document, indent=2, sort_keys=True) + "\n")


def sync_folder(folder: Path) -> None:
    """Wait until changes of the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def saying_where(path: Path) -> Iterator[None]:
    """Convert the system's refusal to write into an ``OutputError`` that names the folder and the file.

    An ``OSError`` about another file, such as an input, is passed on, and so are error classes of libraries. A plain
    ``OSError`` without a number is converted: numpy and other libraries raise it when writing fails.
    """
    try:
        yield
    except OSError as error:
        named = None if error.filename is None else Path(os.fsdecode(error.filename)).absolute()
        ours = named is None or path.absolute().is_relative_to(named) or named.parent == path.absolute().parent
        if not ours or (error.errno is None and type(error) is not OSError):
            raise
        raise OutputError(describe_refusal(path, error)) from error


def _reason_without_number(path: Path) -> str:
    """Return the reason for a failed write that a library does not state, as numpy's ``0 of 512 written``."""
    try:
        is_full = shutil.disk_usage(path.absolute().parent).free < _FULL_BYTES
    except OSError:
        is_full = False
    return _REASONS[errno.ENOSPC] if is_full else "the system took only a part of it"


def describe_refusal(path: Path, error: OSError) -> str:
    """Return a message of one line that names the file and folder that could not be written, and the reason."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or _reason_without_number(path)
    folder = path.absolute().parent.name or "/"
    name = path.name if len(path.name) <= 80 else f"{path.name[:60]}…{path.name[-16:]}"
    return f"{folder}: {name} cannot be written ({reason}), expected a folder with room for the results"
