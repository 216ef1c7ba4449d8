"""Copy results from their stage to where the user looks for them, and never over the user's own files.

The target folder keeps a list of the files that were copied into it, with the SHA-256 of each. Only these files, if
unchanged, are replaced or removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from microcalc.errors import InputError, OutputError
from microcalc.storage.key import file_sha256
from microcalc.storage.lock import locked
from microcalc.storage.ownership import MARK, check_output_folder, open_output_folder
from microcalc.storage.write import TEMPORARY_SUFFIX, saying_where, write_json, write_whole

COMMAND: Final = "study"
_LIST, _LOCK = ".shown.json", ".lock"


def check_shown(target: Path) -> None:
    """Refuse a folder with a file that ``show`` did not copy there, or that was changed since.

    Raises
    ------
    InputError
        There is such a file; the message names it and the folder.
    """
    check_output_folder(target, COMMAND)
    if not target.exists():
        return
    listed = _listed(target)
    for name, file in _files(target).items():
        if file_sha256(file) not in listed.get(name, ()):
            raise InputError(
                f"{target.name}: {name} was not made by microcalc study, or was changed since, and would be lost; "
                f"expected it in another folder"
            )


def show(source: Path, target: Path, *, only: Iterable[str] = (".",)) -> None:
    """Copy folders of ``source`` to ``target``, in place of the results of an earlier start.

    Parameters
    ----------
    only
        Names of the folders in ``source``.

    Raises
    ------
    InputError
        ``target`` has files of the user; nothing was changed.
    OutputError
        The system refused to write.
    """
    check_output_folder(target, COMMAND)
    open_output_folder(target, COMMAND)
    with locked(target / _LOCK):
        check_shown(target)
        given = {f.relative_to(source).as_posix(): f for name in only for f in sorted((source / name).rglob("*"))}
        given = {name: file for name, file in given.items() if file.is_file()}
        new = {name: [file_sha256(file)] for name, file in given.items()}
        old = {name: file_sha256(file) for name, file in _files(target).items()}
        # The list of old and new files comes first: after a kill, every file is in the list.
        both = {n: [*new.get(n, []), *([old[n]] if n in old else [])] for n in sorted({*new, *old})}
        write_json(target / _LIST, both)
        for name, file in given.items():
            if old.get(name) != new[name][0]:
                _copy(file, target / name)
        for name in set(old) - set(new):
            (target / name).unlink()
        _remove_empty_folders(target)
        write_json(target / _LIST, new)


def _copy(source: Path, target: Path) -> None:
    with saying_where(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, source.read_bytes())


def _files(target: Path) -> dict[str, Path]:
    """Return the files of a folder, without our own lists and locks, by their path in it."""
    own = {target / name for name in (MARK, _LIST, _LOCK)}
    return {
        f.relative_to(target).as_posix(): f
        for f in sorted(target.rglob("*"))
        if (f.is_file() or f.is_symlink()) and f not in own and TEMPORARY_SUFFIX not in f.suffixes[-2:]
    }


def _listed(target: Path) -> Mapping[str, list[str]]:
    try:
        listed = json.loads((target / _LIST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise OutputError(f"{target.name}/{_LIST}: not readable ({type(error).__name__})") from error
    return listed if isinstance(listed, dict) else {}


def _remove_empty_folders(target: Path) -> None:
    for folder in sorted((f for f in target.rglob("*") if f.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
