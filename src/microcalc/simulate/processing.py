"""Process raw images for presentation, by a generic algorithm.

It takes the logarithm, equalises the thin periphery, amplifies each band of detail in a Laplacian pyramid, and
quantises to 12 bits with sigmoid windows. It is no manufacturer's algorithm: it combines the families of methods
described by Pisano et al. 2000. Each system has its own gains, which vary by about 15 per cent between images, as
they do between software versions and sites.

The gains of GE make the contrast of each band in simulated GE images equal to that in 17 normal GE images of
CDD-CESM (median over images). Those of the other systems are our choice relative to them: Hologic is sharper in the
finest bands, Siemens is the smoothest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage, Window
from microcalc.simulate.raster import enlarge
from microcalc.simulate.systems import System

_KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0], dtype=np.float32) / 16.0
_COARSE = 8
_MIDDLE = 1930.0


@dataclass(frozen=True, slots=True)
class Style:
    """Hold the parameters of the presentation processing of a system.

    Attributes
    ----------
    band_gain
        Stored values per unit of log exposure of each band, from the finest (one pixel) upwards in octaves; the
        last is that of the residual image.
    power
        Exponent of the contrast of detail: below 1, faint detail is amplified more than strong detail.
    restoration
        Additional gain of the finest detail, which compensates the blur of the receptor: the noise of processed
        GE images is nearly white, that of raw GE images is not.
    equalisation
        Fraction of the missing density of the periphery that is added.
    windows
        (Name in the header, centre, width) in stored values, the default first.
    """

    band_gain: tuple[float, ...]
    power: float
    equalisation: float
    restoration: float
    windows: tuple[tuple[str, float, float], ...]


_TYPICAL = (0.010, 0.008, 0.016, 0.020, 0.040, 0.060, 0.10, 0.30)
"""Contrast of each band, in log exposure, at which the amplification equals ``band_gain``."""

_WIDE = (("NORMAL", 2300.0, 2100.0), ("HARDER", 2360.0, 1680.0), ("SOFTER", 2220.0, 2625.0))
_NARROW = (("NORMAL", 2080.0, 1500.0), ("HARDER", 2120.0, 1200.0), ("SOFTER", 2050.0, 1900.0))

STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "ge": Style((4100, 5000, 2600, 4000, 2500, 3000, 1650, 1150), 0.85, 0.9, 1.3, _WIDE),
        "ge-pristina": Style((4800, 4200, 3100, 3000, 2000, 1400, 850, 950), 0.8, 0.9, 1.0, _NARROW),
        "ge-ds": Style((4000, 3400, 2600, 2600, 1900, 1500, 1000, 1100), 0.85, 0.9, 0.6, _WIDE),
        "hologic": Style((4300, 4300, 3600, 3000, 2000, 1400, 950, 1050), 0.78, 0.8, 0.3, _NARROW),
        "siemens": Style((2900, 2700, 2300, 2200, 1700, 1400, 1100, 1200), 0.86, 0.7, 0.1, _NARROW),
    }
)


@dataclass(frozen=True, eq=False, slots=True)
class Presentation:
    """Hold a processed image, (rows, columns) uint16 of 12 bits: brighter is denser, and 0 is outside the breast."""

    stored: NDArray[np.uint16]
    windows: tuple[Window, ...]
    window_names: tuple[str, ...]


def present(system: System, raw: NDArray[np.uint16], rng: np.random.Generator) -> Presentation:
    """Process a raw image of a left breast, chest wall at column 0.

    Parameters
    ----------
    raw
        (rows, columns) stored values, which fall with density.
    rng
        Generator of the variation of the parameters between images.
    """
    style = STYLES[system.name]
    exposure = np.maximum(raw.astype(np.float32) - np.float32(system.offset), 1.0)
    density = -np.log(exposure)
    breast = _breast(exposure)
    rows, columns = _box(breast)
    box = (slice(*rows), slice(*columns))
    inside = breast[box]
    level = _equalised(density[box], inside, float(np.clip(rng.normal(style.equalisation, 0.05), 0.0, 1.0)))
    gain = np.asarray(style.band_gain) * np.exp(rng.normal(0.0, 0.12, len(style.band_gain)))
    gain *= np.exp(rng.normal(0.0, 0.2))
    middle = float(np.median(level[::4, ::4][inside[::4, ::4]]))
    level = _restored(np.where(inside, level - middle, 0.0), style.restoration * float(np.exp(rng.normal(0.0, 0.2))))
    detail = _amplified(level, gain, style.power + float(rng.normal(0.0, 0.03)))
    stored = np.zeros(raw.shape, dtype=np.uint16)
    shift = _MIDDLE + float(rng.normal(0.0, 100.0)) - float(np.median(detail[::4, ::4][inside[::4, ::4]]))
    stored[box] = np.where(inside, np.clip(np.rint(detail + shift), 50, 4095), 0)
    windows = tuple(Window(centre, width, "sigmoid") for _, centre, width in style.windows)
    return Presentation(stored, windows, tuple(name for name, _, _ in style.windows))


def _breast(exposure: FloatImage) -> NDArray[np.bool_]:
    """Return the breast: the largest region, smoothed, with less exposure than air."""
    air = float(np.percentile(exposure[:, -exposure.shape[1] // 20 :], 50))
    coarse = ndimage.uniform_filter(exposure, 5)[::4, ::4] < 0.9 * air
    labels, n = ndimage.label(ndimage.binary_opening(coarse, iterations=2))
    if n == 0:
        return np.ones(exposure.shape, dtype=np.bool_)
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    soft = ndimage.gaussian_filter(largest.astype(np.float32), 2.0)
    at = [(np.arange(size) - 0.0) / 4.0 for size in exposure.shape]
    return enlarge(soft, at[0], at[1]) > 0.5


def _box(mask: NDArray[np.bool_]) -> tuple[tuple[int, int], tuple[int, int]]:
    spans = []
    for axis, size in ((1, mask.shape[0]), (0, mask.shape[1])):
        (used,) = np.nonzero(mask.any(axis=axis))
        spans.append((max(int(used[0]) - 8, 0), min(int(used[-1]) + 9, size)))
    return spans[0], spans[1]


def _equalised(density: FloatImage, inside: NDArray[np.bool_], strength: float) -> FloatImage:
    """Raise the periphery by the density that the median at the same depth lacks against the interior."""
    mask = inside[::_COARSE, ::_COARSE]
    low = np.where(mask, density[::_COARSE, ::_COARSE], 0.0)
    weight = ndimage.gaussian_filter(mask.astype(np.float32), 1.0)
    smooth = ndimage.gaussian_filter(low, 1.0) / np.maximum(weight, 1e-3)
    depth = ndimage.distance_transform_edt(mask)  # the image's border is no edge
    bins = np.minimum(depth.astype(int), 120)
    found = np.unique(bins[mask])
    medians = np.array([np.median(smooth[mask & (bins == b)]) for b in found])
    plateau = float(np.median(smooth[mask & (depth > 0.4 * depth[mask].max())]))
    lack = np.clip(plateau - np.maximum.accumulate(medians), 0.0, None)
    lift = np.interp(
        ndimage.gaussian_filter(depth.astype(np.float32), 1.5), found, ndimage.gaussian_filter1d(lack, 1.0)
    )
    at = [np.arange(size) / _COARSE for size in density.shape]
    return density + np.float32(strength) * enlarge(lift.astype(np.float32), at[0], at[1])


def _restored(image: FloatImage, strength: float) -> FloatImage:
    """Amplify the finest detail: by 1 + strength at the highest frequency of the raster, by less below it."""
    kernel = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    smooth = ndimage.convolve1d(ndimage.convolve1d(image, kernel, axis=0), kernel, axis=1)
    return np.asarray(image + np.float32(strength) * (image - smooth), dtype=np.float32)


def _amplified(image: FloatImage, gain: NDArray[np.floating], power: float) -> FloatImage:
    """Amplify each band b of a Laplacian pyramid to ``gain * b * (|b| / typical)^(power - 1)``, less if faint."""
    bands, current = [], image.astype(np.float32)
    for _ in range(len(gain) - 1):
        if min(current.shape) < 16:
            break
        smaller = _smooth(current)[::2, ::2]
        bands.append(current - _up(smaller, current.shape))
        current = smaller
    current = _raised(current, float(gain[-1]), _TYPICAL[-1], power)
    for level in range(len(bands) - 1, -1, -1):
        current = _up(current, bands[level].shape) + _raised(bands[level], float(gain[level]), _TYPICAL[level], power)
    return current


def _raised(band: FloatImage, gain: float, typical: float, power: float) -> FloatImage:
    size = np.abs(band) / np.float32(typical)
    return np.asarray(np.float32(gain) * band * (size + np.float32(0.3)) ** np.float32(power - 1.0), dtype=np.float32)


def _smooth(image: FloatImage) -> FloatImage:
    rows = ndimage.convolve1d(image, _KERNEL, axis=0, mode="nearest")
    return np.asarray(ndimage.convolve1d(rows, _KERNEL, axis=1, mode="nearest"), dtype=np.float32)


def _up(image: FloatImage, shape: tuple[int, ...]) -> FloatImage:
    at = [np.arange(size) / 2.0 for size in shape]
    return enlarge(image, at[0], at[1])
