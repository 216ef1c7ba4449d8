"""The folder that detections are written to: which files in it are ours, and which count.

All results in a folder are of the same model, options and code. Before an image is tried, the results of earlier calls
on it are removed; a user's file is neither overwritten nor removed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from microcalc.batch.names import Identity
from microcalc.errors import InputError, OutputError
from microcalc.execution.shard import Shard
from microcalc.reports.header import SOP_CLASSES
from microcalc.storage.index import INDEX, IndexEntry, check_index, read_index, update_index
from microcalc.storage.ownership import MARK, check_output_folder, open_output_folder, owner_of
from microcalc.storage.write import saying_where
from microcalc.wording import quantity

_REPORT_SUFFIXES: Final = tuple(f".{kind}.dcm" for kind in SOP_CLASSES)
_SUFFIXES: Final = (".json", ".png", *_REPORT_SUFFIXES)
_HEAD_BYTES: Final = 1024


def is_result(file: Path) -> bool:
    """Return whether a file bears the mark of our results: JSON by its schema, PNG by a text, DICOM by its maker."""
    try:
        if not file.is_file():  # opening a pipe would wait for ever
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
    """A folder of detections, before, during and after a call.

    Parameters
    ----------
    folder
        It need not exist; it is made and marked by ``open``.
    command
        The command whose mark the folder bears.
    settings
        Everything that decides what is found, as JSON can hold it.
    inputs
        Files and folders that are read; see ``check_output_folder``.
    shard
        The part of the images that the call works on, while other calls may work on the others.

    Raises
    ------
    InputError
        The folder is a user's or another command's, or its index cannot be read.
    OutputError
        A user's file is in the place of the index.
    """

    def __init__(
        self,
        folder: Path,
        command: str,
        *,
        settings: Mapping[str, Any],
        inputs: Iterable[Path] = (),
        shard: Shard | None = None,
    ) -> None:
        check_output_folder(folder, command, inputs=inputs)
        check_index(folder)
        index = read_index(folder)
        self.folder = folder
        self._command = command
        self._settings = settings
        self._shard = shard
        self._was_there = folder.exists()
        self._entries = {} if index is None else index.by_stem()
        found = settings if index is None or not index.entries else index.settings
        self._different = sorted(key for key in {*found, *settings} if found.get(key) != settings.get(key))
        self._ours: set[str] = set()  # stems of this call: the entries of another call are not written over

    @property
    def taken(self) -> dict[str, Identity]:
        """Return stem → identity of the images that were tried in this folder."""
        return {stem: Identity(entry.uid, entry.place) for stem, entry in self._entries.items()}

    def others(self, stems: Collection[str]) -> int:
        """Return the number of results and failure reports of earlier calls on images other than these."""
        return sum(self._has_results(entry) for stem, entry in self._entries.items() if stem not in stems)

    def check_settings(self, stems: Collection[str]) -> None:
        """Refuse to leave results of different settings in one folder.

        Where all images that the folder holds results of are tried again, their results are replaced; but not those
        beside which other shards may work.

        Raises
        ------
        InputError
            Results of another model, option or version of the code would stay beside those of this call.
        """
        others = self.others(stems)
        if self._different and (others or self._shard is not None):
            found = f"{quantity(others, 'image')} not in this call" if others else "the images of this shard"
            raise InputError(
                f"{self.folder.resolve().name}: holds results of another {', '.join(self._different)} for "
                f"{found}, expected a new folder, or the same model and options"
            )

    def is_finished(self, stem: str, stamp: str, made_from: Callable[[], str], *, overlay: bool) -> bool:
        """Return whether the folder holds the result that this call would make of an image.

        Parameters
        ----------
        stamp
            Stamp of the image now; see ``storage.index``.
        made_from
            Returns the key of what a result would be made from; called where the stamp does not tell.
        """
        entry = self._entries.get(stem)
        if self._different or entry is None or entry.failed:
            return False
        suffixes = (".json", ".png") if overlay else (".json",)
        if not all(is_result(self.folder / f"{stem}{suffix}") for suffix in suffixes):
            return False
        return (stamp != "" and entry.stamp == stamp) or entry.made_from == (made_from() or None)

    def known(self, stem: str) -> str:
        """Return the key of what an image's result was made from; empty where it is not known."""
        entry = self._entries.get(stem)
        return "" if entry is None or self._different else entry.made_from

    def begin(self, entries: Iterable[IndexEntry], *, finished: Collection[str], with_reports: bool) -> None:
        """Remove what earlier calls made of the images that are tried now, and the reports on them.

        Parameters
        ----------
        entries
            All images of the call.
        finished
            Stems of the images that are not tried again, because ``is_finished``: their results stay.
        with_reports
            Whether reports on all images of the call will be written; earlier ones are removed then.

        Raises
        ------
        OutputError
            The system refused.
        """
        entries = list(entries)
        tried = [entry for entry in entries if entry.stem not in finished]
        stale = {f"{entry.stem}{suffix}" for entry in tried for suffix in _SUFFIXES}
        renewed = entries if with_reports else tried
        stale |= {f"{entry.stem}{suffix}" for entry in renewed for suffix in _REPORT_SUFFIXES}
        stale |= {name for e in renewed if e.stem in self._entries for name in self._entries[e.stem].reports}
        for entry in list(self._entries.values()):
            if stale.intersection(entry.reports):
                self._record(replace(entry, reports=tuple(name for name in entry.reports if name not in stale)))
        for entry in tried:
            self._record(entry)
        for name in sorted(stale):
            file = self.folder / Path(name).name
            if file.is_file() and is_result(file):
                with saying_where(file):
                    file.unlink()
        self.write_index(forget_others=bool(self._different))

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
        """Make and mark the folder and write the index, if that has not been done.

        Raises
        ------
        OutputError
            The system refused, or a user's file is in the place of the index.
        """
        open_output_folder(self.folder, self._command)
        if self._shard is not None or read_index(self.folder) is None:
            self.write_index()

    def close(self) -> None:
        """Write the index; remove a folder that this call made and that holds no result."""
        self.write_index()
        names = {file.name for file in self.folder.iterdir()} if self.folder.is_dir() else set()
        if (
            self._shard is None
            and not self._was_there
            and names
            and names <= {MARK, INDEX}
            and owner_of(self.folder) is not None
        ):
            for name in names:
                (self.folder / name).unlink()
            self.folder.rmdir()

    def made(self, stem: str, made_from: str) -> None:
        """Record what an image's result was made from."""
        self._record(replace(self._entries[stem], made_from=made_from))

    def failed(self, stem: str, why: str) -> None:
        """Record that an image has no result, and why."""
        self._record(replace(self._entries[stem], failed=why))

    def reported(self, name: str, stems: Iterable[str]) -> None:
        """Record which images a report is about."""
        for stem in stems:
            entry = self._entries[stem]
            self._record(replace(entry, reports=(*entry.reports, name)))

    def write_index(self, *, forget_others: bool = False) -> None:
        """Write what has been recorded, if the folder bears the mark.

        Raises
        ------
        OutputError
            The system refused, or a user's file is in the place of the index.
        """
        if owner_of(self.folder) is not None:
            entries = [self._entries[stem] for stem in sorted(self._ours)]
            shard = None if self._shard is None else (self._shard.number, self._shard.count)
            update_index(self.folder, self._settings, entries, forget_others=forget_others, shard=shard)

    def _has_results(self, entry: IndexEntry) -> bool:
        names = [f"{entry.stem}.json"] * (not entry.failed) + list(entry.reports)
        return any((self.folder / name).is_file() for name in names)

    def _record(self, entry: IndexEntry) -> None:
        self._entries[entry.stem] = entry
        self._ours.add(entry.stem)


def remove_results(folder: Path) -> None:
    """Remove our results from a folder; other files stay.

    Raises
    ------
    OutputError
        The system refused.
    """
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if file.is_file() and not file.is_symlink() and file.name != MARK and is_result(file):
            with saying_where(file):
                file.unlink()
