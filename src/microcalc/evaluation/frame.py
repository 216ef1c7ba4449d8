"""Checks that marks and annotations use the same coordinate frame.

Rows and columns that were exchanged, counted from another side, or taken from a copy of another size may still lie
inside the image; every metric is then the same as if the detector had missed everything.
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
_Conversion = Callable[[_Places, ImageRow], _Places | None]

_MARKS_PER_PLACE: Final = 3
_MARKS_AT_LEAST: Final = 20
"""Only the highest marks of an image are used: of a thousand marks, some hit every place by chance."""

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


_FRAMES: Final[Mapping[str, _Conversion]] = {
    "row and column exchanged": _exchanged,
    "columns counted from the right": _from_the_right,
    "rows counted from the bottom": _from_the_bottom,
    "places on a copy of half the size": _on_half_the_size,
    "places on a copy of twice the size": _on_twice_the_size,
    "places in mm": _in_mm,
}
"""By description, the conversion of places (n, 2) to the table's frame; None where the size of the image is unknown."""


def frame_warnings(marks: Mapping[str, Marks], table: Table, *, hit_mm: float) -> tuple[str, ...]:
    """Return a warning if the marks fit the annotations in another coordinate frame, but not in the given one.

    A frame fits if at least a quarter of the annotated microcalcifications, and at least three or all of them, have
    one of the highest marks within ``hit_mm``, and at least ten times as many as in the given frame. If no frame fits,
    there is no warning: a detector may miss everything.

    Parameters
    ----------
    marks
        By the name of the image in the table.
    hit_mm
        Largest distance of a hit in mm.

    Returns
    -------
    tuple of str
        At most one sentence.
    """
    pairs = [
        (image, _highest(marks[image.image], len(places)), places)
        for image in table.images
        if image.image in marks and len(places := _annotated(table.rows_of(image)))
    ]
    total = sum(len(places) for _, _, places in pairs)
    if total < _PLACES_AT_LEAST:
        return ()
    given = sum(_hits(highest, places, image, hit_mm) for image, highest, places in pairs)
    for description, convert in _FRAMES.items():
        converted = 0
        for image, highest, places in pairs:
            moved = convert(highest, image)
            converted += 0 if moved is None else _hits(moved, places, image, hit_mm)
        if converted >= max(min(total, _HITS_ENOUGH), _SHARE * total, _TIMES_AS_MANY * given):
            return (
                f"marks and annotations do not fit: {given} of {total} annotated microcalcifications have a mark, "
                f"{converted} with {description}; expected rows and columns of the same image in both",
            )
    return ()


def _annotated(rows: Sequence[AnnotationRow]) -> _Places:
    calcium = [(row.row, row.column) for row in rows if row.kind == "microcalcification"]
    return np.array(calcium, dtype=np.float64).reshape(-1, 2)


def _highest(marks: Marks, places: int) -> _Places:
    """Return the highest-rated marks (n, 2) of an image with a number of annotated places."""
    order = np.argsort(-marks.likelihood, kind="stable")
    return marks.centres_px[order[: max(_MARKS_AT_LEAST, _MARKS_PER_PLACE * places)]]


def _hits(marks: _Places, places: _Places, image: ImageRow, hit_mm: float) -> int:
    """Return the number of places that have a mark within ``hit_mm``."""
    if not len(marks):
        return 0
    distance, _ = cKDTree(marks * image.spacing_mm).query(places * image.spacing_mm)
    return int(np.count_nonzero(distance <= hit_mm))
