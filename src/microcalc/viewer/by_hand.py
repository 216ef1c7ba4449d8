"""Take over what a person has changed in the table of an annotation folder, with a text editor or a spreadsheet.

The table is written from the journal, so a change in ``annotations.csv`` would be overwritten. When the viewer is
started, the file is compared with what was written last: annotations that were added, changed or removed by hand
become changes of the journal, by the judge that the line names, or else by the reader who starts the viewer. In
``images.csv`` everything may be changed but which image it is. A table that cannot be read is refused, and stays.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.datasets.table_files import ANNOTATIONS, IMAGES, read_table
from microcalc.errors import InputError
from microcalc.storage.ownership import is_edited
from microcalc.storage.write import saying_where, write_whole
from microcalc.viewer.journal import Journal
from microcalc.wording import quantity

_NOTE: Final = {"by": "hand, in annotations.csv"}
_WRITTEN: Final = "written"
_IDENTITY: Final[Mapping[str, Callable[[ImageRow], object]]] = {
    "file": lambda row: row.file.resolve(),
    "sha256": lambda row: row.sha256,
    "sop_instance_uid": lambda row: row.sop_instance_uid,
    "size": lambda row: row.shape,
}


def edited_files(folder: Path) -> list[Path]:
    """Return the files of the table that were changed since they were written."""
    return [folder / name for name in (ANNOTATIONS, IMAGES) if is_edited(folder / name)]


def keep_written(folder: Path) -> None:
    """Keep a copy of the table as it was written, to tell later what has been changed by hand.

    Raises
    ------
    OutputError
        The system refused to write.
    """
    kept = folder / _WRITTEN
    with saying_where(kept):
        kept.mkdir(exist_ok=True)
    for name in (ANNOTATIONS, IMAGES):
        write_whole(kept / name, (folder / name).read_bytes())


def take_over_annotations(folder: Path, journal: Journal, judge: str) -> str:
    """Add to the journal what was changed by hand in ``annotations.csv``; return in words how much.

    Raises
    ------
    InputError
        The table cannot be read, the judge or the image of a reader's annotation was changed, or a reader has two
        annotations at one place. The file stays; what was taken over before the fault is found again by the next start.
    OutputError
        The system refused to write.
    """
    edited = read_table(folder).annotations
    digest = hashlib.sha256((folder / ANNOTATIONS).read_bytes()).hexdigest()
    before = {row.id: row for row in _written_rows(folder, journal)}
    changes: dict[tuple[str, str], tuple[list[AnnotationRow], list[str]]] = defaultdict(lambda: ([], []))
    named = [row if row.id else replace(row, id=_id_of(row, digest)) for row in edited]
    put = [row for row in named if row != before.get(row.id) and not _is_there(row, journal)]
    for row in put:
        changes[_owner(row, before.get(row.id), journal) or judge, row.image][0].append(row)
    there = {row.id for row in named}
    gone = [row for name, row in before.items() if name not in there and name in journal.rows]
    for row in gone:
        changes[_owner(row, row, journal) or judge, row.image][1].append(row.id)
    for (by, image), (rows, names) in changes.items():
        try:
            journal.annotate(by, image, rows, names, _NOTE, whole=True)
        except InputError as error:
            raise InputError(f"{ANNOTATIONS}: image {image!r}: {error}") from error
    return f"{quantity(len(put), 'annotation')} added or changed, {len(gone)} removed"


def edited_images(folder: Path, given: Sequence[ImageRow], *, tag: str) -> tuple[ImageRow, ...]:
    """Return the images with what was changed by hand in ``images.csv``.

    Parameters
    ----------
    tag
        The tag that the viewer itself writes; it is left out.

    Raises
    ------
    InputError
        The table cannot be read, or a line was removed, added, or is of another file.
    """
    edited = {row.image: row for row in read_table(folder).images}
    if edited.keys() != {row.image for row in given}:
        name = sorted(edited.keys() ^ {row.image for row in given})[0]
        raise InputError(f"{IMAGES}: image {name!r} was added or removed by hand, expected the images of the folder")
    for row in given:
        for what, value_of in _IDENTITY.items():
            if value_of(edited[row.image]) != value_of(row):
                raise InputError(f"{IMAGES}: {what} of image {row.image!r} was changed by hand, expected it as it was")
    return tuple(
        replace(edited[row.image], tags=" ".join(word for word in edited[row.image].tags.split() if word != tag))
        for row in given
    )


def _written_rows(folder: Path, journal: Journal) -> tuple[AnnotationRow, ...]:
    """Return the annotations that were written last; those of the journal where no copy was kept."""
    kept = folder / _WRITTEN
    return tuple(read_table(kept).annotations) if (kept / IMAGES).is_file() else tuple(journal.rows.values())


def _id_of(row: AnnotationRow, digest: str) -> str:
    """Return an id that is the same if a start that was killed is repeated."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{digest} {row.image} {row.row} {row.column} {row.judge}"))


def _is_there(row: AnnotationRow, journal: Journal) -> bool:
    """Return whether the journal has a line already, by an earlier start that was killed; it sets the time itself."""
    known = journal.rows.get(row.id)
    return known is not None and replace(known, when=row.when) == row


def _owner(row: AnnotationRow, before: AnnotationRow | None, journal: Journal) -> str:
    """Return by whom a line is changed; empty: by the reader who starts the viewer."""
    if before is None or before.judge not in journal.readers:
        return row.judge if before is None or row.judge != before.judge else ""
    if row.judge != before.judge:
        raise InputError(
            f"{ANNOTATIONS}: judge of annotation {row.id[:40]} was changed by hand, expected {before.judge!r}"
        )
    return row.judge
