"""Arithmetic on ROC and FROC curves, many at once.

A curve is two arrays, x (..., v) and y (..., v), both non-decreasing along the last axis, with x from 0. Consecutive
vertices are joined by straight lines: horizontal where the threshold passes false marks only, vertical where it passes
hits only, sloping where hits and false marks have the same rating. Beyond its last vertex a curve is constant. All
functions return an array of the leading shape (...); rows of NaN give NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_TOLERANCE = 1e-12
"""Relative tolerance of x, so that 4 false marks on 40 images count as 0.1 per image."""


def step_at(x: Values, y: Values, *, at: float) -> Values:
    """Return the height of the best operating point at or below x = ``at``, without interpolation (for FROC)."""
    last = _last_vertex(x, at)
    return np.asarray(np.take_along_axis(y, last, axis=-1)[..., 0])


def interpolate_at(x: Values, y: Values, *, at: float) -> Values:
    """Return the height of the curve at x = ``at``, interpolated along the lines between vertices (for ROC)."""
    last = _last_vertex(x, at)
    following = np.minimum(last + 1, x.shape[-1] - 1)
    x1, x2 = np.take_along_axis(x, last, axis=-1), np.take_along_axis(x, following, axis=-1)
    y1, y2 = np.take_along_axis(y, last, axis=-1), np.take_along_axis(y, following, axis=-1)
    width = x2 - x1
    share = np.divide(np.maximum(at - x1, 0.0), width, out=np.zeros_like(width), where=width > 0)
    return np.asarray((y1 + share * (y2 - y1))[..., 0])


def mean_height(x: Values, y: Values, *, low: float, high: float) -> Values:
    """Return the mean of y over x in [low, high]: the partial area divided by the width.

    Raises
    ------
    ValueError
        The range is empty or begins below 0.
    """
    if not 0 <= low < high:
        raise ValueError(f"range {low} to {high}, expected 0 <= low < high")
    left, right = np.clip(x[..., :-1], low, high), np.clip(x[..., 1:], low, high)
    slope = _slope(x, y)
    area = (right - left) * (y[..., :-1] + slope * ((left + right) / 2 - x[..., :-1]))
    tail = (high - np.clip(x[..., -1], low, high)) * y[..., -1]
    return np.asarray((area.sum(axis=-1) + tail) / (high - low))


def log_mean_height(x: Values, y: Values, *, low: float, high: float) -> Values:
    """Return the mean of y over ln x in [ln low, ln high]: ``1/(ln b - ln a) * integral of y(f)/f df``.

    The integral is exact for the straight lines of the curve.

    Raises
    ------
    ValueError
        The range is empty or does not begin above 0.
    """
    if not 0 < low < high:
        raise ValueError(f"range {low} to {high}, expected 0 < low < high")
    left, right = np.clip(x[..., :-1], low, high), np.clip(x[..., 1:], low, high)
    slope = _slope(x, y)
    area = (y[..., :-1] - slope * x[..., :-1]) * np.log(right / left) + slope * (right - left)
    tail = np.log(high / np.clip(x[..., -1], low, high)) * y[..., -1]
    return np.asarray((area.sum(axis=-1) + tail) / np.log(high / low))


def end_x(x: Values, y: Values) -> Values:
    """Return x at the end of the curve: the false marks at the lowest threshold."""
    return np.where(np.isnan(y[..., -1]), np.nan, x[..., -1])


def end_y(x: Values, y: Values) -> Values:
    """Return y at the end of the curve: the sensitivity at the lowest threshold."""
    return np.asarray(y[..., -1])


def _last_vertex(x: Values, at: float) -> NDArray[np.intp]:
    if at < 0:
        raise ValueError(f"at = {at}, expected 0 or more")
    passed = np.count_nonzero(x <= at * (1 + _TOLERANCE), axis=-1, keepdims=True)
    return np.maximum(passed - 1, 0)


def _slope(x: Values, y: Values) -> Values:
    width, rise = np.diff(x, axis=-1), np.diff(y, axis=-1)
    return np.divide(rise, width, out=np.zeros_like(width), where=width > 0)
