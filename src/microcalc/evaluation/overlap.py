"""Overlap of detected outlines with annotated ones: intersection over union (IoU).

References
----------
C. Marasinou et al., *Segmentation of Breast Microcalcifications: A Multi-Scale Approach*, arXiv 2102.00754 (2021),
which states the IoU per microcalcification and per image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from microcalc.evaluation.bootstrap import Estimate, draw_patients, percentile_interval
from microcalc.evaluation.curves import Values

if TYPE_CHECKING:
    from microcalc.evaluation.matched_images import MatchedImage

Outlines = Sequence[Sequence[tuple[float, float]] | None]
"""Closed polygons, (row, column) in pixels; None or empty where there is none."""

PER_OBJECT: Final = "mean IoU of the outline of a hit microcalcification"
PER_IMAGE: Final = "mean IoU of all outlines of hit microcalcifications of an image"


@dataclass(frozen=True, eq=False, slots=True)
class Overlap:
    """Areas in pixels of the marks that hit a microcalcification, where both have an outline.

    Attributes
    ----------
    intersection, union
        (n,) for each pair.
    """

    intersection: Values
    union: Values


def polygons_of(outlines: Outlines) -> NDArray[np.object_]:
    """Return the polygon (n,) of each outline; None where there is none, or where it has no area."""
    polygons = np.full(len(outlines), None, dtype=np.object_)
    for i, outline in enumerate(outlines):
        if outline is not None and len(outline) >= 3:
            polygon = shapely.make_valid(shapely.Polygon(outline))
            polygons[i] = polygon if polygon.area > 0 else None
    return polygons


def overlap_of(marks: NDArray[np.object_], annotated: NDArray[np.object_]) -> Overlap:
    """Return the areas that pairs of polygons (n,) have in common and together; pairs that lack one are omitted."""
    both = np.array([m is not None and a is not None for m, a in zip(marks, annotated, strict=True)], dtype=np.bool_)
    pairs = marks[both], annotated[both]
    return Overlap(
        np.asarray(shapely.area(shapely.intersection(*pairs)), dtype=np.float64),
        np.asarray(shapely.area(shapely.union(*pairs)), dtype=np.float64),
    )


def overlapping(marks: NDArray[np.object_], annotated: NDArray[np.object_], *, min_iou: float) -> list[tuple[int, int]]:
    """Return the pairs (mark, annotation) of polygons whose IoU is at least ``min_iou``."""
    with_outline = np.array([i for i, m in enumerate(marks) if m is not None], dtype=np.intp)
    wanted = np.array([i for i, a in enumerate(annotated) if a is not None], dtype=np.intp)
    if not with_outline.size or not wanted.size:
        return []
    tree = shapely.STRtree(marks[with_outline])
    a, m = tree.query(annotated[wanted], predicate="intersects")
    mark, annotation = with_outline[m], wanted[a]
    areas = overlap_of(marks[mark], annotated[annotation])
    enough = areas.intersection >= min_iou * areas.union
    return [(int(i), int(j)) for i, j in zip(mark[enough], annotation[enough], strict=True)]


def estimate_overlap(images: Sequence[MatchedImage], *, resamples: int, seed: int) -> dict[str, tuple[Estimate, int]]:
    """Return the mean IoU of hit microcalcifications and of images, with intervals by patient and numbers of either.

    Empty where no mark with an outline hits a microcalcification with one.
    """
    of_image = [(m.image.patient_or_image, m.overlap) for m in images if m.overlap is not None and m.overlap.union.size]
    if not of_image:
        return {}
    place = {patient: n for n, patient in enumerate(sorted({m.image.patient_or_image for m in images}))}
    sums: Mapping[str, Callable[[Overlap], Values]] = {
        PER_OBJECT: lambda o: o.intersection / o.union,
        PER_IMAGE: lambda o: np.atleast_1d(o.intersection.sum() / o.union.sum()),
    }
    found = {}
    for name, values_of in sums.items():
        total, number = np.zeros(len(place)), np.zeros(len(place))
        for patient, overlap in of_image:
            values = values_of(overlap)
            total[place[patient]] += values.sum()
            number[place[patient]] += values.size
        draws = draw_patients(len(place), resamples, np.random.default_rng(seed))
        with np.errstate(invalid="ignore"):
            interval = percentile_interval(draws @ total / (draws @ number)) if len(place) > 1 else (np.nan, np.nan)
        found[name] = Estimate(float(total.sum() / number.sum()), *interval), int(number.sum())
    return found
