"""The index of a folder of results: which images a command tried there, and what became of each.

``microcalc detect`` writes ``OUT/index.json`` (schema ``microcalc/index/1``)::

    {"schema": "microcalc/index/1",
     "settings": {"model": "…", …},
     "images": [{"stem": "1-1-0a1b2c3d", "file": "P1/LCC/1-1.dcm", "image": "P1_LCC", "uid": "1.2.3", "place": "…",
                 "failed": "", "reports": ["1-1-0a1b2c3d.sr.dcm"]}, …]}

``settings``
    What changes results. All results in a folder are of the same settings.
``stem``
    The image's results are ``STEM.json`` and its like. Different images have different stems.
``file``
    The image's path below the folder that was given to the command, with ``/``; of a file that was given itself,
    its name. Of an image of a table, as the table says it.
``image``
    The image's name in the table that it was taken from; empty without one.
``uid``
    SOP Instance UID of the image; of a file without one, the SHA-256 of its bytes; empty where it could not be read.
``place``
    Hash of where the file lay: a picture whose content was changed is still the same image.
``failed``
    Why the latest call that tried the image made no result; empty where it made one, or was stopped before.
``reports``
    The reports in the folder that speak of the image.

**What counts**: ``STEM.json`` of the entries that did not fail, where it is there (``counted``). Whoever reads such
a folder passes over every other file: a call removes the results of the images that it tries before it tries
them, and a file that the index does not name was not made by a call that the index speaks of.
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
    """One image that was tried; see the module."""

    stem: str
    file: str
    uid: str = ""
    place: str = ""
    image: str = ""
    failed: str = ""
    reports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """What calls with the same settings tried in a folder."""

    settings: Mapping[str, Any]
    entries: tuple[IndexEntry, ...]

    def by_stem(self) -> dict[str, IndexEntry]:
        """Return the entries by their stems."""
        return {entry.stem: entry for entry in self.entries}


def read_index(folder: Path) -> Index | None:
    """Return the index of a folder; None where there is none, or where ``index.json`` is no index of ours.

    Raises
    ------
    InputError
        The index is broken.
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
        raise InputError(f"{folder.resolve().name}/{INDEX}: broken, expected as in {SCHEMA}") from None


def counted(folder: Path) -> list[Path] | None:
    """Return the ``STEM.json`` that count, in the order of their names; None of a folder without an index.

    Raises
    ------
    InputError
        The index is broken.
    """
    index = read_index(folder)
    if index is None:
        return None
    files = (folder / f"{entry.stem}.json" for entry in index.entries if not entry.failed)
    return sorted(file for file in files if file.is_file())


def update_index(folder: Path, settings: Mapping[str, Any], entries: Iterable[IndexEntry]) -> None:
    """Write entries into a folder's index, each in the place of one of the same stem; the others stay.

    The folder bears our mark. Commands that run at the same time in one folder do not lose each other's entries.

    Raises
    ------
    OutputError
        ``index.json`` is not ours; or the system refused.
    """
    with _alone(folder):
        index = read_index(folder)
        if index is None and (folder / INDEX).exists():
            raise OutputError(
                f"{folder.resolve().name}: {INDEX} was not made by microcalc, and is kept; expected a new folder"
            )
        merged = {} if index is None else index.by_stem()
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
    """Let one process at a time change the index, by a lock on the mark; not where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / MARK).open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
