"""Choose the pixels that are positive or negative samples."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from microcalc.domain import BENIGN_CALCIUM, Annotations, BoolImage, FloatImage
from microcalc.geometry import Grid, Points, clear_polygon
from microcalc.sample.store import Samples

_NOT_NEGATIVE = ("microcalcification", *BENIGN_CALCIUM, "unsure")


def positive_pixels(annotations: Annotations, breast: BoolImage, grid: Grid, *, radius_mm: float) -> Samples:
    """Return the pixels of microcalcifications: the nearest to each centre, and those within ``radius_mm`` of it.

    Returns
    -------
    (n, 3): index of the annotation, row, column.
    """
    chosen = np.flatnonzero(annotations.kind == "microcalcification")
    pixels = pixels_around(annotations.centres[chosen], breast, grid, radius_mm=radius_mm)
    pixels[:, 0] = chosen[pixels[:, 0]]
    return pixels


def pixels_around(centres: Points, mask: BoolImage, grid: Grid, *, radius_mm: float) -> Samples:
    """Return the pixels of a mask around centres (n, 2) in mm: the nearest to each, and those within ``radius_mm``.

    Returns
    -------
    (n, 3): index of the centre, row, column.
    """
    reach = int(np.ceil(radius_mm / grid.spacing_mm[0])) + 1
    offsets = np.argwhere(np.ones((2 * reach + 1, 2 * reach + 1), dtype=bool)) - reach
    found: list[tuple[int, int, int]] = []
    for index, exact in enumerate(grid.to_pixels(centres)):
        nearest = np.rint(exact).astype(int)
        pixels = nearest + offsets
        near = np.hypot(*((pixels - exact) * grid.spacing_mm).T) <= radius_mm
        near |= (offsets == 0).all(axis=1)
        for row, column in pixels[near]:
            if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and mask[row, column]:
                found.append((index, int(row), int(column)))
    return np.array(found, dtype=np.int32).reshape(-1, 3)


def negative_mask(
    annotations: Annotations, breast: BoolImage, grid: Grid, *, clearance_mm: float, unmeasured_clearance_mm: float
) -> BoolImage:
    """Return which breast pixels are negative: no calcium, and nothing unsure, is annotated within the clearance.

    Regions are cleared as a whole, since calcium may lie anywhere in them, and so is the clearance around them.

    Parameters
    ----------
    clearance_mm
        Distance from the edge of an annotation with a diameter. It has to be small: the gaps between the
        microcalcifications of a cluster must be negative, or a network learns to mark everything near calcium.
    unmeasured_clearance_mm
        Distance from the centre of an annotation without a diameter (0). It is larger, since a place judged
        by eye has neighbours that nobody annotated.
    """
    mask = breast.copy()
    spacing = np.asarray(grid.spacing_mm)
    for corners_mm in annotations.regions.values():
        clear_polygon(mask, corners_mm, grid, margin_mm=clearance_mm)
    for index in np.flatnonzero(np.isin(annotations.kind, _NOT_NEGATIVE)):
        diameter_mm = annotations.diameter_mm[index]
        reach_mm = clearance_mm + diameter_mm / 2 if diameter_mm > 0 else unmeasured_clearance_mm
        exact = grid.to_pixels(annotations.centres[index])[0]
        half = np.ceil(reach_mm / spacing).astype(int) + 1
        low = np.maximum(np.floor(exact).astype(int) - half, 0)
        high = np.minimum(np.ceil(exact).astype(int) + half + 1, mask.shape)
        if (low >= high).any():
            continue
        rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
        far = np.hypot((rows - exact[0]) * spacing[0], (columns - exact[1]) * spacing[1]) >= reach_mm
        mask[low[0] : high[0], low[1] : high[1]] &= far
    return mask


def reviewed_negatives(annotations: Annotations, mask: BoolImage, grid: Grid) -> Samples:
    """Return the negative pixels that a reader judged to be free of calcium: (n, 3) with image index 0."""
    places = grid.to_pixels(annotations.centres[annotations.kind == "no_calcium"])
    pixels = np.rint(places).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < mask.shape)).all(axis=1)
    pixels = pixels[inside]
    pixels = pixels[mask[pixels[:, 0], pixels[:, 1]]]
    return np.column_stack([np.zeros(len(pixels), dtype=np.int64), pixels]).astype(np.int32)


def draw_negatives(mask: BoolImage, *, n: int, rng: np.random.Generator) -> Samples:
    """Draw n negative pixels evenly (fewer where there are fewer): (n, 3) with image index 0."""
    flat = np.flatnonzero(mask)
    if flat.size > n:
        flat = np.sort(rng.choice(flat, n, replace=False))
    rows, columns = np.divmod(flat, mask.shape[1])
    return np.stack([np.zeros_like(rows), rows, columns], axis=1).astype(np.int32)


def peaks(rating: FloatImage, mask: BoolImage, *, n: int, distance_px: int) -> Samples:
    """Return the n highest local maxima of a rating in a mask, one per neighbourhood: (n, 3), highest first."""
    masked = np.where(mask, rating, -np.inf)
    top = ndimage.maximum_filter(masked, 2 * distance_px + 1, mode="constant", cval=-np.inf)
    flat = np.flatnonzero((masked == top) & mask)
    order = flat[np.argsort(-masked.ravel()[flat], kind="stable")]
    taken = np.zeros_like(mask)  # decides only between equals: of a plateau its first pixel stays
    found: list[tuple[int, int, int]] = []
    for row, column in zip(*(v.tolist() for v in np.divmod(order, mask.shape[1])), strict=True):
        if len(found) == n:
            break
        if not taken[row, column]:
            found.append((0, row, column))
            near = (slice(max(0, v - distance_px), v + distance_px + 1) for v in (row, column))
            taken[tuple(near)] = True
    return np.array(found, dtype=np.int32).reshape(-1, 3)
