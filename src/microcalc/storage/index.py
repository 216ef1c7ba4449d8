"""The index of a folder of results: the images that a command processed, with the outcome for each.

``microcalc detect`` writes ``OUT/index.json`` (schema ``microcalc/index/1``)::

    {"schema": "microcalc/index/1",
     "settings": {"model": "…", …},
     "images": [{"stem": "1-1-0a1b2c3d", "file": "P1/LCC/1-1.dcm", "image": "P1_LCC", "uid": "1.2.3", "place": "…",
                 "made_from": "…", "failed": "", "reports": ["1-1-0a1b2c3d.sr.dcm"]}, …]}

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
    ``settings``, the image need not be processed again. Empty in indexes of earlier versions.
``failed``
    Why the last call made no result for the image; empty if it made one, or was stopped before.
``reports``
    The reports in the folder that include the image.

**Valid results** are the existing ``STEM.json`` of the entries that did not fail (``counted``). Readers of such a
folder ignore every other file: a call removes the earlier results of an image before it processes the image, and
files that the index does not list were made by other means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from microcalc.errors import InputError, OutputError
from microcalc.storage.ownership import MARK
from microcalc.storage.write import write_json

INDEX: Final = "index.json"
SCHEMA: Final = "microcalc/index/1"


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


@dataclass(frozen=True, slots=True)
class Index:
    """The images that calls with the same settings processed in a folder."""

    settings: Mapping[str, Any]
    entries: tuple[IndexEntry, ...]

    def by_stem(self) -> dict[str, IndexEntry]:
        """Return stem → entry."""
        return {entry.stem: entry for entry in self.entries}


def read_index(folder: Path) -> Index | None:
    """Return the index of a folder; None if there is none, or ``index.json`` is not an index of ours.

    Raises
    ------
    InputError
        The index is damaged.
    """
    try:
        document = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return None
    try:
        entries = [_entry(values) for values in document["images"]]
        return Index(dict(document["settings"]), tuple(entries))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{folder.resolve().name}/{INDEX}: damaged, expected the schema {SCHEMA}") from None


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
    folder: Path, settings: Mapping[str, Any], entries: Iterable[IndexEntry], *, forget_others: bool = False
) -> None:
    """Write entries to a folder's index; each replaces the entry of the same stem, and the others stay.

    The folder must have our mark. Commands that run in one folder at the same time do not lose each other's entries.
    With ``forget_others`` no other entry stays; their results, of other settings, have been removed.

    Raises
    ------
    OutputError
        ``index.json`` is not ours, or the system refused to write.
    """
    with _alone(folder):
        index = read_index(folder)
        if index is None and (folder / INDEX).exists():
            raise OutputError(
                f"{folder.resolve().name}: {INDEX} was not made by microcalc, and is kept; expected a new folder"
            )
        merged = {} if index is None or forget_others else index.by_stem()
        merged.update((entry.stem, entry) for entry in entries)
        images = [asdict(merged[stem]) for stem in sorted(merged)]
        write_json(folder / INDEX, {"schema": SCHEMA, "settings": dict(settings), "images": images})


def _entry(values: Mapping[str, Any]) -> IndexEntry:
    known = {f.name for f in fields(IndexEntry)}
    if not known >= set(values) or not all(isinstance(values[key], str) for key in values if key != "reports"):
        raise ValueError("an unknown entry, or one that is no text")
    return IndexEntry(**{**values, "reports": tuple(str(name) for name in values.get("reports", ()))})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the index against other processes, by a lock on the mark; without effect if the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / MARK).open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
