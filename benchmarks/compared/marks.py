"""What a method gets and gives: a way from maps or points of rating, made in tiles, to candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from microcalc.detection.candidates import find_candidates
from microcalc.domain import BoolImage, Candidates, FloatImage, Mammogram, NormalisedMammogram

SPACING_MM: Final = 0.1
_MIN_DISTANCE_MM: Final = 0.3
_MAX_MARKS: Final = 1000

Find = Callable[[Mammogram, NormalisedMammogram], Candidates]
Points = NDArray[np.float64]
Place = tuple[slice, slice]


def candidates_of_map(mammogram: NormalisedMammogram, likelihood: FloatImage) -> Candidates:
    """Return the highest local maxima in the breast of a map of likelihood."""
    inside = np.where(mammogram.breast, likelihood, np.float32(0))
    return find_candidates(
        mammogram, inside, min_likelihood=0.0, min_distance_mm=_MIN_DISTANCE_MM, max_count=_MAX_MARKS
    )


def candidates_of_points(mammogram: NormalisedMammogram, places_px: Points, likelihood: Points) -> Candidates:
    """Return the most likely points in the breast, (n, 2) and (n,), of which none is too close to a likelier one."""
    nearest = np.rint(places_px).astype(np.int64)
    within = np.flatnonzero(((nearest >= 0) & (nearest < mammogram.breast.shape)).all(axis=1))
    inside = within[mammogram.breast[tuple(nearest[within].T)]]
    order = inside[np.argsort(-likelihood[inside], kind="stable")]
    centres = mammogram.grid.to_mm(places_px[order])
    chosen = far_apart(centres, min_distance=_MIN_DISTANCE_MM)[:_MAX_MARKS]
    return Candidates(centres[chosen], likelihood[order][chosen])


def far_apart(centres: Points, *, min_distance: float) -> NDArray[np.intp]:
    """Return the indices of points, the first of which count most, without those close to an earlier one that stays."""
    if len(centres) == 0:
        return np.zeros(0, dtype=np.intp)
    dropped = np.zeros(len(centres), dtype=bool)
    near = KDTree(centres).query_ball_point(centres, np.nextafter(min_distance, 0))
    for index, others in enumerate(near):
        if not dropped[index]:
            dropped[[other for other in others if other > index]] = True
    return np.flatnonzero(~dropped)


def tiles(pixels: FloatImage, mask: BoolImage, *, tile_px: int, overlap_px: int) -> Iterator[tuple[Place, FloatImage]]:
    """Yield the parts of an image where a mask is set, each with its surroundings and, beyond the image, zeros.

    Yields
    ------
    The part's place in the image, and the square of ``tile_px + 2 * overlap_px`` pixels around it.
    """
    side = tile_px + 2 * overlap_px
    for top in range(0, mask.shape[0], tile_px):
        for left in range(0, mask.shape[1], tile_px):
            place = (slice(top, top + tile_px), slice(left, left + tile_px))
            if not mask[place].any():
                continue
            first_row, first_column = max(0, top - overlap_px), max(0, left - overlap_px)
            cut = pixels[first_row : top + tile_px + overlap_px, first_column : left + tile_px + overlap_px]
            row, column = first_row - top + overlap_px, first_column - left + overlap_px
            tile = np.zeros((side, side), dtype=np.float32)
            tile[row : row + cut.shape[0], column : column + cut.shape[1]] = cut
            yield place, tile


def map_of_tiles(
    pixels: FloatImage,
    mask: BoolImage,
    likelihood_of: Callable[[FloatImage], FloatImage],
    *,
    tile_px: int,
    overlap_px: int,
) -> FloatImage:
    """Return a map of likelihood that a function makes of tiles; 0 where no tile was needed."""
    likelihood = np.zeros(mask.shape, dtype=np.float32)
    for place, tile in tiles(pixels, mask, tile_px=tile_px, overlap_px=overlap_px):
        rows, columns = likelihood[place].shape
        likelihood[place] = likelihood_of(tile)[overlap_px : overlap_px + rows, overlap_px : overlap_px + columns]
    return likelihood


def points_of_tiles(
    pixels: FloatImage,
    mask: BoolImage,
    points_of: Callable[[FloatImage], tuple[Points, Points]],
    *,
    tile_px: int,
    overlap_px: int,
) -> tuple[Points, Points]:
    """Return the points, (n, 2), and likelihoods, (n,), that a function finds in tiles; each part gives its own."""
    places, ratings = [np.zeros((0, 2))], [np.zeros(0)]
    for (rows, columns), tile in tiles(pixels, mask, tile_px=tile_px, overlap_px=overlap_px):
        found, rating = points_of(tile)
        found = np.asarray(found, dtype=np.float64).reshape(-1, 2) - overlap_px
        own = ((found >= -0.5) & (found < tile_px - 0.5)).all(axis=1)
        places.append(found[own] + (rows.start, columns.start))
        ratings.append(np.asarray(rating, dtype=np.float64)[own])
    return np.concatenate(places), np.concatenate(ratings)
