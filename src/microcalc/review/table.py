"""The table that a review ends in: its images, and the annotations that the verdicts are.

It lies in the folder of the review: ``train``, ``evaluate``, ``insert``, ``study`` and ``view`` take this folder.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from microcalc.datasets.reviewed import Reviewed
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import ANNOTATIONS, IMAGES, read_table, write_table
from microcalc.storage.ownership import check_editable

_PREFIX: Final = "review-"
_NAMES: Final = uuid.UUID("6f0f5a6e-4d0c-4c43-9c0c-5a0f3a7d9b11")


def write_review_table(
    images: Mapping[str, ImageRow], given: Sequence[AnnotationRow], reviewed: Iterable[Reviewed], out: Path
) -> None:
    """Write ``images.csv`` and ``annotations.csv`` into the folder of a review.

    Parameters
    ----------
    images
        The images by the SHA-256 of their files.
    given
        Annotations that were there before the review.
    reviewed
        All verdicts; those on other images are left out.

    Raises
    ------
    OutputError
        A person has edited the table, or the system refused to write.
    """
    rows = [row for row in given if not row.id.startswith(_PREFIX)]
    taken = {(row.image, row.row, row.column, row.judge) for row in rows}
    rows += [
        row
        for verdict in reviewed
        if verdict.sha256 in images and (row := _annotation(verdict, images[verdict.sha256])) and _key(row) not in taken
    ]
    write_table(Table(tuple(replace(image, sha256=sha256) for sha256, image in images.items()), tuple(rows)), out)


def check_review_table(out: Path) -> None:
    """Refuse, before any work, a review whose table a person has edited.

    Raises
    ------
    OutputError
        The table is not as it was written.
    """
    for name in (IMAGES, ANNOTATIONS):
        check_editable(out / name)


def update_review_table(reviewed: Iterable[Reviewed], out: Path) -> bool:
    """Write the verdicts into the table of a review; return whether it has one (those of earlier versions have none).

    Raises
    ------
    TableError
        The table breaks its format.
    OutputError
        A person has edited the table, or the system refused to write.
    """
    if not (out / IMAGES).is_file():
        return False
    table = read_table(out)
    write_review_table({image.sha256: image for image in table.images}, table.annotations, reviewed, out)
    return True


def _annotation(verdict: Reviewed, image: ImageRow) -> AnnotationRow:
    name = f"{verdict.sha256} {verdict.row:.3f} {verdict.column:.3f}"
    return AnnotationRow(
        image.image, verdict.row, verdict.column, kind=verdict.verdict, judge=verdict.judge,
        id=f"{_PREFIX}{uuid.uuid5(_NAMES, name)}",
    )  # fmt: skip


def _key(row: AnnotationRow) -> tuple[str, float, float, str]:
    return row.image, row.row, row.column, row.judge
