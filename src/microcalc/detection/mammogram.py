"""Detecting in one mammogram: the steps in order, and the two files that they end in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from microcalc.detection.candidates import find_candidates
from microcalc.detection.clusters import group
from microcalc.detection.findings import findings
from microcalc.detection.result import ModelEntry, Result, Seconds, detections
from microcalc.domain import Candidates, Cluster, Finding, Mammogram, NormalisedMammogram
from microcalc.models.model import Model


@dataclass(frozen=True, eq=False, slots=True)
class Detected:
    """What the stages found in one mammogram, and how long they took."""

    candidates: Candidates
    clusters: list[Cluster]
    findings: list[Finding]
    limit_reached: bool
    score_seconds: float
    group_seconds: float


def detect_normalised(
    mammogram: NormalisedMammogram,
    model: Model,
    *,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
) -> Detected:
    """Rate every breast pixel, pick candidates, group them, and choose the findings.

    Parameters
    ----------
    mammogram
        At the spacing of the model's scorer.
    model
        The scorer and its numbers.
    min_likelihood, max_candidates
        In place of the model's. Clusters are made of the candidates that remain.
    """
    rules = model.candidates
    start = perf_counter()
    scores = model.scorer.score(mammogram)
    scored = perf_counter()
    candidates = find_candidates(
        mammogram,
        scores.likelihood,
        min_likelihood=rules.min_likelihood if min_likelihood is None else min_likelihood,
        min_distance_mm=rules.min_distance_mm,
        max_count=rules.max_count if max_candidates is None else max_candidates,
    )
    clusters = group(
        candidates,
        max_gap_mm=model.clusters.max_gap_mm,
        min_members=model.clusters.min_members,
        max_area_cm2=model.clusters.max_area_cm2,
        min_likelihood=model.clusters.min_likelihood,
    )
    found = findings(clusters, model.operating_point, uid=mammogram.uid)
    return Detected(candidates, clusters, found, scores.limit_reached, scored - start, perf_counter() - scored)


def detect_one(
    mammogram: Mammogram,
    *,
    file: str,
    model: Model,
    normalise: Callable[[Mammogram], NormalisedMammogram],
    read_seconds: float,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
) -> tuple[Result, NormalisedMammogram]:
    """Detect in one mammogram.

    Parameters
    ----------
    mammogram
        As read.
    file
        The image's file name.
    model
        For images of the mammogram's intent.
    normalise
        The normalisation at the spacing of the model's scorer.
    read_seconds
        What reading took.
    min_likelihood, max_candidates
        See ``detect_normalised``.

    Returns
    -------
    tuple
        The document, and the normalised mammogram that it was made of.

    Raises
    ------
    NoBreastError
        From normalising.
    """
    start = perf_counter()
    normalised = normalise(mammogram)
    normalise_seconds = perf_counter() - start
    detected = detect_normalised(normalised, model, min_likelihood=min_likelihood, max_candidates=max_candidates)
    document = detections(
        mammogram,
        detected.candidates,
        detected.clusters,
        detected.findings,
        file=file,
        model=ModelEntry(name=model.name, version=model.version, sha256=model.sha256),
        operating_point=model.operating_point,
        breast_area_cm2=normalised.breast_area_cm2,
        limit_reached=detected.limit_reached,
        seconds=Seconds(
            read=round(read_seconds, 3),
            normalise=round(normalise_seconds, 3),
            score=round(detected.score_seconds, 3),
            group=round(detected.group_seconds, 3),
            total=round(read_seconds + perf_counter() - start, 3),
        ),
    )
    return document, normalised
