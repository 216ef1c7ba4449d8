"""The ratings, marks and clusters of one test image by every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.domain import Candidates, Cluster
from microcalc.evaluation.marks import Marks
from microcalc.geometry import Grid

METHODS = ("cascade", "cnn1", "pair", "log")
"""The methods of the comparison. Other methods may be evaluated beside them, and are shown after them."""

VENDORS = ("hologic", "ge", "siemens")
"""Manufacturers of the publication, in its order."""

Ratings = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class ImagePredictions:
    """The ratings of samples, the marks and the clusters of one test image, by method.

    All mappings but ``detections`` have the same methods; ``detections`` may lack some or be empty, and these
    methods get no FROC.

    Attributes
    ----------
    row
        Line of the image in the table: its name, patient, intent and pixel spacing.
    annotations
        Lines of the table that annotate this image.
    vendor
        Key of the manufacturer, such as those of ``VENDORS``.
    density
        ``"A"`` to ``"D"``; empty where the density is unknown.
    breast_cm2
        Area of the breast mask.
    positive
        Per method (p,) ratings of the positive samples, one order for all methods.
    d_prime, diameter_mm
        (p,) values of the microcalcification of each positive sample; NaN where unknown.
    negative
        Per method (n,) ratings of the negative samples, one order for all methods.
    detections
        Per method its marks and clusters; see ``marks_of_candidates``.
    pixels
        Function that returns normalised pixels (rows, columns) for pictures, which may be memory-mapped and have a
        border, and their positions. None: no pictures of this image.
    """

    row: ImageRow
    annotations: tuple[AnnotationRow, ...]
    vendor: str
    density: str
    breast_cm2: float
    positive: Mapping[str, Ratings]
    d_prime: NDArray[np.float64]
    diameter_mm: NDArray[np.float64]
    negative: Mapping[str, Ratings]
    detections: Mapping[str, Marks]
    pixels: Callable[[], tuple[NDArray[np.floating], Grid]] | None = None


def marks_of_candidates(
    candidates: Candidates, clusters: Sequence[Cluster], grid: Grid, *, breast_cm2: float | None = None
) -> Marks:
    """Return marks and clusters of a method for the evaluation.

    Parameters
    ----------
    grid
        Grid of the original image (``ImageRow.grid``), in whose pixels marks are given.

    Notes
    -----
    There is no operating point: no cluster counts as a finding.
    """
    return Marks(
        grid.to_pixels(candidates.centres),
        np.asarray(candidates.likelihood, dtype=np.float64),
        tuple(np.asarray(c.members, dtype=np.int64) for c in clusters),
        np.array([c.likelihood for c in clusters], dtype=np.float64),
        np.zeros(len(clusters), dtype=np.bool_),
        breast_cm2,
    )
