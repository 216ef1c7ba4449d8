"""Resample rasters to another pixel spacing, without shifting their content."""

from __future__ import annotations

import numpy as np
from PIL import Image

from microcalc.domain import BoolImage, FloatImage
from microcalc.geometry import Grid


def resampled_grid(shape: tuple[int, int], grid: Grid, spacing_mm: float) -> tuple[tuple[int, int], Grid]:
    """Return the shape and grid of a raster that covers the same field at another spacing.

    The outer edge of the first pixel stays where it is; the far edge moves outwards
    by less than one pixel.
    """
    out_shape = tuple(
        max(1, int(np.ceil(n * s / spacing_mm - 1e-6))) for n, s in zip(shape, grid.spacing_mm, strict=True)
    )
    origin = tuple(o + (spacing_mm - s) / 2 for o, s in zip(grid.origin_mm, grid.spacing_mm, strict=True))
    return (out_shape[0], out_shape[1]), Grid((spacing_mm, spacing_mm), (origin[0], origin[1]))


def resample(pixels: FloatImage, grid: Grid, spacing_mm: float) -> tuple[FloatImage, Grid]:
    """Resample with a Lanczos kernel that widens when it reduces, so that noise does not alias.

    Parameters
    ----------
    pixels
        (rows, columns) on ``grid``.

    Returns
    -------
    The raster at ``spacing_mm`` and its grid.
    """
    shape, out_grid = resampled_grid((pixels.shape[0], pixels.shape[1]), grid, spacing_mm)
    field = [n * spacing_mm / s for n, s in zip(shape, grid.spacing_mm, strict=True)]
    pad = [max(0, int(np.ceil(f)) - n) for f, n in zip(field, pixels.shape, strict=True)]
    padded = np.pad(pixels, ((0, pad[0]), (0, pad[1])), mode="edge") if any(pad) else pixels
    image = Image.fromarray(np.ascontiguousarray(padded, dtype=np.float32))
    resized = image.resize((shape[1], shape[0]), Image.Resampling.LANCZOS, box=(0.0, 0.0, field[1], field[0]))
    return np.asarray(resized, dtype=np.float32), out_grid


def resample_mask(mask: BoolImage, grid: Grid, spacing_mm: float) -> BoolImage:
    """Resample a mask; a pixel is true where more than half of it was."""
    resampled, _ = resample(mask.astype(np.float32), grid, spacing_mm)
    return resampled > 0.5
