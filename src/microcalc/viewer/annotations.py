"""A folder in which readers annotate: a table, and beside it the journal from which it is folded.

::

    .microcalc.json      the mark of microcalc view
    images.csv           the images; those that a reader has finished bear the tag ``annotated``
    annotations.csv      the annotations as they are now
    journal.jsonl        every change, who made it and when
    written/             the table as it was written last, to tell what has been changed by hand
    given/               the table as it was at first, each annotation with an id

The folder is a table that every command takes. Where a reader has settled the differences of others on an image, the
settled annotations alone are in the table; else those of all readers, each with its judge.
"""

from __future__ import annotations

import math
import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from microcalc.datasets.table import MARGIN_PX, AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import ANNOTATIONS, IMAGES, read_table, write_table
from microcalc.domain import REGION, Kind
from microcalc.errors import InputError, MicrocalcError
from microcalc.geometry import outside
from microcalc.images.open import is_picture
from microcalc.storage.lock import locked
from microcalc.storage.ownership import adopt_edited, check_output_folder, open_output_folder
from microcalc.viewer.by_hand import edited_files, edited_images, keep_written, take_over_annotations
from microcalc.viewer.journal import Journal

COMMAND: Final = "view"
JOURNAL: Final = "journal.jsonl"
TAG: Final = "annotated"
_GIVEN: Final = "given"
_LARGEST_MM: Final = 30.0
_MOST_CORNERS: Final = 500
_MOST_CHANGES: Final = 1000
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WORDS: Final = re.compile(r"[\w.()'-]([\w .()'-]{0,58}[\w.()'-])?")
_NOT_WORDS: Final = {"na", "n/a", "nan", "null", "none"}


def check_words(text: str, what: str) -> str:
    """Return a name of a reader or cluster; refuse one that a table could not hold.

    Raises
    ------
    InputError
        It is empty, too long, or has characters other than letters, digits, blanks and ``.()'-``.
    """
    if not _WORDS.fullmatch(text) or text.casefold() in _NOT_WORDS:
        raise InputError(f"{what} {text[:60]!r}, expected a name of letters, digits and blanks")
    return text


def check_annotation_folder(folder: Path, inputs: Iterable[Path]) -> None:
    """Refuse, before any work, a folder that annotations cannot be written to.

    Raises
    ------
    InputError
        As in ``check_output_folder``.
    """
    check_output_folder(folder, COMMAND, inputs=inputs)


class AnnotationFolder:
    """The open folder of one reader; other processes may have it open at the same time.

    Parameters
    ----------
    folder
        New, empty, or made by ``microcalc view``.
    table
        The images to annotate, and the annotations that are there at first.
    judge
        Name of the reader.

    Raises
    ------
    InputError
        The folder holds another image of one name, a damaged journal, or a table that was changed by hand into one
        that cannot be taken over; see ``by_hand``.
    OutputError
        The system refused to write.
    """

    def __init__(self, folder: Path, table: Table, judge: str) -> None:
        self.folder, self.judge = folder, check_words(judge, "--judge")
        open_output_folder(folder, COMMAND)
        self._lock = threading.RLock()
        with locked(folder / ".given.lock"):
            self.given = _merged(folder / _GIVEN, table)
        self.journal = Journal(folder / JOURNAL, self.given.annotations)
        self.taken_over = self._take_over()
        self._images = {row.image: row for row in self.given.images}
        self._folded = -1
        self.fold()

    def state(self, image: str) -> dict[str, Any]:
        """Return the annotations of an image that the reader may see: their own, and those given at first."""
        with self._lock:
            self.journal.refresh()
            return {
                "rows": [row for row in self._rows(image) if self._is_visible(row)],
                "mark": self.journal.marks.get((image, self.judge), ""),
                "version": len(self.journal.events),
            }

    def version(self) -> int:
        """Return the number of changes so far."""
        with self._lock:
            self.journal.refresh()
            return len(self.journal.events)

    def marked(self) -> Mapping[str, str]:
        """Return image → state for this reader, of images that are done or settled."""
        with self._lock:
            return {
                image: state for (image, judge), state in self.journal.marks.items() if judge == self.judge and state
            }

    def change(
        self, image: str, put: Iterable[Mapping[str, Any]], remove: Iterable[str], note: Mapping[str, Any]
    ) -> int:
        """Put and remove annotations in one change; return its number once it is on the disk.

        Raises
        ------
        InputError
            An annotation is not valid; nothing was changed.
        OutputError
            The system refused to write; nothing was changed.
        """
        row = self._images.get(image)
        if row is None:
            raise InputError("an image that is not in the table")
        rows = [_checked(entries, row) for entries in put]
        gone = [str(name) for name in remove]
        if not 0 < len(rows) + len(gone) <= _MOST_CHANGES:
            raise InputError(f"{len(rows) + len(gone)} changes, expected 1 to {_MOST_CHANGES}")
        with self._lock:
            return self.journal.annotate(self.judge, image, rows, gone, note).number

    def mark(self, image: str, action: str) -> int:
        """Mark an image as ``done``, ``not_done`` or settled (``settle``); return the number of the change."""
        if image not in self._images or action not in ("done", "not_done", "settle"):
            raise InputError("an image or a state that is not known")
        with self._lock:
            return self.journal.mark(self.judge, image, action).number  # type: ignore[arg-type]  # checked above

    def undo(self, *, redo: bool = False) -> tuple[int, str]:
        """Undo the reader's last change, or do it again; return the number of the change, and the image."""
        with self._lock:
            event = self.journal.undo(self.judge, redo=redo)
            return event.number, event.image

    def fold(self) -> str:
        """Write the table as it is now; return why it was not written, empty if it was.

        A table that was edited by hand since the viewer was started is kept, and the journal keeps every change
        meanwhile; the next start takes over what was edited.
        """
        with self._lock:
            self.journal.refresh()
            if self._folded == len(self.journal.events):
                return ""
            try:
                with locked(self.folder / ".fold.lock"):
                    for file in edited_files(self.folder):
                        return (
                            f"{file.name} was changed by hand, and is kept; start microcalc view again to take it over"
                        )
                    write_table(self.folded(), self.folder)
                    keep_written(self.folder)
            except MicrocalcError as error:
                return str(error)
            self._folded = len(self.journal.events)
            return ""

    def _take_over(self) -> str:
        """Take over what was changed by hand in the table; return in words what, empty if nothing was."""
        with locked(self.folder / ".fold.lock"):
            files = edited_files(self.folder)
            words = []
            if self.folder / IMAGES in files:
                images = edited_images(self.folder, self.given.images, tag=TAG)
                write_table(Table(images, self.given.annotations), self.folder / _GIVEN)
                self.given = read_table(self.folder / _GIVEN)
                words.append(f"{IMAGES}, as it is")
            if self.folder / ANNOTATIONS in files:
                words.append(f"{ANNOTATIONS}, {take_over_annotations(self.folder, self.journal, self.judge)}")
            for file in files:
                adopt_edited(file)
        return "; ".join(words)

    def folded(self) -> Table:
        """Return the table as it is now."""
        settled = {image: judge for (image, judge), state in self.journal.marks.items() if state == "settled"}
        finished = {image for (image, _), state in self.journal.marks.items() if state}
        images = tuple(_tagged(row) if row.image in finished else row for row in self.given.images)
        order = {row.image: n for n, row in enumerate(images)}
        rows = [r for r in self.journal.rows.values() if r.image not in settled or r.judge == settled[r.image]]
        return Table(images, tuple(sorted(rows, key=lambda r: (order[r.image], r.row, r.column, r.judge, r.id))))

    def contents(self) -> dict[str, Any]:
        """Return what the table holds: numbers of images, finished images, pictures, and annotations of each kind.

        ``hidden`` are annotations of other readers, which this one does not see; ``superseded`` those that are left
        out because a reader has settled their image.
        """
        with self._lock:
            self.journal.refresh()
            table = self.folded()
            return {
                "images": len(table.images),
                "done": sum(TAG in row.tags.split() for row in table.images),
                "pictures": sum(row.file.is_file() and is_picture(row.file) for row in table.images),
                "kinds": dict(Counter(row.kind for row in table.annotations).most_common()),
                "hidden": sum(not self._is_visible(row) for row in table.annotations),
                "superseded": len(self.journal.rows) - len(table.annotations),
            }

    def readers(self) -> tuple[str, ...]:
        """Return the readers who have changed anything."""
        with self._lock:
            self.journal.refresh()
            return tuple(sorted(self.journal.readers))

    def rows_by(self, judge: str) -> tuple[AnnotationRow, ...]:
        """Return the annotations of one reader."""
        with self._lock:
            return tuple(row for row in self.journal.rows.values() if row.judge == judge)

    def done_by(self, judge: str) -> frozenset[str]:
        """Return the images that a reader has finished; those whose differences a reader settled are not among them."""
        with self._lock:
            return frozenset(
                image for (image, by), state in self.journal.marks.items() if by == judge and state == "done"
            )

    def _rows(self, image: str) -> list[AnnotationRow]:
        return [row for row in self.journal.rows.values() if row.image == image]

    def _is_visible(self, row: AnnotationRow) -> bool:
        return row.judge == self.judge or row.judge not in self.journal.readers


def _number(entries: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = entries.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{name} is no number")
    return float(value)


def _kind(text: object) -> Kind:
    for kind in get_args(Kind):
        if kind == text:
            return kind  # type: ignore[no-any-return]
    raise InputError(f"kind {str(text)[:40]!r}, expected one of {', '.join(get_args(Kind))}")


def _checked(entries: Mapping[str, Any], image: ImageRow) -> AnnotationRow:
    """Return an annotation that the page sent, as the table will hold it.

    Raises
    ------
    InputError
        A value is not one that a table may hold, or the place is outside the image.
    """
    name, kind = str(entries.get("id") or uuid.uuid4()), _kind(entries.get("kind"))
    cluster, corners = str(entries.get("cluster") or ""), entries.get("outline") or ()
    if not _ID.fullmatch(name):
        raise InputError("an id of other characters than letters, digits and .-_")
    if cluster:
        check_words(cluster, "cluster")
    diameter = float(f"{_number(entries, 'diameter_mm', 0.0):.4g}")
    if not 0 <= diameter <= _LARGEST_MM:
        raise InputError(f"diameter {diameter:g} mm, expected at most {_LARGEST_MM:g} mm")
    if not isinstance(corners, list | tuple) or len(corners) > _MOST_CORNERS:
        raise InputError(f"an outline of more than {_MOST_CORNERS} corners, or of something else")
    try:
        outline = tuple((round(float(r), 2), round(float(c), 2)) for r, c in corners)
    except (TypeError, ValueError):
        raise InputError("an outline of other than rows and columns") from None
    place = (round(_number(entries, "row"), 3), round(_number(entries, "column"), 3))
    places = np.array([place, *outline])
    if not np.isfinite(places).all() or (image.shape and outside(places, image.shape, margin_px=MARGIN_PX).any()):
        raise InputError("a place outside the image")
    if kind == REGION and len(outline) < 3:
        raise InputError(f"{REGION} without an outline, expected one")
    return AnnotationRow(image.image, *place, diameter, kind, cluster, outline, id=name)


def _merged(folder: Path, table: Table) -> Table:
    """Return the table as it was at first with the images that are new; write it if it is new or has grown."""
    known = read_table(folder) if folder.is_dir() else Table(())
    images = {row.image: row for row in known.images}
    for row in table.images:
        first = images.get(row.image)
        for one, other in (
            () if first is None else ((first.sop_instance_uid, row.sop_instance_uid), (first.sha256, row.sha256))
        ):
            if one and other and one != other:
                raise InputError(f"image {row.image!r} is another one than at first, expected the same or a new folder")
    new = table.of_images(row for row in table.images if row.image not in images)
    if not new.images:
        return known
    rows = (row if row.id else replace(row, id=str(uuid.uuid4())) for row in new.annotations)
    merged = Table((*known.images, *new.images), (*known.annotations, *rows))
    write_table(merged, folder)
    return read_table(folder)


def _tagged(row: ImageRow) -> ImageRow:
    return row if TAG in row.tags.split() else replace(row, tags=f"{row.tags} {TAG}".strip())
