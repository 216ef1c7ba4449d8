"""Interpolate and filter rasters, and add patches to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

from microcalc.domain import FloatImage

_PAD = 192
"""Padding in pixels, so that filters do not wrap around the image; glare has the widest kernel."""


def enlarge(coarse: FloatImage, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> FloatImage:
    """Interpolate a raster at fractional rows and columns by Catmull-Rom splines.

    Parameters
    ----------
    coarse
        (h, w) values.
    rows, columns
        (m,) and (n,) fractional indices into ``coarse``, clamped to its borders.

    Returns
    -------
    (m, n) float32.
    """
    along_rows = _weights(rows, coarse.shape[0]) @ coarse
    return np.ascontiguousarray((_weights(columns, coarse.shape[1]) @ along_rows.T).T, dtype=np.float32)


def _weights(positions: NDArray[np.floating], size: int) -> sparse.csr_matrix:
    position = np.clip(positions, 0.0, size - 1.0)
    first = np.minimum(np.floor(position).astype(np.int64), max(size - 2, 0))
    t = position - first
    taps = catmull_rom(t).astype(np.float32)
    index = np.clip(first[:, None] + np.arange(-1, 3), 0, size - 1)
    row = np.repeat(np.arange(len(position)), 4)
    return sparse.csr_matrix((taps.ravel(), (row, index.ravel())), shape=(len(position), size))


def catmull_rom(t: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the weights (n, 4) of the pixels -1, 0, 1 and 2 at fractions t (n,) between pixels 0 and 1."""
    return np.stack(
        [
            -0.5 * t + t**2 - 0.5 * t**3,
            1.0 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2.0 * t**2 - 1.5 * t**3,
            -0.5 * t**2 + 0.5 * t**3,
        ],
        axis=1,
    )


def frequencies(shape: tuple[int, int], pitch_mm: float) -> tuple[FloatImage, FloatImage]:
    """Return the row and column frequencies in 1/mm of ``rfft2`` of a raster, ready to broadcast."""
    row_f = fft.fftfreq(shape[0], pitch_mm).astype(np.float32)[:, None]
    column_f = fft.rfftfreq(shape[1], pitch_mm).astype(np.float32)[None, :]
    return row_f, column_f


def filtered(
    image: FloatImage, pitch_mm: float, transfer: Callable[[FloatImage, FloatImage], NDArray[np.floating]]
) -> FloatImage:
    """Filter an image by a transfer function of (row, column) frequency in 1/mm."""
    h, w = image.shape
    shape = (fft.next_fast_len(h + _PAD, real=True), fft.next_fast_len(w + _PAD, real=True))
    spectrum = fft.rfft2(_padded(image, shape), workers=1)
    spectrum *= transfer(*frequencies(shape, pitch_mm)).astype(np.float32)
    return np.ascontiguousarray(fft.irfft2(spectrum, s=shape, workers=1)[:h, :w], dtype=np.float32)


def _padded(image: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """Pad an image to a shape, the first half with its last row, the second with its first; columns likewise."""
    h, w = image.shape
    rows = np.r_[0:h, np.full((shape[0] - h) // 2, h - 1), np.zeros(shape[0] - h - (shape[0] - h) // 2, int)]
    columns = np.r_[0:w, np.full((shape[1] - w) // 2, w - 1), np.zeros(shape[1] - w - (shape[1] - w) // 2, int)]
    return image[rows][:, columns]


def add_patch(image: FloatImage, corner: tuple[int, int], patch: FloatImage) -> None:
    """Add a patch to an image in place, as far as it lies in the image."""
    here, part = overlap(image.shape, corner, patch.shape)
    image[here] += patch[part]


def overlap(
    shape: tuple[int, ...], corner: tuple[int, int], size: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of an image that a patch covers, and the part of the patch that lies in the image."""
    first = [max(c, 0) for c in corner]
    last = [max(min(c + n, m), f) for c, n, m, f in zip(corner, size, shape, first, strict=True)]
    here = (slice(first[0], last[0]), slice(first[1], last[1]))
    return here, (slice(first[0] - corner[0], last[0] - corner[0]), slice(first[1] - corner[1], last[1] - corner[1]))


def motion_blurred(image: FloatImage, motion_mm: tuple[float, float], pitch_mm: float) -> FloatImage:
    """Return an image blurred by a uniform motion during the exposure."""
    if motion_mm == (0.0, 0.0) or not image.size:
        return image
    row_mm, column_mm = motion_mm

    def transfer(row_f: FloatImage, column_f: FloatImage) -> NDArray[np.floating]:
        return np.sinc(row_f * row_mm + column_f * column_mm)

    return filtered(image, pitch_mm, transfer)
