"""Draw linear structures of the breast as tubes along random walks: Cooper's ligaments, ducts and vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.breast import Breast
from microcalc.simulate.raster import frequencies

Floats = NDArray[np.floating]
_RADII_MM = np.array([0.07, 0.11, 0.17, 0.26, 0.4, 0.62, 0.95, 1.45])
"""Radii with which tubes are drawn: each takes the nearest."""


@dataclass(frozen=True, eq=False, slots=True)
class Tubes:
    """Hold tubes by their centre lines, all with the same number of points.

    Attributes
    ----------
    rows, columns
        (n, m) positions in mm, evenly spaced by ``step_mm``.
    radius_mm
        (n, m) radius at each point.
    weight
        (n, m) factor on the path through the tube: above 1 for a sheet seen edge-on,
        below 1 for weaker attenuation, 0 where the line is interrupted.
    """

    rows: Floats
    columns: Floats
    radius_mm: Floats
    weight: Floats
    step_mm: float


def random_walks(
    rng: np.random.Generator,
    start: Floats,
    heading: Floats,
    *,
    length_mm: float,
    step_mm: float,
    bend_per_mm: float,
    bend_memory_mm: float = 8.0,
) -> tuple[Floats, Floats]:
    """Draw smooth curves whose curvature is a random process.

    Parameters
    ----------
    start, heading
        (n, 2) in mm, and (n,) in radians from the column axis towards increasing rows.
    bend_per_mm, bend_memory_mm
        Standard deviation of the curvature, and how far along the curve it persists.

    Returns
    -------
    rows, columns
        (n, m) in mm.
    """
    n, m = len(start), max(int(length_mm / step_mm), 2)
    keep = np.exp(-step_mm / bend_memory_mm)
    kick = rng.standard_normal((n, m)) * np.sqrt(1.0 - keep**2)
    curvature = np.empty((n, m))
    curvature[:, 0] = rng.standard_normal(n)
    for i in range(1, m):
        curvature[:, i] = keep * curvature[:, i - 1] + kick[:, i]
    angle = heading[:, None] + np.cumsum(bend_per_mm * curvature, axis=1) * step_mm
    rows = start[:, :1] + np.cumsum(np.sin(angle), axis=1) * step_mm
    columns = start[:, 1:] + np.cumsum(np.cos(angle), axis=1) * step_mm
    return rows, columns


def draw_tubes(tubes: list[Tubes], shape: tuple[int, int], pitch_mm: float) -> FloatImage:
    """Return the path through tubes in mm, (rows, columns): across a straight tube, the chord of a circle.

    A line of length density 1 convolved with a disc of radius r is ``2 sqrt(r^2 - d^2)``
    at distance d, so that tubes of one radius cost one Fourier transform.
    """
    size = (fft.next_fast_len(shape[0] + 64, real=True), fft.next_fast_len(shape[1] + 64, real=True))
    f = np.hypot(*frequencies(size, pitch_mm))
    total = np.zeros(f.shape, dtype=np.complex64)
    limits = np.sqrt(_RADII_MM[1:] * _RADII_MM[:-1])
    nearest = [np.searchsorted(limits, t.radius_mm) for t in tubes]
    for k, radius in enumerate(_RADII_MM):
        canvas = np.zeros(size, dtype=np.float32)
        for t, which in zip(tubes, nearest, strict=True):
            mine = (which == k) & (t.weight > 0.0)
            section = (t.radius_mm[mine] / radius) ** 2  # the tube's own cross-section, not the tabulated one's
            amount = t.weight[mine] * section * t.step_mm
            _deposit(canvas, t.rows[mine] / pitch_mm, t.columns[mine] / pitch_mm, amount, shape)
        if canvas.any():
            total += fft.rfft2(canvas, workers=1) * _disc(f, radius, pitch_mm)
    path = fft.irfft2(total, s=size, workers=1)[: shape[0], : shape[1]]
    return np.asarray(np.maximum(path, 0.0), dtype=np.float32)


def _disc(f: FloatImage, radius: float, pitch_mm: float) -> FloatImage:
    """Return the Fourier transform of a disc in pixel areas, blurred by a third of a pixel against ringing."""
    x = np.maximum(2.0 * np.pi * radius * f, 1e-6)
    soft = np.exp(-2.0 * (np.pi * f * max(0.33 * pitch_mm, 0.25 * radius)) ** 2)
    return np.asarray(np.pi * radius**2 * 2.0 * special.j1(x) / x / pitch_mm**2 * soft, dtype=np.float32)


def _deposit(canvas: FloatImage, rows: Floats, columns: Floats, amount: Floats, shape: tuple[int, int]) -> None:
    """Add values at fractional pixels, split among four neighbours, in place; ignore those outside the shape."""
    inside = (rows >= -20) & (rows < shape[0] + 20) & (columns >= -20) & (columns < shape[1] + 20)
    rows, columns, amount = rows[inside], columns[inside], amount[inside]
    r0, c0 = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    fr, fc = rows - r0, columns - c0
    flat = canvas.reshape(-1)
    for dr, dc, share in ((0, 0, (1 - fr) * (1 - fc)), (0, 1, (1 - fr) * fc), (1, 0, fr * (1 - fc)), (1, 1, fr * fc)):
        at = ((r0 + dr) % canvas.shape[0]) * canvas.shape[1] + (c0 + dc) % canvas.shape[1]
        np.add.at(flat, at, (amount * share).astype(np.float32))


def ligaments(rng: np.random.Generator, breast: Breast, extent_mm: tuple[float, float], *, n: int) -> Tubes:
    """Draw thin ligaments, most of them roughly towards the nipple, some curving under the skin."""
    length, step = float(np.hypot(*extent_mm) * 0.3), 0.06
    start = np.column_stack([rng.uniform(-5, extent_mm[0] + 5, n), rng.uniform(-5, extent_mm[1], n)])
    to_nipple = np.arctan2(breast.nipple_mm[0] - start[:, 0], breast.nipple_mm[1] + 10.0 - start[:, 1])
    heading = to_nipple + rng.normal(0.0, np.where(rng.random(n) < 0.65, 0.35, 1.2))
    rows, columns = random_walks(rng, start, heading, length_mm=length, step_mm=step, bend_per_mm=0.055)
    m = rows.shape[1]
    share = np.exp(rng.normal(np.log(0.28), 0.6, n)).clip(0.08, 1.0)
    along = np.arange(m) / m / share[:, None]
    taper = np.sin(np.pi * np.clip(along, 0.0, 1.0))
    strength = np.exp(rng.normal(np.log(1.6), 0.8, n)).clip(0.2, 8.0)[:, None]
    beat = 0.75 + 0.25 * np.sin(2 * np.pi * along * rng.uniform(0.5, 3.0, (n, 1)) + rng.uniform(0, 6.28, (n, 1)))
    radius = np.exp(rng.normal(np.log(0.12), 0.4, n)).clip(0.07, 0.4)[:, None]
    return Tubes(rows, columns, np.broadcast_to(radius, rows.shape), taper * strength * beat, step)


def ducts(rng: np.random.Generator, breast: Breast) -> Tubes:
    """Draw the ducts of five to nine lobes, which fan out from the nipple and branch."""
    step, length = 0.06, 0.55 * breast.nipple_mm[1]
    lobes, twigs = int(rng.integers(5, 10)), 5
    n = lobes * twigs
    fan = np.linspace(-0.9, 0.9, lobes) + rng.normal(0, 0.08, lobes)
    heading = np.repeat(np.pi + fan, twigs) + rng.normal(0.0, 0.22, n)
    start = np.tile(np.array(breast.nipple_mm) - (0.0, 6.0), (n, 1)) + rng.normal(0, 1.2, (n, 2))
    rows, columns = random_walks(rng, start, heading, length_mm=length, step_mm=step, bend_per_mm=0.03)
    along = np.arange(rows.shape[1]) / rows.shape[1]
    reach = rng.uniform(0.3, 1.0, n)[:, None]
    radius = np.maximum(rng.uniform(0.25, 0.6, n)[:, None] * (1.0 - 0.7 * along / reach), 0.08)
    weight = np.where(along < reach, 0.8, 0.0)
    return Tubes(rows, columns, radius, weight, step)


def vessels(rng: np.random.Generator, breast: Breast, extent_mm: tuple[float, float], *, n: int) -> Tubes:
    """Draw vessels: wider, winding tubes that enter at the chest wall or the axilla and become thinner."""
    step, length = 0.06, 0.9 * breast.nipple_mm[1]
    start = np.column_stack([rng.uniform(0.1, 0.9, n) * extent_mm[0], rng.uniform(-3.0, 0.3 * extent_mm[1], n)])
    aim = np.arctan2(breast.nipple_mm[0] - start[:, 0], breast.nipple_mm[1] - start[:, 1])
    rows, columns = random_walks(
        rng, start, aim + rng.normal(0, 0.5, n), length_mm=length, step_mm=step, bend_per_mm=0.05, bend_memory_mm=6.0
    )
    along = np.arange(rows.shape[1]) / rows.shape[1]
    first = np.exp(rng.normal(np.log(0.7), 0.4, n)).clip(0.3, 1.5)[:, None]
    radius = np.maximum(first * (1.0 - 0.7 * along), 0.2)
    weight = np.where(along < rng.uniform(0.4, 1.0, n)[:, None], rng.uniform(0.5, 0.95, n)[:, None], 0.0)
    return Tubes(rows, columns, radius, weight, step)


def crossings(rng: np.random.Generator, centres_mm: Points) -> Tubes:
    """Draw short ligaments that cross at positions (n, 2) in mm: bright where they meet, but without calcium."""
    step, length, per_place = 0.05, 14.0, 4
    centre = np.repeat(centres_mm, per_place, axis=0)
    heading = rng.uniform(0.0, 2 * np.pi, len(centre))
    before = 0.5 * length * np.column_stack([np.sin(heading), np.cos(heading)])
    start = centre - before + rng.normal(0.0, 0.12, centre.shape)
    rows, columns = random_walks(rng, start, heading, length_mm=length, step_mm=step, bend_per_mm=0.004)
    radius = rng.uniform(0.1, 0.2, len(centre))[:, None]
    taper = np.sin(np.pi * np.linspace(0, 1, rows.shape[1])) ** 2
    weight = taper * rng.uniform(0.8, 2.2, len(centre))[:, None]
    return Tubes(rows, columns, np.broadcast_to(radius, rows.shape), weight, step)
