"""One image of a report: its header, the algorithm, and its findings or the reason why it was not analysed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from microcalc.domain import Candidates, Cluster, OperatingPoint
from microcalc.geometry import Grid, Points
from microcalc.reports.image_header import ImageHeader, displaced

BURNED_IN: Final = "Text is burned into the pixels, and marks may be of it"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What looked at an image.

    Attributes
    ----------
    sha256
        Of the model; reports of another model get other UIDs.
    parameters
        Settings of the call that change what is found, as ``name=value``.
    operating_points
        From the default one on, each with a lower threshold than the one before. A cluster that
        reaches the first is to be shown, one that reaches another may be; the others are left out.
    """

    name: str
    version: str
    sha256: str
    operating_points: tuple[OperatingPoint, ...]
    parameters: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether every operating point says what it gave where it was measured."""
        return all(point.llf is not None and point.nlf is not None for point in self.operating_points)

    def parameters_and_model(self) -> tuple[str, ...]:
        """The settings and the model, as a report states them."""
        return (*self.parameters, f"model={self.sha256}")

    def points_in_words(self) -> list[str]:
        """What each operating point means."""
        words = []
        for k, point in enumerate(self.operating_points):
            said = f"operating_point_{k}: clusters of certainty {100 * point.threshold:.6g} % or more"
            said += ", the findings" if k == 0 else ", optional below the points before"
            if point.llf is not None and point.nlf is not None:
                said += f"; where measured, {point.nlf:.3g} false clusters per image, sensitivity {point.llf:.3g}"
            words.append(said)
        return words

    def operating_point_index(self, likelihood: float) -> int | None:
        """The first operating point that a cluster reaches; None where it reaches none."""
        return next((k for k, p in enumerate(self.operating_points) if likelihood >= p.threshold), None)


@dataclass(frozen=True, eq=False, slots=True)
class ReportedImage:
    """What was found in one image, or why nothing could be.

    Attributes
    ----------
    candidates, clusters
        Positions in mm; members of clusters are indices into ``candidates``.
    failure
        Why the image could not be analysed, in words without the file's name; None where it was.
    """

    header: ImageHeader
    algorithm: Algorithm
    candidates: Candidates = field(default_factory=lambda: Candidates(np.empty((0, 2)), np.empty(0)))
    clusters: Sequence[Cluster] = ()
    failure: str | None = None

    def reported_clusters(self) -> list[tuple[Cluster, int]]:
        """The clusters that a CAD report tells of, with the operating point that each reaches."""
        points = [(cluster, self.algorithm.operating_point_index(cluster.likelihood)) for cluster in self.clusters]
        return [(cluster, point) for cluster, point in points if point is not None]

    def findings(self) -> list[Cluster]:
        """The clusters that are to be shown: those of operating point 0, the default one."""
        return [cluster for cluster, point in self.reported_clusters() if point == 0]

    def columns_rows(self, positions_mm: Points) -> list[tuple[float, float]]:
        """Positions as DICOM wants them: (column, row) from the corner of the first pixel, inside the image."""
        if self.header.spacing_mm is None:
            raise ValueError("positions in an image without pixel spacing")
        limits = (self.header.rows, self.header.columns)
        corner = np.clip(Grid(self.header.spacing_mm).to_pixels(positions_mm) + 0.5, 0.0, limits)
        return [(float(column), float(row)) for row, column in corner]


def by_exam(results: Sequence[ReportedImage]) -> list[list[ReportedImage]]:
    """Return the results of each exam together, exams and images in the order given; see ``ExamHeader.key``."""
    exams: dict[str, list[ReportedImage]] = {}
    for result in results:
        exams.setdefault(result.header.exam.key, []).append(result)
    return list(exams.values())


def impression_sentences(results: Sequence[ReportedImage]) -> list[str]:
    """Return what a reader of an exam's report has to know beyond its findings, a sentence for each kind of thing."""
    failed = [f"{r.header.label}: {r.failure}" for r in results if r.failure is not None]
    optional = [
        f"{r.header.label}: {len(r.reported_clusters())}" for r in results if r.reported_clusters() and not r.findings()
    ]
    burned_in = [r.header.label for r in results if r.header.burned_in]
    words = []
    if failed:
        words.append(f"Not analysed: {'; '.join(failed)}")
    if optional:
        words.append(f"No finding at the default operating point, optional ones alone: {'; '.join(optional)}")
    if burned_in:
        words.append(f"{BURNED_IN}: {'; '.join(burned_in)}")
    return words


def remarks(headers: Sequence[ImageHeader]) -> list[str]:
    """Return what to say of the images beside their reports, in lines that name their files."""
    moved = displaced(headers)
    lines = []
    for header in headers:
        if header.exam.omissions:
            lines.append(f"{header.file.name}: left out of its reports, or mended: {', '.join(header.exam.omissions)}")
        if header in moved:
            lines.append(
                f"{header.file.name}: does not say that places are those of its raw image; marks may lie beside them"
            )
    return lines
