"""Synthetic breasts at 0.1 mm, processed, brighter = denser."""

from __future__ import annotations

import numpy as np

from microcalc.domain import BoolImage, FloatImage, Intent, Mammogram

SPACING_MM = 0.1
SHAPE = (1000, 700)


def half_disc(radius_mm: float = 42.0) -> BoolImage:
    """A breast at the left border: 27 cm2."""
    rows, columns = np.indices(SHAPE) * SPACING_MM
    disc: BoolImage = np.hypot(rows - 50.0, columns) < radius_mm
    return disc


def breast_image(*, background: float = 0.0, background_noise: float = 0.0, seed: int = 0) -> FloatImage:
    """Tissue of 1000 +- 10 on a background."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE) * SPACING_MM
    tissue = 1000.0 + 60.0 * np.sin(rows / 7.0) * np.cos(columns / 5.0) + rng.normal(0, 10, SHAPE)
    outside = background + rng.normal(0, 1, SHAPE) * background_noise
    return np.where(half_disc(), tissue, outside).astype(np.float32)


def raw_image(*, seed: int = 0) -> FloatImage:
    """Minus the exposure: 300 to 900 behind the breast, 7000 in air."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE) * SPACING_MM
    tissue = 600.0 + 300.0 * np.sin(rows / 15.0) * np.cos(columns / 12.0)
    exposure = np.where(half_disc(), tissue, 7000.0)
    return (-(exposure + rng.normal(size=SHAPE) * np.sqrt(0.12 * exposure))).astype(np.float32)


def mammogram(pixels: FloatImage, *, intent: Intent = "processed", view: str | None = "CC") -> Mammogram:
    """A mammogram of square pixels of 0.1 mm."""
    return Mammogram(pixels, (SPACING_MM, SPACING_MM), intent, "1.2.3", "L", view)


def overlap(a: BoolImage, b: BoolImage) -> float:
    """Intersection over union."""
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))
