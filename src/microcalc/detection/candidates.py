"""Candidates: local maxima of the likelihood with a least distance between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import Candidates, FloatImage, NormalisedMammogram
from microcalc.geometry import Points

_MAXIMA_FOR_EACH: Final = 8  # ours: maxima that are considered first for each candidate asked for


def find_candidates(
    mammogram: NormalisedMammogram,
    likelihood: FloatImage,
    *,
    min_likelihood: float,
    min_distance_mm: float,
    max_count: int,
) -> Candidates:
    """Return the highest local maxima of the likelihood.

    Parameters
    ----------
    mammogram
        Gives the positions of the pixels.
    likelihood
        (rows, columns), a scorer's output for this mammogram; 0 outside the breast.
    min_likelihood
        Lower maxima are no candidates, and maxima of 0 never are.
    min_distance_mm
        Least distance between two candidates; of two that are closer, the more likely one is kept.
    max_count
        Largest number of candidates; the most likely ones are kept.

    Returns
    -------
    Candidates
        In mm of the original image, to a fraction of a pixel (a parabola through the
        maximum and its neighbours, in each direction), highest likelihood first.
    """
    rows, columns = _local_maxima(likelihood, min_likelihood)
    rating = likelihood[rows, columns]
    padded = np.pad(likelihood, 1, mode="reflect")  # at the border: in the pixel's centre
    considered = _MAXIMA_FOR_EACH * max_count
    while True:
        highest = _highest(rating, considered)  # of millions of maxima nearly all are too low
        row, column, likely = rows[highest], columns[highest], rating[highest].astype(np.float64)
        centres = mammogram.grid.to_mm(_between_pixels(padded, row, column))
        order = np.lexsort((column, row, -likely))
        kept = order[_far_apart(centres[order], min_distance_mm=min_distance_mm, max_count=max_count)]
        if len(kept) >= max_count or len(highest) == len(rating):
            return Candidates(centres=centres[kept], likelihood=likely[kept])
        considered *= _MAXIMA_FOR_EACH


def _highest(rating: FloatImage, count: int) -> NDArray[np.intp]:
    """Return the indices of the ``count`` highest ratings, and of those that equal the lowest of them, in order."""
    if rating.size <= count:
        return np.arange(rating.size)
    lowest = np.partition(rating, rating.size - count)[rating.size - count]
    return np.flatnonzero(rating >= lowest)


def _local_maxima(likelihood: FloatImage, min_likelihood: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns of pixels that no neighbour exceeds."""
    enough = (likelihood >= min_likelihood) & (likelihood > 0)
    filled_rows, filled_columns = np.flatnonzero(enough.any(axis=1)), np.flatnonzero(enough.any(axis=0))
    if filled_rows.size == 0:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    top, left = filled_rows[0], filled_columns[0]
    box = (slice(top, filled_rows[-1] + 1), slice(left, filled_columns[-1] + 1))
    rows, columns = np.nonzero((likelihood[box] == _highest_near(likelihood[box])) & enough[box])
    return rows + top, columns + left


def _highest_near(likelihood: FloatImage) -> FloatImage:
    """Return the highest value among each pixel and its eight neighbours."""
    highest = likelihood.copy()
    for axis in (0, 1):
        values, before = highest.copy(), highest.swapaxes(0, axis)
        along = values.swapaxes(0, axis)
        np.maximum(before[1:], along[:-1], out=before[1:])
        np.maximum(before[:-1], along[1:], out=before[:-1])
    return highest


def _between_pixels(padded: FloatImage, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return fractional (row, column) of maxima, (n, 2): the vertex of a parabola through three pixels.

    ``padded`` has one more pixel on each side.
    """
    row_offset = _vertex(padded, rows + 1, columns + 1, (1, 0))
    column_offset = _vertex(padded, rows + 1, columns + 1, (0, 1))
    return np.stack([rows + row_offset, columns + column_offset], axis=1)


def _vertex(
    padded: FloatImage, rows: NDArray[np.intp], columns: NDArray[np.intp], step: tuple[int, int]
) -> NDArray[np.float64]:
    before = padded[rows - step[0], columns - step[1]].astype(np.float64)
    here = padded[rows, columns].astype(np.float64)
    after = padded[rows + step[0], columns + step[1]].astype(np.float64)
    curvature = 2 * here - before - after  # >= 0 at a maximum; 0 on a plateau
    offset = np.divide(after - before, 2 * curvature, out=np.zeros_like(here), where=curvature > 0)
    return np.clip(offset, -0.5, 0.5)


def _far_apart(centres: Points, *, min_distance_mm: float, max_count: int) -> NDArray[np.intp]:
    """Return the indices of positions that are at least the distance from every earlier position that is kept.

    Positions are sorted into square cells with sides of that distance, so that only the nine cells around a
    position have to be searched.
    """
    filed: dict[tuple[int, int], list[tuple[float, float]]] = {}
    kept: list[int] = []
    for index, (row, column) in enumerate(_one_by_one(centres)):
        if len(kept) >= max_count:
            break
        cell_row, cell_column = int(row // min_distance_mm), int(column // min_distance_mm)
        near = (
            other
            for i in (cell_row - 1, cell_row, cell_row + 1)
            for j in (cell_column - 1, cell_column, cell_column + 1)
            for other in filed.get((i, j), ())
        )
        if all((row - r) ** 2 + (column - c) ** 2 >= min_distance_mm**2 for r, c in near):
            kept.append(index)
            filed.setdefault((cell_row, cell_column), []).append((row, column))
    return np.array(kept, dtype=np.intp)


def _one_by_one(centres: Points, *, block: int = 4096) -> Iterator[tuple[float, float]]:
    """Yield the rows of an array as numbers; block by block, because most of a long array is never needed."""
    for start in range(0, len(centres), block):
        yield from centres[start : start + block].tolist()
