"""The one mapping from pixel values to grey levels for a person: the header's window, or percentiles of the pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import BoolImage, FloatImage, Intent, Mammogram, NormalisedMammogram, Window

GreyImage = NDArray[np.uint8]

WHOLE_PERCENTILES = (2.0, 99.8)
LOCAL_PERCENTILES = (1.0, 99.95)
_BAND_ROWS = 32  # what is computed of so many rows stays in the cache


def shown_values(pixels: FloatImage, intent: Intent) -> FloatImage:
    """Return pixel values on the scale that a reader expects.

    Of a processed image these are the values themselves, of a raw one the negative logarithm of the exposure.
    """
    if intent == "processed":
        return pixels
    values: FloatImage = np.negative(pixels)
    np.maximum(values, np.float32(1), out=values)
    np.log(values, out=values)
    return np.negative(values, out=values)


def whole_grey(mammogram: Mammogram, normalised: NormalisedMammogram | None = None) -> GreyImage:
    """Return the whole image as grey levels, (rows, columns).

    The header's window decides where there is one; else percentiles of the breast, or of the whole image
    where ``normalised``, which holds the breast mask, is not given.
    """
    pixels, intent, window, step = mammogram.pixels, mammogram.intent, mammogram.window, 4
    grey = np.empty(pixels.shape, dtype=np.uint8)
    bands = [slice(top, top + _BAND_ROWS) for top in range(0, len(pixels), _BAND_ROWS)]
    if intent == "processed" and window is not None:
        for band in bands:
            grey[band] = apply_window(pixels[band], window)
        return grey
    sample = shown_values(pixels[::step, ::step], intent)
    if normalised is not None:
        breast = breast_of(mammogram, normalised, (0, 0), pixels.shape, step=step)
        sample = sample[breast] if breast.any() else shown_values(pixels, intent)
    low, high = np.percentile(sample, WHOLE_PERCENTILES)
    for band in bands:
        grey[band] = stretch(shown_values(pixels[band], intent), float(low), float(high))
    return grey


def local_grey(values: FloatImage, breast: BoolImage) -> GreyImage:
    """Return a small part of an image as grey levels, from percentiles of the breast in it, or else of all of it.

    Parameters
    ----------
    values
        (rows, columns), as ``shown_values`` returns them.
    breast
        (rows, columns): the breast mask of this part.
    """
    low, high = np.percentile(values[breast] if np.any(breast) else values, LOCAL_PERCENTILES)
    return stretch(values, float(low), float(high))


def stretch(values: FloatImage, low: float, high: float) -> GreyImage:
    """Return grey levels: 0 for values up to ``low``, 255 from ``high`` on, linear between."""
    scale = np.float32(255.0 / max(high - low, 1e-30))
    grey: FloatImage = values - np.float32(low)
    grey *= scale
    return np.clip(grey, 0, 255, out=grey).astype(np.uint8)


def apply_window(values: FloatImage, window: Window) -> GreyImage:
    """Return grey levels after the VOI transformation of the header.

    References
    ----------
    DICOM PS3.3 C.11.2.1.2 (linear), C.11.2.1.3.1 (sigmoid), C.11.2.1.3.2 (linear exact).
    """
    centre, width = np.float32(window.centre), np.float32(window.width)
    if window.function == "sigmoid":
        grey: FloatImage = 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -50, 50)))
        return grey.astype(np.uint8)
    if window.function == "linear":
        centre, width = centre - np.float32(0.5), np.maximum(width - 1, np.float32(1e-3))
    return stretch(values, float(centre - width / 2), float(centre + width / 2))


def breast_of(
    mammogram: Mammogram,
    normalised: NormalisedMammogram,
    first: tuple[int, int],
    last: tuple[int, int],
    *,
    step: int = 1,
) -> BoolImage:
    """Return the breast mask at pixels of the original image, each from the nearest normalised pixel.

    Parameters
    ----------
    first, last
        (row, column) of the first pixel, and of the pixel after the last.
    step
        From one pixel that is asked for to the next.
    """
    lines = []
    for axis in (0, 1):
        asked = np.arange(first[axis], last[axis], step)
        indices = np.zeros((asked.size, 2))
        indices[:, axis] = asked
        nearest = normalised.grid.to_pixels(mammogram.grid.to_mm(indices))[:, axis].round().astype(int)
        lines.append(np.clip(nearest, 0, normalised.breast.shape[axis] - 1))
    return normalised.breast[np.ix_(*lines)]
