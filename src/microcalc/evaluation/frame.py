"""Whether the places of marks and of annotations are written down alike.

Rows and columns that a program exchanged, counted from another side, or took from a copy of another size still
lie inside the image; every figure then comes out as if the detector had missed everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.evaluation.marks import Marks

_Places = NDArray[np.float64]
_Reading = Callable[[_Places, ImageRow], _Places | None]

_MARKS_PER_PLACE: Final = 3
_MARKS_AT_LEAST: Final = 20
"""Marks of an image that are looked at, the highest: among a thousand, every place has one by chance."""

_PLACES_AT_LEAST: Final = 2
_HITS_ENOUGH: Final = 3
_TIMES_AS_MANY: Final = 10
_SHARE: Final = 0.25


def _exchanged(places: _Places, _image: ImageRow) -> _Places:
    return places[:, ::-1]


def _from_the_right(places: _Places, image: ImageRow) -> _Places | None:
    return None if image.columns is None else places * (1, -1) + (0, image.columns - 1)


def _from_the_bottom(places: _Places, image: ImageRow) -> _Places | None:
    return None if image.rows is None else places * (-1, 1) + (image.rows - 1, 0)


def _on_half_the_size(places: _Places, _image: ImageRow) -> _Places:
    return places * 2 + 0.5


def _on_twice_the_size(places: _Places, _image: ImageRow) -> _Places:
    return (places - 0.5) / 2


def _in_mm(places: _Places, image: ImageRow) -> _Places:
    return np.asarray(places / np.array(image.spacing_mm), dtype=np.float64)


_READINGS: Final[Mapping[str, _Reading]] = {
    "row and column exchanged": _exchanged,
    "columns counted from the right": _from_the_right,
    "rows counted from the bottom": _from_the_bottom,
    "places on a copy of half the size": _on_half_the_size,
    "places on a copy of twice the size": _on_twice_the_size,
    "places in mm": _in_mm,
}
"""In words → the places (n, 2) as they would have been meant; None where the image's size is not known."""


def frame_remarks(found: Mapping[str, Marks], table: Table, *, hit_mm: float) -> tuple[str, ...]:
    """Return in words how marks and annotations would fit, where as they stand they do not.

    Of all annotated microcalcifications in images with marks at most a tenth as many have one of the highest
    marks within ``hit_mm`` as with another reading of the marks' rows and columns, and with that at least a
    quarter of them do, and three, or all. Without such a reading there is nothing to say: a detector may miss
    everything.

    Parameters
    ----------
    found
        Image names of the table to marks.
    hit_mm
        Largest distance of a hit.
    """
    pairs = [
        (image, _highest(found[image.image], len(places)), places)
        for image in table.images
        if image.image in found and len(places := _annotated(table.rows_of(image)))
    ]
    total = sum(len(places) for _, _, places in pairs)
    if total < _PLACES_AT_LEAST:
        return ()
    given = sum(_hits(marks, places, image, hit_mm) for image, marks, places in pairs)
    for words, reading in _READINGS.items():
        read = 0
        for image, marks, places in pairs:
            moved = reading(marks, image)
            read += 0 if moved is None else _hits(moved, places, image, hit_mm)
        if read >= max(min(total, _HITS_ENOUGH), _SHARE * total, _TIMES_AS_MANY * given):
            return (
                f"marks and annotations do not fit: {given} of {total} annotated microcalcifications have a mark, "
                f"{read} with {words}; expected rows and columns of the same image in both",
            )
    return ()


def _annotated(rows: Sequence[AnnotationRow]) -> _Places:
    calcium = [(row.row, row.column) for row in rows if row.kind == "microcalcification"]
    return np.array(calcium, dtype=np.float64).reshape(-1, 2)


def _highest(marks: Marks, places: int) -> _Places:
    """(n, 2) the highest marks of an image with so many annotated places."""
    order = np.argsort(-marks.likelihood, kind="stable")
    return marks.centres_px[order[: max(_MARKS_AT_LEAST, _MARKS_PER_PLACE * places)]]


def _hits(marks: _Places, places: _Places, image: ImageRow, hit_mm: float) -> int:
    """How many places have a mark; each counts once."""
    if not len(marks):
        return 0
    distance, _ = cKDTree(marks * image.spacing_mm).query(places * image.spacing_mm)
    return int(np.count_nonzero(distance <= hit_mm))
