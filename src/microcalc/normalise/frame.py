"""Find the borders of the picture inside frames, strips and unexposed margins.

No breast ends from one pixel to the next along a straight line over the whole height or width of the
picture. Where grey levels do so, the part between that line and the border does not belong to the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Intent
from microcalc.normalise.blocks import compressed

_SEGMENT_MM = 2.0  # ours: grey levels are compared piece by piece along the line
_ACROSS_PX = 9  # the running median across the line that a dead line of the detector does not move
_GAP_PX = 6  # from the line to the middle of what is compared: a resampled edge takes two pixels
_NEIGHBOURHOOD_PX = 60
_SHARPER = 5.0
_ABRUPT = 0.7  # ours: the share of a step over nine pixels that is taken within three
_LEAST_STEP = 0.03  # of the picture's range of grey levels
_MOST_OF_LINE = 0.85
_PAINTED = 0.1  # of the least step: a painted strip has no noise
_MOST_BESIDE_PAINTED = 0.5  # ours: of the line beside it; air ends along a curve
_NOISY = 0.04  # ours: of the picture's range of grey levels; no detector is that noisy
_LEAST_OF_LINE = 0.4
_DEEPEST = 0.7
_RINGING_PX = 3  # of the resampling
_ROUNDS = 4
_MEDIAN_OF_NINE = (
    (1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3),
    (5, 8), (4, 7), (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2),
)  # fmt: skip


def picture_box(pixels: FloatImage, *, spacing_mm: float, intent: Intent) -> tuple[slice, slice]:
    """Return the rows and columns of the picture: all of them where nothing surrounds it.

    Parameters
    ----------
    pixels
        (rows, columns), brighter = denser, at ``spacing_mm``.
    """
    low, high = np.percentile(compressed(pixels[::4, ::4], intent), [0.5, 99.5])
    least_step = _LEAST_STEP * float(high - low)
    segment = max(1, round(_SEGMENT_MM / spacing_mm))
    top, bottom, left, right = 0, pixels.shape[0], 0, pixels.shape[1]

    for _ in range(_ROUNDS):
        before = top, bottom, left, right
        first, last = _strips(pixels[top:bottom, left:right].T, segment, intent, float(low), least_step)
        top, bottom = top + first, bottom - last
        first, last = _strips(pixels[top:bottom, left:right], segment, intent, float(low), least_step)
        left, right = left + first, right - last
        if (top, bottom, left, right) == before:
            break
    return slice(top, bottom), slice(left, right)


@dataclass(frozen=True, eq=False, slots=True)
class _Lines:
    """The columns of a picture, and their grey levels.

    Attributes
    ----------
    pixels
        (rows, columns).
    means
        (segments, columns): the mean of each segment of a column, compressed.
    levels
        (segments, columns): their running median across the columns.
    middle
        (columns,): the median of the levels of a column.
    """

    pixels: FloatImage
    means: FloatImage
    levels: FloatImage
    middle: FloatImage

    @classmethod
    def of(cls, pixels: FloatImage, segment: int, intent: Intent) -> _Lines:
        means = compressed(_segment_means(pixels, segment), intent)
        levels = _running_median(means)
        return cls(pixels, means, levels, np.median(levels, axis=0))

    def turned(self) -> _Lines:
        """Return the same with the last column first."""
        return _Lines(self.pixels[:, ::-1], self.means[:, ::-1], self.levels[:, ::-1], self.middle[::-1])


def _strips(pixels: FloatImage, segment: int, intent: Intent, darkest: float, least_step: float) -> tuple[int, int]:
    """Return how many columns at the left, and at the right of what then is left, do not belong to the picture."""
    if min(pixels.shape) < 4 * segment:
        return 0, 0
    lines = _Lines.of(pixels, segment, intent)
    first = _strip(lines, intent, darkest=darkest, least_step=least_step)
    if first:
        if pixels.shape[1] - first < 4 * segment:
            return first, 0
        lines = _Lines.of(pixels[:, first:], segment, intent)
    return first, _strip(lines.turned(), intent, darkest=darkest, least_step=least_step)


def _strip(lines: _Lines, intent: Intent, *, darkest: float, least_step: float) -> int:
    """Return how many columns at the left do not belong to the picture."""
    pixels, means, levels = lines.pixels, lines.means, lines.levels
    filled = _painted(pixels, intent, darkest=darkest, least_step=least_step) or _noisy(pixels, intent, least_step)
    if filled:
        return filled + _RINGING_PX
    columns = levels.shape[1]
    edge = np.arange(1, columns - _GAP_PX)
    there = np.maximum(edge - _GAP_PX, 0)
    before, after, level = levels[:, there], levels[:, edge + _GAP_PX - 1], lines.middle[there]
    step = np.abs(after - before)
    goes_on = (
        (level > darkest + least_step) & (np.abs(before - level) < least_step) & (np.abs(after - level) < least_step)
    )
    compared = np.count_nonzero(~goes_on, axis=0)
    at_once = _change(means, edge, 3) > _ABRUPT * _change(means, edge, 9)
    jumps = at_once & (step > least_step) & ~goes_on
    ends = (compared >= _LEAST_OF_LINE * len(step)) & (np.count_nonzero(jumps, axis=0) >= _MOST_OF_LINE * compared)
    if not ends.any():
        return 0
    jumps &= step > _SHARPER * _usual(step, ends)
    ends &= np.count_nonzero(jumps, axis=0) >= _MOST_OF_LINE * compared
    for at in edge[ends][::-1]:
        if _is_even(levels[:, at + _GAP_PX :], least_step):  # not the strip but the picture is on the left
            continue
        if at <= columns // 2 or (at <= _DEEPEST * columns and _is_even(levels[:, :at], least_step)):
            return int(at) + _RINGING_PX
    return 0


def _usual(step: FloatImage, columns: BoolImage) -> FloatImage:
    """Return the running median of steps over the following columns; it is valid at the given columns only."""
    there = np.flatnonzero(columns)
    near = slice(max(0, int(there[0]) - _NEIGHBOURHOOD_PX), int(there[-1]) + 1 + _NEIGHBOURHOOD_PX)
    usual = np.zeros_like(step)
    usual[:, near] = ndimage.median_filter(
        step[:, near], size=(1, _NEIGHBOURHOOD_PX), origin=(0, -_NEIGHBOURHOOD_PX // 2 + 1)
    )
    return usual


def _running_median(values: FloatImage) -> FloatImage:
    """Return the running median of nine columns, by Paeth's network of comparisons."""
    wide = np.pad(values, ((0, 0), (_ACROSS_PX // 2, _ACROSS_PX // 2)), mode="edge")
    v = [wide[:, i : i + values.shape[1]] for i in range(_ACROSS_PX)]
    for a, b in _MEDIAN_OF_NINE:
        v[a], v[b] = np.minimum(v[a], v[b]), np.maximum(v[a], v[b])
    return v[4]


def _painted(pixels: FloatImage, intent: Intent, *, darkest: float, least_step: float) -> int:
    """Return how many of the first columns have one grey value, not black, along nearly their whole length."""
    first = compressed(pixels[:, :1], intent)
    level = float(np.median(first))
    if level < darkest + least_step or np.mean(np.abs(first - level) < _PAINTED * least_step) <= _MOST_OF_LINE:
        return 0
    same = np.mean(np.abs(compressed(pixels, intent) - level) < _PAINTED * least_step, axis=0) > _MOST_OF_LINE
    end = int(np.argmin(same))
    if same.all() or end + _RINGING_PX >= pixels.shape[1]:
        return 0
    beside = compressed(pixels[:, end + _RINGING_PX : end + _RINGING_PX + 1], intent)
    return end if np.mean(np.abs(beside - level) < _PAINTED * least_step) < _MOST_BESIDE_PAINTED else 0


def _noisy(pixels: FloatImage, intent: Intent, least_step: float) -> int:
    """Return how many of the first columns are noise far above that of any detector."""
    least = _NOISY / _LEAST_STEP * least_step
    if _noise(pixels[:, :1], intent)[0] < least:
        return 0
    noisy = _noise(pixels[:, : pixels.shape[1] // 2], intent) > least
    return 0 if noisy.all() else int(np.argmin(noisy))


def _noise(pixels: FloatImage, intent: Intent) -> FloatImage:
    """Return the noise of each column: its standard deviation, from second differences along the column."""
    second = np.abs(np.diff(compressed(pixels, intent), n=2, axis=0))
    return np.asarray(1.4826 / np.sqrt(6.0) * np.median(second, axis=0), dtype=np.float32)


def _change(means: FloatImage, edge: NDArray[np.intp], width: int) -> FloatImage:
    """Return by how much grey levels change over ``width`` columns around each edge."""
    first, last = np.maximum(edge - (width + 1) // 2, 0), np.minimum(edge + width // 2, means.shape[1] - 1)
    change: FloatImage = np.abs(means[:, last] - means[:, first])
    return change


def _segment_means(pixels: FloatImage, segment: int) -> FloatImage:
    rows = len(pixels) // segment * segment
    means: FloatImage = pixels[:rows].reshape(rows // segment, segment, -1).mean(axis=1)
    return means


def _is_even(levels: NDArray[np.floating], least_step: float) -> bool:
    return bool(np.mean(np.abs(levels - np.median(levels)) < least_step) > _MOST_OF_LINE)
