"""Writing files whole or not at all.

A file is written under a temporary name in its own folder, flushed to the disc, and renamed. So a
reader finds the old file, the new file or none, and a process that is killed leaves at most a hidden
``.part`` file. The temporary name does not depend on the file's own name, which may be as long as the
file system allows.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from microcalc.errors import OutputError

TEMPORARY_SUFFIX: Final = ".part"
_FULL_BYTES: Final = 1 << 20  # so little room is none
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
    """Give the name of a temporary file that takes the place of ``path`` when the block ends without an error.

    The folder has to exist. The block creates the temporary file; if the block raises, the file is
    removed and whatever stood at ``path`` stays as it was.

    Parameters
    ----------
    path
        The file to write.

    Yields
    ------
    Path
        A name in the same folder, with the suffix of ``path`` where the length of the name allows it
        (libraries choose a format by it).

    Raises
    ------
    OutputError
        The system refused: the disk is full, the name is too long, there is no permission.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}{path.suffix[:16]}")
    try:
        with saying_where(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    OutputError
        The system refused; what stood at ``path`` stays as it was.
    """
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all; raises ``OutputError`` as ``write_whole`` does."""
    write_whole(path, text.encode())


def write_json(path: Path, document: object) -> None:
    """Write a document as indented JSON with sorted keys, whole or not at all; raises ``OutputError``."""
    write_text(path, json.dumps(document, indent=2, sort_keys=True) + "\n")


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disc."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def saying_where(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an ``OutputError`` that names the folder and the file.

    An ``OSError`` of another file, such as one that is read meanwhile, passes through, and so does a library's own
    class of errors. A plain ``OSError`` without a number is what numpy and others make of the system's.
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
    """Return why a library failed to write that does not say so: numpy's ``0 of 512 written``, for one."""
    try:
        is_full = shutil.disk_usage(path.absolute().parent).free < _FULL_BYTES
    except OSError:
        is_full = False
    return _REASONS[errno.ENOSPC] if is_full else "the system took only a part of it"


def describe_refusal(path: Path, error: OSError) -> str:
    """Return one line that says which file in which folder could not be written, and why."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or _reason_without_number(path)
    folder = path.absolute().parent.name or "/"
    name = path.name if len(path.name) <= 80 else f"{path.name[:60]}…{path.name[-16:]}"
    return f"{folder}: {name} cannot be written ({reason}), expected a folder with room for the results"
