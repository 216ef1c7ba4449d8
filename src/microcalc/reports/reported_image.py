"""One image of a report: its header, the algorithm, and its findings or the reason why it was not analysed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from microcalc.domain import CalcificationKind, Candidates, Cluster, OperatingPoint, Shape
from microcalc.geometry import Grid, Points
from microcalc.reports.image_header import ImageHeader, displaced

BURNED_IN: Final = "Text is burned into the pixels, and marks may be of it"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """The algorithm that analysed an image.

    Attributes
    ----------
    sha256
        SHA-256 of the model; reports of different models have different UIDs.
    parameters
        Settings of the call that change the detections, as ``name=value``.
    operating_points
        The default operating point, then those with lower thresholds, in descending order. A cluster that
        reaches the first is to be shown, one that reaches only another may be shown; the rest are not reported.
    single_point
        The operating point of single marks from which a calcification outside the findings is evident; None where it
        is not known.
    """

    name: str
    version: str
    sha256: str
    operating_points: tuple[OperatingPoint, ...]
    parameters: tuple[str, ...] = ()
    single_point: OperatingPoint | None = None

    @property
    def measured(self) -> bool:
        """Whether all operating points have a measured sensitivity and rate of false clusters."""
        return all(point.llf is not None and point.nlf is not None for point in self.operating_points)

    def parameters_and_model(self) -> tuple[str, ...]:
        """Return the settings and the model's hash as ``name=value``."""
        return (*self.parameters, f"model={self.sha256}")

    def points_in_words(self) -> list[str]:
        """Return a description of each operating point."""
        lines = []
        for k, point in enumerate(self.operating_points):
            line = f"operating_point_{k}: clusters of certainty {100 * point.threshold:.6g} % or more"
            line += ", the findings" if k == 0 else ", optional below the points before"
            if point.llf is not None and point.nlf is not None:
                line += f"; where measured, {point.nlf:.3g} false clusters per image, sensitivity {point.llf:.3g}"
            lines.append(line)
        return lines

    def single_point_in_words(self) -> list[str]:
        """Return a description of the operating point of single calcifications, if there is one."""
        point = self.single_point
        if point is None:
            return []
        line = (
            f"single_calcifications: of certainty {100 * point.threshold:.6g} % or more, outside the findings, optional"
        )
        if point.llf is not None and point.nlf is not None:
            line += f"; where measured, {point.nlf:.3g} false marks per image, sensitivity {point.llf:.3g}"
        return [line]

    def operating_point_index(self, likelihood: float) -> int | None:
        """Return the index of the first operating point that a likelihood reaches; None if it reaches none."""
        return next((k for k, p in enumerate(self.operating_points) if likelihood >= p.threshold), None)


@dataclass(frozen=True, eq=False, slots=True)
class ReportedImage:
    """One image of a report: its findings, or the reason why it was not analysed.

    Attributes
    ----------
    candidates, clusters
        Positions in mm; members of clusters are indices into ``candidates``.
    shapes
        Shapes of the first candidates; None where there is none.
    evident
        Indices of the candidates that are evident calcifications, and in no finding.
    kinds
        Kinds of the first candidates; None where there is none.
    failure
        Why the image could not be analysed, without the file's name; None if it was analysed.
    """

    header: ImageHeader
    algorithm: Algorithm
    candidates: Candidates = field(default_factory=lambda: Candidates(np.empty((0, 2)), np.empty(0)))
    clusters: Sequence[Cluster] = ()
    shapes: Sequence[Shape | None] = ()
    evident: Sequence[int] = ()
    kinds: Sequence[CalcificationKind | None] = ()
    failure: str | None = None

    def reported_clusters(self) -> list[tuple[Cluster, int | None]]:
        """Return the clusters that a CAD report includes, each with the index of its operating point.

        The index of a cluster that is set apart is None: it may be shown, at whatever point.
        """
        points = [(cluster, self.algorithm.operating_point_index(cluster.likelihood)) for cluster in self.clusters]
        return [(cluster, None if cluster.apart else point) for cluster, point in points if point is not None]

    def findings(self) -> list[Cluster]:
        """Return the clusters that are to be shown: those that reach operating point 0, the default."""
        return [cluster for cluster, point in self.reported_clusters() if point == 0]

    def set_apart(self) -> list[Cluster]:
        """Return the clusters that may be shown apart from the findings, because they are of another kind."""
        return [cluster for cluster, point in self.reported_clusters() if point is None]

    def named_clusters(self) -> list[tuple[str, Cluster]]:
        """Return the findings and the clusters set apart, with the name that each has within the image."""
        findings = [(f"cluster {n}", cluster) for n, cluster in enumerate(self.findings(), start=1)]
        apart = [(f"cluster set apart {n}", cluster) for n, cluster in enumerate(self.set_apart(), start=1)]
        return findings + apart

    def singles(self, *, with_optional: bool = False) -> list[int]:
        """Return the indices of the evident calcifications that are in no cluster of a report.

        Parameters
        ----------
        with_optional
            Whether the report includes the clusters of more sensitive operating points, as a CAD report does.
        """
        clusters = [cluster for cluster, point in self.reported_clusters() if with_optional or point in (0, None)]
        included = {int(member) for cluster in clusters for member in cluster.members}
        return [index for index in self.evident if index not in included]

    def shape(self, index: int) -> Shape | None:
        """Return the shape of a candidate; None where it has none."""
        return self.shapes[index] if index < len(self.shapes) else None

    def kind(self, index: int) -> CalcificationKind | None:
        """Return the kind of a candidate; None where it has none."""
        return self.kinds[index] if index < len(self.kinds) else None

    @property
    def is_marked(self) -> bool:
        """Whether there is something to draw: a finding, a cluster set apart, or a single calcification."""
        return bool(self.named_clusters() or self.singles())

    def outlines(self, indices: Iterable[int]) -> list[Points]:
        """Return the outlines of those candidates that have one, in mm."""
        shapes = (self.shape(int(index)) for index in indices)
        return [shape.outline for shape in shapes if shape is not None]

    def columns_rows(self, positions_mm: Points) -> list[tuple[float, float]]:
        """Return positions for DICOM graphics: (column, row) from the first pixel's corner, clipped to the image."""
        if self.header.spacing_mm is None:
            raise ValueError("positions in an image without pixel spacing")
        limits = (self.header.rows, self.header.columns)
        corner = np.clip(Grid(self.header.spacing_mm).to_pixels(positions_mm) + 0.5, 0.0, limits)
        return [(float(column), float(row)) for row, column in corner]


def by_exam(results: Sequence[ReportedImage]) -> list[list[ReportedImage]]:
    """Return the images grouped by exam (``ExamHeader.key``); exams and images keep their order."""
    exams: dict[str, list[ReportedImage]] = {}
    for result in results:
        exams.setdefault(result.header.exam.key, []).append(result)
    return list(exams.values())


def impression_sentences(results: Sequence[ReportedImage], *, with_optional: bool) -> list[str]:
    """Return sentences about failed images, optional findings and calcifications, and burned-in text.

    Parameters
    ----------
    with_optional
        As in ``ReportedImage.singles``.
    """
    failed = [f"{r.header.label}: {r.failure}" for r in results if r.failure is not None]
    optional = [
        f"{r.header.label}: {len(r.reported_clusters()) - len(r.set_apart())}"
        for r in results
        if len(r.reported_clusters()) > len(r.set_apart()) and not r.findings()
    ]
    apart = [f"{r.header.label}: {len(r.set_apart())}" for r in results if r.set_apart()]
    evident = [(r.header.label, len(r.singles(with_optional=with_optional))) for r in results]
    singles = [f"{label}: {count}" for label, count in evident if count]
    burned_in = [r.header.label for r in results if r.header.burned_in]
    words = []
    if failed:
        words.append(f"Not analysed: {'; '.join(failed)}")
    if optional:
        words.append(f"No finding at the default operating point, optional ones alone: {'; '.join(optional)}")
    if apart:
        words.append(f"Clusters of calcium that is likely benign, set apart, optional: {'; '.join(apart)}")
    if singles:
        words.append(f"Evident single calcifications outside clusters, optional: {'; '.join(singles)}")
    if burned_in:
        words.append(f"{BURNED_IN}: {'; '.join(burned_in)}")
    return words


def remarks(headers: Sequence[ImageHeader]) -> list[str]:
    """Return messages about headers that affect reports, one line each, starting with the file's name."""
    moved = displaced(headers)
    lines = []
    for header in headers:
        if header.exam.omissions:
            lines.append(
                f"{header.file.name}: omitted from its reports, or corrected: {', '.join(header.exam.omissions)}"
            )
        if header in moved:
            lines.append(
                f"{header.file.name}: does not state that positions are those of its raw image; marks may be displaced"
            )
    return lines
