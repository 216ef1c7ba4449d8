"""The index of a folder of results: the images that a command processed, with the outcome for each.

``microcalc detect`` writes ``OUT/index.json`` (schema ``microcalc/index/1``)::

    {"schema": "microcalc/index/1",
     "settings": {"model": "…", …},
     "images": [{"stem": "1-1-0a1b2c3d", "file": "P1/LCC/1-1.dcm", "image": "P1_LCC", "uid": "1.2.3", "place": "…",
                 "made_from": "…", "stamp": "…", "failed": "", "reports": ["1-1-0a1b2c3d.sr.dcm"]}, …]}

``settings``
    The settings that change results. All results in a folder have the same settings.
``stem``
    First part of the names of the image's results, such as ``STEM.json``. Different images have different stems.
``file``
    Path of the image relative to the folder that was given to the command, with ``/``; the name of a file that was
    given itself; for an image of a table, the path in the table.
``image``
    Name of the image in the table; empty without a table.
``uid``
    SOP Instance UID of the image, or the SHA-256 of a file without one; empty if the file could not be read.
``place``
    Hash of the file's path: a picture whose content was changed is still the same image.
``made_from``
    Key of the bytes of the file and of what the user or a table states about it: with the same key and the same
    ``settings``, the image need not be processed again. Empty until the image is done, and in indexes of earlier
    versions.
``stamp``
    Key of the size and times of the file (``stamp_of``), and of what is stated: with the same stamp, the bytes are not
    read to see whether they are the same. Empty in indexes of earlier versions.
``failed``
    Why the last call made no result for the image; empty if it made one, or was stopped before.
``reports``
    The reports in the folder that include the image.

**Valid results** are the existing ``STEM.json`` of the entries that did not fail (``counted``). Readers of such a
folder ignore every other file: a call removes the earlier results of an image before it processes the image, and
files that the index does not list were made by other means.

**Shards** (``execution.shard``) work in one folder at the same time, each with an index of its own,
``index.shard-I-of-N.json``. The index of the folder is all of them together; the next call without a shard writes it as
one file again.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from microcalc.errors import InputError, OutputError
from microcalc.storage.ownership import MARK
from microcalc.storage.write import saying_where, write_json
from microcalc.wording import reading_fault

INDEX: Final = "index.json"
SCHEMA: Final = "microcalc/index/1"
_SHARDS: Final = "index.shard-*-of-*.json"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One image that was processed; the fields are described in the module."""

    stem: str
    file: str
    uid: str = ""
    place: str = ""
    image: str = ""
    failed: str = ""
    reports: tuple[str, ...] = ()
    made_from: str = ""
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """The images that calls with the same settings processed in a folder."""

    settings: Mapping[str, Any]
    entries: tuple[IndexEntry, ...]

    def by_stem(self) -> dict[str, IndexEntry]:
        """Return stem → entry."""
        return {entry.stem: entry for entry in self.entries}


def read_index(folder: Path) -> Index | None:
    """Return the index of a folder, with those of its shards; None if there is none of ours.

    Where two of them list an image, the one that was written last counts.

    Raises
    ------
    InputError
        An index is damaged or cannot be read, or shards had different settings.
    """
    found = [(file, index) for file in _index_files(folder) if (index := _read(file)) is not None]
    if not found:
        return None
    settings = found[0][1].settings
    for file, index in found:
        if index.settings != settings:
            different = sorted(k for k in {*settings, *index.settings} if settings.get(k) != index.settings.get(k))
            raise InputError(
                f"{folder.resolve().name}/{file.name}: results of another {', '.join(different)} than those of "
                f"{found[0][0].name}, expected the same model and options in all shards"
            )
    merged = {stem: entry for _, index in found for stem, entry in index.by_stem().items()}
    return Index(settings, tuple(merged[stem] for stem in sorted(merged)))


def _index_files(folder: Path) -> list[Path]:
    """Return the files of the index, the one that was written last at the end."""
    times: list[tuple[int, str, Path]] = []
    for file in (folder / INDEX, *folder.glob(_SHARDS)):
        with suppress(OSError):  # there is none, or another process has just made one of several
            times.append((file.stat().st_mtime_ns, file.name, file))
    return [file for *_, file in sorted(times)]


def _read(file: Path) -> Index | None:
    """Return the index in a file; None if it is not there, or no index of ours."""
    where = f"{file.resolve().parent.name}/{file.name}"
    try:
        document = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:  # not to be taken for a folder without results
        raise InputError(f"{where}: {reading_fault(error)}, expected an index that can be read") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return None
    try:
        entries = [_entry(values) for values in document["images"]]
        return Index(dict(document["settings"]), tuple(entries))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{where}: damaged, expected the schema {SCHEMA}") from None


def counted(folder: Path) -> list[Path] | None:
    """Return the valid results of a folder, sorted by name; None if the folder has no index.

    Raises
    ------
    InputError
        The index is damaged.
    """
    index = read_index(folder)
    if index is None:
        return None
    files = (folder / f"{entry.stem}.json" for entry in index.entries if not entry.failed)
    return sorted(file for file in files if file.is_file())


def update_index(
    folder: Path,
    settings: Mapping[str, Any],
    entries: Iterable[IndexEntry],
    *,
    forget_others: bool = False,
    shard: tuple[int, int] | None = None,
) -> None:
    """Write entries to a folder's index; each replaces the entry of the same stem, and the others stay.

    The folder must have our mark. Commands that run in one folder at the same time do not lose each other's entries.

    Parameters
    ----------
    forget_others
        Whether no other entry stays; their results, of other settings, have been removed.
    shard
        Number and count of the shard whose own index is written; it needs no lock, which not every shared disk has.

    Raises
    ------
    OutputError
        The index is not ours, or the system refused to write.
    InputError
        Another shard has different settings.
    """
    if shard is not None:
        file = folder / f"index.shard-{shard[0]}-of-{shard[1]}.json"
        before = _own(file)
        _write(file, settings, [*(() if before is None else before.entries), *entries])
        try:
            read_index(folder)
        except InputError:  # of two that begin at the same time, the one that is later sees the other
            if before is None:
                file.unlink()
            raise
        return
    with _alone(folder):
        parts = [file for file in _index_files(folder) if file.name != INDEX]
        _own(folder / INDEX)
        index = None if forget_others else read_index(folder)
        _write(folder / INDEX, settings, [*(() if index is None else index.entries), *entries])
        for part in parts:
            if _read(part) is not None:
                with saying_where(part):
                    part.unlink(missing_ok=True)


def check_index(folder: Path) -> None:
    """Refuse, before any work, a folder in which a user's file is in the place of the index; raise ``OutputError``."""
    _own(folder / INDEX)


def _own(file: Path) -> Index | None:
    """Return the index in a file, None where there is no file.

    Raises
    ------
    OutputError
        The file is a user's.
    """
    index = _read(file)
    if index is None and file.exists():
        raise OutputError(
            f"{file.resolve().parent.name}: {file.name} was not made by microcalc, and is kept; expected a new folder"
        )
    return index


def _write(file: Path, settings: Mapping[str, Any], entries: Iterable[IndexEntry]) -> None:
    last = {entry.stem: entry for entry in entries}
    images = [asdict(last[stem]) for stem in sorted(last)]
    write_json(file, {"schema": SCHEMA, "settings": dict(settings), "images": images})


def stamp_of(file: Path) -> str:
    """Return the size and times of a file, which no change of its content leaves as they were; empty if it is gone."""
    try:
        status = file.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def _entry(values: Mapping[str, Any]) -> IndexEntry:
    known = {f.name for f in fields(IndexEntry)}
    if not known >= set(values) or not all(isinstance(values[key], str) for key in values if key != "reports"):
        raise ValueError("an unknown entry, or one that is no text")
    return IndexEntry(**{**values, "reports": tuple(str(name) for name in values.get("reports", ()))})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the index against other processes, by a lock on the mark; without effect if the disk has no locks."""
    with (folder / MARK).open("r+b") as handle:  # for writing, without which NFS gives no exclusive lock
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
