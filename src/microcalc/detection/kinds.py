"""Kinds: what a calcification likely is, told by a few rules from its outline and from the calcifications around it.

=================== ==============================================================================================
rim_or_skin         the middle inside the outline is darker than what surrounds it, and the outline is large enough
                    for a middle to be seen: the wall of a cyst, a calcified gland of the skin
rod_like            long, and several times as long as wide
vascular            one of several that lie on a line, and whose long sides follow that line
coarse              larger than a microcalcification, and clearly brighter than its surroundings
microcalcification  everything else that has an outline
=================== ==============================================================================================

The first rule that holds decides. What has no outline has no kind. A cluster is of the kind that more than half of its
members are of, and otherwise one of microcalcifications: so a doubtful cluster is never set apart.

The rules and their numbers are ours; the sizes follow the BI-RADS lexicon. How often each is right is measured in
docs/decisions/0020.

References
----------
Sickles EA et al. ACR BI-RADS Mammography. In: ACR BI-RADS Atlas, 5th edition (2013).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist, squareform

from microcalc.domain import CalcificationKind, Mammogram, Shape
from microcalc.geometry import Points

_RIM_DARKER: Final = 0.3
"""By how many standard deviations of the brightness inside the outline the middle is darker."""
_RIM_DIAMETER_MM: Final = 0.6
_MIDDLE: Final = 0.6
"""The middle is what is farther from the outline than this fraction of the largest distance."""
_MIDDLE_PIXELS: Final = 3
_ROD_ELONGATION: Final = 3.0
_ROD_LENGTH_MM: Final = 2.0
_COARSE_DIAMETER_MM: Final = 0.8
_COARSE_CONTRAST_TO_NOISE: Final = 8.0
_LINE_REACH_MM: Final = 10.0
_LINE_HALF_WIDTH_MM: Final = 2.0
_LINE_NEIGHBOURS: Final = 4
"""Fewest others within reach."""
_LINE_FRACTION: Final = 0.7
"""Least fraction of these that lie on the line."""
_LINE_ALIGNMENT: Final = 0.2
_ANGLES: Final = np.deg2rad(np.arange(0.0, 180.0, 2.0))


@dataclass(frozen=True, eq=False, slots=True)
class Features:
    """What the rules look at: one calcification with an outline.

    Attributes
    ----------
    diameter_mm, elongation, contrast_to_noise
        As in ``Shape``.
    length_mm
        Longer side of the smallest rectangle around the outline.
    darker_middle
        Difference in brightness between the outer part and the middle, in standard deviations of the brightness
        inside the outline; 0 where it is too small to have a middle.
    neighbours
        Number of other calcifications within 10 mm.
    on_line
        Largest fraction of them in a strip through this one.
    alignment
        Mean over all in that strip of log(elongation) x cos(2 angle between long side and strip): 0 for round
        or randomly turned ones.
    """

    diameter_mm: float
    elongation: float
    contrast_to_noise: float
    length_mm: float
    darker_middle: float
    neighbours: int
    on_line: float
    alignment: float


_RULES: Final[Mapping[CalcificationKind, Callable[[Features], bool]]] = {
    "rim_or_skin": lambda f: f.darker_middle >= _RIM_DARKER and f.diameter_mm >= _RIM_DIAMETER_MM,
    "rod_like": lambda f: f.elongation >= _ROD_ELONGATION and f.length_mm >= _ROD_LENGTH_MM,
    "vascular": lambda f: (
        f.neighbours >= _LINE_NEIGHBOURS and f.on_line >= _LINE_FRACTION and f.alignment >= _LINE_ALIGNMENT
    ),
    "coarse": lambda f: f.diameter_mm >= _COARSE_DIAMETER_MM and f.contrast_to_noise >= _COARSE_CONTRAST_TO_NOISE,
}


def kinds_of(
    mammogram: Mammogram, centres: Points, shapes: Sequence[Shape | None]
) -> tuple[CalcificationKind | None, ...]:
    """Return the kind of each calcification; None where it has no shape.

    Parameters
    ----------
    mammogram
        The original image.
    centres
        (n, 2) positions of the calcifications in mm.
    shapes
        Their n shapes.
    """
    return tuple(None if f is None else kind_of(f) for f in features_of(mammogram, centres, shapes))


def kind_of(features: Features) -> CalcificationKind:
    """Return the kind of one calcification."""
    return next((kind for kind, holds in _RULES.items() if holds(features)), "microcalcification")


def kind_of_cluster(members: Sequence[CalcificationKind | None]) -> CalcificationKind:
    """Return the kind that more than half of all members are of, and else ``microcalcification``."""
    kind, count = Counter(members).most_common(1)[0]
    return kind if kind is not None and 2 * count > len(members) else "microcalcification"


def features_of(mammogram: Mammogram, centres: Points, shapes: Sequence[Shape | None]) -> list[Features | None]:
    """Return what the rules look at; None where there is no shape."""
    sides = [None if shape is None else long_side(shape) for shape in shapes]
    near = cKDTree(centres).query_ball_point(centres, _LINE_REACH_MM) if len(centres) else []
    pull = np.array([_pull(shape, side) for shape, side in zip(shapes, sides, strict=True)]).reshape(-1, 2)
    features: list[Features | None] = []
    for i, (shape, side) in enumerate(zip(shapes, sides, strict=True)):
        if shape is None or side is None:
            features.append(None)
            continue
        others = np.array([j for j in near[i] if j != i], dtype=np.intp)
        on_line, alignment = _line(centres[others] - centres[i], pull[others], pull[i])
        features.append(
            Features(
                diameter_mm=shape.diameter_mm,
                elongation=shape.elongation,
                contrast_to_noise=shape.contrast_to_noise,
                length_mm=float(np.linalg.norm(side[1] - side[0])),
                darker_middle=_darker_middle(mammogram, shape),
                neighbours=others.size,
                on_line=on_line,
                alignment=alignment,
            )
        )
    return features


def long_side(shape: Shape) -> Points:
    """Return the two ends (2, 2) of the middle line along the smallest rectangle around a shape, in mm."""
    rectangle = shapely.minimum_rotated_rectangle(shapely.Polygon(shape.outline))
    corners: Points = np.asarray(rectangle.exterior.coords)[:4]
    middles = (corners + np.roll(corners, -1, axis=0)) / 2
    across = middles[:2] - middles[2:]
    k = int(np.linalg.norm(across, axis=1).argmax())
    return middles[[k, k + 2]]


def _pull(shape: Shape | None, side: Points | None) -> tuple[float, float]:
    """Return log(elongation) in the direction of twice the long side's angle, in which both its ends are one."""
    if shape is None or side is None:
        return 0.0, 0.0
    row, column = side[1] - side[0]
    angle, length = 2 * np.arctan2(row, column), np.log(shape.elongation)
    return float(length * np.cos(angle)), float(length * np.sin(angle))


def _line(offsets: Points, pull: NDArray[np.float64], own: NDArray[np.float64]) -> tuple[float, float]:
    """Return the fraction of the offsets in the fullest strip through the origin, and the alignment in it."""
    if len(offsets) == 0:
        return 0.0, 0.0
    across = np.abs(offsets[:, :1] * np.cos(_ANGLES) - offsets[:, 1:] * np.sin(_ANGLES))
    inside = across <= _LINE_HALF_WIDTH_MM
    count = inside.sum(axis=0)
    best = np.lexsort((np.where(inside, across, 0.0).sum(axis=0), -count))[0]
    strip = np.concatenate([pull[inside[:, best]], own[np.newaxis]])
    angle = 2 * _ANGLES[best]
    return float(count[best] / len(offsets)), float((strip @ (np.cos(angle), np.sin(angle))).mean())


def _darker_middle(mammogram: Mammogram, shape: Shape) -> float:
    """Return how much darker the middle inside the outline is, in standard deviations of what is inside."""
    region = shapely.Polygon(shape.outline)
    pixels, grid = mammogram.pixels, mammogram.grid
    low, high = np.array(region.bounds).reshape(2, 2)
    first = np.maximum(np.floor(grid.to_pixels(low[np.newaxis])[0]).astype(int), 0)
    last = np.minimum(np.ceil(grid.to_pixels(high[np.newaxis])[0]).astype(int) + 1, pixels.shape)
    places = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(first, last, strict=True)), indexing="ij"), -1)
    mm = grid.to_mm(places.reshape(-1, 2).astype(np.float64))
    inside = shapely.contains_xy(region, mm[:, 0], mm[:, 1])
    values = pixels[first[0] : last[0], first[1] : last[1]].reshape(-1)[inside]
    if values.size == 0:
        return 0.0
    depth = shapely.distance(region.exterior, shapely.points(mm[inside]))
    middle = depth >= _MIDDLE * depth.max()
    spread = float(values.std())
    if np.count_nonzero(middle) < _MIDDLE_PIXELS or middle.all() or spread == 0:
        return 0.0
    return float(np.median(values[~middle]) - np.median(values[middle])) / spread


def chain_length_mm(shapes: Sequence[Shape]) -> float:
    """Return the length of the chains that calcifications of one kind form.

    Those with gaps of at most 10 mm form a chain; it is as long as its two farthest ends are apart. So the two walls of
    an artery count once, and a winding one is a little longer than that.
    """
    if not shapes:
        return 0.0
    ends = np.concatenate([long_side(shape) for shape in shapes])
    distance = squareform(pdist(ends))
    linked, first = distance <= _LINE_REACH_MM, np.arange(0, len(ends), 2)
    linked[first, first + 1] = True  # the two ends of one calcification, however long it is
    _, chain = connected_components(coo_array(linked), directed=False)
    chains = (distance[np.ix_(chain == k, chain == k)] for k in range(chain.max() + 1))
    return float(sum(within.max() for within in chains))
