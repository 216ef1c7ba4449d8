"""Equalise the noise, so that its standard deviation is one everywhere.

Raw images follow var = a * exposure + b, so a square root stabilises them [1]_. The
vendors' processing is unknown, so in processed images the noise is
measured per grey level and its inverse integrated to a monotone look-up table, as in
LUT-QNE. Gain and beam vary over the field [2]_, so the remaining variation is divided
out by a gain that varies slowly over the field.

Ours: the noise is the median absolute value of the image after a high-pass filter of
0.2 mm, to which calcifications, being rare, contribute little, but fine texture does.

References
----------
.. [1] McLoughlin et al., IEEE TMI 23 (2004), doi 10.1109/TMI.2004.824240
.. [2] van Schie, Karssemeijer, Medical Physics 35 (2008)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Intent

_HIGH_PASS_MM = 0.2  # sigma of the Gaussian mean that is taken away
_TRUNCATE = 3.0
_MAD = 1.4826
_BINS = 48
_BIN_PX = 500  # at least
_STEP = 3  # one pixel of so many is measured
_CLIPPED = 2.0  # ours: standard deviations of the noise from an end of the grey scale
_FLAT = 0.05  # ours: below this part of the usual noise a grey level is one that tissue is clipped to
_LEAST = 0.25  # ours: of the usual noise
_TILE_MM = 6.4
_ROWS_AT_ONCE = 8  # they stay in the cache


def equalise_noise(pixels: FloatImage, tissue: BoolImage, *, spacing_mm: float, intent: Intent) -> FloatImage:
    """Return grey values whose noise has a standard deviation of one.

    Parameters
    ----------
    pixels
        (rows, columns), brighter = denser, at ``spacing_mm``.
    tissue
        (rows, columns) bool: where the noise is measured.

    Returns
    -------
    (rows, columns) float32, brighter = denser, of arbitrary offset.
    """
    residual, level = high_pass(pixels, spacing_mm=spacing_mm)
    shown = tissue
    if intent == "raw":
        stable = _square_root(pixels, *noise_by_level(residual, level, tissue))
    else:
        ends = float(pixels.min(where=tissue, initial=np.inf)), float(pixels.max(where=tissue, initial=-np.inf))
        grey, noise, shown = _noise_of_what_is_shown(residual, level, tissue, ends)
        stable = _look_up(pixels, grey, noise)
    residual, _ = high_pass(stable, spacing_mm=spacing_mm)
    return stable / _local_gain(residual, shown, tile_px=max(1, round(_TILE_MM / spacing_mm)))


def high_pass(pixels: FloatImage, *, spacing_mm: float) -> tuple[FloatImage, FloatImage]:
    """Return the high-pass residual, in which white noise keeps its standard deviation, and the smooth level."""
    sigma_px = _HIGH_PASS_MM / spacing_mm
    level = ndimage.gaussian_filter(pixels, sigma_px, truncate=_TRUNCATE)
    residual: FloatImage = pixels - level
    residual /= np.float32(_white_gain(sigma_px))
    return residual, level


def _white_gain(sigma_px: float) -> float:
    """Return the standard deviation of white noise of one after the high-pass filter, to four digits."""
    reach = int(_TRUNCATE * sigma_px + 0.5)
    impulse = np.zeros(2 * reach + 1)
    impulse[reach] = 1.0
    kernel = ndimage.gaussian_filter1d(impulse, sigma_px, truncate=_TRUNCATE, mode="constant")
    return round(float(np.sqrt(1.0 - 2.0 * kernel[reach] ** 2 + np.sum(kernel**2) ** 2)), 4)


def noise_by_level(
    residual: FloatImage, level: FloatImage, tissue: BoolImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the noise by grey level: bin centres (k,) and standard deviations (k,), k >= 1.

    All bins hold equally many pixels, so that each is measured equally well.
    """
    grey, noise = _measured(residual, level, tissue)
    return grey, _not_below(noise, noise)


def _measured(
    residual: FloatImage, level: FloatImage, tissue: BoolImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the noise by grey level as it was measured, which may be none."""
    places = np.flatnonzero(tissue)[::_STEP]
    grey, noise = level.ravel()[places], np.abs(residual.ravel()[places])
    order, bins = _order(grey), min(_BINS, max(1, places.size // _BIN_PX))
    centres = np.array([float(np.mean(part)) for part in np.array_split(grey[order], bins)])
    deviations = np.array([_MAD * median(part) for part in np.array_split(noise[order], bins)])
    return centres, deviations


def _not_below(noise: NDArray[np.float64], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return noise (k,) that is nowhere below a quarter of the median of ``usual`` (n,)."""
    return np.maximum(noise, max(1e-6, _LEAST * float(np.median(usual))))


def _noise_of_what_is_shown(
    residual: FloatImage, level: FloatImage, tissue: BoolImage, ends: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], BoolImage]:
    """Return the noise by grey level, and where in the tissue the ends of the grey scale do not cut it off.

    Beyond the levels at which it can be measured, the noise is that of the nearest one.
    """
    grey, noise = _measured(residual, level, tissue)
    dark, bright = _away_from_clipping(grey, noise, ends)
    inner = np.flatnonzero((grey >= dark) & (grey <= bright))
    if inner.size < grey.size / 2:  # what remains is divided into bins anew
        shown = tissue & (level >= dark) & (level <= bright)
        if np.count_nonzero(shown) >= _STEP * _BIN_PX:
            return *noise_by_level(residual, level, shown), shown
    first, last, shown = int(inner[0]), int(inner[-1]), tissue
    if first > 0:
        shown = shown & (level >= grey[first])
    if last < grey.size - 1:
        shown = shown & (level <= grey[last])
    noise[:first], noise[last + 1 :] = noise[first], noise[last]
    return grey, _not_below(noise, noise), shown


def _away_from_clipping(
    grey: NDArray[np.float64], noise: NDArray[np.float64], ends: tuple[float, float]
) -> tuple[float, float]:
    """Return the grey levels between which the ends of the grey scale do not cut the noise off.

    Where tissue is clipped to black or white most pixels have one value, and the others look like specks without noise.
    Bins with hardly any noise show which value that is. The usual noise is the median of the bins that remain, so that
    it does not depend on how much of the tissue is clipped.

    Parameters
    ----------
    grey, noise
        (k,) as measured.
    ends
        Lowest and highest grey value in the tissue.
    """
    low, high = ends
    inner = np.flatnonzero(noise > 0.0)
    while inner.size > 0:
        usual = float(np.median(noise[inner]))
        flat, middle = grey[noise <= _FLAT * usual], grey[inner[inner.size // 2]]
        low = max([low, *flat[flat < middle].tolist()])
        high = min([high, *flat[flat > middle].tolist()])
        dark, bright = low + _CLIPPED * usual, high - _CLIPPED * usual
        away = (grey[inner] >= dark) & (grey[inner] <= bright)
        if away.all():
            return dark, bright
        inner = inner[away]
    return -np.inf, np.inf  # no level is away from both ends


def median(values: FloatImage) -> float:
    """Return ``np.median`` of values that are no NaN, in half the time, which is what looking for a NaN takes there."""
    flat = values.flatten()
    middle = flat.size // 2
    flat.partition(middle)
    return float(flat[middle] if flat.size % 2 else (flat[:middle].max() + flat[middle]) / 2)


def _order(values: FloatImage) -> NDArray[np.intp]:
    """Return the indices that sort values (n,), equal ones in the order given.

    This is a stable ``argsort``, several times faster: a number's bits, with their order mended for negative ones, and
    its index make one integer, and integers need no stable sort.
    """
    bits = (values + np.float32(0)).view(np.uint32)  # -0 becomes 0
    bits ^= np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    keys = bits.astype(np.uint64) << np.uint64(32) | np.arange(values.size, dtype=np.uint64)
    keys.sort()
    return np.asarray(keys & np.uint64(0xFFFFFFFF), dtype=np.intp)


def _square_root(pixels: FloatImage, grey: NDArray[np.float64], noise: NDArray[np.float64]) -> FloatImage:
    """Return the generalised Anscombe transform of minus the exposure, with a and b fitted to the bins."""
    if np.ptp(grey) <= 1e-6 * float(np.max(np.abs(grey))):  # one level alone says nothing of a and b
        return (pixels - np.float32(grey[0])) / np.float32(np.median(noise))
    exposure = -grey
    weight = 1.0 / noise**2
    for _ in range(5):  # texture only ever adds: bins far above the line lose their weight
        a, b = np.polyfit(exposure, noise**2, 1, w=weight) if grey.size > 2 else (0.0, float(noise[0] ** 2))
        excess = noise**2 / np.maximum(a * exposure + b, 1e-9)
        weight = 1.0 / noise**2 / np.maximum(1.0, excess) ** 4
    if a <= 0:
        return pixels / np.float32(np.sqrt(np.median(noise**2)))
    root = np.sqrt(np.maximum(a * -pixels + b + 0.375 * a * a, 0.0))
    return np.asarray(-2.0 / a * root, dtype=np.float32)


def _look_up(pixels: FloatImage, grey: NDArray[np.float64], noise: NDArray[np.float64]) -> FloatImage:
    """Return the integral of 1 / noise over the grey levels, linear beyond the measured ones."""
    low, high = float(pixels.min()), float(pixels.max())
    knots = np.linspace(low, high, 1024)
    density = 1.0 / np.interp(knots, grey, ndimage.gaussian_filter1d(noise, 1.0, mode="nearest"))
    values = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(knots))])
    return _interpolated(pixels, knots, values) if high > low else np.zeros_like(pixels)


def _interpolated(pixels: FloatImage, knots: NDArray[np.float64], values: NDArray[np.float64]) -> FloatImage:
    """Return ``np.interp(pixels, knots, values)`` for pixels within evenly spaced knots, which need no search."""
    slopes = np.diff(values) / np.diff(knots)
    per_knot = (knots.size - 1) / (knots[-1] - knots[0])
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        wide = pixels[rows].astype(np.float64)
        interval = ((wide - knots[0]) * per_knot).astype(np.intp)
        np.minimum(interval, slopes.size - 1, out=interval)
        wide -= knots.take(interval)
        wide *= slopes.take(interval)
        wide += values.take(interval)
        result[rows] = wide
    return result


def _local_gain(residual: FloatImage, tissue: BoolImage, *, tile_px: int) -> FloatImage:
    """Return the remaining variation of the noise over the field, smoothed, and at most a factor of 2 from 1."""
    rows, columns = (-(-n // tile_px) for n in residual.shape)
    gain, weight = np.ones((rows, columns)), np.zeros((rows, columns))
    for r in range(rows):
        for c in range(columns):
            tile = np.s_[r * tile_px : (r + 1) * tile_px, c * tile_px : (c + 1) * tile_px]
            inside = tissue[tile]
            weight[r, c] = np.count_nonzero(inside) / inside.size
            if weight[r, c] > 0.25:
                measured = residual[tile][inside] if weight[r, c] < 1 else residual[tile].ravel()
                gain[r, c] = _MAD * median(np.abs(measured))
            else:
                weight[r, c] = 0.0
    smooth = ndimage.gaussian_filter(weight * np.log(np.maximum(gain, 1e-3)), 2.0)
    smooth /= np.maximum(ndimage.gaussian_filter(weight, 2.0), 1e-6)
    limited = np.exp(np.clip(smooth, -0.7, 0.7)).astype(np.float32)
    return _magnified(limited, tile_px, (residual.shape[0], residual.shape[1]))


def _magnified(coarse: FloatImage, step: int, shape: tuple[int, int]) -> FloatImage:
    """Magnify block values to pixels, bilinearly."""
    rows = np.clip((np.arange(shape[0]) + 0.5) / step - 0.5, 0, coarse.shape[0] - 1)
    columns = np.clip((np.arange(shape[1]) + 0.5) / step - 0.5, 0, coarse.shape[1] - 1)
    along_rows = np.stack([np.interp(rows, np.arange(coarse.shape[0]), column) for column in coarse.T], axis=1)
    c0 = np.minimum(columns.astype(np.int64), max(coarse.shape[1] - 2, 0))
    c1 = np.minimum(c0 + 1, coarse.shape[1] - 1)
    share = (columns - c0).astype(np.float32)
    wide = along_rows.astype(np.float32)
    magnified: FloatImage = wide[:, c0] * (1 - share) + wide[:, c1] * share
    return magnified
