"""The stages from the likelihood of every pixel to clusters, with the numbers of a model."""

from __future__ import annotations

from dataclasses import dataclass

from microcalc.detection.candidates import find_candidates
from microcalc.detection.clusters import group
from microcalc.detection.kinds import kinds_of
from microcalc.detection.shapes import measure_shapes, most_outlined
from microcalc.domain import CalcificationKind, Candidates, Cluster, Mammogram, NormalisedMammogram, PixelScores, Shape
from microcalc.models.model import Model


@dataclass(frozen=True, eq=False, slots=True)
class Detected:
    """The candidates in one mammogram, and the clusters that they form, each highest likelihood first.

    Attributes
    ----------
    shapes
        Of the first candidates, as many as were measured; None where there is no shape.
    kinds
        Of the same candidates; None where there is no shape.
    limit_reached
        As in ``PixelScores``.
    candidate_limit_reached
        Whether there were more candidates than may be listed.
    """

    candidates: Candidates
    shapes: tuple[Shape | None, ...]
    kinds: tuple[CalcificationKind | None, ...]
    clusters: list[Cluster]
    limit_reached: bool
    candidate_limit_reached: bool


def find_clusters(
    mammogram: Mammogram,
    normalised: NormalisedMammogram,
    scores: PixelScores,
    model: Model,
    *,
    min_likelihood: float | None = None,
    max_candidates: int | None = None,
) -> Detected:
    """Pick candidates from the likelihood of every pixel, outline the calcifications, and group these into clusters.

    Parameters
    ----------
    mammogram
        The original image, in which calcifications are outlined.
    normalised
        The same at the pixel spacing of the model's scorer.
    scores
        What the model's scorer returns for the normalised mammogram.
    model
        Its rules say which pixels are candidates, and which candidates form a cluster.
    min_likelihood, max_candidates
        Used in place of the model's; None: the model's. Clusters are formed of the candidates that remain.
    """
    rules = model.candidates
    max_count = rules.max_count if max_candidates is None else max_candidates
    every = find_candidates(
        normalised,
        scores.likelihood,
        min_likelihood=rules.min_likelihood if min_likelihood is None else min_likelihood,
        min_distance_mm=rules.min_distance_mm,
        max_count=max_count + 1,  # one more says whether the limit leaves any out
    )
    picked = Candidates(every.centres[:max_count], every.likelihood[:max_count])
    most = most_outlined(normalised.breast_area_cm2)
    found = measure_shapes(mammogram, picked, **model.shapes.model_dump(), max_outlined=most)
    return Detected(
        candidates=found.candidates,
        shapes=found.shapes,
        kinds=kinds_of(mammogram, found.candidates.centres[: len(found.shapes)], found.shapes),
        clusters=group(found.candidates, **model.clusters.model_dump()),
        limit_reached=scores.limit_reached,
        candidate_limit_reached=every.likelihood.size > max_count,
    )
