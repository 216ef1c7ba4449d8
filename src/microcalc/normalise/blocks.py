"""Rasters reduced by blocks and brought back, and grey levels as the breast is looked for in them."""

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
    """Raw exposure in logarithms, so that air does not drown the breast's own range."""
    if intent == "processed":
        return values
    exposure = np.maximum(-values, 0)
    logs: FloatImage = -np.log(exposure + 10.0).astype(np.float32)
    return logs


def expanded(coarse: BoolImage, step: int, shape: tuple[int, int]) -> BoolImage:
    """Return a mask of blocks as a mask of pixels."""
    return np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)[: shape[0], : shape[1]]
