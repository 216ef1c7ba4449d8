"""The one mapping from pixel values to grey levels for a person: the header's window, or percentiles of the pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import BoolImage, FloatImage, Intent, Mammogram, NormalisedMammogram, Window

GreyImage = NDArray[np.uint8]

WHOLE_PERCENTILES = (2.0, 99.8)
LOCAL_PERCENTILES = (1.0, 99.95)


def shown_values(pixels: FloatImage, intent: Intent) -> FloatImage:
    """Return pixel values on the scale that a reader expects.

    Of a processed image these are the values themselves, of a raw one the negative logarithm of the exposure.
    """
    return pixels if intent == "processed" else -np.log(np.maximum(-pixels, np.float32(1)))


def whole_grey(mammogram: Mammogram, normalised: NormalisedMammogram | None = None) -> GreyImage:
    """Return the whole image as grey levels, (rows, columns).

    The header's window decides where there is one; else percentiles of the breast, or of the whole image
    where ``normalised``, which holds the breast mask, is not given.
    """
    if mammogram.intent == "processed" and mammogram.window is not None:
        return apply_window(mammogram.pixels, mammogram.window)
    values, step = shown_values(mammogram.pixels, mammogram.intent), 4
    sample = values[::step, ::step]
    if normalised is not None:
        breast = breast_of(mammogram, normalised, (0, 0), mammogram.pixels.shape)[::step, ::step]
        sample = sample[breast] if breast.any() else values
    low, high = np.percentile(sample, WHOLE_PERCENTILES)
    return stretch(values, float(low), float(high))


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
    grey: FloatImage = np.clip((values - np.float32(low)) * scale, 0, 255)
    return grey.astype(np.uint8)


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
    mammogram: Mammogram, normalised: NormalisedMammogram, first: tuple[int, int], last: tuple[int, int]
) -> BoolImage:
    """Return the breast mask at pixels of the original image, each from the nearest normalised pixel.

    Parameters
    ----------
    first, last
        (row, column) of the first pixel, and of the pixel after the last.
    """
    lines = []
    for axis in (0, 1):
        indices = np.zeros((last[axis] - first[axis], 2))
        indices[:, axis] = np.arange(first[axis], last[axis])
        nearest = normalised.grid.to_pixels(mammogram.grid.to_mm(indices))[:, axis].round().astype(int)
        lines.append(np.clip(nearest, 0, normalised.breast.shape[axis] - 1))
    return normalised.breast[np.ix_(*lines)]
