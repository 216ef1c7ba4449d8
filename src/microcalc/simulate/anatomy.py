"""Combine fat, gland, skin, muscle and linear structures of a breast on the raster of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.breast import Breast, rasterise
from microcalc.simulate.raster import enlarge
from microcalc.simulate.structure import Tubes, crossings, draw_tubes, ducts, ligaments, vessels
from microcalc.simulate.texture import draw_tissue

_TISSUE_MM = 0.095
"""Pitch of the raster for tissue: above 5 /mm, blur and noise hide detail."""


@dataclass(frozen=True, eq=False, slots=True)
class Anatomy:
    """Hold the tissue of a breast on the raster of an image; arrays are (rows, columns) float32.

    Attributes
    ----------
    fat_mm, gland_mm
        Path of the beam in mm through fat, and through the gland equivalent of all other tissue.
    thickness, gland, depth
        Compressed thickness, path through fibroglandular tissue, and distance to the outline, in mm.
    muscle
        (rows, columns) bool, True in the pectoral muscle.
    crossings
        (n, 2) positions in mm at which ligaments cross.
    """

    fat_mm: FloatImage
    gland_mm: FloatImage
    thickness: FloatImage
    gland: FloatImage
    depth: FloatImage
    muscle: NDArray[np.bool_]
    crossings: Points


def build(
    rng: np.random.Generator, breast: Breast, shape: tuple[int, int], pitch_mm: float, *, n_crossings: int
) -> Anatomy:
    """Fill a breast with tissue on a raster of ``shape``, with up to ``n_crossings`` crossings of ligaments."""
    whole = rasterise(breast, shape, pitch_mm)
    used_rows = np.flatnonzero((whole.depth > -1.0).any(axis=1))
    used_columns = np.flatnonzero((whole.depth > -1.0).any(axis=0))
    box = (slice(int(used_rows[0]), int(used_rows[-1]) + 1), slice(0, int(used_columns[-1]) + 1))
    depth, thickness = whole.depth[box], whole.thickness[box]
    origin = int(used_rows[0]) * pitch_mm
    here = replace(breast, nipple_mm=(breast.nipple_mm[0] - origin, breast.nipple_mm[1]))
    gland, sheets = _tissue(rng, here, depth, thickness, pitch_mm)
    places = _crossing_places(rng, depth, pitch_mm, n_crossings)
    lines = draw_tubes(_lines(rng, here, depth.shape, pitch_mm, places), depth.shape, pitch_mm)
    lines *= np.clip((depth - 0.5) / 5.0, 0.0, 1.0)
    deep = np.maximum(thickness, 0.1)  # each displaces its fraction of what the other leaves
    left = (1.0 - gland / deep) * np.exp(-(sheets + lines) / deep)
    dense = np.asarray(thickness * (1.0 - left), dtype=np.float32)
    fat, equivalent = _paths(
        dense, thickness, whole.skin[box], whole.nipple[box], np.where(depth > 0.0, whole.muscle[box], 0.0)
    )
    return Anatomy(
        _placed(fat, box, shape),
        _placed(equivalent, box, shape),
        whole.thickness,
        _placed(gland, box, shape),
        whole.depth,
        whole.muscle > 0.0,
        places + np.array([origin, 0.0]),
    )


def _placed(part: FloatImage, box: tuple[slice, slice], shape: tuple[int, int]) -> FloatImage:
    out = np.zeros(shape, dtype=np.float32)
    out[box] = part
    return out


def _tissue(
    rng: np.random.Generator, breast: Breast, depth: FloatImage, thickness: FloatImage, pitch_mm: float
) -> tuple[FloatImage, FloatImage]:
    """Draw gland and sheets on a raster of 0.095 mm, or on that of the image where it is coarser."""
    k = max(_TISSUE_MM / pitch_mm, 1.0)
    if k < 1.1:
        tissue = draw_tissue(rng, breast, depth, thickness, pitch_mm)
        return tissue.gland, tissue.sheets
    coarse = [np.arange(0.0, n - 1 + k, k) for n in depth.shape]
    tissue = draw_tissue(rng, breast, enlarge(depth, *coarse), enlarge(thickness, *coarse), pitch_mm * k)
    fine = [np.arange(n) / k for n in depth.shape]
    return np.maximum(enlarge(tissue.gland, *fine), 0.0), np.maximum(enlarge(tissue.sheets, *fine), 0.0)


def _crossing_places(rng: np.random.Generator, depth: FloatImage, pitch_mm: float, n: int) -> Points:
    rows, columns = np.nonzero(depth[::16, ::16] > 12.0)
    if not len(rows) or n == 0:
        return np.empty((0, 2))
    chosen = rng.choice(len(rows), size=min(n, len(rows)), replace=False)
    return np.column_stack([rows[chosen], columns[chosen]]).astype(np.float64) * 16 * pitch_mm


def _lines(
    rng: np.random.Generator, breast: Breast, shape: tuple[int, ...], pitch_mm: float, places: Points
) -> list[Tubes]:
    extent = (shape[0] * pitch_mm, shape[1] * pitch_mm)
    area_cm2 = extent[0] * extent[1] / 100.0
    tubes = [
        ligaments(rng, breast, extent, n=int(area_cm2 * rng.uniform(6.0, 14.0)) + 1),
        ducts(rng, breast),
        vessels(rng, breast, extent, n=int(rng.integers(3, 8))),
    ]
    return tubes if not len(places) else [*tubes, crossings(rng, places)]


def _paths(
    dense: FloatImage, thickness: FloatImage, skin: FloatImage, nipple: FloatImage, muscle: FloatImage
) -> tuple[FloatImage, FloatImage]:
    """Return paths in mm through fat and gland equivalent: skin attenuates 1.06, muscle 1.05 times as much."""
    shell = np.minimum(skin, thickness)
    meat = np.minimum(muscle, 0.8 * thickness)
    outside = nipple * (thickness < nipple)  # where the nipple stands out from the breast
    filled = np.minimum(dense + shell + meat, thickness)
    fat = thickness - filled + 0.5 * outside
    equivalent = filled + np.float32(0.06) * shell + np.float32(0.05) * meat + 0.5 * nipple
    return np.asarray(fat, dtype=np.float32), np.asarray(equivalent, dtype=np.float32)
