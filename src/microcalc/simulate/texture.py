"""Fibroglandular tissue: power-law fields, made non-Gaussian and drawn out towards the nipple.

A Gaussian field with the power spectrum of mammograms, 1/f^beta, looks like clouds.
Here several such fields, stretched and fanned out around the nipple, are each cut to
nearly two values, fat or gland, and added: the projection of layers. What remains of
the power-law fields modulates them.

References
----------
Power law: Chen et al. 2012 (PMC3298563), beta 3.17 (CC) and 3.30 (MLO). Need for
non-Gaussian structure: Abbey et al. 2019, doi 10.1117/1.JMI.6.2.025502.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from microcalc.domain import FloatImage
from microcalc.simulate.breast import Breast, Density
from microcalc.simulate.raster import frequencies

_LAYERS = 7


def power_law_field(
    rng: np.random.Generator, shape: tuple[int, int], pitch_mm: float, *, beta: float, longest_mm: float = 60.0
) -> FloatImage:
    """A periodic Gaussian field with power spectrum 1/f^beta, zero mean, unit variance.

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


def gland_thickness(
    rng: np.random.Generator, breast: Breast, depth: FloatImage, thickness: FloatImage, pitch_mm: float
) -> FloatImage:
    """Path through fibroglandular tissue in mm, (rows, columns), on a raster of ~0.2 mm.

    Its volume is ``breast.gland_fraction`` of the breast's.
    """
    row = (np.arange(depth.shape[0], dtype=np.float32) * pitch_mm)[:, None] - np.float32(breast.nipple_mm[0])
    column = (np.arange(depth.shape[1], dtype=np.float32) * pitch_mm)[None, :] - np.float32(breast.nipple_mm[1])
    prior = _where_gland_lies(rng, breast, depth, row, column)
    warp = [2.5 * power_law_field(rng, depth.shape, pitch_mm, beta=4.5, longest_mm=35.0) for _ in range(2)]
    at = _fan(row + warp[0], column + warp[1])
    layers = []
    for _ in range(_LAYERS):
        field = _fanned_field(
            rng, at, pitch_mm, stretch=rng.uniform(1.8, 4.0), longest_mm=rng.uniform(25.0, 60.0), beta=3.3
        )
        layers.append(field + 0.4 * power_law_field(rng, depth.shape, pitch_mm, beta=3.5, longest_mm=40.0))
    sharpness = np.where(np.arange(_LAYERS) % 2 == 0, rng.uniform(1.8, 3.0, _LAYERS), rng.uniform(0.8, 1.3, _LAYERS))
    fraction = _fill(layers, sharpness, prior, thickness, 0.85 * breast.gland_fraction)
    beta = 3.30 if breast.view == "MLO" else 3.17
    fine = power_law_field(rng, depth.shape, pitch_mm, beta=beta + 0.2, longest_mm=20.0)
    gland = 0.92 * thickness * np.clip(fraction * np.exp(0.15 * fine), 0.0, 1.0)
    strands = _stroma(rng, at, depth, thickness, pitch_mm) * (0.8 + 2.5 * fraction)
    return np.asarray(gland + strands, dtype=np.float32)


def _stroma(
    rng: np.random.Generator, at: FloatImage, depth: FloatImage, thickness: FloatImage, pitch_mm: float
) -> FloatImage:
    """A net of faint strands in fat and gland: the zero lines of smooth, fanned-out fields."""
    total = np.zeros_like(depth)
    for longest_mm, width, weight in ((16.0, 0.12, 1.2), (9.0, 0.15, 0.8), (5.5, 0.2, 0.4)):
        field = _fanned_field(rng, at, pitch_mm, stretch=rng.uniform(1.8, 3.2), longest_mm=longest_mm, beta=4.6)
        where = power_law_field(rng, depth.shape, pitch_mm, beta=3.5, longest_mm=25.0)
        total += np.float32(weight) * np.exp(-np.abs(field) / np.float32(width)) * np.clip(0.5 + where, 0.0, 2.0)
    haze = power_law_field(rng, depth.shape, pitch_mm, beta=3.6, longest_mm=30.0)
    total += np.clip(1.2 + 1.1 * haze, 0.0, None)
    return np.asarray(0.018 * thickness * total * np.clip(depth / 6.0, 0.0, 1.0), dtype=np.float32)


def _where_gland_lies(
    rng: np.random.Generator, breast: Breast, depth: FloatImage, row: FloatImage, column: FloatImage
) -> FloatImage:
    """Log-odds: none under the skin, most in a cone behind the nipple, less at the chest wall."""
    fat_layer = {"A": 8.0, "B": 5.5, "C": 4.0, "D": 3.0}[breast.density] * rng.uniform(0.8, 1.3)
    spread: dict[Density, float] = {"A": 0.45, "B": 0.6, "C": 0.8, "D": 1.0}
    reach = np.float32(rng.uniform(0.5, 0.8) * breast.nipple_mm[1] * spread[breast.density] ** 0.5)
    behind = np.maximum(-column, 0.0)
    half_width = 12.0 + rng.uniform(0.5, 0.9) * behind
    lateral = rng.normal(-0.1, 0.15)  # the upper outer quadrant holds more gland
    cone = 1.0 - ((row - lateral * behind) / half_width) ** 2
    odds = 1.6 * np.clip(cone, -2.0, 1.0) - 1.8 * np.clip((behind - reach) / reach, -0.3, 2.0)
    under_skin = -6.0 * np.exp(-np.clip(depth - 1.5, 0.0, None) / fat_layer)
    near_nipple = np.hypot(row, column) < 3 * fat_layer
    return np.asarray(odds + np.where(near_nipple, 0.5 * under_skin, under_skin), dtype=np.float32)


def _fan(row: FloatImage, column: FloatImage) -> FloatImage:
    """(2, rows, columns): distance from a point before the nipple, and angle times 45 mm, no seam behind the nipple."""
    radius = np.hypot(row, column - np.float32(8.0))
    angle = np.arctan2(row, np.float32(8.0) - column)
    return np.stack([radius, angle * np.float32(45.0) + np.float32(85.0)])


def _fanned_field(
    rng: np.random.Generator, at: FloatImage, pitch_mm: float, *, stretch: float, longest_mm: float, beta: float = 2.9
) -> FloatImage:
    """A power-law field in polar coordinates around the nipple, stretched along the radius."""
    size = (int(110.0 / pitch_mm), int(170.0 / pitch_mm))
    field = power_law_field(rng, size, pitch_mm, beta=beta, longest_mm=longest_mm)
    pixel = at * np.array([1.0 / (stretch * pitch_mm), 1.0 / pitch_mm], dtype=np.float32)[:, None, None]
    return np.asarray(ndimage.map_coordinates(field, pixel, order=1, mode="grid-wrap"), dtype=np.float32)


def _fill(
    layers: list[FloatImage], sharpness: np.ndarray, prior: FloatImage, thickness: FloatImage, target: float
) -> FloatImage:
    """The layers' mean gland fraction, with the offset that gives the volume asked for."""
    thin = (slice(None, None, 8), slice(None, None, 8))
    weight = np.maximum(thickness[thin], 0.0)

    def fraction(offset: float, where: tuple[slice, slice]) -> FloatImage:
        total = np.zeros_like(prior[where])
        for layer, k in zip(layers, sharpness, strict=True):
            x = np.clip(np.float32(k) * (layer[where] + prior[where] + np.float32(offset)), -30.0, 30.0)
            total += 1.0 / (1.0 + np.exp(-x))
        return np.asarray(total / len(layers), dtype=np.float32)

    low, high = -12.0, 12.0
    for _ in range(18):
        middle = 0.5 * (low + high)
        mean = float((fraction(middle, thin) * weight).sum() / max(weight.sum(), 1e-6))
        low, high = (middle, high) if mean < target else (low, middle)
    return fraction(0.5 * (low + high), (slice(None), slice(None)))
