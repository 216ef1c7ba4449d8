"""Modulation transfer by the slanted-edge method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage

Floats = NDArray[np.float64]

_BIN_PX = 0.25
_FLAT_MM, _REACH_MM = 1.2, 2.4  # window on the line spread: 1 up to the first, 0 from the second on
_PLATEAU_MM = (8.0, 11.0)  # where the two sides are level: beyond the glare of the converter


def edge_transfer(image: FloatImage, pitch_mm: float, f: Floats) -> Floats:
    """Return the modulation transfer at frequencies ``f`` (n,) in 1/mm, normalised to the step between the plateaus.

    Parameters
    ----------
    image
        (rows, columns), linear in exposure, with one straight edge some degrees off the columns.

    References
    ----------
    Samei, Flynn, Reimann, Medical Physics 25 (1998), doi 10.1118/1.598165.
    """
    distance_mm = _distance_px(image) * pitch_mm
    step = _plateau(image, distance_mm, 1.0) - _plateau(image, distance_mm, -1.0)
    width_mm = _BIN_PX * pitch_mm
    n = round(_REACH_MM / width_mm)
    index = np.rint(distance_mm / width_mm).astype(int) + n
    inside = (index >= 0) & (index <= 2 * n)
    counts = np.bincount(index[inside], minlength=2 * n + 1)
    profile = np.bincount(index[inside], image[inside], minlength=2 * n + 1) / np.maximum(counts, 1)
    spread = np.asarray(np.diff(profile) / step, dtype=np.float64)
    x = np.asarray((np.arange(2 * n) - n + 0.5) * width_mm, dtype=np.float64)
    amplitude = np.abs(np.exp(-2j * np.pi * f[:, None] * x) @ (spread * _window(x)))
    return np.asarray(amplitude / np.sinc(f * width_mm) ** 2)  # binning, and the difference for the derivative


def _distance_px(image: FloatImage) -> Floats:
    """Return the signed distance of every pixel from the edge, fitted to the centroids of the rows' derivatives."""
    rows, columns = image.shape
    smooth = ndimage.gaussian_filter(np.asarray(image, dtype=np.float64), 1.5)
    slope = np.abs(np.diff(smooth, axis=1))
    peak = ndimage.gaussian_filter1d(slope, 10.0, axis=0).argmax(axis=1)
    x = np.arange(columns - 1) + 0.5
    near = np.abs(x[None, :] - peak[:, None] - 0.5) < 12.0
    weight = slope * near
    centroid = (weight @ x) / weight.sum(axis=1)
    tilt, offset = np.polyfit(np.arange(rows), centroid, 1)
    distance = np.arange(columns)[None, :] - (tilt * np.arange(rows)[:, None] + offset)
    return np.asarray(distance / np.hypot(1.0, tilt))


def _plateau(image: FloatImage, distance_mm: Floats, side: float) -> float:
    low, high = _PLATEAU_MM
    return float(image[(side * distance_mm > low) & (side * distance_mm < high)].mean())


def _window(x_mm: Floats) -> Floats:
    fall = np.clip((np.abs(x_mm) - _FLAT_MM) / (_REACH_MM - _FLAT_MM), 0.0, 1.0)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * fall))
