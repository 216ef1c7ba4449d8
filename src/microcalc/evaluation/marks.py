"""The marks on one image as they are judged, whatever wrote them down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microcalc.detection.result import Result


@dataclass(frozen=True, eq=False, slots=True)
class Marks:
    """The marks on one image, in its pixels, and the clusters that they form.

    Attributes
    ----------
    centres_px, likelihood
        (n, 2) row and column, (n,).
    members
        Of each cluster, indices of its marks; None where the detector does not group.
    cluster_likelihood, finding
        (c,) of each cluster its rating, and whether the default operating point shows it.
    breast_area_cm2
        None where the detector does not say.
    lines
        Of a table of marks, the number of each one's line, for messages.
    """

    centres_px: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    members: tuple[NDArray[np.int64], ...] | None = None
    cluster_likelihood: NDArray[np.float64] | None = None
    finding: NDArray[np.bool_] | None = None
    breast_area_cm2: float | None = None
    lines: tuple[int, ...] = ()


def marks_of_document(document: Result) -> Marks:
    """Return the marks of a detections document."""
    return Marks(
        document.places,
        np.array([c.likelihood for c in document.candidates], dtype=np.float64),
        tuple(np.array(c.members, dtype=np.int64) for c in document.clusters),
        np.array([c.likelihood for c in document.clusters], dtype=np.float64),
        np.array([c.finding for c in document.clusters], dtype=np.bool_),
        document.breast_area_cm2,
    )
