"""Folds of images by which figures are stated, such as those of a publication; nothing is trained by them.

The fold of an image stands among its tags. Folds by image, which several publications use, have most patients in
several folds: a detector that was trained on the others has then seen the patient, and its figures are too high.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from microcalc.datasets.lines import read_lines
from microcalc.datasets.table import ImageRow, Table
from microcalc.errors import TableError
from microcalc.wording import quantity

_TAG: Final = "fold-"


def with_folds(table: Table, file: Path) -> Table:
    """Return the table with the fold of each image, as a CSV file with the columns ``image`` and ``fold`` states it.

    Raises
    ------
    TableError
        The file is no such table, lists an image twice, or lacks an image or its fold.
    """
    folds: dict[str, str] = {}
    for number, line in read_lines(file, required=("image", "fold")):
        image, fold = line["image"], line["fold"]
        if image in folds:
            raise TableError(f"{file.name} line {number}: image {image!r} is listed twice, expected one fold")
        if len(fold.split()) != 1:
            raise TableError(f"{file.name} line {number}: fold is {fold!r}, expected a number or a word")
        folds[image] = fold.strip()
    lacking = [i.image for i in table.images if i.image not in folds]
    if lacking:
        raise TableError(f"{file.name}: no fold of image {lacking[0]!r}, expected one of every image that is evaluated")
    images = (replace(i, tags=f"{_TAG}{folds[i.image]} {i.tags}".strip()) for i in table.images)
    return Table(tuple(images), table.annotations)


def fold_of(image: ImageRow) -> str:
    """Return the fold of an image, empty where it has none."""
    return next((tag.removeprefix(_TAG) for tag in image.tags.split() if tag.startswith(_TAG)), "")


def fold_remarks(images: Iterable[ImageRow]) -> tuple[str, ...]:
    """Return a warning where patients are in several folds; none where each is in one."""
    folds: dict[str, set[str]] = {}
    for image in images:
        folds.setdefault(image.patient_or_image, set()).add(fold_of(image))
    shared = sum(len(of_patient) > 1 for of_patient in folds.values())
    if not shared:
        return ()
    return (
        f"{shared} of {quantity(len(folds), 'patient')} have images in several folds: the figures of a detector that "
        "was trained on the other folds are too high, since it has seen these patients",
    )
