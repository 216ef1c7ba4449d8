"""The compressed breast: outline, thickness, skin, nipple and, in MLO, the pectoral muscle.

Everything is in millimetres in the frame of a left breast: (row, column) from the
centre of the first pixel, chest wall along column 0, nipple to the right. A right
breast is the mirror image, made when all else is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.raster import enlarge

View = Literal["CC", "MLO"]
Density = Literal["A", "B", "C", "D"]
SKIN_MM = 1.5
_COARSE_MM = 0.5


@dataclass(frozen=True, eq=False, slots=True)
class Breast:
    """What is compressed between paddle and table.

    Attributes
    ----------
    outline
        (n, 2) closed polygon in mm; it runs past the image at the chest wall.
    nipple_mm
        Position of the nipple's tip.
    thickness_mm
        Compressed thickness at the chest wall's middle.
    tilt
        Thickness change per mm (row, column) because the paddle tilts.
    gland_fraction
        Share of the breast's volume that is fibroglandular.
    muscle
        Pectoral muscle (offset mm on the top edge, offset mm on the chest wall,
        thickness mm); None in CC.
    """

    view: View
    density: Density
    outline: Points
    nipple_mm: tuple[float, float]
    nipple_radius_mm: float
    thickness_mm: float
    tilt: tuple[float, float]
    gland_fraction: float
    muscle: tuple[float, float, float] | None


@dataclass(frozen=True, eq=False, slots=True)
class BreastMaps:
    """The breast on a raster; all (rows, columns) float32 in mm.

    ``depth`` is the distance to the outline, positive inside; ``skin`` and ``muscle``
    the paths of a ray through them; ``nipple`` its extra path through the nipple.
    """

    depth: FloatImage
    thickness: FloatImage
    skin: FloatImage
    nipple: FloatImage
    muscle: FloatImage


_GLAND_FRACTION: dict[Density, tuple[float, float]] = {
    "A": (0.03, 0.06),
    "B": (0.06, 0.12),
    "C": (0.12, 0.22),
    "D": (0.22, 0.38),
}


def draw_breast(
    rng: np.random.Generator, *, view: View, density: Density, height_mm: float, width_mm: float, size: float = 1.0
) -> Breast:
    """A random breast for a field of ``height_mm`` by ``width_mm``.

    Parameters
    ----------
    size
        Scales the outline; less than 1 for small test fields.
    """
    thickness = float(np.clip(rng.normal(57.0 if view == "MLO" else 53.0, 13.0), 22.0, 95.0))
    low, high = _GLAND_FRACTION[density]
    semi_height = min(rng.uniform(72.0, 105.0) * size, 0.47 * height_mm)
    depth = min(rng.uniform(65.0, 115.0) * size, 0.8 * width_mm)
    centre = 0.5 * height_mm + rng.normal(0.0, 0.02) * height_mm
    outline, nipple = _outline(rng, view, semi_height, depth, centre, size)
    muscle = None
    if view == "MLO":
        top = np.interp(0.0, outline[1:-1, 0], outline[1:-1, 1])
        length = rng.uniform(0.85, 1.15) * nipple[0]
        across = min(length * np.tan(np.radians(rng.uniform(18.0, 32.0))), 0.7 * float(top))
        muscle = (float(across), float(length), float(rng.uniform(9.0, 18.0)))
    return Breast(
        view=view,
        density=density,
        outline=outline,
        nipple_mm=nipple,
        nipple_radius_mm=float(rng.uniform(3.0, 5.5) * size),
        thickness_mm=thickness * min(1.0, 0.4 + 0.6 * size),
        tilt=(float(rng.normal(0.0, 0.01)), float(-np.tan(np.radians(rng.uniform(0.5, 2.5))))),
        gland_fraction=float(rng.uniform(low, high)),
        muscle=muscle,
    )


def _outline(
    rng: np.random.Generator, view: View, semi_height: float, depth: float, centre: float, size: float
) -> tuple[Points, tuple[float, float]]:
    """A superellipse with low-order bumps; in MLO tilted, with the axilla to the top edge."""
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 2001)
    power_row, power_column = rng.uniform(1.9, 2.4), rng.uniform(1.7, 2.2)
    upper = 1.5 * centre + 0.6 * semi_height if view == "MLO" else semi_height * rng.uniform(0.92, 1.08)
    extent = np.where(angle < 0.0, upper, semi_height)
    rows = extent * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2.0 / power_row)
    columns = depth * np.maximum(np.cos(angle), 0.0) ** (2.0 / power_column)
    bumps = 1.0 + sum(rng.normal(0.0, 0.016 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    rows, columns = rows * bumps, columns * bumps
    tilt = np.radians(rng.uniform(4.0, 12.0)) if view == "MLO" else np.radians(rng.normal(0.0, 3.0))
    if view == "MLO":
        centre += 0.35 * semi_height
    rows, columns = (
        centre + np.cos(tilt) * rows + np.sin(tilt) * columns,
        np.cos(tilt) * columns - np.sin(tilt) * rows,
    )
    if view == "CC":
        columns = columns - max(columns[0], columns[-1], 0.0)
    tip = int(np.argmin(np.abs(angle - rng.normal(0.0, 0.1))))
    arc = np.hypot(rows - rows[tip], columns - columns[tip])
    columns = columns + rng.uniform(1.0, 5.0) * size * np.exp(-((arc / (5.5 * size)) ** 4))
    far = -200.0
    closed = np.column_stack([np.r_[rows[0], rows, rows[-1]], np.r_[far, columns, far]])
    return closed, (float(rows[tip]), float(columns[tip]))


def rasterise(breast: Breast, shape: tuple[int, int], pitch_mm: float) -> BreastMaps:
    """The breast's maps on an image's raster."""
    depth = _depth(breast, shape, pitch_mm)
    row = (np.arange(shape[0], dtype=np.float32) * pitch_mm)[:, None]
    column = (np.arange(shape[1], dtype=np.float32) * pitch_mm)[None, :]
    middle = np.float32(0.5 * shape[0] * pitch_mm)
    flat = breast.thickness_mm + breast.tilt[0] * (row - middle) + breast.tilt[1] * column
    flat = np.maximum(flat, np.float32(0.4 * breast.thickness_mm)).astype(np.float32)
    radius = 0.5 * flat
    thickness = flat * _half_round(depth, radius)
    inner = np.maximum(flat - 2 * SKIN_MM, 1.0) * _half_round(depth - SKIN_MM, radius - SKIN_MM)
    return BreastMaps(
        depth=depth,
        thickness=thickness,
        skin=np.maximum(thickness - inner, 0.0),
        nipple=_nipple(breast, row, column),
        muscle=_muscle(breast, row, column),
    )


def _half_round(depth: NDArray[np.floating], radius: NDArray[np.floating]) -> FloatImage:
    """Relative height of an edge that is a half circle of this radius, at a depth inside it."""
    x = np.clip(1.0 - depth / radius, 0.0, 1.0)
    return np.asarray(np.sqrt(1.0 - x * x), dtype=np.float32)


def _depth(breast: Breast, shape: tuple[int, int], pitch_mm: float) -> FloatImage:
    """Signed distance to the outline, computed on a coarse raster and enlarged."""
    rows, columns = (np.arange(np.ceil(n * pitch_mm / _COARSE_MM) + 2.0) * _COARSE_MM for n in shape)
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    distance, _ = cKDTree(_dense(breast.outline)).query(points)
    signed = np.where(_inside(breast.outline, rows, columns), distance, -np.asarray(distance))
    coarse = np.asarray(signed, dtype=np.float32)
    return enlarge(coarse, np.arange(shape[0]) * pitch_mm / _COARSE_MM, np.arange(shape[1]) * pitch_mm / _COARSE_MM)


def _dense(polygon: Points, step_mm: float = 0.1) -> Points:
    closed = np.vstack([polygon, polygon[:1]])
    arc = np.r_[0.0, np.cumsum(np.hypot(*np.diff(closed, axis=0).T))]
    at = np.arange(0.0, arc[-1], step_mm)
    return np.column_stack([np.interp(at, arc, closed[:, 0]), np.interp(at, arc, closed[:, 1])])


def _inside(polygon: Points, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Even-odd rule, row by row; (rows, columns)."""
    (r0, c0), (r1, c1) = polygon.T, np.roll(polygon, -1, axis=0).T
    inside = np.zeros((len(rows), len(columns)), dtype=np.bool_)
    for i, row in enumerate(rows):
        crossed = (r0 <= row) != (r1 <= row)
        at = c0[crossed] + (row - r0[crossed]) * (c1[crossed] - c0[crossed]) / (r1[crossed] - r0[crossed])
        inside[i] = np.count_nonzero(at[:, None] > columns, axis=0) % 2 == 1
    return inside


def _nipple(breast: Breast, row: FloatImage, column: FloatImage) -> FloatImage:
    """Path through the nipple, a soft-edged ball at the outline's tip, as far as it adds to the breast."""
    r = breast.nipple_radius_mm
    away = ((row - breast.nipple_mm[0]) ** 2 + (column - breast.nipple_mm[1] + 0.8 * r) ** 2) / r**2
    return np.asarray(1.6 * r * np.clip(1.0 - away, 0.0, None), dtype=np.float32)


def _muscle(breast: Breast, row: FloatImage, column: FloatImage) -> FloatImage:
    """A slightly convex triangle in the upper corner at the chest wall, thinning at its edge."""
    if breast.muscle is None:
        return np.zeros((row.shape[0], column.shape[1]), np.float32)
    across, along, thickness = breast.muscle
    u = row / along
    edge = across * (1.0 - u + 0.35 * u * np.clip(1.0 - u, 0.0, None))
    inside = edge - column
    return np.asarray(thickness * np.sqrt(np.clip(inside / 15.0, 0.0, 1.0)), dtype=np.float32)
