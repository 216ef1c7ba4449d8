"""How the calcifications of a cluster are distributed, in the words of BI-RADS, from their positions alone.

The thresholds are ours. What needs the nipple, that a segment points to it, is judged by elongation.

References
----------
Sickles EA et al. ACR BI-RADS Mammography. In: ACR BI-RADS Atlas, 5th edition (2013).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import shapely

from microcalc.domain import Distribution
from microcalc.geometry import Points

_LINEAR_WIDTH: Final = 0.2
"""A line is at most this fraction of its length wide."""
_LINEAR_MM: Final = 10.0
_GROUPED_MM: Final = 20.0
_SEGMENTAL_WIDTH: Final = 0.5
_DIFFUSE_MM: Final = 80.0


def distribution_of(members_mm: Points) -> Distribution:
    """Return how the members (n, 2) of a cluster are distributed.

    ``linear``: along a line of 10 mm or more; ``grouped``: within 20 mm; ``segmental``: farther, at least twice as long
    as wide; ``diffuse``: over 80 mm and more; ``regional``: everything else.
    """
    length, width = _sides(members_mm)
    if length >= _LINEAR_MM and width <= _LINEAR_WIDTH * length:
        return "linear"
    if length <= _GROUPED_MM:
        return "grouped"
    if length >= _DIFFUSE_MM and width > _SEGMENTAL_WIDTH * length:
        return "diffuse"
    return "segmental" if width <= _SEGMENTAL_WIDTH * length else "regional"


def _sides(members_mm: Points) -> tuple[float, float]:
    """Return the length and the width of the smallest rectangle around the members."""
    rectangle = shapely.minimum_rotated_rectangle(shapely.multipoints(members_mm))
    if not isinstance(rectangle, shapely.Polygon):
        return float(rectangle.length), 0.0
    sides = np.linalg.norm(np.diff(np.asarray(rectangle.exterior.coords)[:3], axis=0), axis=1)
    return float(sides.max()), float(sides.min())
