"""Compute integral images of windows around samples, and the values of features on them.

Pixels become integers (steps of 1/32 noise standard deviation) before they are summed, and sums
of 32-bit integers may wrap around; differences of corners are exact all the same. So the rating of a
pixel is the same to the last bit whether the integral image covers its window, a band
of rows, or the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.cascade.compiled import compiled
from microcalc.cascade.haar import MARGIN_PX, WINDOW_PX, Features, Ints
from microcalc.domain import FloatImage
from microcalc.sample.store import Samples, StoredImage

STEPS_PER_NOISE: Final = 32
"""Ours: rounding adds 1/10,000 of the noise's variance."""
_LARGEST: Final = 1000.0  # what ``sample.store`` keeps
CORNERS: Final = (WINDOW_PX + 1) ** 2


def quantised(pixels: FloatImage | NDArray[np.float16]) -> Ints:
    """Return pixels in steps of 1/32, rounded to float16 first, as ``sample.store`` does."""
    half = np.clip(pixels, -_LARGEST, _LARGEST).astype(np.float16)
    return np.asarray(STEPS_OF_HALF[half.view(np.uint16)])


def _steps_of_half() -> Ints:
    """Return the integer of each of the 65,536 float16."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = np.where(np.isfinite(every), every, 0)
    return np.asarray(np.rint(np.clip(finite, -_LARGEST, _LARGEST) * STEPS_PER_NOISE), dtype=np.int32)


STEPS_OF_HALF: Final = _steps_of_half()


def halves_of(image: StoredImage) -> NDArray[np.uint16]:
    """Return the stored pixels as the bits of their float16, with a window's margin around."""
    if image.border_px < MARGIN_PX:
        raise ValueError(f"border {image.border_px} px, expected at least {MARGIN_PX} px")
    cut = image.border_px - MARGIN_PX
    pixels = np.asarray(image.pixels)
    return pixels[cut : pixels.shape[0] - cut, cut : pixels.shape[1] - cut].view(np.uint16)


def by_image(samples: Samples) -> Iterator[tuple[int, slice]]:
    """Yield the image index and the slice of each run of samples of one image."""
    bounds = np.flatnonzero(np.diff(samples[:, 0], prepend=-1, append=-1))
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        yield int(samples[first, 0]), slice(first, last)


def integral_windows(
    images: Sequence[StoredImage], samples: Samples, *, turns: NDArray[np.uint8] | None = None
) -> Ints:
    """Return the integral images of windows around samples.

    Parameters
    ----------
    samples
        (n, 3) samples in ``images``.
    turns
        (n,): quarter turns (0 to 3) of each window, or those of the mirrored window (4 to 7). By default 0.

    Returns
    -------
    (196, n): the value of each corner, row by row of the (14, 14) integral image, at every sample.
    """
    windows = np.empty((CORNERS, len(samples)), dtype=np.int32)
    turns = np.zeros(len(samples), dtype=np.uint8) if turns is None else turns
    for index, part in by_image(samples):
        halves = halves_of(images[index])
        rows, columns = np.ascontiguousarray(samples[part, 1]), np.ascontiguousarray(samples[part, 2])
        _fill(halves, STEPS_OF_HALF, rows, columns, turns[part], part.start, windows)
    return windows


@compiled
def _fill(
    halves: NDArray[np.uint16],
    steps: Ints,
    rows: Ints,
    columns: Ints,
    turns: NDArray[np.uint8],
    start: int,
    windows: Ints,
) -> None:
    """Fill in the integral images of windows from column ``start`` on."""
    integral = np.zeros((WINDOW_PX + 1, WINDOW_PX + 1), dtype=np.int32)
    last = WINDOW_PX - 1
    for i in range(len(rows)):
        for r in range(WINDOW_PX):
            total = 0
            for c in range(WINDOW_PX):
                a, b = r, last - c if turns[i] >= 4 else c
                for _ in range(turns[i] % 4):
                    a, b = b, last - a
                total += steps[halves[rows[i] + a, columns[i] + b]]
                integral[r + 1, c + 1] = integral[r, c + 1] + total
        for corner in range(CORNERS):
            windows[corner, start + i] = integral[corner // (WINDOW_PX + 1), corner % (WINDOW_PX + 1)]


def feature_values(windows: Ints, features: Features) -> Ints:
    """Return the values (n features, n samples) of a few features; many would take much memory."""
    values = np.empty((len(features), windows.shape[1]), dtype=np.int32)
    for index in range(len(features)):
        values[index] = feature_value(windows, features, index)
    return values


def feature_value(windows: Ints, features: Features, index: int) -> Ints:
    """Return the values (n samples,) of one feature."""
    corners = slice(int(features.start[index]), int(features.start[index + 1]))
    place = features.row[corners] * (WINDOW_PX + 1) + features.column[corners]
    return _weighted(windows, place, features.weight[corners])


@compiled
def _weighted(windows: Ints, place: Ints, weight: Ints) -> Ints:
    value = np.zeros(windows.shape[1], dtype=np.int32)
    for k in range(len(place)):
        for i in range(windows.shape[1]):
            value[i] += np.int32(weight[k]) * windows[place[k], i]
    return value
