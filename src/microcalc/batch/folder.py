"""The folder that detections are written to: what is ours in it, and what counts.

A folder holds the results of one kind of detection: the same model, settings and code, or the call is refused.
Before an image is tried, what earlier calls made of it is removed; a user's file is never written over, nor removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from microcalc.batch.names import Identity
from microcalc.errors import InputError, OutputError
from microcalc.reports.header import SOP_CLASSES
from microcalc.storage.index import IndexEntry, read_index, update_index
from microcalc.storage.ownership import MARK, check_output_folder, open_output_folder, owner_of
from microcalc.storage.write import saying_where

_REPORT_SUFFIXES: Final = tuple(f".{kind}.dcm" for kind in SOP_CLASSES)
_SUFFIXES: Final = (".json", ".png", *_REPORT_SUFFIXES)
_HEAD_BYTES: Final = 1024


def is_result(file: Path) -> bool:
    """Return whether a file bears the mark of our results: JSON a schema, PNG a text, DICOM who wrote it."""
    try:
        if not file.is_file():  # to open a pipe waits for ever
            return False
        with file.open("rb") as handle:
            head = handle.read(_HEAD_BYTES)
    except OSError:
        return False
    if head.startswith(b"\x89PNG"):
        return b"tEXtSoftware\0microcalc" in head
    if head[128:132] == b"DICM":
        return b"MICROCALC" in head and any(sop_class.encode() in head for sop_class in SOP_CLASSES.values())
    return head.lstrip().startswith(b"{") and b'"schema": "microcalc/' in head


class ResultsFolder:
    """A folder of detections, before, while and after images are tried.

    Parameters
    ----------
    folder
        Need not be there; it is made and marked when the first result is written.
    command
        Whose mark it bears.
    settings
        What changes results, as JSON can hold it.
    inputs
        What is read; see ``check_output_folder``.

    Raises
    ------
    InputError
        The folder is somebody else's, or holds results of other settings.
    """

    def __init__(self, folder: Path, command: str, *, settings: Mapping[str, Any], inputs: Iterable[Path] = ()) -> None:
        check_output_folder(folder, command, inputs=inputs)
        index = read_index(folder)
        if index is not None and index.entries:
            _check_same(folder, index.settings, settings)
        self.folder = folder
        self._command = command
        self._settings = settings
        self._entries = {} if index is None else index.by_stem()
        self._ours: set[str] = set()  # stems of this call: another call's entries are not written over

    @property
    def taken(self) -> dict[str, Identity]:
        """Return stem → identity of the images that were tried in this folder."""
        return {stem: Identity(entry.uid, entry.place) for stem, entry in self._entries.items()}

    def others(self, stems: Collection[str]) -> int:
        """Return how many results of earlier calls stay beside those of these images."""
        stay = (s for s, entry in self._entries.items() if s not in stems and not entry.failed)
        return sum((self.folder / f"{stem}.json").is_file() for stem in stay)

    def begin(self, entries: Iterable[IndexEntry]) -> None:
        """Remove what earlier calls made of the images that are to be tried, and the reports that speak of them.

        Raises
        ------
        OutputError
            The system refused.
        """
        entries = list(entries)
        stale = {f"{entry.stem}{suffix}" for entry in entries for suffix in _SUFFIXES}
        stale |= {name for e in entries if e.stem in self._entries for name in self._entries[e.stem].reports}
        for entry in list(self._entries.values()):
            if stale.intersection(entry.reports):
                self._take_down(replace(entry, reports=tuple(name for name in entry.reports if name not in stale)))
        for entry in entries:
            self._take_down(entry)
        for name in sorted(stale):
            file = self.folder / Path(name).name
            if file.is_file() and is_result(file):
                with saying_where(file):
                    file.unlink()
        self.write_index()

    def check_free(self, name: str) -> Path:
        """Return where a result of this name is to be written.

        Raises
        ------
        OutputError
            A file that is not ours stands there.
        """
        path = self.folder / name
        if path.is_symlink() or (path.exists() and not is_result(path)):
            raise OutputError(
                f"{self.folder.resolve().name}: {name} was not made by microcalc, and is kept; "
                "expected another folder for the results"
            )
        return path

    def open(self) -> None:
        """Make the folder, mark it and write what is to be tried, if that has not been done.

        Raises
        ------
        OutputError
            The system refused, or a user's file is in the place of the index.
        """
        open_output_folder(self.folder, self._command)
        if read_index(self.folder) is None:
            self.write_index()

    def failed(self, stem: str, why: str) -> None:
        """Take down that an image has no result, and why."""
        self._take_down(replace(self._entries[stem], failed=why))

    def reported(self, name: str, stems: Iterable[str]) -> None:
        """Take down which images a report speaks of."""
        for stem in stems:
            entry = self._entries[stem]
            self._take_down(replace(entry, reports=(*entry.reports, name)))

    def write_index(self) -> None:
        """Write what has been taken down, where the folder bears the mark.

        Raises
        ------
        OutputError
            The system refused, or a user's file is in the place of the index.
        """
        if owner_of(self.folder) is not None:
            update_index(self.folder, self._settings, [self._entries[stem] for stem in sorted(self._ours)])

    def _take_down(self, entry: IndexEntry) -> None:
        self._entries[entry.stem] = entry
        self._ours.add(entry.stem)


def remove_results(folder: Path) -> None:
    """Remove our results that lie in a folder; what is not ours stays.

    Raises
    ------
    OutputError
        The system refused.
    """
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.is_file() and not file.is_symlink() and file.name != MARK and is_result(file):
            with saying_where(file):
                file.unlink()


def _check_same(folder: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse to put results of different settings into one folder."""
    other = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
    if other:
        raise InputError(
            f"{folder.resolve().name}: holds results of another {', '.join(other)}, expected a new folder, or the same "
            "model and options"
        )
