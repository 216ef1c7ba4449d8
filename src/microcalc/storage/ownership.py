"""The folders to which a command may write: new ones, empty ones, and those with its mark.

The mark is the file ``.microcalc.json``, which names the command that made the folder. Any other folder with files
belongs to a user or to another command, and is refused before any work. So nothing that a user made can be
overwritten, and no command mistakes the results of another for its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from microcalc.errors import InputError, OutputError
from microcalc.storage.key import file_sha256
from microcalc.storage.write import is_temporary, saying_where, write_json, write_whole, writing
from microcalc.wording import reading_fault

MARK: Final = ".microcalc.json"
_SCHEMA: Final = "microcalc/folder/1"


def owner_of(folder: Path) -> str | None:
    """Return the command whose mark a folder has; None if there is no folder or no mark."""
    document = _read_mark(folder)
    return None if document is None else str(document["command"])


def check_output_folder(folder: Path, command: str, *, inputs: Iterable[Path] = ()) -> None:
    """Refuse a folder to which the command must not or cannot write; nothing is written.

    Parameters
    ----------
    folder
        Folder to which the command will write.
    command
        Name of the command, such as ``"detect"``.
    inputs
        Files and folders that the command reads. The output folder must not be one of these folders, nor the
        folder of one of the files, unless it has the command's mark; use ``check_not_input`` for each written
        file then.

    Raises
    ------
    InputError
        The path or one of its parents is a file or cannot be looked into, the folder is not writable, has files but no
        mark, has the mark of another command, or is the folder of an input.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:  # such as a name that is too long
        name = folder.name if len(folder.name) <= 80 else f"{folder.name[:80]}…"
        raise InputError(f"{name}: {reading_fault(error)}, expected a folder for the results") from error
    if not nearest.is_dir():
        raise InputError(f"{nearest.name}: a file, expected a folder for the results")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{nearest.name}: no permission to write, expected a folder for the results")
    if not folder.exists():
        return
    name = folder.resolve().name
    # Names before the mark: another process may begin in the folder, and where its files are its mark is.
    has_files = any(not is_temporary(file.name) for file in folder.iterdir())
    owner = owner_of(folder)
    for path in inputs:
        source = path if path.is_dir() else path.parent
        if owner is None and source.exists() and source.resolve() == folder.resolve():
            raise InputError(f"{name}: the folder of the input, expected another folder for the results")
    if owner is not None and owner != command:
        raise InputError(f"{name}: holds results of microcalc {owner}, expected a new or empty folder")
    if owner is None and has_files:
        raise InputError(f"{name}: holds files that microcalc {command} did not make, expected a new or empty folder")


def open_output_folder(folder: Path, command: str) -> None:
    """Create the folder if necessary, and mark it as the command's.

    Raises
    ------
    InputError
        As in ``check_output_folder``.
    OutputError
        The system refused to write.
    """
    check_output_folder(folder, command)
    with saying_where(folder / MARK):
        folder.mkdir(parents=True, exist_ok=True)
    if owner_of(folder) is None:
        write_json(folder / MARK, {"schema": _SCHEMA, "command": command})


@contextmanager
def output_folder(
    folder: Path, command: str, *, inputs: Iterable[Path] = (), is_shared: bool = False
) -> Iterator[None]:
    """Check, create and mark a folder for the block; remove it again if the block fails without writing to it.

    Parameters
    ----------
    folder, command, inputs
        See ``check_output_folder``.
    is_shared
        Whether other processes may work in the folder: it then stays.

    Raises
    ------
    InputError
        As in ``check_output_folder``, before the block begins.
    OutputError
        The system refused to write.
    """
    check_output_folder(folder, command, inputs=inputs)
    was_there = folder.exists()
    open_output_folder(folder, command)
    try:
        yield
    except BaseException:
        if not is_shared and [file.name for file in folder.iterdir()] == [MARK]:
            (folder / MARK).unlink()
            if not was_there:
                folder.rmdir()
        raise


def check_not_input(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output file that is also an input.

    Raises
    ------
    InputError
        The output is one of the inputs, possibly under another name.
    """
    for path in inputs:
        if path.resolve() == output.resolve() or (output.exists() and path.exists() and path.samefile(output)):
            raise InputError(
                f"{output.name}: is an input and would be overwritten, expected another folder for results"
            )


def check_editable(path: Path) -> None:
    """Refuse, before any work, a file that ``write_editable`` would not replace because it was edited.

    Raises
    ------
    OutputError
        The file has been changed since it was written, or was not written by us.
    """
    if is_edited(path):
        raise OutputError(
            f"{path.absolute().parent.name}: {path.name} was changed by hand, and is kept; expected a new folder, "
            f"or the file as it was written"
        )


def is_edited(path: Path) -> bool:
    """Return whether a file that was written by ``write_editable`` has been changed since, by hand."""
    document = _read_mark(path.parent)
    if document is None or not path.exists():
        return False
    return _sha256(path.read_bytes()) not in _written(document, path.name)


def adopt_edited(path: Path) -> None:
    """Let ``write_editable`` replace a file that was changed by hand, once its content is kept elsewhere.

    Raises
    ------
    OutputError
        The system refused to write.
    """
    document = _read_mark(path.parent)
    if document is not None:
        document.setdefault("editable", {})[path.name] = _sha256(path.read_bytes())
        write_json(path.parent / MARK, document)


def write_editable(path: Path, content: bytes) -> None:
    """Write a file that users may edit, such as a table, into a marked folder, unless it has been edited.

    The mark records the SHA-256 of the content, before and after the file is written, so that a file whose writer was
    killed is still known as ours. A file with other content, or one that was never recorded, is somebody's work and
    is not replaced.

    Raises
    ------
    OutputError
        The file has been changed since it was written, was not written by us, or the system refused to write.
    """
    document = _read_mark(path.parent)
    if document is None:
        raise OutputError(f"{path.absolute().parent.name}: has no mark of microcalc, expected a folder of its results")
    new = _sha256(content)
    if path.exists():
        existing = _sha256(path.read_bytes())
        if existing == new:
            return
        if existing not in _written(document, path.name):
            raise OutputError(
                f"{path.absolute().parent.name}: {path.name} was changed by hand, and is kept; expected a new folder, "
                f"or the file as it was written"
            )
    document.setdefault("being_written", {})[path.name] = new
    write_json(path.parent / MARK, document)
    write_whole(path, content)
    document.setdefault("editable", {})[path.name] = document["being_written"].pop(path.name)
    write_json(path.parent / MARK, document)


def write_editable_by(path: Path, write: Callable[[Path], object]) -> None:
    """Write a large file as ``write_editable`` does, by a function that takes the path to write to.

    Raises
    ------
    OutputError
        As in ``write_editable``. Errors of the function are passed on.
    """
    document = _read_mark(path.parent)
    if document is None:
        raise OutputError(f"{path.absolute().parent.name}: has no mark of microcalc, expected a folder of its results")
    with writing(path) as temporary:
        write(temporary)
        new = file_sha256(temporary)
        if path.exists() and (existing := file_sha256(path)) != new and existing not in _written(document, path.name):
            raise OutputError(
                f"{path.absolute().parent.name}: {path.name} was changed by hand, and is kept; expected a new folder, "
                f"or the file as it was written"
            )
        document.setdefault("being_written", {})[path.name] = new
        write_json(path.parent / MARK, document)
    document.setdefault("editable", {})[path.name] = document["being_written"].pop(path.name)
    write_json(path.parent / MARK, document)


def _written(document: Mapping[str, Mapping[str, str]], name: str) -> set[str | None]:
    """Return the SHA-256 of what we wrote to a file, or were about to write when we were killed."""
    return {document.get(key, {}).get(name) for key in ("editable", "being_written")} - {None}


def _read_mark(folder: Path) -> dict[str, dict[str, str]] | None:
    try:
        document = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return None
    if isinstance(document, dict) and document.get("schema") == _SCHEMA and isinstance(document.get("command"), str):
        return document
    return None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
