"""Define the three-dimensional bodies of confusers, and project them along the beam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.calcification import PITCH_MM, Calcification, Mtf
from microcalc.simulate.raster import filtered
from microcalc.simulate.spectrum import Material
from microcalc.simulate.structure import Tubes, draw_tubes

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False, slots=True)
class Balls:
    """Hold a solid or hollow body made of ellipsoids.

    Attributes
    ----------
    offset_mm
        (height, row, column) from the location of the confuser.
    centres_mm, radii_mm
        (n, 3) height, row and column of the centres, and the radii along these axes.
    wall_mm
        Thickness of the wall of a hollow body; 0 for a solid one.
    grain, uneven
        (9, 9) pattern of unit standard deviation that makes the thickness uneven, and its strength.
    packing
        Fraction of the body that the material fills.
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
        """Return the projection with the tube rotated about the column axis; see ``Microcalcification3D.project``."""
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
        # adjacent ellipsoids add as squares: more than the thickest, less than the sum
        thickness = np.sqrt(squared)
        if self.uneven > 0:
            thickness *= np.clip(1.0 + self.uneven * _enlarged(self.grain, thickness.shape), 0.0, None)
        return _calcification(thickness, self.offset_mm, angle_rad, self.material, self.packing)


@dataclass(frozen=True, eq=False, slots=True)
class Cup:
    """Hold milk of calcium in a small cyst: it settles, and so is a smudge from above and a crescent from the side."""

    offset_mm: tuple[float, float, float]
    radius_mm: float
    fill: float
    material: Material
    packing: float

    def project(self, angle_rad: float) -> Calcification:
        """Return the projection; see ``Balls.project``."""
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
    """Hold bodies that are much longer than wide, such as the walls of an artery.

    Attributes
    ----------
    path_mm
        (n, m, 3) height, row and column from the location of the confuser, evenly spaced by ``step_mm``.
    radius_mm, weight
        (n, m) as in ``Tubes``.
    apart_mm
        Distance between the two lines as which a wall appears; 0 for a single line.
    mark_mm
        Largest distance between annotations along a line, and their smallest diameter.
    packing
        Fraction of the body that the material fills.
    """

    path_mm: Floats
    radius_mm: Floats
    weight: Floats
    step_mm: float
    apart_mm: float
    mark_mm: float
    material: Material
    packing: float

    def project(self, angle_rad: float) -> Tubes:
        """Return the projection as tubes around (0, 0)."""
        rows, _ = _turned(self.path_mm, angle_rad)
        columns = self.path_mm[..., 2]
        if self.apart_mm > 0:
            angle = np.arctan2(np.gradient(rows, axis=1), np.gradient(columns, axis=1))
            side = np.array([[-0.5], [0.5]]) * self.apart_mm
            rows, columns = rows + side * np.cos(angle), columns - side * np.sin(angle)
        return Tubes(rows, columns, self.radius_mm, self.weight, self.step_mm)


Body = Balls | Cup | Lines


def laid(lines: Lines, centre_mm: Points, *, tube_rad: float, heading_rad: float) -> Tubes:
    """Return the projection of lines in an image.

    Parameters
    ----------
    centre_mm
        (2,) position of the confuser in the image.
    tube_rad
        Angle of the tube.
    heading_rad
        Angle by which the column axis of the lines is turned towards the row axis of the image.
    """
    tubes = lines.project(tube_rad)
    cosine, sine = np.cos(heading_rad), np.sin(heading_rad)
    rows = centre_mm[0] + (cosine * tubes.rows + sine * tubes.columns)
    columns = centre_mm[1] + (cosine * tubes.columns - sine * tubes.rows)
    return replace(tubes, rows=rows, columns=columns)


def discs_along(tubes: Tubes, *, every_mm: float, together: bool) -> NDArray[np.float64]:
    """Return discs that together cover the visible parts of lines.

    Parameters
    ----------
    every_mm
        Greatest length of the segments into which a line is divided; each visible segment has a disc.
    together
        Whether the lines are walls of one vessel and share their discs.

    Returns
    -------
    (k, 3) row, column and diameter in mm.
    """
    m = tubes.weight.shape[1]
    pieces = np.array_split(np.arange(m), int(np.ceil(m * tubes.step_mm / every_mm)))
    discs = []
    for lines in [slice(None)] if together else [slice(n, n + 1) for n in range(len(tubes.weight))]:
        for piece in pieces:
            line, along = np.nonzero(tubes.weight[lines][:, piece] > 0)
            if along.size == 0:
                continue
            at = piece[along]
            middle = (at.min() + at.max()) // 2
            row, column = (part[lines][:, middle].mean() for part in (tubes.rows, tubes.columns))
            away = np.hypot(tubes.rows[lines][line, at] - row, tubes.columns[lines][line, at] - column)
            discs.append((row, column, 2 * (away + tubes.radius_mm[lines][line, at]).max()))
    return np.array(discs, dtype=np.float64).reshape(-1, 3)


def imaged_lines(
    tubes: Tubes, shape: tuple[int, int], pitch_mm: float, *, contrast: Callable[[FloatImage], FloatImage], mtf: Mtf
) -> tuple[tuple[int, int], FloatImage]:
    """Return the blurred contrast of lines on the part of the image around them.

    Parameters
    ----------
    shape, pitch_mm
        (rows, columns) and pixel pitch of the image.
    contrast
        Function from the path through the lines in mm to the fraction of the primary signal removed.

    Returns
    -------
    (row, column) of the first pixel of the patch, and the patch; empty where the lines miss the image.
    """
    corner, path = lines_path(tubes, shape, pitch_mm)
    if not path.size:
        return corner, path
    blurred = filtered(contrast(path), pitch_mm, lambda r, c: mtf(np.hypot(r, c).astype(np.float64)))
    return corner, np.maximum(blurred, 0.0)


def lines_path(tubes: Tubes, shape: tuple[int, ...], pitch_mm: float) -> tuple[tuple[int, int], FloatImage]:
    """Return the path through lines in mm on the part of an image of ``shape`` around them.

    Returns
    -------
    (row, column) of the first pixel of the patch, and the patch; empty where the lines miss the image.
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
    """Return the rows and heights in a view of points (..., 3)."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    height, row = points[..., 0], points[..., 1]
    return row * cosine + height * sine, height * cosine - row * sine


def _within(axis: FloatImage, centre: float, half: float) -> slice:
    """Return the part of a sorted axis within ``half`` of ``centre``."""
    first, last = np.searchsorted(axis.ravel(), (centre - half, centre + half))
    return slice(int(first), int(last))


def _ellipsoid(
    row: FloatImage, column: FloatImage, wide: float, along: float, thickest: float, wall: float
) -> FloatImage:
    """Return the path through an ellipsoid, or through its wall if it has one."""

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
    """Return a projection cropped to a square around its centroid; the diameter is its longer side."""
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


def _enlarged(grain: Floats, shape: tuple[int, ...]) -> FloatImage:
    """Enlarge a small pattern to a raster by bicubic interpolation."""
    at = [np.linspace(0, n - 1, size) for n, size in zip(grain.shape, shape, strict=True)]
    coordinates = np.meshgrid(*at, indexing="ij")
    return np.asarray(ndimage.map_coordinates(grain, coordinates, order=3), dtype=np.float32)
