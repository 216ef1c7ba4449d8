"""Find images that are in a data set twice, and keep whoever shares an image on one side of a split.

Public data sets hold the same image under two names, even of two patients, and the same patient in two parts of the
set. Where one copy is in train and the other in test, a test measures memorisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.errors import InputError
from microcalc.images.content import pixels_sha256
from microcalc.wording import quantity

_NAMED: Final = 5
_PREFERRED: Final[tuple[Split, ...]] = ("test", "validation", "train", "")
"""Of several splits, the first of these is taken: what is tested on must not have been trained on."""


def without_duplicates(
    table: Table, *, content_of: Callable[[Path], str] = pixels_sha256
) -> tuple[Table, tuple[str, ...]]:
    """Return the table with each image once, and with patients who share an image as one.

    Of images with the same pixels the first is kept, with the annotations and tags of all. All images of patients who
    share one bear the name of the first of these patients, and are in one split, as are the images of one patient: in
    test if any of them is, else in validation, else in train.

    Parameters
    ----------
    content_of
        Function that returns a hash of the pixels of a file. Files that it refuses are nobody's copy.

    Returns
    -------
    table
        Table that ``refuse_repeated`` and ``refuse_split_patients`` accept.
    notes
        Sentences for the user on what was joined; none where nothing was.
    """
    first_of, copies = _first_copies(table.images, content_of)
    patient_of = _joined_patients(table.images, first_of)
    kept = [_merged(image, copies.get(image.image, ())) for image in table.images if first_of[image.image] is image]
    images = _in_one_split([replace(i, patient=patient_of.get(i.patient, i.patient)) for i in kept])
    return Table(tuple(images), _moved(table.annotations, first_of)), _notes(copies, patient_of, kept, images)


def _first_copies(
    images: Sequence[ImageRow], content_of: Callable[[Path], str]
) -> tuple[dict[str, ImageRow], dict[str, list[ImageRow]]]:
    """Return by name the first image with the same pixels, and by the name of a first image its further copies."""
    first_of: dict[str, ImageRow] = {}
    copies: dict[str, list[ImageRow]] = {}
    by_content: dict[str, ImageRow] = {}
    for image in images:
        try:
            first = by_content.setdefault(content_of(image.file), image)
        except InputError:
            first = image
        first_of[image.image] = first
        if first is not image:
            copies.setdefault(first.image, []).append(image)
    return first_of, copies


def _joined_patients(images: Iterable[ImageRow], first_of: dict[str, ImageRow]) -> dict[str, str]:
    """Return patient → the first of the patients with whom they share images, directly or through others."""
    parent: dict[str, str] = {}

    def root(patient: str) -> str:
        while parent.setdefault(patient, patient) != patient:
            patient = parent[patient]
        return patient

    order: dict[str, int] = {}
    patient_of: dict[str, str] = {}  # by the name of the first copy
    for image in images:
        if image.patient:
            order.setdefault(image.patient, len(order))
            other = patient_of.setdefault(first_of[image.image].image, image.patient)
            first, later = sorted((root(image.patient), root(other)), key=order.__getitem__)
            parent[later] = first
    return {patient: root(patient) for patient in order}


def _merged(image: ImageRow, copies: Sequence[ImageRow]) -> ImageRow:
    tags = dict.fromkeys(tag for i in (image, *copies) for tag in i.tags.split())
    split = min((i.split for i in (image, *copies)), key=_PREFERRED.index)
    patient = next((i.patient for i in (image, *copies) if i.patient), "")
    return replace(image, tags=" ".join(tags), split=split, patient=patient) if copies else image


def _in_one_split(images: Sequence[ImageRow]) -> list[ImageRow]:
    split_of: dict[str, Split] = {}
    for image in images:
        name = image.patient_or_image
        split_of[name] = min(split_of.get(name, image.split), image.split, key=_PREFERRED.index)
    return [replace(image, split=split_of[image.patient_or_image]) for image in images]


def _moved(annotations: Iterable[AnnotationRow], first_of: dict[str, ImageRow]) -> tuple[AnnotationRow, ...]:
    """Return the annotations on the images that are kept, each place of a judge once."""
    rows: dict[tuple[str, float, float, str], AnnotationRow] = {}
    for row in annotations:
        image = first_of[row.image].image
        rows.setdefault((image, round(row.row, 3), round(row.column, 3), row.judge), replace(row, image=image))
    return tuple(rows.values())


def _notes(
    copies: dict[str, list[ImageRow]], patient_of: dict[str, str], kept: Sequence[ImageRow], images: Sequence[ImageRow]
) -> tuple[str, ...]:
    named = [f"{copy.image} (of {first})" for first, its in copies.items() for copy in its]
    joined = sum(patient != first for patient, first in patient_of.items())
    moved = sum(before.split != after.split for before, after in zip(kept, images, strict=True))
    notes = []
    if named:
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        notes.append(f"{quantity(len(named), 'image')} left out as copies: {', '.join(named[:_NAMED])}{more}")
    if joined:
        notes.append(f"{quantity(joined, 'patient')} joined with another who has the same image")
    if moved:
        notes.append(f"{quantity(moved, 'image')} moved to the split of another image of the patient")
    return tuple(notes)
