"""The marks of a detector on one image, independent of the file format they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microcalc.detection.result import Result
from microcalc.evaluation.overlap import Outlines


@dataclass(frozen=True, eq=False, slots=True)
class Marks:
    """The marks on one image, in pixels, and the clusters that they form.

    Attributes
    ----------
    centres_px, likelihood
        (n, 2) row and column, and (n,) rating of each mark.
    members
        Indices of the marks of each cluster; None where the detector does not group its marks.
    cluster_likelihood, finding
        (c,) rating of each cluster, and whether it is shown at the default operating point.
    breast_area_cm2
        None where not known.
    lines
        Line number of each mark in a CSV file, for messages; empty for other formats.
    outlines
        Of each mark; empty where the format has none.
    """

    centres_px: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    members: tuple[NDArray[np.int64], ...] | None = None
    cluster_likelihood: NDArray[np.float64] | None = None
    finding: NDArray[np.bool_] | None = None
    breast_area_cm2: float | None = None
    lines: tuple[int, ...] = ()
    outlines: Outlines = ()


def marks_of_document(document: Result) -> Marks:
    """Return the marks of a detections document."""
    return Marks(
        document.places,
        np.array([c.likelihood for c in document.candidates], dtype=np.float64),
        tuple(np.array(c.members, dtype=np.int64) for c in document.clusters),
        np.array([c.likelihood for c in document.clusters], dtype=np.float64),
        np.array([c.finding for c in document.clusters], dtype=np.bool_),
        document.breast_area_cm2,
        outlines=[c.outline for c in document.candidates],
    )
