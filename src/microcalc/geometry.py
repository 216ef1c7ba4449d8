"""Positions in millimetres, and the only conversion from and to pixels.

A position is (row, column) in mm from the centre of the original image's first pixel. A grid defines where the
pixels of a raster are in this frame, so that resampling does not move positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Positions (n, 2), (row, column) in mm."""

_SPACING_TOLERANCE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Grid:
    """The positions of the pixel centres of a raster.

    Attributes
    ----------
    spacing_mm
        Distance between neighbouring pixel centres, (row, column).
    origin_mm
        Position of the centre of the first pixel, (row, column).
    """

    spacing_mm: tuple[float, float]
    origin_mm: tuple[float, float] = (0.0, 0.0)

    def to_pixels(self, positions_mm: Points) -> Points:
        """Convert positions to fractional (row, column) pixel indices, shape (n, 2)."""
        positions = np.asarray(positions_mm, dtype=np.float64).reshape(-1, 2)
        return np.asarray((positions - np.asarray(self.origin_mm)) / np.asarray(self.spacing_mm), dtype=np.float64)

    def to_mm(self, pixels: NDArray[np.floating] | NDArray[np.integer]) -> Points:
        """Convert fractional (row, column) pixel indices to positions in mm, shape (n, 2)."""
        indices = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        return np.asarray(indices * np.asarray(self.spacing_mm) + np.asarray(self.origin_mm), dtype=np.float64)


def outside(
    places_px: Points, shape: tuple[int, int] | NDArray[np.float64], *, margin_px: float = 0.0
) -> NDArray[np.bool_]:
    """Return which positions are beyond the outer edges of an image's pixels.

    Parameters
    ----------
    places_px
        (n, 2) row and column in pixels; (0, 0) is the centre of the first pixel, whose edge is at -0.5.
    shape
        (rows, columns), of one image, or (n, 2) of the image of each position.
    margin_px
        Distance beyond the edge that still counts as inside.

    Returns
    -------
    ndarray
        (n,) bool, True outside.
    """
    low, high = -0.5 - margin_px, np.array(shape) - 0.5 + margin_px
    return np.asarray(((places_px < low) | (places_px > high)).any(axis=1))


def clear_polygon(mask: NDArray[np.bool_], corners_mm: Points, grid: Grid, *, margin_mm: float) -> None:
    """Set a mask to False inside a polygon and within a margin around it.

    Parameters
    ----------
    mask
        (rows, columns), changed in place.
    corners_mm
        (k, 2) corners, the last joined to the first; where the outline crosses itself, the even-odd rule holds.
    grid
        Positions of the pixels of the mask.
    """
    area = shapely.buffer(shapely.make_valid(shapely.Polygon(corners_mm)), margin_mm)
    shapely.prepare(area)
    ends = grid.to_pixels(np.array(area.bounds).reshape(2, 2))
    low = np.clip(np.floor(ends[0]).astype(int), 0, mask.shape)
    high = np.clip(np.ceil(ends[1]).astype(int) + 1, 0, mask.shape)
    if (low >= high).any():
        return
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
    places = grid.to_mm(np.stack([rows, columns], axis=-1))
    mask[low[0] : high[0], low[1] : high[1]] &= ~shapely.contains_xy(area, places).reshape(rows.shape)


def same_spacing(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether two pixel spacings (row, column) in mm agree within one per cent."""
    return all(abs(a / b - 1) <= _SPACING_TOLERANCE for a, b in zip(one, other, strict=True))
