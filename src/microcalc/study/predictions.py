"""What the study knows of one test image once every method has rated it."""

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
"""The methods of the comparison. Any other name may be scored beside them, and is shown after them."""

VENDORS = ("hologic", "ge", "siemens")
"""The manufacturers of the publication, in its order."""

Ratings = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class ImagePredictions:
    """The samples, the marks and the clusters of one test image, by method.

    All mappings but ``detections`` have the same methods; ``detections`` may lack some or be
    empty (no FROC of those).

    Attributes
    ----------
    row
        The image's line in the table: its name, patient, intent and pixel spacing.
    annotations
        The lines of the table that speak of this image, as they stand there.
    vendor
        Key of the manufacturer, such as those of ``VENDORS``.
    density
        ``"A"`` to ``"D"``; empty where it is not known.
    breast_cm2
        Area of the breast mask.
    positive
        Per method (p,) ratings of the positive samples, one order for all methods.
    d_prime, diameter_mm
        (p,) of the microcalcification each positive sample belongs to; NaN where not known.
    negative
        Per method (n,) ratings of the negative samples, one order for all methods.
    detections
        Per method its marks and clusters, see `detections_of`.
    pixels
        Opens the image for pictures: normalised pixels (rows, columns), which may be memory-mapped
        and have a border, and where they lie. None: no pictures of this image.
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


def detections_of(
    candidates: Candidates, clusters: Sequence[Cluster], grid: Grid, *, breast_cm2: float | None = None
) -> Marks:
    """Marks and clusters of a method as the evaluation takes them.

    Parameters
    ----------
    grid
        Of the original image (`ImageRow.grid`), whose pixels detections are given in.

    Notes
    -----
    No operating point is set: no cluster counts as a finding.
    """
    return Marks(
        grid.to_pixels(candidates.centres),
        np.asarray(candidates.likelihood, dtype=np.float64),
        tuple(np.asarray(c.members, dtype=np.int64) for c in clusters),
        np.array([c.likelihood for c in clusters], dtype=np.float64),
        np.zeros(len(clusters), dtype=np.bool_),
        breast_cm2,
    )
