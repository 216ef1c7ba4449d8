"""Masks of COCO JSON, as run lengths: read, and outlined.

References
----------
COCO API, ``common/maskApi.c``: runs go down the columns, the first one is outside; as a text, each run is written in
digits of five bits, from the third on as the difference from the run before the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import contourpy
import numpy as np
import shapely
from numpy.typing import NDArray

from microcalc.datasets.outlines import Corners
from microcalc.domain import BoolImage
from microcalc.errors import TableError

_EXPECTED: Final = "expected run lengths with size [rows, columns] and counts that fill it"


def read_mask(entry: Mapping[str, Any], shape: tuple[int, int] | None, where: str) -> BoolImage:
    """Return a mask (rows, columns) from its run lengths.

    Parameters
    ----------
    shape
        Size of the image in rows and columns; None: not known.

    Raises
    ------
    TableError
        The run lengths are malformed, of an image of another size, or without a pixel.
    """
    size, counts = entry.get("size"), entry.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise TableError(f"{where}: a mask of size {str(size)[:40]}, {_EXPECTED}")
    rows, columns = size
    if shape is not None and shape != (rows, columns):
        raise TableError(f"{where}: a mask of {rows} x {columns} pixels, expected {shape[0]} x {shape[1]} as the image")
    runs = _runs_in(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise TableError(f"{where}: a mask of other counts than numbers, {_EXPECTED}")
    if sum(runs) != rows * columns:
        raise TableError(f"{where}: a mask of {sum(runs)} pixels, {_EXPECTED}")
    mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(columns, rows).T
    if not mask.any():
        raise TableError(f"{where}: a mask without a pixel, expected one at least")
    return mask


def mask_outline(mask: BoolImage) -> Corners:
    """Return the outline of a mask, (row, column), half a pixel around its pixels; of several parts, their hull."""
    padded, top, left = _cut(mask)
    lines = contourpy.contour_generator(z=padded.astype(np.float64)).lines(0.5)
    outlines = [shapely.Polygon(line) for line in lines if isinstance(line, np.ndarray)]
    whole = max(outlines, key=lambda outline: float(outline.area))
    if not all(whole.covers(outline) for outline in outlines):
        return hull([np.asarray(outline.exterior.coords)[:, ::-1] + (top, left) for outline in outlines])
    return tuple((float(row) + top, float(column) + left) for column, row in whole.exterior.coords[:-1])


def mask_centre(mask: BoolImage) -> tuple[float, float]:
    """Return the mean row and column of the pixels of a mask."""
    row, column = np.argwhere(mask).mean(axis=0)
    return float(row), float(column)


def hull(parts: list[NDArray[np.float64]]) -> Corners:
    """Return the convex hull of outlines, each (k, 2)."""
    around = shapely.convex_hull(shapely.multipoints(np.concatenate(parts)))
    if not isinstance(around, shapely.Polygon):
        return tuple((float(row), float(column)) for row, column in np.concatenate(parts))
    return tuple((float(row), float(column)) for row, column in around.exterior.coords[:-1])


def _cut(mask: BoolImage) -> tuple[BoolImage, int, int]:
    """Return what surrounds the pixels of a mask by one pixel, and the row and column of its first pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(box, 1), int(rows[0]) - 1, int(columns[0]) - 1


def _runs_in(text: str) -> list[int] | None:
    """Return the run lengths that a text stands for; None where it stands for none."""
    runs: list[int] = []
    value = digits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or digits > 12:
            return None
        value |= (code & 31) << 5 * digits
        digits += 1
        if code & 32:  # more digits follow
            continue
        if code & 16:  # negative
            value -= 1 << 5 * digits
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = digits = 0
    return None if digits else runs
