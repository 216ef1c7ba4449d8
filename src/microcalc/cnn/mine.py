"""Mine hard negatives with the first network."""

from __future__ import annotations

from typing import Any

import numpy as np

from microcalc.cnn.scorer import apply_densely
from microcalc.domain import BoolImage, FloatImage, NormalisedMammogram
from microcalc.sample.draw import peaks
from microcalc.sample.store import Samples, StoredImage


def as_normalised(stored: StoredImage) -> NormalisedMammogram:
    """Return a stored image as a normalised mammogram, which scorers take."""
    border, (rows, columns) = stored.border_px, stored.shape
    pixels = stored.pixels[border : border + rows, border : border + columns].astype(np.float32)
    return NormalisedMammogram(pixels, stored.breast, stored.spacing_mm, stored.origin_mm, "")


def mine_hard_negatives(
    session: Any, stored: StoredImage, negative: BoolImage, *, margin_px: int, n: int, min_distance_mm: float
) -> tuple[Samples, FloatImage]:
    """Return the negatives of one image that the network rates highest, one per neighbourhood.

    Parameters
    ----------
    session
        Session of the network's dense form; see ``cnn.scorer.open_network``.
    negative
        (rows, columns) bool: every pixel that is a negative.

    Returns
    -------
    (m, 3) samples with image index 0, highest first; and their logits (m,).
    """
    logits = apply_densely(session, as_normalised(stored), margin_px=margin_px)
    distance_px = max(1, round(min_distance_mm / stored.spacing_mm))
    mined = peaks(logits, negative, n=n, distance_px=distance_px)
    return mined, logits[mined[:, 1], mined[:, 2]]
