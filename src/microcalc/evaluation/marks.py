"""The marks of a detector on one image, independent of the file format they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

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


class PackedOutlines(Sequence[Sequence[tuple[float, float]] | None]):
    """Outlines of which the corners are in one array: a fifth of the memory of tuples, as many images are held at once.

    Parameters
    ----------
    outlines
        Corners (row, column) of each; None for a mark without an outline.
    """

    def __init__(self, outlines: Outlines) -> None:
        sizes = [-1 if outline is None else len(outline) for outline in outlines]
        self._sizes = np.array(sizes, dtype=np.int32)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes.clip(0))]).astype(np.int32)
        corners = [corner for outline in outlines for corner in outline or ()]
        self._corners = np.array(corners, dtype=np.float64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Sequence[tuple[float, float]] | None: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sequence[tuple[float, float]] | None]: ...

    def __getitem__(
        self, index: int | slice
    ) -> Sequence[tuple[float, float]] | list[Sequence[tuple[float, float]] | None] | None:
        """Return one outline, or a list of several."""
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        start, size = int(self._starts[index if index >= 0 else index - 1]), int(self._sizes[index])
        if size < 0:
            return None
        return [(row, column) for row, column in self._corners[start : start + size].tolist()]


def marks_of_document(document: Result) -> Marks:
    """Return the marks of a detections document."""
    return Marks(
        document.places,
        np.array([c.likelihood for c in document.candidates], dtype=np.float64),
        tuple(np.array(c.members, dtype=np.int64) for c in document.clusters),
        np.array([c.likelihood for c in document.clusters], dtype=np.float64),
        np.array([c.finding for c in document.clusters], dtype=np.bool_),
        document.breast_area_cm2,
        outlines=PackedOutlines([c.outline for c in document.candidates]),
    )
