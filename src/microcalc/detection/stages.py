"""The stages from a normalised mammogram to clusters, with the numbers of a model."""

from __future__ import annotations

from dataclasses import dataclass

from microcalc.detection.candidates import find_candidates
from microcalc.detection.clusters import group
from microcalc.domain import Candidates, Cluster, NormalisedMammogram, PixelScores
from microcalc.models.model import Model


@dataclass(frozen=True, eq=False, slots=True)
class Detected:
    """The candidates in one mammogram, and the clusters that they form, each highest likelihood first.

    ``limit_reached`` is that of ``PixelScores``.
    """

    candidates: Candidates
    clusters: list[Cluster]
    limit_reached: bool


def find_clusters(
    mammogram: NormalisedMammogram,
    scores: PixelScores,
    model: Model,
    *,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
) -> Detected:
    """Pick candidates from the likelihood of every pixel, and group them into clusters.

    Parameters
    ----------
    mammogram
        At the pixel spacing of the model's scorer.
    scores
        What the model's scorer returns for the mammogram.
    model
        Its rules say which pixels are candidates, and which candidates form a cluster.
    min_likelihood, max_candidates
        Used in place of the model's; None: the model's. Clusters are formed of the candidates that remain.
    """
    rules = model.candidates
    candidates = find_candidates(
        mammogram,
        scores.likelihood,
        min_likelihood=rules.min_likelihood if min_likelihood is None else min_likelihood,
        min_distance_mm=rules.min_distance_mm,
        max_count=rules.max_count if max_candidates is None else max_candidates,
    )
    return Detected(candidates, group(candidates, **model.clusters.model_dump()), scores.limit_reached)


def detect_normalised(mammogram: NormalisedMammogram, model: Model) -> Detected:
    """Rate every pixel of the breast, pick candidates, and group them into clusters.

    Parameters
    ----------
    mammogram
        At the pixel spacing of the model's scorer.
    model
        The scorer and its numbers.
    """
    return find_clusters(mammogram, model.scorer.score(mammogram), model)
