"""Puts simulated calcifications into any mammogram, real ones included.

In a raw image a calcification removes a fraction of the primary beam: the linear
value less the offset is multiplied. In a processed image the processing turns a small
change of log exposure into grey values by its local slope; since the processing
treats the image's own noise alike, the slope is the noise measured in the image
divided by the relative noise that the system's raw image has.

Only pixels under a calcification change, by a smooth function, and the result is
quantised as the image was: there is no seam.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Mammogram
from microcalc.geometry import Points
from microcalc.simulate.calcification import Calcification


@dataclass(frozen=True, eq=False, slots=True)
class Placed:
    """A calcification at its place: centre in mm of the image, and the cluster's name (empty: single)."""

    calcification: Calcification
    centre_mm: tuple[float, float]
    cluster: str


def insert_raw(mammogram: Mammogram, contrast: FloatImage, *, offset: float, scatter_to_primary: float) -> Mammogram:
    """Multiply the linear exposure by what the calcifications let through.

    Parameters
    ----------
    contrast
        Fraction of the primary removed, (rows, columns).
    offset
        Grey value of the system at no exposure.
    scatter_to_primary
        After the grid: scatter fills the shadow.
    """
    exposure = -mammogram.pixels - np.float32(offset)
    removed = np.minimum(contrast / np.float32(1 + scatter_to_primary), 0.95)  # where shadows overlap
    dimmed = exposure * (1 - removed) + np.float32(offset)
    return replace(mammogram, pixels=-np.rint(dimmed).astype(np.float32))


def insert_processed(
    mammogram: Mammogram, contrast: FloatImage, *, slope: FloatImage, scatter_to_primary: float, sharpening: float
) -> Mammogram:
    """Add the change of log exposure times the local slope of the processing.

    Parameters
    ----------
    slope
        Grey values per unit of log exposure, (rows, columns), of fine detail.
    sharpening
        Gain of an unsharp mask of 0.4 mm in the processing. ``slope`` holds it already,
        since noise is fine detail: what is coarser is amplified less.
    """
    signal = -np.log1p(-np.clip(contrast / np.float32(1 + scatter_to_primary), 0, 0.95)) * slope
    if sharpening > 0:
        sigma = [0.4 / s for s in mammogram.spacing_mm]
        coarse = ndimage.gaussian_filter(signal, sigma, truncate=3.0)
        signal = signal - np.float32(sharpening / (1 + sharpening)) * coarse
    top = float(mammogram.pixels.max())
    changed = np.clip(np.rint(mammogram.pixels + signal), float(mammogram.pixels.min()), top)
    return replace(mammogram, pixels=np.where(np.abs(signal) < 0.25, mammogram.pixels, changed).astype(np.float32))


def draw_places(
    rng: np.random.Generator,
    allowed: BoolImage,
    brightness: FloatImage,
    *,
    n: int,
    spacing_mm: float,
    min_distance_mm: float,
    taken_mm: Points,
) -> Points:
    """Draw cluster centres: mostly in the denser tissue, apart from each other.

    Parameters
    ----------
    allowed
        (rows, columns) bool, at ``spacing_mm``.
    brightness
        (rows, columns): two thirds of the places are drawn from the brighter half.
    taken_mm
        (k, 2) places to keep away from.

    Returns
    -------
    (m, 2) positions in mm of that raster's first pixel, m <= n where room is short.
    """
    index = np.flatnonzero(allowed)
    if index.size == 0:
        return np.zeros((0, 2))
    brighter = index[brightness.ravel()[index] > np.median(brightness.ravel()[index])]
    placed: list[NDArray[np.float64]] = [np.asarray(t, dtype=np.float64) for t in taken_mm]
    chosen: list[NDArray[np.float64]] = []
    for _ in range(n * 50):
        if len(chosen) == n:
            break
        pool = brighter if brighter.size and rng.random() < 2 / 3 else index
        flat = int(pool[rng.integers(pool.size)])
        point = (np.array(divmod(flat, allowed.shape[1])) + rng.uniform(-0.5, 0.5, 2)) * spacing_mm
        if all(np.hypot(*(point - other)) >= min_distance_mm for other in placed):
            placed.append(point)
            chosen.append(point)
    return np.array(chosen).reshape(-1, 2)
