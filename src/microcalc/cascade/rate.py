"""Run a cascade at samples, or at every breast pixel.

Pixels are processed in rows: of a band of 16 image rows with its own integral image, which stays in
the processor's cache, or of windows beside each other. While many pixels of a row are left, a node is applied
to the whole row, several pixels at once; later it is applied to the remaining pixels one by one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.cascade.cascade import Cascade, Floats, likelihood_of
from microcalc.cascade.compiled import compiled, in_threads
from microcalc.cascade.haar import MARGIN_PX, WINDOW_PX, Ints
from microcalc.cascade.windows import CORNERS, STEPS_OF_HALF, halves_of, quantised
from microcalc.domain import BoolImage, NormalisedMammogram, PixelScores
from microcalc.sample.store import StoredImage

Places = NDArray[np.int16]

_BAND_ROWS: Final = 16
_CHUNK: Final = 512  # windows beside each other: 400 KB
_SPARSE: Final = 8  # fewer than one in so many left: one by one is faster
_SIDE: Final = WINDOW_PX + 1
_Code = tuple[Ints, Ints, Ints, Ints, Ints, Floats, Ints, Floats]
"""The arrays of a cascade, as compiled functions take them."""


class CascadeScorer:
    """A ``domain.PixelScorer`` that rates every breast pixel by a cascade."""

    def __init__(self, cascade: Cascade, *, threads: int = 2) -> None:
        self._cascade = cascade
        self._code = _code_of(cascade)
        self._threads = threads

    @property
    def spacing_mm(self) -> float:
        """Return the pixel spacing that the cascade was trained at."""
        return self._cascade.spacing_mm

    def score(self, mammogram: NormalisedMammogram) -> PixelScores:
        """Return the likelihood of every pixel, in (0, 1) in the breast."""
        breast = mammogram.breast
        padded = np.pad(quantised(mammogram.pixels), MARGIN_PX)
        place = np.full(breast.shape, -1, dtype=np.int16)
        score = np.zeros(breast.shape, dtype=np.float32)
        spans = _spans(breast)
        in_threads(
            lambda first, last: _rate_bands(padded, breast, spans, first, last, self._code, place, score),
            len(spans),
            threads=self._threads,
        )
        likelihood = np.zeros(breast.shape, dtype=np.float32)
        likelihood[breast] = likelihood_of(place[breast], score[breast], self._cascade.bounds)
        return PixelScores(likelihood)


def places_of(
    cascade: Cascade, image: StoredImage, rows: NDArray[np.integer], columns: NDArray[np.integer]
) -> tuple[Places, Floats]:
    """Return the place (n,) and the score (n,) of pixels of an image."""
    place, score = np.empty(len(rows), dtype=np.int16), np.empty(len(rows), dtype=np.float32)
    row, column = (np.ascontiguousarray(v, dtype=np.int32) for v in (rows, columns))
    halves, code = halves_of(image), _code_of(cascade)

    def rate(first: int, last: int) -> None:
        part = slice(first * _CHUNK, last * _CHUNK)
        _rate_samples(halves, STEPS_OF_HALF, row[part], column[part], code, place[part], score[part])

    in_threads(rate, -(-len(rows) // _CHUNK))
    return place, score


def places_of_windows(cascade: Cascade, windows: Ints) -> tuple[Places, Floats]:
    """Return the place (n,) and the score (n,) of windows (196, n); see ``windows.integral_windows``."""
    n = windows.shape[1]
    place, score = np.empty(n, dtype=np.int16), np.empty(n, dtype=np.float32)
    _rate_windows(windows, _code_of(cascade), place, score)
    return place, score


def _code_of(cascade: Cascade) -> _Code:
    f = cascade.features
    return (
        f.start, f.row, f.column, f.weight,
        cascade.threshold, cascade.vote, cascade.node_start, cascade.pass_score,
    )  # fmt: skip


def _spans(breast: BoolImage) -> Ints:
    """Return the first column of the breast and one past its last, for each band of rows."""
    spans = np.zeros((-(-breast.shape[0] // _BAND_ROWS), 2), dtype=np.int32)
    for band in range(len(spans)):
        filled = np.flatnonzero(breast[band * _BAND_ROWS : (band + 1) * _BAND_ROWS].any(axis=0))
        if filled.size:
            spans[band] = filled[0], filled[-1] + 1
    return spans


@compiled
def _value(integral: Ints, base: int, split: int, offset: Ints, code: _Code) -> np.int32:
    """Return the value of a split's feature in the window whose integral image starts at ``base``."""
    value = np.int32(0)
    for k in range(code[0][split], code[0][split + 1]):
        value += code[3][k] * integral[base + offset[k]]
    return value


@compiled
def _fill_values(integral: Ints, split: int, offset: Ints, code: _Code, value: Ints) -> None:
    """Fill in the values of a split's feature in a row of windows; the integral image of each starts one further."""
    n, weight = len(value), code[3]
    first, last = code[0][split], code[0][split + 1]
    value[:] = 0
    for k in range(first, last - 3, 4):  # four at a time: a sum stays in its register
        a, b = integral[offset[k] :][:n], integral[offset[k + 1] :][:n]
        c, d = integral[offset[k + 2] :][:n], integral[offset[k + 3] :][:n]
        p, q, r, s = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
        for i in range(n):
            value[i] += (p * a[i] + q * b[i]) + (r * c[i] + s * d[i])
    for k in range(last - (last - first) % 4, last):
        a, p = integral[offset[k] :][:n], weight[k]
        for i in range(n):
            value[i] += p * a[i]


@compiled
def _vote_along(integral: Ints, tree: int, offset: Ints, code: _Code, values: Ints, score: Floats) -> None:
    """Add a tree's votes to the scores of a row."""
    threshold, vote = code[4], code[5]
    splits = vote.shape[1] - 1
    first = tree * splits
    for split in range(splits):
        _fill_values(integral, first + split, offset, code, values[split])
    if splits == 1:
        at, low, high = threshold[first], vote[tree, 0], vote[tree, 1]
        for i in range(len(score)):
            score[i] += high if values[0, i] >= at else low
    else:
        at, at_low, at_high = threshold[first], threshold[first + 1], threshold[first + 2]
        a, b, c, d = vote[tree, 0], vote[tree, 1], vote[tree, 2], vote[tree, 3]
        for i in range(len(score)):
            low = b if values[1, i] >= at_low else a
            high = d if values[2, i] >= at_high else c
            score[i] += high if values[0, i] >= at else low


@compiled
def _vote_at(integral: Ints, base: int, tree: int, offset: Ints, code: _Code) -> np.float32:
    """Return a tree's vote on one window."""
    threshold, vote = code[4], code[5]
    splits = vote.shape[1] - 1
    at = 0
    while at < splits:
        split = tree * splits + at
        at = 2 * at + (2 if _value(integral, base, split, offset, code) >= threshold[split] else 1)
    return np.float32(vote[tree, at - splits])


@compiled
def _rate_row(
    integral: Ints, offset: Ints, code: _Code, left: Ints, values: Ints, total: Floats, place: Places, score: Floats
) -> None:  # fmt: skip
    """Fill in place and score of the pixels of a row that ``left`` lists; ``values`` and ``total`` are scratch."""
    node_start, pass_score = code[6], code[7]
    total[:] = 0
    n_left = len(left)
    for node in range(len(pass_score)):
        if n_left == 0:
            return
        trees = range(node_start[node], node_start[node + 1])
        if n_left * _SPARSE >= len(total):
            for tree in trees:
                _vote_along(integral, tree, offset, code, values, total)
        else:
            for k in range(n_left):
                i = left[k]
                for tree in trees:
                    total[i] += _vote_at(integral, i, tree, offset, code)
        n_passing = 0
        for k in range(n_left):
            i = left[k]
            if node < len(pass_score) - 1 and total[i] >= pass_score[node]:
                left[n_passing] = i
                n_passing += 1
            else:
                place[i], score[i] = node, total[i]
        n_left = n_passing


@compiled
def _rate_samples(
    halves: NDArray[np.uint16], steps: Ints, rows: Ints, columns: Ints, code: _Code, place: Places, score: Floats
) -> None:
    offset = (code[1] * _SIDE + code[2]) * _CHUNK
    for first in range(0, len(rows), _CHUNK):
        n = min(_CHUNK, len(rows) - first)
        integral = np.zeros(CORNERS * _CHUNK, dtype=np.int32)
        for i in range(n):
            for r in range(WINDOW_PX):
                total = np.int32(0)
                for c in range(WINDOW_PX):
                    total += steps[halves[rows[first + i] + r, columns[first + i] + c]]
                    corner = ((r + 1) * _SIDE + c + 1) * _CHUNK + i
                    integral[corner] = integral[corner - _SIDE * _CHUNK] + total
        values = np.empty((code[5].shape[1] - 1, n), dtype=np.int32)
        _rate_row(
            integral, offset, code, np.arange(n).astype(np.int32), values, np.empty(n, dtype=np.float32),
            place[first : first + n], score[first : first + n],
        )  # fmt: skip


@compiled
def _rate_windows(windows: Ints, code: _Code, place: Places, score: Floats) -> None:
    flat, n = windows.ravel(), windows.shape[1]
    offset = (code[1] * _SIDE + code[2]) * n
    for first in range(0, n, _CHUNK):
        some = min(_CHUNK, n - first)
        values = np.empty((code[5].shape[1] - 1, some), dtype=np.int32)
        _rate_row(
            flat[first:], offset, code, np.arange(some).astype(np.int32), values,
            np.empty(some, dtype=np.float32), place[first : first + some], score[first : first + some],
        )  # fmt: skip


@compiled
def _rate_bands(
    padded: Ints, breast: BoolImage, spans: Ints, first_band: int, last_band: int, code: _Code,
    place: Places, score: Floats,
) -> None:  # fmt: skip
    """Fill in place and score of every breast pixel of some bands."""
    for band in range(first_band, last_band):
        first, last = spans[band]
        if first == last:
            continue
        top, bottom = band * _BAND_ROWS, min(breast.shape[0], (band + 1) * _BAND_ROWS)
        wide = last - first
        stride = wide + 2 * MARGIN_PX + 1
        offset = code[1] * stride + code[2]
        integral = _band_integral(padded, top, bottom, first, stride)
        total = np.empty(wide, dtype=np.float32)
        values = np.empty((code[5].shape[1] - 1, wide), dtype=np.int32)
        for r in range(top, bottom):
            left = np.flatnonzero(breast[r, first:last]).astype(np.int32)
            _rate_row(
                integral[(r - top) * stride :], offset, code, left, values, total,
                place[r, first:last], score[r, first:last],
            )  # fmt: skip


@compiled
def _band_integral(padded: Ints, top: int, bottom: int, first: int, stride: int) -> Ints:
    """Return the flat integral image of a band and its margins, from column ``first`` on."""
    rows = bottom - top + 2 * MARGIN_PX
    integral = np.zeros((rows + 1) * stride, dtype=np.int32)
    for r in range(rows):
        total = np.int32(0)
        for c in range(stride - 1):
            total += padded[top + r, first + c]
            here = (r + 1) * stride + c + 1
            integral[here] = integral[here - stride] + total
    return integral
