"""Draw compressed breasts: outline, thickness, skin, nipple and, in MLO, the pectoral muscle.

All lengths are millimetres in the frame of a left breast: (row, column) from the centre of the first pixel, with the
chest wall along column 0 and the nipple to the right. A right breast is mirrored as the last step.

``Traits`` hold what the two views of a breast share; the two breasts of a woman have similar ones. A ``Breast`` is
one view under compression.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.raster import enlarge

View = Literal["CC", "MLO"]
Density = Literal["A", "B", "C", "D"]
SKIN_MM = 1.5  # OpenVCT
_COARSE_MM = 1.0  # this changes the distance to the outline by 0.003 mm


@dataclass(frozen=True, slots=True)
class Traits:
    """Hold the properties of a breast that do not depend on the view.

    Attributes
    ----------
    half_width_mm, depth_mm
        Extent along the chest wall, and from there to the nipple, under compression in CC.
    thickness_mm
        Compressed thickness, the mean of CC and MLO.
    gland_fraction
        Fraction of the volume that is fibroglandular.
    nipple_turn
        Position of the nipple on the outline, in radians from its tip.
    muscle_angle_deg, muscle_mm
        Angle between the edge of the pectoral muscle and the vertical in MLO, and its thickness.
    """

    density: Density
    half_width_mm: float
    depth_mm: float
    thickness_mm: float
    gland_fraction: float
    nipple_turn: float
    nipple_radius_mm: float
    muscle_angle_deg: float
    muscle_mm: float


@dataclass(frozen=True, eq=False, slots=True)
class Breast:
    """Hold one view of a breast, compressed between paddle and table.

    Attributes
    ----------
    outline
        (n, 2) closed polygon in mm; it extends beyond the image at the chest wall.
    nipple_mm
        Position of the nipple's tip.
    thickness_mm
        Compressed thickness at the middle of the chest wall.
    tilt
        Change of the thickness per mm (row, column), as the paddle tilts.
    gland_fraction
        Fraction of the volume that is fibroglandular.
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
    """Hold maps of a breast on a raster, (rows, columns) float32 in mm.

    Attributes
    ----------
    depth
        Distance to the outline, positive inside.
    thickness
        Compressed thickness, 0 outside.
    skin, muscle
        Path of the beam through skin and muscle.
    nipple
        Additional path through the nipple.
    """

    depth: FloatImage
    thickness: FloatImage
    skin: FloatImage
    nipple: FloatImage
    muscle: FloatImage


# Volumetric fractions: 3 to 35 per cent over all (commercial volumetry); the limits are ours.
_GLAND_FRACTION: dict[Density, tuple[float, float]] = {
    "A": (0.03, 0.06),
    "B": (0.06, 0.12),
    "C": (0.12, 0.22),
    "D": (0.22, 0.38),
}
# Dense breasts are thinner: 35, 45, 55, 60 mm from D to A in VICTRE; half of that here.
_THICKER_MM: dict[Density, float] = {"A": 6.0, "B": 3.0, "C": -2.0, "D": -7.0}
_THICKNESS_MM: dict[View, float] = {"CC": 52.0, "MLO": 57.0}  # UK screening, 1998
_THICKNESS_RANGE_MM = (20.0, 100.0)
_SIDES_LN_SD = 0.04  # by which the breasts of one woman differ; ours


def draw_traits(rng: np.random.Generator, density: Density) -> Traits:
    """Draw the traits of a breast; sizes follow the contact areas in mammography (70 to 115 by 60 to 130 mm)."""
    size = rng.standard_normal()
    half_width = float(np.clip(88.0 + 11.0 * size, 66.0, 115.0))
    depth = float(np.clip(half_width * rng.normal(1.0, 0.14), 55.0, 130.0))
    thickness = 54.5 + _THICKER_MM[density] + 13.0 * (0.5 * size + 0.87 * rng.standard_normal())
    return Traits(
        density=density,
        half_width_mm=half_width,
        depth_mm=depth,
        thickness_mm=float(np.clip(thickness, *_THICKNESS_RANGE_MM)),
        gland_fraction=float(rng.uniform(*_GLAND_FRACTION[density])),
        nipple_turn=float(rng.normal(0.0, 0.08)),
        nipple_radius_mm=float(rng.uniform(3.0, 5.5)),
        muscle_angle_deg=float(np.clip(rng.normal(27.0, 6.5), 15.0, 45.0)),
        muscle_mm=float(rng.uniform(10.0, 30.0)),
    )


def other_breast(rng: np.random.Generator, traits: Traits) -> Traits:
    """Draw the traits of the other breast of the same woman, similar to those given."""
    by = np.exp(rng.normal(0.0, _SIDES_LN_SD, 4))
    return replace(
        traits,
        half_width_mm=traits.half_width_mm * float(by[0]),
        depth_mm=traits.depth_mm * float(by[1]),
        thickness_mm=float(np.clip(traits.thickness_mm * by[2], *_THICKNESS_RANGE_MM)),
        gland_fraction=traits.gland_fraction * float(by[3]) ** 2,
        nipple_turn=traits.nipple_turn + float(rng.normal(0.0, 0.04)),
    )


def compress(
    rng: np.random.Generator, traits: Traits, *, view: View, height_mm: float, width_mm: float, size: float = 1.0
) -> Breast:
    """Compress a breast for one view on a field of ``height_mm`` by ``width_mm``.

    Parameters
    ----------
    size
        Factor on the size of the breast; less than 1 for small fields in tests.
    """
    half_width = min(traits.half_width_mm * size, 0.47 * height_mm)
    depth = min(traits.depth_mm * size * float(rng.normal(1.0, 0.02)), 0.8 * width_mm)
    draw = _oblique_outline if view == "MLO" else _cranial_outline
    outline, nipple = draw(rng, traits, half_width, depth, height_mm, size)
    more = _THICKNESS_MM[view] - 0.5 * (_THICKNESS_MM["CC"] + _THICKNESS_MM["MLO"])
    thickness = float(np.clip(traits.thickness_mm + more + rng.normal(0.0, 3.0), *_THICKNESS_RANGE_MM))
    return Breast(
        view=view,
        density=traits.density,
        outline=outline,
        nipple_mm=nipple,
        nipple_radius_mm=traits.nipple_radius_mm * size,
        thickness_mm=thickness * min(1.0, 0.4 + 0.6 * size),
        # 1 to 3 degrees towards the nipple (measured: 2.1), little sideways
        tilt=(float(rng.normal(0.0, 0.01)), float(-np.tan(np.radians(rng.uniform(1.0, 3.0))))),
        gland_fraction=traits.gland_fraction,
        muscle=_muscle_of(rng, traits, outline, nipple) if view == "MLO" else None,
    )


def half_width(breast: Breast, row_mm: float, column_mm: float) -> tuple[float, float]:
    """Return how far the breast extends above and below a row at a distance from the chest wall, in mm, 0 for none."""
    (r0, c0), (r1, c1) = breast.outline.T, np.roll(breast.outline, -1, axis=0).T
    crossed = (c0 <= column_mm) != (c1 <= column_mm)
    at = r0[crossed] + (column_mm - c0[crossed]) * (r1[crossed] - r0[crossed]) / (c1[crossed] - c0[crossed])
    if not len(at):
        return 0.0, 0.0
    return max(row_mm - float(at.min()), 0.0), max(float(at.max()) - row_mm, 0.0)


def _cranial_outline(
    rng: np.random.Generator, traits: Traits, half_width: float, depth: float, height_mm: float, size: float
) -> tuple[Points, tuple[float, float]]:
    """Draw outline and nipple in CC: a slightly rotated superellipse with low-order bumps."""
    angle = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 2001)
    power_row, power_column = rng.uniform(1.9, 2.4), rng.uniform(1.8, 2.2)
    extent = np.where(angle < 0.0, half_width * rng.uniform(0.92, 1.08), half_width)
    rows = extent * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2.0 / power_row)
    columns = depth * np.maximum(np.cos(angle), 0.0) ** (2.0 / power_column)
    bumps = _bumps(rng, angle)
    rows, columns = rows * bumps, columns * bumps
    turn = np.radians(rng.normal(0.0, 3.0))
    centre = height_mm * (0.5 + float(np.clip(rng.normal(0.0, 0.02), -0.04, 0.04)))
    rows, columns = (
        centre + np.cos(turn) * rows + np.sin(turn) * columns,
        np.cos(turn) * columns - np.sin(turn) * rows,
    )
    columns = columns - max(columns[0], columns[-1], 0.0)
    tip = int(np.argmin(np.abs(angle - traits.nipple_turn)))
    return _with_nipple(rng, rows, columns, tip, size)


def _oblique_outline(
    rng: np.random.Generator, traits: Traits, half_width: float, depth: float, height_mm: float, size: float
) -> tuple[Points, tuple[float, float]]:
    """Draw outline and nipple in MLO: from the axilla at the top to the nipple and the inframammary fold."""
    middle = height_mm * float(np.clip(rng.normal(0.58, 0.035), 0.5, 0.66))
    lower = min(half_width * rng.uniform(0.85, 1.0), 1.02 * (height_mm - middle))
    rows = np.linspace(-0.1 * height_mm, middle + lower, 2001)
    above, below = np.clip((middle - rows) / middle, 0.0, None), np.clip((rows - middle) / lower, 0.0, 1.0)
    axilla = rng.uniform(0.6, 0.88)
    upper = 1.0 - (1.0 - axilla) * above ** rng.uniform(1.5, 2.1)
    power = rng.uniform(2.0, 2.5)
    columns = depth * np.where(rows < middle, upper, (1.0 - below**power) ** (1.0 / rng.uniform(1.8, 2.2)))
    columns *= _bumps(rng, (rows - middle) / half_width)
    if rng.random() < 0.3:  # the belly below the fold
        start, wide = middle + lower * rng.uniform(0.86, 0.97), rng.uniform(0.2, 0.4) * depth
        rows = np.append(rows, np.linspace(rows[-1], 1.1 * height_mm, 201)[1:])
        columns = np.append(columns, np.zeros(200))
        columns = np.maximum(columns, wide * -np.expm1(-np.clip(rows - start, 0.0, None) / (25.0 * size)))
    tip = int(np.argmin(np.abs(rows - middle - traits.nipple_turn * half_width)))
    return _with_nipple(rng, rows, columns, tip, size)


def _bumps(rng: np.random.Generator, angle: NDArray[np.floating]) -> NDArray[np.floating]:
    waves = [rng.normal(0.0, 0.016 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6)]
    return np.asarray(1.0 + np.sum(waves, axis=0))


def _with_nipple(
    rng: np.random.Generator, rows: NDArray[np.floating], columns: NDArray[np.floating], tip: int, size: float
) -> tuple[Points, tuple[float, float]]:
    """Return the outline with a bump for the nipple, closed far behind the chest wall, and the tip of the nipple."""
    arc = np.hypot(rows - rows[tip], columns - columns[tip])
    columns = columns + rng.uniform(1.0, 5.0) * size * np.exp(-((arc / (5.5 * size)) ** 4))
    far = -200.0
    closed = np.column_stack([np.r_[rows[0], rows, rows[-1]], np.r_[far, columns, far]])
    return closed, (float(rows[tip]), float(columns[tip]))


def _muscle_of(
    rng: np.random.Generator, traits: Traits, outline: Points, nipple: tuple[float, float]
) -> tuple[float, float, float]:
    """Draw the muscle: its edge meets the chest wall near the height of the nipple, and the top inside the skin."""
    top = float(np.interp(0.0, outline[1:-1, 0], outline[1:-1, 1]))
    along = float(rng.uniform(0.85, 1.15)) * nipple[0]
    across = along * float(np.tan(np.radians(traits.muscle_angle_deg)))
    shrink = min(1.0, 0.8 * top / across)
    return across * shrink, along * shrink, traits.muscle_mm


def rasterise(breast: Breast, shape: tuple[int, int], pitch_mm: float) -> BreastMaps:
    """Return the maps of a breast on a raster of ``shape`` (rows, columns)."""
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
    """Return the relative height of an edge that is a half circle of this radius, at a depth inside it."""
    x = np.clip(1.0 - depth / radius, 0.0, 1.0)
    return np.asarray(np.sqrt(1.0 - x * x), dtype=np.float32)


def _depth(breast: Breast, shape: tuple[int, int], pitch_mm: float) -> FloatImage:
    """Return the signed distance to the outline in mm, computed on a coarse raster and interpolated."""
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
    """Return (rows, columns) whether points lie in a polygon, by the even-odd rule for each row."""
    (r0, c0), (r1, c1) = polygon.T, np.roll(polygon, -1, axis=0).T
    inside = np.zeros((len(rows), len(columns)), dtype=np.bool_)
    for i, row in enumerate(rows):
        crossed = (r0 <= row) != (r1 <= row)
        at = c0[crossed] + (row - r0[crossed]) * (c1[crossed] - c0[crossed]) / (r1[crossed] - r0[crossed])
        inside[i] = np.count_nonzero(at[:, None] > columns, axis=0) % 2 == 1
    return inside


def _nipple(breast: Breast, row: FloatImage, column: FloatImage) -> FloatImage:
    """Return the additional path in mm through the nipple, a ball with a soft edge at its tip."""
    r = breast.nipple_radius_mm
    away = ((row - breast.nipple_mm[0]) ** 2 + (column - breast.nipple_mm[1] + 0.8 * r) ** 2) / r**2
    return np.asarray(1.6 * r * np.clip(1.0 - away, 0.0, None), dtype=np.float32)


def _muscle(breast: Breast, row: FloatImage, column: FloatImage) -> FloatImage:
    """Return the path in mm through the muscle, a slightly convex triangle in the upper corner, thinner at its edge."""
    if breast.muscle is None:
        return np.zeros((row.shape[0], column.shape[1]), np.float32)
    across, along, thickness = breast.muscle
    u = row / along
    edge = across * (1.0 - u + 0.35 * u * np.clip(1.0 - u, 0.0, None))
    inside = edge - column
    return np.asarray(thickness * np.sqrt(np.clip(inside / 15.0, 0.0, 1.0)), dtype=np.float32)
