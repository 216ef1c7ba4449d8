"""Two model observers of details at known places.

The non-prewhitening matched filter with an eye filter predicts the reading of gold discs. The channelised Hotelling
observer is for structured backgrounds, which human observers discount in part and the matched filter does not.

References
----------
Burgess, Journal of the Optical Society of America A 11 (1994), doi 10.1364/JOSAA.11.001237 (eye filter).
Abbey and Barrett, Journal of the Optical Society of America A 18 (2001), doi 10.1364/JOSAA.18.000473 (channels).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage

Floats = NDArray[np.float64]

THRESHOLD = 3.5
"""d' at which a detail counts as visible, as in the predictions that the limits come from."""

_CHANNELS_MM = (0.04, 0.07, 0.12, 0.2, 0.35, 0.6)
"""Sigmas of the Gaussians whose differences are the channels; ours: from a pixel to the spacing of the details."""


def eye_filtered(image: NDArray[np.floating], pitch_mm: float) -> Floats:
    """Return an image after an eye filter sqrt(f) exp(-(f / 3.4)²), f in 1/mm.

    The filter is ours: Burgess' form with exponent 0.5 and its peak of 4 cycles per degree at 40 cm, magnified three
    times. It reproduces the ratios of the predicted gold thresholds of 0.1, 0.25, 0.5 and 1 mm.
    """
    row_f, column_f = np.fft.fftfreq(image.shape[0], pitch_mm), np.fft.rfftfreq(image.shape[1], pitch_mm)
    f = np.hypot(row_f[:, None], column_f[None, :])
    spectrum = np.fft.rfft2(np.asarray(image, dtype=np.float64)) * np.sqrt(f) * np.exp(-((f / 3.4) ** 2))
    return np.asarray(np.fft.irfft2(spectrum, s=image.shape))


def matched_filter_d_prime(
    image: FloatImage, without: FloatImage, expected: FloatImage, places: Floats, *, half_px: int, pitch_mm: float
) -> float:
    """Return d' of the non-prewhitening matched filter; both the image and the template pass the eye filter.

    Parameters
    ----------
    image, without
        (rows, columns) an exposure with the details, and another one without them.
    expected
        (rows, columns) the details without noise: the template.
    places
        (n, 2) row and column of the details in pixels.
    half_px
        Half the side of the patch that the observer uses.

    Returns
    -------
    float
        Difference of the mean responses with and without a detail, divided by the standard deviation without.
    """
    seen, empty, wanted = (_patches(eye_filtered(i, pitch_mm), places, half_px) for i in (image, without, expected))
    template = wanted - wanted.mean(axis=(1, 2), keepdims=True)
    scale = np.einsum("nij,nij->n", template, template)  # independent of the position within a pixel
    with_detail, background = (np.einsum("nij,nij->n", template, p) / scale for p in (seen, empty))
    return float((np.mean(with_detail) - np.mean(background)) / np.std(background))


def hotelling_d_prime(image: FloatImage, without: FloatImage, places: Floats, *, pitch_mm: float) -> float:
    """Return d' of the channelised Hotelling observer, with differences of Gaussians as channels."""
    seen, empty = (_channels(i, places, pitch_mm) for i in (image, without))
    signal = seen.mean(axis=0) - empty.mean(axis=0)
    covariance = 0.5 * (np.cov(seen.T) + np.cov(empty.T))
    return float(np.sqrt(signal @ np.linalg.solve(covariance, signal)))


def _channels(image: FloatImage, places: Floats, pitch_mm: float) -> Floats:
    """Return the responses (n, k) of the channels at places (n, 2), interpolated between pixels."""
    smooth = [ndimage.gaussian_filter(np.asarray(image, dtype=np.float64), s / pitch_mm) for s in _CHANNELS_MM]
    at = [ndimage.map_coordinates(i, places.T, order=3) for i in (image, *smooth)]
    return np.diff(np.stack(at, axis=1), axis=1)


def _patches(image: Floats, places: Floats, half: int) -> Floats:
    centre, offset = np.rint(places).astype(int), np.arange(-half, half + 1)
    return np.asarray(image[centre[:, 0, None, None] + offset[:, None], centre[:, 1, None, None] + offset[None, :]])
