"""Reduce rasters to blocks and expand them again, and compress the grey levels of raw images."""

from __future__ import annotations

import numpy as np

from microcalc.domain import BoolImage, FloatImage, Intent


def block_mean(pixels: FloatImage, step: int) -> FloatImage:
    """Return means of squares of ``step`` pixels; those at the far borders repeat the last pixels."""
    rows, columns = (-(-n // step) * step for n in pixels.shape)
    padded = np.pad(pixels, ((0, rows - pixels.shape[0]), (0, columns - pixels.shape[1])), mode="edge")
    blocks = padded.reshape(rows // step, step, columns // step, step)
    means: FloatImage = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means


def compressed(values: FloatImage, intent: Intent) -> FloatImage:
    """Return raw grey levels as logarithms of the exposure, so that air does not dominate, and processed ones as is."""
    if intent == "processed":
        return values
    exposure = np.maximum(-values, 0)
    logs: FloatImage = -np.log(exposure + 10.0).astype(np.float32)
    return logs


def expanded(coarse: BoolImage, step: int, shape: tuple[int, int]) -> BoolImage:
    """Expand a mask of blocks to a mask (rows, columns) of pixels."""
    return np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)[: shape[0], : shape[1]]
