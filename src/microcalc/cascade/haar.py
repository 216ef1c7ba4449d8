"""Haar-like features: sums of a window's pixels with integer weights that sum to zero.

A feature is a mask of weights over the window. On an integral image its value is a sum over few
corners only: the places where the mask's mixed second difference is not zero (six for two
rectangles side by side, eight for a rectangle in another). Since that holds for any mask, the
rotated ones need no integral image of their own: their edges at 45 degrees are stairs.

References
----------
P. Viola and M. Jones, Int. J. Comput. Vis. 57 (2004) 137. R. Lienhart and J. Maydt, ICIP 2002, 900 (rotated features).
A. Bria, N. Karssemeijer and F. Tortorella, Med. Image Anal. 18 (2014) 241.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

WINDOW_PX: Final = 13
"""Side of the window; its middle pixel is the sample."""
MARGIN_PX: Final = WINDOW_PX // 2

MOST_CORNERS: Final = 16
"""Ours: a rotated feature with more stairs costs as much time as several upright ones."""

Kind = Literal["two", "three", "four", "surround", "pair", "rotated"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Ints = NDArray[np.int32]
Masks = NDArray[np.int16]
"""(n, 13, 13): the weight of each pixel."""
_Region = NDArray[np.bool_]

_ROWS, _COLUMNS = np.indices((WINDOW_PX, WINDOW_PX))
_DOWN, _ACROSS = _ROWS + _COLUMNS, _ROWS - _COLUMNS + WINDOW_PX - 1  # coordinates along the diagonals, 0 to 24


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """Haar-like features as weighted corners of a window's integral image.

    Attributes
    ----------
    start
        (n + 1,): feature i has the corners ``start[i]`` to ``start[i + 1] - 1``.
    row, column, weight
        (c,): position in the (14, 14) integral image of the window, whose first row and column are 0,
        and the weight of its value.
    """

    start: Ints
    row: Ints
    column: Ints
    weight: Ints

    def __len__(self) -> int:
        return len(self.start) - 1

    def chosen(self, indices: NDArray[np.integer]) -> Features:
        """Return the features with these indices, in their order."""
        corners = [np.arange(self.start[i], self.start[i + 1]) for i in indices]
        start = np.cumsum([0, *map(len, corners)], dtype=np.int32)
        of_all = np.concatenate([np.zeros(0, dtype=np.int64), *corners])
        return Features(start, self.row[of_all], self.column[of_all], self.weight[of_all])

    def followed_by(self, others: Features) -> Features:
        """Return these features and the others."""
        return Features(
            np.concatenate([self.start, self.start[-1] + others.start[1:]]),
            np.concatenate([self.row, others.row]),
            np.concatenate([self.column, others.column]),
            np.concatenate([self.weight, others.weight]),
        )


def features_of(masks: Masks) -> Features:
    """Return the features of masks (n, 13, 13): their mixed second differences that are not zero."""
    bordered = np.pad(masks.astype(np.int32), ((0, 0), (1, 1), (1, 1)))
    weight = np.diff(np.diff(bordered, axis=1), axis=2)  # (n, 14, 14); a sum by parts gives the sign +
    feature, row, column = np.nonzero(weight)
    start = np.searchsorted(feature, np.arange(len(masks) + 1)).astype(np.int32)
    return Features(start, row.astype(np.int32), column.astype(np.int32), weight[feature, row, column])


def draw_features(n: int, rng: np.random.Generator) -> Features:
    """Draw n different features, equally many of each kind (ours: the kinds differ much in number)."""
    drawn = []
    for index, kind in enumerate(KINDS):
        pool = all_features(kind)
        wanted = n * (index + 1) // len(KINDS) - n * index // len(KINDS)
        drawn.append(pool[np.sort(rng.choice(len(pool), min(wanted, len(pool)), replace=False))])
    return features_of(np.concatenate(drawn))


@functools.cache
def all_features(kind: Kind) -> Masks:
    """Return every feature of a kind with at most ``MOST_CORNERS`` corners."""
    masks = np.array([_balanced(bright, dark) for bright, dark in _REGIONS[kind]()], dtype=np.int16)
    return masks[np.diff(features_of(masks).start) <= MOST_CORNERS]


def _balanced(bright: _Region, dark: _Region) -> Masks:
    """Return the mask of the bright region minus the dark one, weighted so that a constant level cancels."""
    n_bright, n_dark = np.count_nonzero(bright), np.count_nonzero(dark)
    common = gcd(n_bright, n_dark)
    return (bright * (n_dark // common) - dark * (n_bright // common)).astype(np.int16)


def _box(top: int, left: int, rows: int, columns: int) -> _Region:
    region = np.zeros((WINDOW_PX, WINDOW_PX), dtype=bool)
    region[top : top + rows, left : left + columns] = True
    return region


def _places(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    return product(range(WINDOW_PX - rows + 1), range(WINDOW_PX - columns + 1))


def _side_by_side(parts: int) -> Iterator[tuple[_Region, _Region]]:
    """Yield equal rectangles in a row or a column, every second one bright."""
    for high, wide in product(range(1, WINDOW_PX + 1), range(1, WINDOW_PX // parts + 1)):
        for top, left in _places(high, parts * wide):
            bright = np.zeros((WINDOW_PX, WINDOW_PX), dtype=bool)
            for part in range(1, parts, 2):
                bright |= _box(top, left + part * wide, high, wide)
            dark = _box(top, left, high, parts * wide) & ~bright
            yield bright, dark
            yield bright.T, dark.T


def _chequered() -> Iterator[tuple[_Region, _Region]]:
    for high, wide in product(range(1, MARGIN_PX + 1), repeat=2):
        for top, left in _places(2 * high, 2 * wide):
            bright = _box(top, left, high, wide) | _box(top + high, left + wide, high, wide)
            yield bright, _box(top, left, 2 * high, 2 * wide) & ~bright


def _surrounded() -> Iterator[tuple[_Region, _Region]]:
    """Yield a rectangle in the middle of another that is wider by 1 to 5 pixels on every side."""
    for high, wide, edge in product(range(1, 10), range(1, 10), range(1, 6)):
        for top, left in _places(high + 2 * edge, wide + 2 * edge):
            bright = _box(top + edge, left + edge, high, wide)
            yield bright, _box(top, left, high + 2 * edge, wide + 2 * edge) & ~bright


def _apart() -> Iterator[tuple[_Region, _Region]]:
    """Yield a bright square that holds the window's middle, and a dark one that it does not touch (ours)."""
    for near, far in product((1, 2, 3), (1, 2, 3, 4)):
        for top, left in product(range(MARGIN_PX - near + 1, MARGIN_PX + 1), repeat=2):
            bright = _box(top, left, near, near)
            grown = _box(top - 1, left - 1, near + 2, near + 2)
            yield from ((bright, dark) for p in _places(far, far) if not (dark := _box(*p, far, far))[grown].any())


def _rotated() -> Iterator[tuple[_Region, _Region]]:
    """Yield shapes at 45 degrees: two or three rectangles side by side, and a square in the middle of another."""
    inside = WINDOW_PX * 2 - 1
    for long, wide, parts in product((3, 5, 7, 9, 11), (2, 3, 4), (2, 3)):
        for down, across in product(range(inside - long), range(inside - parts * wide)):
            whole = _diamond(down, across, long, parts * wide)
            bright = _diamond(down, across + wide, long, wide)
            if whole is not None and bright is not None:
                yield bright, whole & ~bright
                yield np.flip(bright, 1), np.flip(whole & ~bright, 1)
    for side, edge in product((1, 3, 5, 7), (2, 3, 4)):
        for down, across in product(range(inside - side - 2 * edge), repeat=2):
            whole = _diamond(down, across, side + 2 * edge, side + 2 * edge)
            if whole is not None:
                bright = _diamond(down + edge, across + edge, side, side)
                if bright is not None:
                    yield bright, whole & ~bright


def _diamond(down: int, across: int, long: int, wide: int) -> _Region | None:
    """Return a rectangle along the diagonals; None where it is not inside the window or holds no pixel."""
    corners = [(d, a) for d in (down, down + long - 1) for a in (across, across + wide - 1)]
    shifted = [((d + a - MARGIN_PX * 2) / 2, (d - a + MARGIN_PX * 2) / 2) for d, a in corners]
    if not all(-0.5 <= v <= WINDOW_PX - 0.5 for corner in shifted for v in corner):
        return None
    region = (down <= _DOWN) & (down + long > _DOWN) & (across <= _ACROSS) & (across + wide > _ACROSS)
    return region if region.any() else None


_REGIONS: Final[Mapping[Kind, Callable[[], Iterator[tuple[_Region, _Region]]]]] = {
    "two": functools.partial(_side_by_side, 2),
    "three": functools.partial(_side_by_side, 3),
    "four": _chequered,
    "surround": _surrounded,
    "pair": _apart,
    "rotated": _rotated,
}
"""Functions that yield the bright and the dark region of every feature of a kind."""
