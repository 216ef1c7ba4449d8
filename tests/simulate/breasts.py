"""Breasts that the tests of several stages share."""

from __future__ import annotations

import numpy as np

from microcalc.simulate.breast import Breast, Density, View, compress, draw_traits


def draw_breast(
    rng: np.random.Generator, *, view: View, density: Density, height_mm: float, width_mm: float, size: float = 1.0
) -> Breast:
    """Draw one view of a breast; parameters as in ``compress``."""
    traits = draw_traits(rng, density)
    return compress(rng, traits, view=view, height_mm=height_mm, width_mm=width_mm, size=size)
