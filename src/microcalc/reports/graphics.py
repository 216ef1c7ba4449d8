"""Convert graphics of spatial coordinates (SCOORD) to positions and outlines.

References
----------
DICOM PS3.3 C.18.6.1.2 (Graphic Type).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]
"""Positions (n, 2) in pixels of the original image, (row, column); (0, 0) is the centre of the first pixel."""

_CORNERS: Final = 24


def middle(graphic: str, corners: Pixels) -> Pixels:
    """Return the centre of a graphic, shape (2,): the first point of a POINT or CIRCLE, else the middle of its box."""
    if graphic in ("POINT", "CIRCLE"):
        return np.asarray(corners[0])
    return np.asarray((corners.min(axis=0) + corners.max(axis=0)) / 2)


def polygon(graphic: str, corners: Pixels) -> Pixels:
    """Return the closed outline of a polyline, or a polygon that approximates a circle or ellipse."""
    angle = np.linspace(0, 2 * np.pi, _CORNERS + 1)[:, None]
    if graphic == "CIRCLE" and len(corners) == 2:
        radius = np.linalg.norm(corners[1] - corners[0])
        return np.asarray(corners[0] + radius * np.hstack([np.sin(angle), np.cos(angle)]))
    if graphic == "ELLIPSE" and len(corners) == 4:
        major, minor = (corners[1] - corners[0]) / 2, (corners[3] - corners[2]) / 2
        return np.asarray((corners[0] + corners[1]) / 2 + np.cos(angle) * major + np.sin(angle) * minor)
    return corners if (corners[0] == corners[-1]).all() else np.concatenate([corners, corners[:1]])
