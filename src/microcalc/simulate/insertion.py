"""Insert simulated calcifications into mammograms, real ones included.

In a raw image, a calcification removes a fraction of the primary beam: the linear value less the offset is
multiplied by the fraction transmitted. In a processed image, a small change of the log exposure is multiplied by
the local slope of the processing. As the processing amplifies the noise of the image by the same slope, the slope
is the noise measured in the image divided by the relative noise of the raw image of the system.

Only pixels under a calcification change, by a smooth function, and the result is quantised as the image was, so
that there is no visible edge.
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
class PlacedCalcification:
    """Hold a calcification, the position of its centre in mm, and the name of its cluster (empty if it is single)."""

    calcification: Calcification
    centre_mm: tuple[float, float]
    cluster: str


def insert_raw(mammogram: Mammogram, contrast: FloatImage, *, offset: float, scatter_to_primary: float) -> Mammogram:
    """Multiply the linear exposure by the fraction that the calcifications transmit.

    Parameters
    ----------
    contrast
        (rows, columns) fraction of the primary signal removed.
    offset
        Stored value of the system without exposure.
    scatter_to_primary
        Scatter-to-primary ratio behind the grid; scatter reduces the contrast.
    """
    exposure = -mammogram.pixels - np.float32(offset)
    removed = np.minimum(contrast / np.float32(1 + scatter_to_primary), 0.95)  # where shadows overlap
    dimmed = exposure * (1 - removed) + np.float32(offset)
    return replace(mammogram, pixels=-np.rint(dimmed).astype(np.float32))


def insert_processed(
    mammogram: Mammogram, contrast: FloatImage, *, slope: FloatImage, scatter_to_primary: float, sharpening: float
) -> Mammogram:
    """Add the change of the log exposure times the local slope of the processing.

    Parameters
    ----------
    contrast
        (rows, columns) fraction of the primary signal removed.
    slope
        (rows, columns) grey values per unit of log exposure, for fine detail.
    scatter_to_primary
        Scatter-to-primary ratio behind the grid; scatter reduces the contrast.
    sharpening
        Gain of an unsharp mask of 0.4 mm in the processing. ``slope`` includes it, as noise is
        fine detail; coarser detail is amplified less.
    """
    signal = -np.log1p(-np.clip(contrast / np.float32(1 + scatter_to_primary), 0, 0.95)) * slope
    if sharpening > 0:
        sigma = [0.4 / s for s in mammogram.spacing_mm]
        coarse = ndimage.gaussian_filter(signal, sigma, truncate=3.0)
        signal = signal - np.float32(sharpening / (1 + sharpening)) * coarse
    top = float(mammogram.pixels.max())
    changed = np.clip(np.rint(mammogram.pixels + signal), float(mammogram.pixels.min()), top)
    return replace(mammogram, pixels=np.where(np.abs(signal) < 0.25, mammogram.pixels, changed).astype(np.float32))


def draw_centres(
    rng: np.random.Generator,
    allowed: BoolImage,
    brightness: FloatImage,
    *,
    n: int,
    spacing_mm: float,
    min_distance_mm: float,
    taken_mm: Points,
) -> Points:
    """Draw the centres of clusters, mostly in the denser tissue and at a minimum distance from each other.

    Parameters
    ----------
    allowed
        (rows, columns) True where a centre may lie, at ``spacing_mm``.
    brightness
        (rows, columns): two thirds of the centres are drawn from the brighter half.
    taken_mm
        (k, 2) positions from which the centres keep the same distance.

    Returns
    -------
    (m, 2) positions in mm from the first pixel of that raster; m is less than n where there is no room.
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
