"""The breast's attenuation: fat, gland, skin, muscle and lines put together on the image's raster."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.breast import Breast, rasterise
from microcalc.simulate.raster import enlarge
from microcalc.simulate.structure import Tubes, crossings, draw_tubes, ducts, ligaments, vessels
from microcalc.simulate.systems import Beam
from microcalc.simulate.texture import gland_thickness

_TISSUE_STEP = 2
"""Tissue is made on every second pixel: above 2.5 /mm the noise hides it."""


@dataclass(frozen=True, eq=False, slots=True)
class Anatomy:
    """A breast on an image's raster, (rows, columns) float32 each.

    Attributes
    ----------
    attenuation
        Minus log of the primary transmission.
    thickness, gland, depth
        In mm: compressed, of it fibroglandular, and the distance to the outline.
    crossings
        (n, 2) places in mm where ligaments were made to cross.
    """

    attenuation: FloatImage
    thickness: FloatImage
    gland: FloatImage
    depth: FloatImage
    muscle: NDArray[np.bool_]
    crossings: Points


def build(
    rng: np.random.Generator, breast: Breast, beam: Beam, shape: tuple[int, int], pitch_mm: float, *, n_crossings: int
) -> Anatomy:
    """Fill a breast with tissue, on the part of the raster that it covers, and place that in the image."""
    whole = rasterise(breast, shape, pitch_mm)
    used_rows = np.flatnonzero((whole.depth > -1.0).any(axis=1))
    used_columns = np.flatnonzero((whole.depth > -1.0).any(axis=0))
    box = (slice(int(used_rows[0]), int(used_rows[-1]) + 1), slice(0, int(used_columns[-1]) + 1))
    depth, thickness = whole.depth[box], whole.thickness[box]
    origin = int(used_rows[0]) * pitch_mm
    gland = _gland(rng, breast, depth, thickness, pitch_mm, origin)
    gland += 0.5 * whole.nipple[box]
    places = _crossing_places(rng, depth, pitch_mm, n_crossings)
    lines = draw_tubes(_lines(rng, breast, depth.shape, pitch_mm, places, origin), depth.shape, pitch_mm)
    lines *= np.clip((depth - 0.5) / 5.0, 0.0, 1.0)
    lines = np.minimum(lines, 0.5 * thickness)
    muscle = np.where(depth > 0.0, whole.muscle[box], 0.0)
    path = _attenuation(beam, thickness, gland, lines, whole.skin[box], whole.nipple[box], muscle)
    attenuation, gland_whole = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    attenuation[box], gland_whole[box] = path, gland
    return Anatomy(
        attenuation, whole.thickness, gland_whole, whole.depth, whole.muscle > 0.0, places + np.array([origin, 0.0])
    )


def _gland(
    rng: np.random.Generator, breast: Breast, depth: FloatImage, thickness: FloatImage, pitch_mm: float, origin: float
) -> FloatImage:
    k = _TISSUE_STEP
    coarse = gland_thickness(
        rng, _moved(breast, origin), np.ascontiguousarray(depth[::k, ::k]), thickness[::k, ::k], pitch_mm * k
    )
    fine = enlarge(coarse, np.arange(depth.shape[0]) / k, np.arange(depth.shape[1]) / k)
    return np.clip(fine, 0.0, 0.95 * thickness)


def _moved(breast: Breast, origin: float) -> Breast:
    return replace(breast, nipple_mm=(breast.nipple_mm[0] - origin, breast.nipple_mm[1]))


def _crossing_places(rng: np.random.Generator, depth: FloatImage, pitch_mm: float, n: int) -> Points:
    rows, columns = np.nonzero(depth[::16, ::16] > 12.0)
    if not len(rows) or n == 0:
        return np.empty((0, 2))
    chosen = rng.choice(len(rows), size=min(n, len(rows)), replace=False)
    return np.column_stack([rows[chosen], columns[chosen]]).astype(np.float64) * 16 * pitch_mm


def _lines(
    rng: np.random.Generator, breast: Breast, shape: tuple[int, int], pitch_mm: float, places: Points, origin: float
) -> list[Tubes]:
    here = _moved(breast, origin)
    extent = (shape[0] * pitch_mm, shape[1] * pitch_mm)
    area_cm2 = extent[0] * extent[1] / 100.0
    tubes = [
        ligaments(rng, here, extent, n=int(area_cm2 * rng.uniform(10.0, 18.0)) + 1),
        ducts(rng, here),
        vessels(rng, here, extent, n=int(rng.integers(4, 10))),
    ]
    return tubes if not len(places) else [*tubes, crossings(rng, places)]


def _attenuation(
    beam: Beam,
    thickness: FloatImage,
    gland: FloatImage,
    lines: FloatImage,
    skin: FloatImage,
    nipple: FloatImage,
    muscle: FloatImage,
) -> FloatImage:
    """Line integral: fat everywhere, and what the others have more than fat."""
    fat = np.float32(beam.fat_per_mm)
    path = fat * thickness
    path += np.float32(beam.gland_per_mm - beam.fat_per_mm) * (gland + lines)
    path += np.float32(beam.skin_per_mm - beam.fat_per_mm) * np.minimum(skin, thickness)
    path += fat * nipple * (thickness < nipple)
    path += np.float32(1.05 * beam.gland_per_mm - beam.fat_per_mm) * np.minimum(muscle, 0.8 * thickness)
    return np.asarray(path, dtype=np.float32)
