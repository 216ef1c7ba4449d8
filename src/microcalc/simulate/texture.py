"""Draw breast tissue in three dimensions and project it: gland, fat lobules and the sheets between them.

A projected power-law field has the spectrum of a mammogram but looks like clouds. A mammogram instead shows Cooper's
ligaments and the walls of fat lobules: curved sheets of connective tissue, bright where the beam runs along them and
faint where it crosses them. Here, a sheet is the zero level of a smooth random field in three dimensions, and gland is
where another field exceeds a threshold. Both are integrated along the beam exactly between slices, so that edges are
as fine as the raster. The fields are elongated towards the nipple: they are drawn in polar coordinates around a point
in front of it.

References
----------
Power law: Chen et al. 2012 (PMC3298563), beta 3.17 (CC) and 3.30 (MLO). Need for
non-Gaussian structure: Abbey et al. 2019, doi 10.1117/1.JMI.6.2.025502. Ligament
thickness 0.2 to 0.4 mm: OpenVCT. All parameters without a source are our choice, made by
visual comparison with real mammograms and by the distance to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, sparse

from microcalc.domain import FloatImage
from microcalc.simulate.breast import Breast, Density
from microcalc.simulate.raster import catmull_rom, frequencies

Volume = NDArray[np.float32]
"""(slices, rows, columns), a field on a coarse raster."""
Band = Callable[[FloatImage], FloatImage]
Bands = Sequence[Band]

_SLICE_MM = 1.25
_BAND_ROWS = 48
"""Number of rows that are projected at once, so that the arrays fit into the cache of a core."""
_COARSE_MM = 0.5
_PACKED = 0.75  # share of a lobe that is gland: the rest is fat between its lobules
_BORDER = 4
"""Margin in coarse pixels around the box of the breast, so that interpolation does not reach its border."""


@dataclass(frozen=True, eq=False, slots=True)
class Tissue:
    """Hold the paths of the beam in mm, (rows, columns) float32, through gland lobes and through sheets and strands."""

    gland: FloatImage
    sheets: FloatImage


@dataclass(frozen=True, slots=True)
class Net:
    """Describe one family of sheets.

    Attributes
    ----------
    cell_mm
        Size of the cells that the sheets enclose: the power of the field is flat below its inverse.
    fall
        Exponent of the power above that frequency; a larger one is smoother.
    thickness_mm
        Thickness of a sheet.
    stretch
        Elongation towards the nipple.
    patchy
        Variation of the strength over the breast: 0 for none, 1 for strong.
    spread
        Standard deviation in radians of the angle between the grain and the direction of the nipple.
    """

    cell_mm: float
    fall: float
    thickness_mm: float
    stretch: float
    patchy: float
    spread: float


_NETS = (
    Net(26.0, 7.5, 0.40, 1.4, 0.5, 0.4),
    Net(18.0, 7.0, 0.24, 1.8, 0.5, 0.5),
    Net(15.0, 6.5, 0.16, 2.2, 0.5, 0.5),
    Net(11.0, 6.0, 0.08, 2.2, 0.6, 0.6),
    Net(7.0, 6.0, 0.05, 1.8, 0.6, 0.7),
)


def power_law_field(
    rng: np.random.Generator, shape: tuple[int, int], pitch_mm: float, *, beta: float, longest_mm: float = 60.0
) -> FloatImage:
    """Draw a periodic Gaussian field with power spectrum 1/f^beta, zero mean and unit variance.

    Parameters
    ----------
    longest_mm
        Below the frequency ``1 / longest_mm`` the spectrum is flat.
    """
    size = (fft.next_fast_len(shape[0], real=True), fft.next_fast_len(shape[1], real=True))
    spectrum = fft.rfft2(rng.standard_normal(size, dtype=np.float32), workers=1)
    row_f, column_f = frequencies(size, pitch_mm)
    f2 = row_f**2 + column_f**2
    spectrum *= (f2 + np.float32(longest_mm) ** -2) ** np.float32(-beta / 4.0)
    spectrum[0, 0] = 0.0
    field = fft.irfft2(spectrum, s=size, workers=1)[: shape[0], : shape[1]]
    field -= field.mean()
    return np.asarray(field / field.std(), dtype=np.float32)


def draw_tissue(
    rng: np.random.Generator, breast: Breast, depth: FloatImage, thickness: FloatImage, pitch_mm: float
) -> Tissue:
    """Fill a breast with sheets, and with gland that takes ``breast.gland_fraction`` of its volume.

    Parameters
    ----------
    depth, thickness
        (rows, columns) in mm on a raster of ``pitch_mm``, in the frame of ``breast.nipple_mm``.
    """
    space = _Space(rng, breast, depth.shape, pitch_mm)
    relative = thickness / np.float32(space.height_mm)
    gland = _gland(rng, breast, space, depth, thickness, pitch_mm) * relative
    share = gland / np.maximum(thickness, 1.0)
    sheets = np.zeros(depth.shape, dtype=np.float32)
    strength = float(np.exp(rng.normal(0.0, 0.25)))
    for net in _NETS:
        cell_mm = net.cell_mm * float(np.exp(rng.normal(0.0, 0.15)))
        field = space.field(rng, cell_mm, net.fall, net.stretch, float(rng.normal(0.0, net.spread)))
        path = project_sheets(field, 0.5 * net.thickness_mm, space.bands, _SLICE_MM)
        sheets += np.float32(strength * np.exp(rng.normal(0.0, 0.3))) * path * space.patches(rng, net.patchy)
    sheets *= relative * (1.0 + 0.5 * np.clip(share, 0.0, 0.5))
    return Tissue(gland, sheets * np.clip(depth / 4.0, 0.0, 1.0))


def project_sheets(field: Volume, half_mm: float, bands: Bands, slice_mm: float) -> FloatImage:
    """Return the path in mm along the beam through the sheets where a field is zero.

    Parameters
    ----------
    field
        (slices, rows, columns) approximate distance to the sheet in mm: its gradient is about one.
    half_mm
        Half the sheet's thickness. The profile across it is ``(1 + (d / half)^2)^-1.5``, whose integral is
        known: between two slices the field is linear, so the sum is exact however thin the sheet.
    bands
        Functions that interpolate a slice to a band of rows of the image.
    """
    return np.concatenate([_sheets_in_band(field, np.float32(half_mm), band) for band in bands]) * np.float32(slice_mm)


def _sheets_in_band(field: Volume, half: np.float32, enlarged: Band) -> FloatImage:
    before = enlarged(field[0])
    total = np.zeros_like(before)
    slope_before = half * before / np.sqrt(before * before + half * half)
    for coarse in field[1:]:
        here = enlarged(coarse)
        root = np.sqrt(here * here + half * half)
        slope = half * here / root
        step = here - before
        flat = np.abs(step) < np.float32(0.02) * half
        mean = (slope - slope_before) / np.where(flat, np.float32(1.0), step)
        np.copyto(mean, (half / root) ** 3, where=flat)
        total += mean
        before, slope_before = here, slope
    return total


def project_above(field: Volume, soft: float, bands: Bands, slice_mm: float) -> FloatImage:
    """Return the path in mm along the beam where a field is positive; ``soft`` is the width of the edge."""
    return np.concatenate([_above_in_band(field, np.float32(soft), b) for b in bands]) * np.float32(0.5 * slice_mm)


def _above_in_band(field: Volume, half: np.float32, enlarged: Band) -> FloatImage:
    before = enlarged(field[0])
    total = np.zeros_like(before)
    area_before = before + np.sqrt(before * before + half * half)
    for coarse in field[1:]:
        here = enlarged(coarse)
        root = np.sqrt(here * here + half * half)
        area = here + root
        step = here - before
        flat = np.abs(step) < np.float32(0.02) * half
        mean = (area - area_before) / np.where(flat, np.float32(1.0), step)
        np.copyto(mean, np.float32(1.0) + here / root, where=flat)
        total += mean
        before, area_before = here, area
    return total


class _Space:
    """Map the box of a compressed breast to polar coordinates around a point in front of the nipple, slice by slice."""

    def __init__(self, rng: np.random.Generator, breast: Breast, shape: tuple[int, ...], pitch_mm: float) -> None:
        self._shape = (shape[0], shape[1])
        self._scale = pitch_mm / _COARSE_MM
        self.height_mm = breast.thickness_mm
        self.slices = max(int(np.ceil(breast.thickness_mm / _SLICE_MM)), 6)
        self._coarse = (
            int(np.ceil(shape[0] * self._scale)) + 2 * _BORDER,
            int(np.ceil(shape[1] * self._scale)) + 2 * _BORDER,
        )
        row = (np.arange(self._coarse[0]) - _BORDER) * _COARSE_MM - breast.nipple_mm[0]
        column = (np.arange(self._coarse[1]) - _BORDER) * _COARSE_MM - breast.nipple_mm[1]
        self.row, self.column = (v.astype(np.float32) for v in np.meshgrid(row, column, indexing="ij"))
        warp = [2.0 * power_law_field(rng, self._coarse, _COARSE_MM, beta=6.0, longest_mm=70.0) for _ in range(2)]
        self._fan = _fan(self.row + warp[0], self.column + warp[1])

    def field(self, rng: np.random.Generator, cell_mm: float, fall: float, stretch: float, turn: float = 0.0) -> Volume:
        """Draw a smooth random field (slices, rows, columns) in mm, with a root mean square gradient of one.

        ``turn`` is the angle in radians between its grain and the direction of the nipple.
        """
        along = np.cos(turn) * self._fan[0] + np.sin(turn) * self._fan[1]
        across = np.cos(turn) * self._fan[1] - np.sin(turn) * self._fan[0]
        size = (int(np.ceil(np.ptp(along) / _COARSE_MM)) + 4, int(np.ceil(np.ptp(across) / _COARSE_MM)) + 4)
        reach = (along - along.min()) / _COARSE_MM + 1.5, (across - across.min()) / _COARSE_MM + 1.5
        extra = int(np.ceil(2.0 * cell_mm / _SLICE_MM))
        polar = _volume(rng, (self.slices + 1 + extra, *size), cell_mm=cell_mm, fall=fall, stretch=stretch)
        polar = polar[: self.slices + 1]
        gradient = np.sqrt(sum(float(np.mean(np.diff(polar, axis=a) ** 2)) / s**2 for a, s in _STEPS))
        polar /= np.float32(gradient)
        weights = _bicubic(reach[0].ravel(), reach[1].ravel(), size)
        flat = weights @ polar.reshape(len(polar), -1).T
        return np.ascontiguousarray(flat.T, dtype=np.float32).reshape(len(polar), *self._coarse)

    @property
    def bands(self) -> Bands:
        """Return functions that interpolate a coarse slice to the raster of the image, one per band of rows."""
        height = self._shape[0]
        return [partial(self._band, first, min(first + _BAND_ROWS, height)) for first in range(0, height, _BAND_ROWS)]

    def enlarged(self, coarse: FloatImage) -> FloatImage:
        """Interpolate a coarse slice to the raster of the image (bicubic)."""
        return self._band(0, self._shape[0], coarse)

    def _band(self, first: int, last: int, coarse: FloatImage) -> FloatImage:
        # pixel centres: fine i lies at coarse i * scale + border
        left = _BORDER + 0.5 - 0.5 * self._scale
        box = (left, left + first * self._scale, left + self._shape[1] * self._scale, left + last * self._scale)
        top, bottom = max(int(box[1]) - 3, 0), min(int(box[3]) + 4, coarse.shape[0])
        part = Image.fromarray(coarse[top:bottom])
        box = (box[0], box[1] - top, box[2], box[3] - top)
        return np.asarray(part.resize((self._shape[1], last - first), Image.Resampling.BICUBIC, box=box))

    def nearest(self, size: int, axis: int, pitch_mm: float) -> NDArray[np.int64]:
        """Return the fine pixel of one axis nearest to each coarse one."""
        fine = (np.arange(self._coarse[axis]) - _BORDER) * _COARSE_MM / pitch_mm
        return np.asarray(np.clip(np.rint(fine), 0, size - 1), dtype=np.int64)

    def uneven(self, rng: np.random.Generator) -> FloatImage:
        """Draw a power-law field of unit variance on the raster of the image."""
        return self.enlarged(power_law_field(rng, self._coarse, _COARSE_MM, beta=3.2, longest_mm=25.0))

    def patches(self, rng: np.random.Generator, strength: float) -> FloatImage:
        """Draw a slowly varying factor on the raster of the image, with a mean of about one."""
        field = power_law_field(rng, self._coarse, _COARSE_MM, beta=3.5, longest_mm=30.0)
        return self.enlarged(np.exp(np.float32(strength) * field - np.float32(0.5 * strength**2)))


_STEPS = ((0, _SLICE_MM), (1, _COARSE_MM), (2, _COARSE_MM))


def _volume(rng: np.random.Generator, shape: tuple[int, ...], *, cell_mm: float, fall: float, stretch: float) -> Volume:
    """Draw a periodic Gaussian field (slices, along, across): flat below ``1 / cell_mm``, falling as f^-fall above."""
    size = [fft.next_fast_len(n, real=True) for n in shape]
    f = [fft.fftfreq(size[0], _SLICE_MM), fft.fftfreq(size[1], _COARSE_MM) * stretch, fft.rfftfreq(size[2], _COARSE_MM)]
    z, a, c = (v.astype(np.float32) for v in f)
    f2 = z[:, None, None] ** 2 + a[None, :, None] ** 2 + c[None, None, :] ** 2
    spectrum = fft.rfftn(rng.standard_normal(size, dtype=np.float32), workers=1)
    spectrum *= (f2 + np.float32(cell_mm**-2)) ** np.float32(-fall / 4.0)
    field = fft.irfftn(spectrum, s=size, workers=1)[: shape[0], : shape[1], : shape[2]]
    return np.ascontiguousarray(field - field.mean(), dtype=np.float32)


def _fan(row: FloatImage, column: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Return the distance in mm from a point in front of the nipple, and the arc length at 45 mm from that point."""
    radius = np.hypot(row, column - np.float32(15.0))
    angle = np.arctan2(row, np.float32(15.0) - column)
    # near the point the arc is bent to a plain row, or lines would run together there
    blend = np.clip(radius / 45.0, 0.35, 1.6)
    return radius, np.asarray(angle * np.float32(45.0) * blend, dtype=np.float32)


def _bicubic(row: NDArray[np.floating], column: NDArray[np.floating], size: tuple[int, int]) -> sparse.csr_matrix:
    """Return the weights (n, rows x columns) of Catmull-Rom interpolation at n fractional positions."""
    first = [np.clip(np.floor(p).astype(np.int64), 1, n - 3) for p, n in zip((row, column), size, strict=True)]
    taps = [catmull_rom(p - f) for p, f in zip((row, column), first, strict=True)]
    offset = np.arange(-1, 3)
    index = (first[0][:, None, None] + offset[None, :, None]) * size[1] + first[1][:, None, None] + offset[None, None]
    value = (taps[0][:, :, None] * taps[1][:, None, :]).astype(np.float32)
    n = len(row)
    return sparse.csr_matrix((value.ravel(), index.ravel(), np.arange(0, 16 * n + 1, 16)), shape=(n, size[0] * size[1]))


def _gland(
    rng: np.random.Generator, breast: Breast, space: _Space, depth: FloatImage, thickness: FloatImage, pitch_mm: float
) -> FloatImage:
    """Return the path in mm through gland (rows, columns) for a breast of uniform thickness."""
    size = float(rng.uniform(14.0, 30.0))
    lobes = space.field(rng, size, float(rng.uniform(4.4, 5.2)), float(rng.uniform(1.5, 2.5)))
    lobes /= np.float32(lobes.std())
    lobes += 0.35 * _unit(space.field(rng, 8.0, 4.6, 1.8))
    lobes += 0.25 * _unit(space.field(rng, 3.5, 4.4, 1.4))  # lobules, and the fat between them
    k = _COARSE_MM / pitch_mm
    rows, columns = (
        np.clip((np.arange(n) - _BORDER) * k, 0, m - 1) for n, m in zip(space.row.shape, depth.shape, strict=True)
    )
    at = np.ix_(np.rint(rows).astype(int), np.rint(columns).astype(int))
    prior = _where_gland_lies(rng, breast, depth[at], space.row, space.column)
    across = np.linspace(-1.0, 1.0, len(lobes), dtype=np.float32)
    lobes += prior[None] - (1.2 * across**4)[:, None, None]  # fat under the skin above and below
    weight = np.where(depth[at] > 0, thickness[at], 0.0)
    lobes -= _threshold(lobes, weight, breast.gland_fraction / _PACKED)
    path = project_above(lobes, float(rng.uniform(0.3, 0.9)), space.bands, _SLICE_MM)
    uneven = np.clip(1.0 + 0.12 * space.uneven(rng), 0.4, 1.0 / _PACKED)
    return np.asarray(_PACKED * path * uneven, dtype=np.float32)


def _unit(field: Volume) -> Volume:
    return np.asarray(field / np.float32(field.std()), dtype=np.float32)


def _threshold(field: Volume, weight: FloatImage, share: float) -> np.float32:
    """Return the level that a fraction of the weighted volume exceeds."""
    values = field[::2, ::3, ::3].ravel()
    volume = np.broadcast_to(weight[None, ::3, ::3], field[::2, ::3, ::3].shape).ravel()
    order = np.argsort(values)[::-1]
    filled = np.cumsum(volume[order])
    return np.float32(values[order[min(int(np.searchsorted(filled, share * filled[-1])), len(order) - 1)]])


def _where_gland_lies(
    rng: np.random.Generator, breast: Breast, depth: FloatImage, row: FloatImage, column: FloatImage
) -> FloatImage:
    """Return log-odds of gland: none under the skin, most in a cone behind the nipple, less at the chest wall."""
    fat_layer = {"A": 8.0, "B": 5.5, "C": 4.0, "D": 3.0}[breast.density] * rng.uniform(0.8, 1.3)
    spread: dict[Density, float] = {"A": 0.45, "B": 0.6, "C": 0.8, "D": 1.0}
    reach = np.float32(rng.uniform(0.5, 0.8) * breast.nipple_mm[1] * spread[breast.density] ** 0.5)
    behind = np.maximum(-column, 0.0)
    half_width = 12.0 + rng.uniform(0.5, 0.9) * behind
    lateral = rng.normal(-0.1, 0.15)  # the upper outer quadrant holds more gland
    cone = 1.0 - ((row - lateral * behind) / half_width) ** 2
    odds = 0.9 * np.clip(cone, -2.0, 1.0) - 1.0 * np.clip((behind - reach) / reach, -0.3, 2.0)
    under_skin = -5.0 * np.exp(-np.clip(depth - 1.5, 0.0, None) / fat_layer)
    near = np.exp(-((np.hypot(row, column) / (3.0 * fat_layer)) ** 2))
    return np.asarray(odds + (1.0 - 0.5 * near) * under_skin, dtype=np.float32)
