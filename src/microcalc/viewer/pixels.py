"""Images as 16-bit tiles of several resolutions, for a browser that applies the window itself.

A level of half the resolution keeps what stands out: each of its pixels is the mean of four, raised by as much as
the brightest of them exceeds what noise alone explains. So a microcalcification of one pixel stays visible when the
whole breast is shown, and the background is not brightened. Levels are for looking at; nothing is measured in them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.display.grey import WHOLE_PERCENTILES, shown_values
from microcalc.domain import FloatImage, Intent
from microcalc.errors import InputError

Codes = NDArray[np.uint16]

TILE_PX: Final = 512
_NEIGHBOURS: Final = 15  # pixels over which the excess that noise explains is measured (ours)
_BACKGROUND_SHARE: Final = 0.1  # of the range of values, below which a pixel counts as background (ours)
_TISSUE_PERCENTILES: Final = (5.0, 99.9)  # of what is brighter than that in a raw image (ours)
_LEAST_BRIGHT: Final = 0.02  # share of a row or column that is brighter where there is a breast (ours)
_NOISE_FACTOR: Final = 1.5  # of the mean excess: less than one block of pure noise in a thousand exceeds it (ours)


@dataclass(frozen=True, eq=False, slots=True)
class Pyramid:
    """An image as 16-bit codes at several resolutions.

    Attributes
    ----------
    levels
        Codes (rows, columns); the first has the resolution of the image, each further one half of it.
    scale, offset
        The value of a pixel is ``scale * code + offset``.
    curve
        ``"log"``: a reader expects minus the logarithm of minus the value (raw images); ``"linear"``: the value.
    automatic
        The values, after the curve, between which grey levels run where the header states no window.
    """

    levels: tuple[Codes, ...]
    scale: float
    offset: float
    curve: Literal["linear", "log"]
    automatic: tuple[float, float]

    @property
    def content(self) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom of what is brighter than the background, in pixels of the image."""
        codes = self.levels[-1]
        step = 2 ** (len(self.levels) - 1)
        low, high = np.percentile(codes, (1, 99))
        bright = codes > low + _BACKGROUND_SHARE * (high - low)
        rows, columns = (np.flatnonzero(bright.mean(axis=axis) > _LEAST_BRIGHT) for axis in (1, 0))
        height, width = self.levels[0].shape
        if rows.size == 0 or columns.size == 0:
            return 0, 0, width, height
        right, bottom = min(int(columns[-1] + 1) * step, width), min(int(rows[-1] + 1) * step, height)
        return int(columns[0]) * step, int(rows[0]) * step, right, bottom

    @property
    def n_bytes(self) -> int:
        """Return the memory that the codes take."""
        return sum(level.nbytes for level in self.levels)

    def tile(self, level: int, column: int, row: int) -> Codes:
        """Return a tile; level 0 is the smallest, as the page counts; tiles at the edges are smaller.

        Raises
        ------
        InputError
            There is no such tile.
        """
        if not 0 <= level < len(self.levels):
            raise InputError(f"level {level}, expected one of {len(self.levels)}")
        codes = self.levels[-1 - level]
        tile = codes[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]
        if min(row, column) < 0 or tile.size == 0:
            raise InputError(f"tile {column}, {row} of level {level}, expected one inside the image")
        return tile


def make_pyramid(pixels: FloatImage, intent: Intent) -> Pyramid:
    """Return the pixels of an image, as it hangs, at several resolutions."""
    codes, scale, offset = _encode(pixels)
    sample = shown_values(pixels[::4, ::4], intent)
    low, high = np.percentile(sample, WHOLE_PERCENTILES)
    if intent == "raw":  # the range between air and breast leaves few grey levels for tissue
        tissue = sample[sample > low + _BACKGROUND_SHARE * (high - low)]
        low, high = np.percentile(tissue if tissue.size else sample, _TISSUE_PERCENTILES)
    curve: Literal["linear", "log"] = "linear" if intent == "processed" else "log"
    return Pyramid(reduced_levels(codes), scale, offset, curve, (float(low), float(high)))


def pyramid_of_values(values: FloatImage, low: float, high: float) -> Pyramid:
    """Return a layer such as a likelihood map; values beyond ``low`` and ``high`` are clipped."""
    scale = (high - low) / 65535
    codes = np.clip(np.rint((values - low) / scale), 0, 65535).astype(np.uint16)
    return Pyramid(reduced_levels(codes), scale, low, "linear", (low, high))


def reduced_levels(codes: Codes) -> tuple[Codes, ...]:
    """Return the codes and their reduced levels, down to one that fits into one tile."""
    levels = [codes]
    mean, highest = codes, codes
    while max(levels[-1].shape) > TILE_PX:
        mean, highest = _halved_mean(mean), _halved_maximum(highest)
        excess = highest.astype(np.float32) - mean
        explained = ndimage.uniform_filter(excess, _NEIGHBOURS, mode="nearest") * np.float32(_NOISE_FACTOR)
        levels.append((mean + np.maximum(excess - explained, 0)).astype(np.uint16))
    return tuple(levels)


class PyramidCache:
    """The pyramids that were used last, up to a number of bytes; each is made once, whoever asks."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._pyramids: OrderedDict[str, Pyramid] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], Pyramid]) -> Pyramid:
        """Return a pyramid, made if it is not there; while one thread makes it, others wait."""
        with self._lock:
            if key in self._pyramids:
                self._pyramids.move_to_end(key)
                return self._pyramids[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._pyramids:
                    return self._pyramids[key]
            pyramid = make()
            with self._lock:
                self._pyramids[key] = pyramid
                self._making.pop(key, None)
                while len(self._pyramids) > 1 and sum(p.n_bytes for p in self._pyramids.values()) > self._most_bytes:
                    self._pyramids.popitem(last=False)
            return pyramid


def _encode(pixels: FloatImage) -> tuple[Codes, float, float]:
    """Return codes, scale and offset; whole values in a range of 16 bits are kept as they are."""
    low, high = float(pixels.min()), float(pixels.max())
    if high - low <= 65535 and low == round(low) and np.array_equal(pixels, np.rint(pixels)):
        return (pixels - np.float32(low)).astype(np.uint16), 1.0, low
    scale = max(high - low, 1e-30) / 65535
    return np.rint((pixels - np.float32(low)) / np.float32(scale)).clip(0, 65535).astype(np.uint16), scale, low


def _halved_mean(codes: Codes) -> Codes:
    a = _even(codes)
    total = np.add(a[::2, ::2], a[1::2, ::2], dtype=np.uint32)
    total += a[::2, 1::2]
    total += a[1::2, 1::2]
    return (total >> 2).astype(np.uint16)


def _halved_maximum(codes: Codes) -> Codes:
    a = _even(codes)
    rows = np.maximum(a[::2], a[1::2])
    return np.maximum(rows[:, ::2], rows[:, 1::2])


def _even(codes: Codes) -> Codes:
    """Return codes of an even number of rows and columns; the last ones are repeated."""
    odd = [(0, n % 2) for n in codes.shape]
    return np.pad(codes, odd, mode="edge") if (0, 1) in odd else codes
