"""What is taken for microcalcifications: benign calcium, dust, and faults of the receptor.

Benign calcium is calcium: it enters the truth under its own kind. Dust and faults
enter it as ``no_calcium``. Crossings of ligaments and vessels come from ``structure``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.calcification import HYDROXYAPATITE_PER_MM, PITCH_MM, Calcification
from microcalc.simulate.structure import Tubes, random_walks


def draw_coarse(rng: np.random.Generator) -> Calcification:
    """A coarse benign calcification: round, or lumpy like popcorn; 0.6 to 4 mm."""
    diameter = float(np.clip(rng.lognormal(np.log(1.1), 0.5), 0.6, 4.0))
    lumps = 1 if diameter < 0.9 else int(rng.integers(3, 9))
    radii = (
        diameter
        * (0.5 if lumps == 1 else 1.0)
        * rng.uniform(0.8 if lumps == 1 else 0.18, 1.0 if lumps == 1 else 0.4, lumps)
    )
    places = np.zeros((1, 2)) if lumps == 1 else rng.normal(0.0, 0.24 * diameter, (lumps, 2))
    row, column = _raster(diameter * 1.6)
    thickness = np.zeros(row.shape, dtype=np.float32)
    for (r, c), radius in zip(places, radii, strict=True):
        squared = (row - r) ** 2 + (column - c) ** 2 * rng.uniform(0.7, 1.4)
        thickness = np.maximum(thickness, 2 * np.sqrt(np.clip(radius**2 - squared, 0.0, None)))
    return _calcification(0.6 * thickness, float(rng.uniform(0.3, 0.8)))


def draw_rim(rng: np.random.Generator, *, skin: bool) -> Calcification:
    """A shell with a clear centre: of an oil cyst (1 to 6 mm), or in the skin (0.5 to 1 mm)."""
    radius = float(rng.uniform(0.25, 0.5) if skin else rng.uniform(0.6, 3.0))
    wall = float(rng.uniform(0.08, 0.15) if skin else rng.uniform(0.1, 0.3))
    row, column = _raster(2 * radius + 0.2)
    squared = row**2 + (column * rng.uniform(0.85, 1.2)) ** 2
    shell = np.sqrt(np.clip(radius**2 - squared, 0, None)) - np.sqrt(np.clip((radius - wall) ** 2 - squared, 0, None))
    angle = np.arctan2(row, column)
    gaps = 0.7 + 0.3 * np.sin(angle * rng.integers(1, 4) + rng.uniform(0, 6.28))
    return _calcification(2.0 * shell * gaps, float(rng.uniform(0.25, 0.7)))


def arterial_calcium(rng: np.random.Generator, start_mm: Points, heading: float) -> tuple[Tubes, Points]:
    """Two parallel, broken lines of calcium in the wall of one winding artery.

    Returns
    -------
    The calcium as tubes, and (n, 2) places about 2 mm apart along the artery.
    """
    step = 0.04
    rows, columns = random_walks(
        rng, start_mm, np.array([heading]), length_mm=float(rng.uniform(12.0, 45.0)), step_mm=step, bend_per_mm=0.09
    )
    angle = np.arctan2(np.gradient(rows[0]), np.gradient(columns[0]))
    apart = rng.uniform(0.5, 1.4)
    sides = np.array([-0.5, 0.5])[:, None] * apart
    both_rows, both_columns = rows + sides * np.cos(angle), columns - sides * np.sin(angle)
    length = rows.shape[1]
    smooth = np.convolve(rng.standard_normal(2 * length + 200), np.hanning(40) / 4.5, "same")[: 2 * length]
    present = np.clip(smooth.reshape(2, length) + 0.2, 0.0, 1.2)
    tubes = Tubes(both_rows, both_columns, np.full(both_rows.shape, rng.uniform(0.07, 0.15)), 0.6 * present, step)
    every = int(2.0 / step)
    return tubes, np.column_stack([rows[0, ::every], columns[0, ::every]])


def add_receptor_faults(
    rng: np.random.Generator, values: FloatImage, noise_sd: FloatImage, *, specks: int
) -> NDArray[np.int64]:
    """Put faults into an image of values in place: repaired and hot pixels, weak lines, dust.

    Parameters
    ----------
    values, noise_sd
        (rows, columns): before rounding, and the standard deviation of its noise.
    specks
        Number of sharp places (hot pixels and dust) that a reader could see.

    Returns
    -------
    (n, 2) row and column of the specks.
    """
    h, w = values.shape
    for r, c in zip(rng.integers(1, h - 1, 20), rng.integers(1, w - 1, 20), strict=True):
        values[r, c] = 0.25 * (values[r - 1, c] + values[r + 1, c] + values[r, c - 1] + values[r, c + 1])
    if rng.random() < 0.1:
        column = int(rng.integers(0, w))
        values[:, column] += float(rng.choice([-0.8, 0.8])) * noise_sd[:, column]
    places = np.column_stack([rng.integers(2, h - 2, specks), rng.integers(2, w - 2, specks)])
    for r, c in places:
        depth = float(rng.uniform(4.0, 12.0)) * noise_sd[r, c]
        values[r, c] -= depth
        if rng.random() < 0.4:  # dust covers a part of the next pixel as well
            values[r + int(rng.integers(0, 2)), c + int(rng.integers(-1, 2))] -= 0.5 * depth
    return places.astype(np.int64)


def _raster(extent_mm: float) -> tuple[FloatImage, FloatImage]:
    half = int(np.ceil(0.5 * extent_mm / PITCH_MM)) + 1
    axis = (np.arange(-half, half + 1) * PITCH_MM).astype(np.float32)
    return axis[:, None], axis[None, :]


def _calcification(thickness: NDArray[np.floating], packing: float) -> Calcification:
    """Cut square around its centroid, so that the truth is the middle."""
    filled = np.argwhere(thickness > 0)
    centre = np.rint((filled * thickness[thickness > 0][:, None]).sum(axis=0) / thickness.sum()).astype(int)
    half = int(np.abs(filled - centre).max())
    out = np.zeros((2 * half + 1, 2 * half + 1), dtype=np.float32)
    at = filled - centre + half
    out[at[:, 0], at[:, 1]] = thickness[filled[:, 0], filled[:, 1]]
    diameter = 2.0 * float(np.sqrt(len(filled) / np.pi)) * PITCH_MM
    return Calcification((0.0, 0.0), out, HYDROXYAPATITE_PER_MM * packing, diameter)
