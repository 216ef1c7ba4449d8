"""What lies in a breast or on its skin and is taken for microcalcifications.

Benign calcium enters the truth under its own kind; what is no calcium (biopsy clips,
metal markers, deodorant) as ``no_calcium`` with its name. A confuser is a solid in three
dimensions, made of balls or of lines, so that both views of a breast show the same one.

Sizes are those of the BI-RADS lexicon's descriptions: popcorn 2 to 15 mm, rods 0.5 to
1 mm wide and up to 20 mm long, eggshells of 2 to 30 mm with walls below 1 mm, round
calcium of 0.5 to 1 mm, lucent-centred calcium of the skin. Rates, packing and shapes
are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage, Kind
from microcalc.geometry import Points
from microcalc.simulate.calcification import PITCH_MM, Calcification, Mtf
from microcalc.simulate.raster import filtered
from microcalc.simulate.spectrum import Material
from microcalc.simulate.structure import Tubes, draw_tubes, random_walks

Floats = NDArray[np.floating]
Zone = Literal["gland", "breast", "skin", "axilla"]
"""Where a confuser lies: mostly in gland, anywhere in the breast, on the skin, on the skin of the axilla."""


@dataclass(frozen=True, eq=False, slots=True)
class Balls:
    """A solid or hollow body, made of ellipsoids.

    Attributes
    ----------
    offset_mm
        (height, row, column) from the place of the group it belongs to.
    centres_mm, radii_mm
        (n, 3) height, row, column.
    wall_mm
        Of a hollow body; 0: solid.
    grain
        (9, 9) pattern of unit deviation that makes it uneven, and its strength.
    """

    offset_mm: tuple[float, float, float]
    centres_mm: Floats
    radii_mm: Floats
    wall_mm: float
    grain: Floats
    uneven: float
    material: Material
    packing: float

    def project(self, angle_rad: float) -> Calcification:
        """Its projection with the tube turned about the column axis; see ``Microcalcification3D.project``."""
        rows, _ = _turned(self.centres_mm, angle_rad)
        cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
        up, across, along = self.radii_mm.T
        wide = np.hypot(across * cosine, up * sine)
        chord = 2.0 * up * across / wide
        row, column = _raster(np.abs(rows) + wide, np.abs(self.centres_mm[:, 2]) + along)
        squared = np.zeros((row.size, column.size), dtype=np.float32)
        for r, c, w, a, thickest in zip(rows, self.centres_mm[:, 2], wide, along, chord, strict=True):
            box = (_within(row, r, w), _within(column, c, a))
            one = _ellipsoid(row[box[0]] - r, column[:, box[1]] - c, w, a, thickest, self.wall_mm)
            squared[box] += one**2
        # side by side they add as squares: more than the thickest, less than the sum
        thickness = np.sqrt(squared)
        if self.uneven > 0:
            thickness *= np.clip(1.0 + self.uneven * _enlarged(self.grain, thickness.shape), 0.0, None)
        return _calcification(thickness, self.offset_mm, angle_rad, self.material, self.packing)


@dataclass(frozen=True, eq=False, slots=True)
class Cup:
    """Milk of calcium in a small cyst: it settles, so a smudge from above and a crescent from the side."""

    offset_mm: tuple[float, float, float]
    radius_mm: float
    fill: float
    material: Material
    packing: float

    def project(self, angle_rad: float) -> Calcification:
        """Its projection; see ``Balls.project``."""
        r = self.radius_mm
        row, column = _raster(np.array([r]), np.array([r]))
        inside = np.clip(r**2 - row**2 - column**2, 0.0, None)
        if abs(angle_rad) < 0.2:
            thickness = np.clip(np.sqrt(inside) - r * (1.0 - self.fill), 0.0, None)
        else:
            level = r * (1.0 - 1.6 * self.fill) - 0.35 * column**2 / r
            thickness = 2.0 * np.sqrt(inside) * np.clip((row - level) / 0.06 + 0.5, 0.0, 1.0)
        return _calcification(np.asarray(thickness), self.offset_mm, angle_rad, self.material, self.packing)


@dataclass(frozen=True, eq=False, slots=True)
class Lines:
    """Bodies much longer than wide, such as the walls of an artery.

    Attributes
    ----------
    path_mm
        (n, m, 3) height, row, column from the place of the group, evenly spaced by ``step_mm``.
    radius_mm, weight
        (n, m), as in ``Tubes``.
    apart_mm
        Distance of the two lines that a wall is seen as; 0: a single line.
    mark_mm
        Distance of the places along it that the truth lists, and their diameter.
    """

    path_mm: Floats
    radius_mm: Floats
    weight: Floats
    step_mm: float
    apart_mm: float
    mark_mm: float
    material: Material
    packing: float

    def project(self, angle_rad: float) -> tuple[Tubes, Points]:
        """The lines as tubes around (0, 0), and places (k, 2) in mm along them."""
        rows, _ = _turned(self.path_mm, angle_rad)
        columns = self.path_mm[..., 2]
        every = max(int(self.mark_mm / self.step_mm), 1)
        middle = rows.shape[1] // 2 % every
        marks = np.stack([rows[:, middle::every], columns[:, middle::every]], axis=-1).astype(np.float64)
        seen = self.weight[: len(rows), middle::every] + self.weight[-len(rows) :, middle::every] > 0
        if self.apart_mm > 0:
            angle = np.arctan2(np.gradient(rows, axis=1), np.gradient(columns, axis=1))
            side = np.array([[-0.5], [0.5]]) * self.apart_mm
            rows, columns = rows + side * np.cos(angle), columns - side * np.sin(angle)
        return Tubes(rows, columns, self.radius_mm, self.weight, self.step_mm), np.asarray(marks[seen])


Body = Balls | Cup | Lines


@dataclass(frozen=True, eq=False, slots=True)
class Confuser:
    """Bodies that belong together, such as the rods of a breast.

    Attributes
    ----------
    what
        Their name in the truth.
    to_nipple
        Whether their column axis is turned towards the nipple.
    """

    kind: Kind
    what: str
    zone: Zone
    bodies: tuple[Body, ...]
    to_nipple: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what it is in the truth, where it lies, how many per breast, and how it is drawn."""

    kind: Kind
    zone: Zone
    rate: float
    draw: Callable[[np.random.Generator], tuple[Body, ...]]
    to_nipple: bool = False


def draw_confuser(rng: np.random.Generator, name: str) -> Confuser:
    """One confuser of the table."""
    row = CONFUSERS[name]
    return Confuser(row.kind, name, row.zone, row.draw(rng), row.to_nipple)


# Balls


def _lumps(
    rng: np.random.Generator,
    radii: Floats,
    spread_mm: Floats,
    packing: tuple[float, float],
    *,
    offset_mm: Floats | None = None,
    wall_mm: float = 0.0,
    uneven: float = 0.1,
    oblong: float = 0.15,
    material: Material = "hydroxyapatite",
) -> Balls:
    """Ellipsoids of mean ``radii`` (n,) in a Gaussian cloud."""
    n = len(radii)
    places = rng.normal(0.0, 1.0, (n, 3)) * spread_mm if n > 1 else np.zeros((1, 3))
    place = np.zeros(3) if offset_mm is None else offset_mm
    return Balls(
        offset_mm=(float(place[0]), float(place[1]), float(place[2])),
        centres_mm=places,
        radii_mm=radii[:, None] * np.exp(rng.normal(0.0, oblong, (n, 3))),
        wall_mm=wall_mm,
        grain=_grain(rng),
        uneven=uneven,
        material=material,
        packing=_log_uniform(rng, packing),
    )


def _coarse(rng: np.random.Generator) -> tuple[Body, ...]:
    """One lumpy particle of about 0.7 to 3 mm."""
    diameter = float(np.clip(rng.lognormal(np.log(1.3), 0.4), 0.9, 3.0))
    n = int(rng.integers(3, 9))
    looser = min(1.0, 1.2 / diameter)
    radii, packing = diameter * rng.uniform(0.12, 0.32, n), (0.15 * looser, 0.6 * looser)
    return (_lumps(rng, radii, np.full(3, 0.2 * diameter), packing, uneven=0.25, oblong=0.3),)


def _popcorn(rng: np.random.Generator) -> tuple[Body, ...]:
    """A degenerating fibroadenoma: many large lumps, 2 to 15 mm over all."""
    diameter = _log_uniform(rng, (2.0, 15.0))
    n = int(rng.integers(10, 16)) + int(2.5 * diameter)
    radii = diameter * np.exp(rng.normal(np.log(0.085), 0.45, n)).clip(0.03, 0.18)
    looser = min(1.0, 2.5 / diameter)  # large ones are shells and flakes more than solid
    packing = (0.12 * looser, 0.5 * looser)
    return (_lumps(rng, radii, np.full(3, 0.2 * diameter), packing, uneven=0.4, oblong=0.3),)


def _round(rng: np.random.Generator) -> tuple[Body, ...]:
    """One to five smooth balls of 0.5 to 1 mm."""
    return tuple(
        _lumps(rng, rng.uniform(0.25, 0.5, 1), np.zeros(3), (0.15, 0.6), offset_mm=rng.normal(0.0, 8.0, 3), oblong=0.08)
        for _ in range(int(rng.integers(1, 6)))
    )


def _rim(rng: np.random.Generator) -> tuple[Body, ...]:
    """The wall of an oil cyst, thin and here and there missing."""
    radius = 0.5 * float(np.clip(rng.lognormal(np.log(4.5), 0.6), 2.0, 30.0))
    wall = float(rng.uniform(0.1, 0.4)) * min(1.0, radius / 2)
    return (
        _lumps(rng, np.array([radius]), np.zeros(3), (0.1, 0.4), wall_mm=wall, uneven=float(rng.uniform(0.05, 0.25))),
    )


def _skin(rng: np.random.Generator) -> tuple[Body, ...]:
    """Two to eight rings of 0.5 to 1 mm close to each other, of sebaceous glands."""
    return tuple(
        _lumps(
            rng,
            rng.uniform(0.25, 0.5, 1),
            np.zeros(3),
            (0.2, 0.6),
            offset_mm=rng.normal(0.0, (0.5, 4.0, 4.0)),
            wall_mm=float(rng.uniform(0.1, 0.18)),
        )
        for _ in range(int(rng.integers(2, 9)))
    )


def _milk(rng: np.random.Generator) -> tuple[Body, ...]:
    packing = _log_uniform(rng, (0.08, 0.3))
    bodies: list[Body] = []
    for offset in rng.normal(0.0, 5.0, (int(rng.integers(3, 12)), 3)):
        radius, fill = float(rng.uniform(0.4, 1.2)), float(rng.uniform(0.2, 0.45))
        place = (float(offset[0]), float(offset[1]), float(offset[2]))
        bodies.append(Cup(place, radius, fill, "calcium_carbonate", packing))
    return tuple(bodies)


def _dystrophic(rng: np.random.Generator) -> tuple[Body, ...]:
    """Irregular plates around a lucent centre, 1.5 to 8 mm, after surgery or trauma."""
    bodies: list[Body] = []
    for _ in range(int(rng.integers(1, 4))):
        size = _log_uniform(rng, (1.5, 8.0))
        n = int(rng.integers(7, 16))
        radii = rng.uniform(0.06, 0.15, n) * size
        looser = min(1.0, 2.0 / size)
        plate = _lumps(
            rng,
            radii,
            np.zeros(3),
            (0.15 * looser, 0.5 * looser),
            offset_mm=rng.normal(0.0, 6.0, 3),
            uneven=0.3,
            oblong=0.5,
        )
        around = rng.normal(size=(n, 3)) * (1.0, 1.0, 0.7)
        around *= 0.3 * size / np.linalg.norm(around, axis=1, keepdims=True)
        bodies.append(replace(plate, centres_mm=around))
    return tuple(bodies)


def _marker(rng: np.random.Generator) -> tuple[Body, ...]:
    """A lead ball that marks the nipple or a palpable lump, or the wire along a scar."""
    if rng.random() < 0.6:
        radius = rng.uniform(0.75, 1.25, 1)
        return (_lumps(rng, radius, np.zeros(3), (0.6, 0.6), uneven=0.0, oblong=0.0, material="gold"),)
    return (_walk(rng, rng.uniform(20.0, 40.0), 0.3, bend_per_mm=0.01, material="gold", packing=0.6),)


def _deodorant(rng: np.random.Generator) -> tuple[Body, ...]:
    """5 to 50 specks of aluminium salts in the folds of the axilla."""
    spread = rng.uniform(3.0, 12.0)
    return tuple(
        _lumps(
            rng,
            rng.uniform(0.05, 0.25, 1),
            np.zeros(3),
            (0.3, 1.0),
            offset_mm=rng.normal(0.0, 1.0, 3) * (1.0, spread, spread),
            uneven=0.0,
            oblong=0.3,
            material="aluminium",
        )
        for _ in range(int(rng.integers(5, 51)))
    )


# Lines


def _walk(
    rng: np.random.Generator,
    length_mm: float,
    radius_mm: float,
    *,
    heading: float | None = None,
    bend_per_mm: float,
    offset_mm: Floats | None = None,
    material: Material = "hydroxyapatite",
    packing: float,
) -> Lines:
    """One smooth line, its middle at the offset; ``heading`` in radians from the column axis towards rows."""
    step = 0.04
    aim = rng.uniform(0.0, 2 * np.pi) if heading is None else heading
    path = _path(rng, length_mm, aim, bend_per_mm, step) + (np.zeros(3) if offset_mm is None else offset_mm)
    ends = np.minimum(np.arange(path.shape[1]), np.arange(path.shape[1])[::-1]) * step
    radius = np.full(path.shape[:2], radius_mm) * np.clip(0.5 + ends / (4 * radius_mm), 0.5, 1.0)
    return Lines(path, radius, np.ones(path.shape[:2]), step, 0.0, max(2.0, 2 * radius_mm), material, packing)


def _path(rng: np.random.Generator, length_mm: float, heading: float, bend_per_mm: float, step: float) -> Floats:
    """(1, m, 3), in a plane through the column axis that is turned at random."""
    rows, columns = random_walks(
        rng, np.zeros((1, 2)), np.array([heading]), length_mm=length_mm, step_mm=step, bend_per_mm=bend_per_mm
    )
    plane = rng.uniform(-1.2, 1.2)
    path = np.stack([rows * np.sin(plane), rows * np.cos(plane), columns], axis=-1)
    return np.asarray(path - path[:, path.shape[1] // 2 : path.shape[1] // 2 + 1])


def _artery(rng: np.random.Generator) -> tuple[Body, ...]:
    """Two broken lines of 0.2 to 0.6 mm in the wall of a winding artery of 1 to 4 mm, dotted where they begin."""
    step = 0.04
    path = _path(rng, float(rng.uniform(15.0, 60.0)), np.pi + rng.normal(0.0, 0.6), 0.06, step)
    m = path.shape[1]
    # patches of 1 to 6 mm, some lined with calcium, some dotted, some free
    smooth = _smooth(rng, (2, m), rng.uniform(1.0, 3.0) / step) + rng.normal(0.1, 0.3)
    dots = _smooth(rng, (2, m), 0.25 / step)
    weight = np.clip(smooth + 0.7 * dots, 0.0, 1.5)
    radius = np.broadcast_to(rng.uniform(0.1, 0.22), (2, m)) * np.clip(1.0 + 0.3 * dots, 0.6, 1.5)
    apart, packing = float(rng.uniform(1.0, 3.5)), _log_uniform(rng, (0.12, 0.45))
    return (Lines(path, radius, weight, step, apart, 2.0, "hydroxyapatite", packing),)


def _rods(rng: np.random.Generator) -> tuple[Body, ...]:
    """Two to eight smooth rods towards the nipple, of secretory disease."""
    packing = _log_uniform(rng, (0.2, 0.6))
    return tuple(
        _walk(
            rng,
            float(rng.uniform(3.0, 20.0)),
            float(rng.uniform(0.25, 0.5)),
            heading=float(rng.normal(0.0, 0.3)),
            bend_per_mm=0.02,
            offset_mm=rng.normal(0.0, 1.0, 3) * (6.0, 14.0, 14.0),
            packing=packing,
        )
        for _ in range(int(rng.integers(2, 9)))
    )


def _suture(rng: np.random.Generator) -> tuple[Body, ...]:
    """Calcified threads with a knot."""
    packing, radius = _log_uniform(rng, (0.2, 0.6)), float(rng.uniform(0.12, 0.25))
    bodies: list[Body] = []
    for _ in range(int(rng.integers(1, 4))):
        offset = rng.normal(0.0, 4.0, 3)
        thread = _walk(rng, float(rng.uniform(4.0, 12.0)), radius, bend_per_mm=0.12, offset_mm=offset, packing=packing)
        t = np.linspace(0.0, 2 * np.pi, max(int(2 * np.pi * 0.7 / thread.step_mm), 8))
        knot = np.stack([0.2 * np.sin(2 * t), 0.7 * np.sin(t), 0.5 * np.cos(t)], axis=-1)[None] + thread.path_mm[:, -1:]
        flat = np.ones(knot.shape[:2])
        bodies += [thread, Lines(knot, radius * flat, flat, thread.step_mm, 0.0, 4.0, "hydroxyapatite", packing)]
    return tuple(bodies)


def _clip(rng: np.random.Generator) -> tuple[Body, ...]:
    """A titanium clip of 3 mm: a bent wire."""
    t = np.linspace(-1.0, 1.0, 90)
    u = np.stack([np.zeros_like(t), 0.55 * np.clip(1.6 * np.abs(t) - 0.6, 0.0, 1.0), 1.2 * t], axis=-1)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    path = (u - u.mean(axis=0)) @ turn.T
    step = float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean())
    flat = np.ones((1, len(t)))
    return (Lines(path[None], 0.2 * flat, flat, step, 0.0, 6.0, "titanium", 1.0),)


CONFUSERS: Mapping[str, Row] = MappingProxyType(
    {
        # arterial calcium in 12 per cent of women; calcium of some kind in half of all mammograms from 50 years on
        "arterial": Row("vascular", "breast", 0.15, _artery),
        "coarse": Row("coarse", "gland", 0.35, _coarse),
        "popcorn": Row("popcorn", "gland", 0.05, _popcorn),
        "rod-like": Row("rod_like", "gland", 0.05, _rods, to_nipple=True),
        "rim": Row("rim", "breast", 0.15, _rim),
        "round": Row("round", "gland", 0.3, _round),
        "skin": Row("skin", "skin", 0.12, _skin),
        "milk-of-calcium": Row("milk_of_calcium", "gland", 0.05, _milk),
        "dystrophic": Row("dystrophic", "breast", 0.06, _dystrophic),
        "suture": Row("suture", "breast", 0.03, _suture),
        "clip": Row("no_calcium", "gland", 0.03, _clip),
        "metal-marker": Row("no_calcium", "skin", 0.03, _marker),
        "deodorant": Row("no_calcium", "axilla", 0.05, _deodorant),
    }
)
"""Rates are Poisson means per breast."""


def imaged_lines(
    tubes: Tubes, shape: tuple[int, int], pitch_mm: float, *, contrast: Callable[[FloatImage], FloatImage], mtf: Mtf
) -> tuple[tuple[int, int], FloatImage]:
    """Blurred contrast of lines, on the part of the image around them; parameters as of ``lines_path``.

    Parameters
    ----------
    contrast
        Fraction of the primary removed over the path through the lines in mm.
    """
    corner, path = lines_path(tubes, shape, pitch_mm)
    if not path.size:
        return corner, path
    blurred = filtered(contrast(path), pitch_mm, lambda r, c: mtf(np.hypot(r, c).astype(np.float64)))
    return corner, np.maximum(blurred, 0.0)


def lines_path(tubes: Tubes, shape: tuple[int, ...], pitch_mm: float) -> tuple[tuple[int, int], FloatImage]:
    """Path through lines in mm, on the part of an image of a shape that lies around them.

    Returns
    -------
    (row, column) of the patch's first pixel, and the patch; empty where the lines miss the image.
    """
    border = int(np.ceil(1.5 / pitch_mm))
    spans: list[tuple[int, int]] = []
    for along, size in zip((tubes.rows, tubes.columns), shape, strict=True):
        low, high = float(along.min()) / pitch_mm - border, float(along.max()) / pitch_mm + border
        first = int(np.clip(np.floor(low), 0, size))
        spans.append((first, int(np.clip(np.ceil(high), first, size))))
    (r0, r1), (c0, c1) = spans
    if r1 == r0 or c1 == c0:
        return (r0, c0), np.zeros((0, 0), dtype=np.float32)
    here = replace(tubes, rows=tubes.rows - r0 * pitch_mm, columns=tubes.columns - c0 * pitch_mm)
    return (r0, c0), draw_tubes([here], (r1 - r0, c1 - c0), pitch_mm)


def _turned(points: Floats, angle_rad: float) -> tuple[Floats, Floats]:
    """Rows and heights in a view, of points (..., 3)."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    height, row = points[..., 0], points[..., 1]
    return row * cosine + height * sine, height * cosine - row * sine


def _within(axis: FloatImage, centre: float, half: float) -> slice:
    """The part of a sorted axis that lies within ``half`` of ``centre``."""
    first, last = np.searchsorted(axis.ravel(), (centre - half, centre + half))
    return slice(int(first), int(last))


def _ellipsoid(
    row: FloatImage, column: FloatImage, wide: float, along: float, thickest: float, wall: float
) -> FloatImage:
    """Path through an ellipsoid, or through its wall."""

    def solid(less: float) -> FloatImage:
        w, a = max(wide - less, 1e-3), max(along - less, 1e-3)
        squared = 1.0 - (row / np.float32(w)) ** 2 - (column / np.float32(a)) ** 2
        return np.asarray(max(thickest - 2 * less, 0.0) * np.sqrt(np.clip(squared, 0.0, None)), dtype=np.float32)

    return solid(0.0) - solid(wall) if wall > 0 else solid(0.0)


def _raster(rows: Floats, columns: Floats) -> tuple[FloatImage, FloatImage]:
    half = int(np.ceil(max(float(rows.max()), float(columns.max())) / PITCH_MM)) + 1
    axis = (np.arange(-half, half + 1) * PITCH_MM).astype(np.float32)
    return axis[:, None], axis[None, :]


def _calcification(
    thickness: FloatImage, offset: tuple[float, float, float], angle_rad: float, material: Material, packing: float
) -> Calcification:
    """Cut square around its centroid, so that the truth is the middle; the diameter is the larger side's."""
    row, height = _turned(np.asarray(offset), angle_rad)
    middle = (np.array(thickness.shape) - 1) / 2
    at = [round(float(x)) for x in ndimage.center_of_mass(thickness)]
    filled_rows, filled_columns = (np.flatnonzero((thickness > 0).any(axis=axis)) for axis in (1, 0))
    ends = [filled_rows[0] - at[0], filled_rows[-1] - at[0], filled_columns[0] - at[1], filled_columns[-1] - at[1]]
    half = int(np.max(np.abs(ends)))
    padded = np.pad(thickness, half)
    cut = padded[at[0] : at[0] + 2 * half + 1, at[1] : at[1] + 2 * half + 1]
    shift = (np.array(at) - middle) * PITCH_MM
    larger = max(np.ptp(filled_rows), np.ptp(filled_columns)) + 1
    return Calcification(
        offset_mm=(float(row) + float(shift[0]), offset[2] + float(shift[1])),
        height_mm=float(height),
        thickness_mm=np.ascontiguousarray(cut, dtype=np.float32),
        material=material,
        packing=packing,
        diameter_mm=float(larger) * PITCH_MM,
        morphology="",
    )


def _grain(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(9, 9))


def _enlarged(grain: Floats, shape: tuple[int, ...]) -> FloatImage:
    """A small pattern on a raster, bicubic."""
    at = [np.linspace(0, n - 1, size) for n, size in zip(grain.shape, shape, strict=True)]
    coordinates = np.meshgrid(*at, indexing="ij")
    return np.asarray(ndimage.map_coordinates(grain, coordinates, order=3), dtype=np.float32)


def _smooth(rng: np.random.Generator, shape: tuple[int, int], length: float) -> Floats:
    """Rows of noise of unit deviation, smooth over ``length`` samples."""
    noise = ndimage.gaussian_filter1d(rng.standard_normal(shape), length / 2, axis=1, mode="reflect")
    return np.asarray(noise / max(float(noise.std()), 1e-6))


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
