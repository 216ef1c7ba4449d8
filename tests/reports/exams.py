"""Exams to report on: headers without files, and clusters where a test wants them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import CalcificationKind, Candidates, Cluster, Distribution, Laterality, OperatingPoint, Shape
from microcalc.reports.image_header import ExamHeader, ImageHeader
from microcalc.reports.reported_image import Algorithm, ReportedImage

MADE = datetime(2025, 3, 4, 5, 6, 7)
RAW = "1.2.840.10008.5.1.4.1.1.1.2.1"
SPACING_MM = (0.07, 0.08)  # not square, so that rows and columns cannot be taken for each other
VIEWS: tuple[tuple[Laterality, str], ...] = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))

EXAM = ExamHeader(
    study="1.2.826.0.1.7",
    study_date="20250102",
    study_time="101112",
    study_id="S1",
    patient_name="Müller^Anna",
    patient_id="SECRET-1",
    patient_birth_date="19600101",
    patient_sex="F",
)
_DISTRIBUTIONS: tuple[Distribution, ...] = ("grouped", "linear", "segmental", "regional", "diffuse")
ALGORITHM = Algorithm(
    "microcalc raw",
    "0.1.0",
    "ab" * 32,
    (OperatingPoint(0.9, 0.6, 0.2), OperatingPoint(0.8, 0.7, 0.5)),
    ("stage=pair",),
    OperatingPoint(0.95, 0.5, 0.1),
)


def header(n: int = 0, *, file: Path = Path("image.dcm")) -> ImageHeader:
    """Image ``n`` of the exam."""
    laterality, view = VIEWS[n % 4]
    return ImageHeader(
        file=file,
        sop_class=RAW,
        uid=f"1.2.826.0.1.7.{n + 1}",
        series="1.2.826.0.1.7.100",
        exam=EXAM,
        rows=2000,
        columns=1500,
        spacing_mm=SPACING_MM,
        laterality=laterality,
        view=view,
        orientation=("P", "L") if laterality == "R" else ("A", "R"),
        content_date="20250102",
        content_time="101112.5",
    )


def result(
    n: int = 0,
    *,
    clusters: Sequence[float] = (),
    members: int = 3,
    singles: int = 0,
    algorithm: Algorithm = ALGORITHM,
    seed: int = 1,
    header_: ImageHeader | None = None,
) -> ReportedImage:
    """Image ``n`` with a cluster of so many members for each likelihood, and so many single calcifications.

    Every calcification but each third has a shape.
    """
    rng = np.random.default_rng([seed, n])
    centres, made = [], []
    for k, likelihood in enumerate(clusters):
        middle = rng.uniform(20, 100, 2)
        centres.append(middle + rng.uniform(-4, 4, (members, 2)))
        distribution = _DISTRIBUTIONS[k % len(_DISTRIBUTIONS)]
        made.append(Cluster(np.arange(k * members, (k + 1) * members), _ring(middle), likelihood, distribution))
    if singles:
        centres.append(rng.uniform(20, 100, (singles, 2)))
    places = np.concatenate(centres) if centres else np.empty((0, 2))
    likelihoods = rng.uniform(0.5, 1, len(places)).round(8)
    shapes = [None if i % 3 == 2 else _shape(place, 0.1 + 0.05 * (i % 4)) for i, place in enumerate(places)]
    evident = range(len(places) - singles, len(places))
    return ReportedImage(header_ or header(n), algorithm, Candidates(places, likelihoods), made, shapes, evident)


def of_kinds(result_: ReportedImage, kind: CalcificationKind, *, apart: bool) -> ReportedImage:
    """The same result with all calcifications of a kind, and with its findings set apart or not."""
    clusters = [
        dataclasses.replace(cluster, kind=kind, apart=apart and cluster in result_.findings())
        for cluster in result_.clusters
    ]
    kinds = [kind if shape is not None else None for shape in result_.shapes]
    return dataclasses.replace(result_, clusters=clusters, kinds=kinds)


def _shape(centre: NDArray[np.float64], radius_mm: float) -> Shape:
    return Shape(_ring(centre, radius_mm), round(float(np.pi * radius_mm**2), 4), 1.2, 9.0)


def failed(n: int = 0, reason: str = "no breast could be told from the background") -> ReportedImage:
    return ReportedImage(header(n), ALGORITHM, failure=reason)


def with_image(result_: ReportedImage, **changes: object) -> ReportedImage:
    """The same result for an image whose header says something else."""
    return dataclasses.replace(result_, header=dataclasses.replace(result_.header, **changes))  # type: ignore[arg-type]  # of any field


def _ring(middle: NDArray[np.float64], radius_mm: float = 6.0) -> NDArray[np.float64]:
    angle = np.linspace(0, 2 * np.pi, 13)
    ring = middle + radius_mm * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    ring[-1] = ring[0]
    return ring
