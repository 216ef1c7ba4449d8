"""Normalise a mammogram: resample it, segment the breast and equalise the noise."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Mammogram, NormalisedMammogram
from microcalc.errors import NoBreastError
from microcalc.normalise.breast import find_breast
from microcalc.normalise.noise import equalise_noise
from microcalc.normalise.pectoral import without_pectoral
from microcalc.normalise.resample import resample, resample_mask
from microcalc.normalise.saturated import saturated

_SKIN_MM = 2.0  # ours: skin (1.5 mm) and its roll-off to the background are not rated
_SURROUNDINGS_MM = 1.5  # ours: contrast is taken against a Gaussian mean of this sigma


def normalise(mammogram: Mammogram, *, spacing_mm: float, whole_image: bool = False) -> NormalisedMammogram:
    """Bring a mammogram to one pixel spacing and one unit of noise.

    Parameters
    ----------
    spacing_mm
        The pixel spacing that the scorer was trained at.
    whole_image
        Treat every pixel as breast, as in crops and specimens.

    Raises
    ------
    NoBreastError
        There is no breast, or the picture is not plausible; see ``find_breast``.
    """
    pixels, grid = resample(mammogram.pixels, mammogram.grid, spacing_mm)
    padding = None
    if mammogram.padding is not None:
        padding = resample_mask(mammogram.padding, mammogram.grid, spacing_mm)
    if padding is not None and padding.all():
        raise NoBreastError("the header says that all pixels are padding, expected a breast")
    if whole_image:
        tissue = rated = np.ones(pixels.shape, dtype=bool)
    else:
        found = find_breast(pixels, spacing_mm=spacing_mm, intent=mammogram.intent, padding=padding)
        tissue, rated = found.mask, np.zeros_like(found.mask)
        rated[found.picture] = _without_skin(tissue[found.picture], spacing_mm)
        if mammogram.view is not None and mammogram.view.startswith("ML"):
            rated[found.picture] = without_pectoral(
                pixels[found.picture], rated[found.picture], spacing_mm=spacing_mm, orientation=mammogram.orientation
            )
        if mammogram.intent == "processed":
            white = saturated(mammogram, tissue, spacing_mm=spacing_mm)
            if white is not None:
                rated &= ~white
    box = _bounding_box(tissue)
    contrast = np.zeros_like(pixels)
    stable = equalise_noise(pixels[box], tissue[box], spacing_mm=spacing_mm, intent=mammogram.intent)
    contrast[box] = _against_surroundings(stable, tissue[box], sigma_px=_SURROUNDINGS_MM / spacing_mm)
    return NormalisedMammogram(contrast, rated, spacing_mm, grid.origin_mm, mammogram.uid)


def _bounding_box(mask: BoolImage, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of a mask, and ``margin`` more on each side, as far as the image reaches."""
    filled = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(max(0, int(lines[0]) - margin), int(lines[-1]) + 1 + margin) for lines in filled)
    return rows, columns


def _without_skin(tissue: BoolImage, spacing_mm: float) -> BoolImage:
    margin = round(_SKIN_MM / spacing_mm)
    box = _bounding_box(tissue, margin + 1)
    padded = np.pad(tissue[box], margin + 1, mode="edge")
    inner = slice(margin + 1, -margin - 1)
    depth = ndimage.uniform_filter(padded.astype(np.float32), 2 * margin + 1)[inner, inner]
    without = np.zeros_like(tissue)
    without[box] = depth > 0.999
    return without


def _against_surroundings(stable: FloatImage, tissue: BoolImage, *, sigma_px: float) -> FloatImage:
    """Return the contrast to the Gaussian mean of the surrounding tissue; 0 outside the tissue."""
    step = max(1, int(sigma_px / 3.5))
    weight = tissue.astype(np.float32)
    mean = _coarse_blur(stable * weight, step, sigma_px) / np.maximum(_coarse_blur(weight, step, sigma_px), 1e-3)
    return np.asarray((stable - mean) * weight, dtype=np.float32)


def _coarse_blur(pixels: FloatImage, step: int, sigma_px: float) -> FloatImage:
    """Return a Gaussian blur, computed on a raster reduced by ``step``, which loses nothing at this sigma."""
    rows, columns = (-(-n // step) * step for n in pixels.shape)
    padded = np.pad(pixels, ((0, rows - pixels.shape[0]), (0, columns - pixels.shape[1])))
    small = np.asarray(Image.fromarray(padded).reduce(step), dtype=np.float32)
    small = ndimage.gaussian_filter(small, sigma_px / step, truncate=3.0, mode="constant")
    large = Image.fromarray(small).resize((columns, rows), Image.Resampling.BILINEAR)
    return np.asarray(large, dtype=np.float32)[: pixels.shape[0], : pixels.shape[1]]
