"""A generic presentation processing: from the raw image to what a reader sees.

Logarithm, equalisation of the thin periphery, amplification of detail in a Laplacian
pyramid, 12 bit. No manufacturer's algorithm; each system has its own strengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage, Window
from microcalc.simulate.raster import enlarge
from microcalc.simulate.systems import System

_LEVELS = 7
_KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0], dtype=np.float32) / 16.0
_COARSE = 8


@dataclass(frozen=True, eq=False, slots=True)
class Presentation:
    """A processed image: (rows, columns) uint16 of 12 bit, brighter = denser; 0 is no breast."""

    stored: NDArray[np.uint16]
    windows: tuple[Window, ...]


def present(system: System, raw: NDArray[np.uint16]) -> Presentation:
    """Process a raw image of a left breast, chest wall at column 0.

    Parameters
    ----------
    raw
        (rows, columns) stored values, falling with density.
    """
    exposure = np.maximum(raw.astype(np.float32) - np.float32(system.offset), 1.0)
    density = -np.log(exposure)
    breast = _breast(exposure)
    rows, columns = _box(breast)
    box = (slice(*rows), slice(*columns))
    inside = breast[box]
    level = _equalised(density[box], inside, system)
    detail = _amplified(np.where(inside, level, float(np.median(level[inside]))), system)
    deep = ndimage.binary_erosion(np.pad(inside[::16, ::16], ((1, 1), (1, 1))), iterations=6)[1:-1, 1:-1]
    low, high = np.percentile(detail[::16, ::16][deep if deep.any() else inside[::16, ::16]], [5.0, 99.5])
    scaled = 1500.0 + (detail - low) / max(high - low, 1e-3) * 1700.0
    stored = np.zeros(raw.shape, dtype=np.uint16)
    stored[box] = np.where(inside, np.clip(np.rint(scaled), 50, 4095), 0)
    centre, width = 2300.0, 2100.0
    windows = tuple(
        Window(centre + shift, width * factor, "sigmoid") for shift, factor in ((0, 1), (60, 0.8), (-80, 1.25))
    )
    return Presentation(stored, windows)


def _breast(exposure: FloatImage) -> NDArray[np.bool_]:
    """Where less than half of the unattenuated exposure arrives; the largest part, smooth."""
    air = float(np.percentile(exposure[:, -exposure.shape[1] // 20 :], 50))
    coarse = ndimage.uniform_filter(exposure, 5)[::4, ::4] < 0.6 * air
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


def _equalised(density: FloatImage, inside: NDArray[np.bool_], system: System) -> FloatImage:
    """Lift the periphery by what the median over places at the same depth lacks."""
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
    return density + np.float32(system.equalisation) * enlarge(lift.astype(np.float32), at[0], at[1])


def _amplified(image: FloatImage, system: System) -> FloatImage:
    """Laplacian pyramid; each band's faint detail is raised: sign(b) s (|b|/s)^p."""
    bands, current = [], image.astype(np.float32)
    for _ in range(_LEVELS):
        if min(current.shape) < 16:
            break
        smaller = _smooth(current)[::2, ::2]
        bands.append(current - _up(smaller, current.shape))
        current = smaller
    middle = float(np.median(current))
    current = middle + np.float32(0.45) * (current - middle)
    for level in range(len(bands) - 1, -1, -1):
        band = bands[level]
        scale = np.float32(3.0 * np.median(np.abs(band[::4, ::4])) + 1e-6)
        size = np.abs(band) / scale
        gain = np.minimum(size + np.float32(0.25), 20.0) ** np.float32(system.gain_power - 1.0)
        amount = np.float32((system.fine_gain if level <= 1 else 1.0) * (1.0 if level < 5 else 0.65))
        current = _up(current, band.shape) + amount * gain * band
    return current


def _smooth(image: FloatImage) -> FloatImage:
    rows = ndimage.convolve1d(image, _KERNEL, axis=0, mode="nearest")
    return np.asarray(ndimage.convolve1d(rows, _KERNEL, axis=1, mode="nearest"), dtype=np.float32)


def _up(image: FloatImage, shape: tuple[int, ...]) -> FloatImage:
    at = [np.arange(size) / 2.0 for size in shape]
    return enlarge(image, at[0], at[1])
