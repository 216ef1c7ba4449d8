"""Measure a model's operating points on the validation set, and the limits on likelihoods that follow from them.

Single marks first: the threshold at each number of false marks per image says which candidates are listed, which of
them are outlined, and which are members of clusters. Then clusters, formed of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.cnn.mine import as_normalised
from microcalc.datasets.open import open_row
from microcalc.datasets.table import Table
from microcalc.detection.candidates import find_candidates
from microcalc.detection.clusters import group
from microcalc.detection.shapes import measure_shapes
from microcalc.domain import REGION, Annotations, Candidates, Cluster
from microcalc.evaluation.froc import FrocCurve, froc_curve
from microcalc.evaluation.match import Matches, Regions, as_regions, match, match_clusters
from microcalc.evaluation.matched_images import IGNORED_KINDS
from microcalc.execution.progress import track
from microcalc.models.description import CandidateRules, ClusterRules, MeasuredOn, OperatingPointEntry, ShapeRules
from microcalc.models.model import Model
from microcalc.training.annotated import key_of_table
from microcalc.training.images import TrainingImage
from microcalc.training.recipe import Recipe

MARK_NLF: Final = (0.1, 1.0, 3.0, 10.0)
"""False marks per image of the operating points of single marks."""
CLUSTER_NLF: Final = (0.05, 0.1, 0.2, 0.5)
"""False clusters per image of the operating points of clusters."""
_LEAST, _MOST = 1e-6, 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Measured:
    """What the validation set says of a model."""

    candidates: CandidateRules
    shapes: ShapeRules
    clusters: ClusterRules
    mark_operating_points: tuple[OperatingPointEntry, ...]
    operating_points: tuple[OperatingPointEntry, ...]
    measured_on: MeasuredOn


@dataclass(frozen=True, eq=False, slots=True)
class Marked:
    """The candidates of one validation image, and what is known of it."""

    candidates: Candidates
    annotations: Annotations


def measure_operating_points(
    model: Model,
    recipe: Recipe,
    validation: Sequence[TrainingImage],
    *,
    normals: Sequence[TrainingImage] = (),
    min_likelihood: float | None = None,
    threshold: float | None = None,
) -> Measured:
    """Measure the operating points of marks and clusters on the validation images.

    Parameters
    ----------
    model
        Its scorer is used, none of its rules.
    recipe
        Says how candidates, shapes and clusters are made.
    normals
        Further images on which clusters alone are measured. They have no clusters, but may have calcium that nobody
        has annotated, on which a mark is not false.
    min_likelihood
        Least likelihood of a candidate that counts in a cluster; None: the recipe's.
    threshold
        Threshold on clusters that is measured besides; None: none is.

    Raises
    ------
    InputError
        An image of the table can no longer be opened.
    """
    every = recipe.detect.rules(recipe.detect.min_likelihood)
    images = [*validation, *normals]
    marked = []
    for image in track(images, "measuring operating points", total=len(images)):
        normalised = as_normalised(image.open())
        likelihood = model.scorer.score(normalised).likelihood
        marked.append(Marked(find_candidates(normalised, likelihood, **every.model_dump()), image.annotations))
    annotated = slice(len(validation))
    (listed,) = mark_operating_points(marked[annotated], (recipe.detect.false_marks_per_image,))
    marked = [_listed(m, listed.threshold) for m in marked]
    (outlined,) = mark_operating_points(marked[annotated], (recipe.shapes.false_marks_per_image,))
    shapes = recipe.shapes.rules(outlined.threshold)
    pairs = track(zip(marked, images, strict=True), "outlining calcifications", total=len(images))
    outlines = [_with_shapes(m, image, shapes) for m, image in pairs]
    (member,) = mark_operating_points(outlines[annotated], (recipe.clusters.false_marks_per_image,))
    clusters = recipe.clusters.rules(
        min_likelihood=recipe.clusters.min_likelihood if min_likelihood is None else min_likelihood,
        member_likelihood=float(np.clip(member.threshold, _LEAST, _MOST)),
    )
    return Measured(
        candidates=recipe.detect.rules(listed.threshold),
        shapes=shapes,
        clusters=clusters,
        mark_operating_points=mark_operating_points(outlines[annotated], MARK_NLF),
        operating_points=_cluster_operating_points(outlines, clusters, threshold),
        measured_on=describe_images(validation, normals),
    )


def describe_images(validation: Sequence[TrainingImage], normals: Sequence[TrainingImage] = ()) -> MeasuredOn:
    """Return what a model states of the images on which its thresholds are measured."""
    images = [*validation, *normals]
    table = Table(tuple(image.row for image in images), tuple(row for image in images for row in image.rows))
    lesions = [row for image in validation for row in image.rows]
    real = [row for row in lesions if row.kind == "microcalcification"]
    return MeasuredOn(
        sha256=key_of_table(table),
        images=len(images),
        for_clusters_alone=len(normals),
        patients=len({row.patient_or_image for row in table.images}),
        microcalcifications=len(real),
        clusters=len({(row.image, row.cluster) for row in real if row.cluster})
        + sum(row.kind == REGION for row in lesions),
    )


def mark_operating_points(
    marked: Sequence[Marked], false_per_image: Sequence[float]
) -> tuple[OperatingPointEntry, ...]:
    """Return the lowest threshold on single marks with at most each number of false marks per image."""
    return _lowest_thresholds([_match_marks(m) for m in marked], false_per_image)


def _cluster_operating_points(
    marked: Sequence[Marked], rules: ClusterRules, threshold: float | None
) -> tuple[OperatingPointEntry, ...]:
    """Return the points of the numbers of false clusters and that of the threshold, the highest threshold first."""
    matches = [_match_clusters(m, group(m.candidates, **rules.model_dump())) for m in marked]
    points = _lowest_thresholds(matches, CLUSTER_NLF)
    if threshold is None:
        return points
    curve = _froc(matches)
    reached = int(np.flatnonzero(curve.threshold >= threshold)[-1])
    given = OperatingPointEntry(threshold=threshold, llf=float(curve.llf[reached]), nlf=float(curve.nlf[reached]))
    return tuple(sorted((*points, given), key=lambda point: (point.nlf, -point.threshold)))


def _lowest_thresholds(matches: Sequence[Matches], nlfs: Sequence[float]) -> tuple[OperatingPointEntry, ...]:
    curve = _froc(matches)
    return tuple(_point(curve.threshold, curve.llf, curve.nlf, nlf) for nlf in nlfs)


def _froc(matches: Sequence[Matches]) -> FrocCurve:
    return froc_curve(
        np.concatenate([m.lesion_rating for m in matches]), np.concatenate([m.nl_rating for m in matches]), len(matches)
    )


def _point(
    threshold: NDArray[np.float64], llf: NDArray[np.float64], nlf: NDArray[np.float64], at: float
) -> OperatingPointEntry:
    last = int(np.flatnonzero(nlf <= at)[-1])
    return OperatingPointEntry(
        threshold=float(np.clip(threshold[last], 0.0, 1.0)), llf=float(llf[last]), nlf=float(nlf[last])
    )


def _listed(marked: Marked, least: float) -> Marked:
    """Leave out what the model does not list: marks are then merged, and clusters formed, as they are in detection."""
    every = marked.candidates
    n = int(np.count_nonzero(every.likelihood >= least))  # highest first
    return replace(marked, candidates=Candidates(every.centres[:n], every.likelihood[:n]))


def _with_shapes(marked: Marked, image: TrainingImage, rules: ShapeRules) -> Marked:
    return replace(
        marked, candidates=measure_shapes(open_row(image.row), marked.candidates, **rules.model_dump()).candidates
    )


def _match_marks(marked: Marked) -> Matches:
    real, ignored = _regions(marked.annotations)
    return match(
        marked.candidates.centres, marked.candidates.likelihood, marked.annotations.centres[real], ignored=ignored
    )


def _match_clusters(marked: Marked, clusters: Sequence[Cluster]) -> Matches:
    """Match the clusters of one image with the annotated clusters."""
    real, ignored = _regions(marked.annotations)
    return match_clusters(
        [marked.candidates.centres[c.members] for c in clusters],
        [c.likelihood for c in clusters],
        marked.annotations.centres[real],
        marked.annotations.cluster[real],
        truth_outlines_mm=as_regions(marked.annotations.regions.values()),
        ignored=ignored,
    )


def _regions(annotations: Annotations) -> tuple[NDArray[np.bool_], Regions]:
    """Return which annotations are microcalcifications, and the places where a mark is neither hit nor false."""
    ignored = np.isin(annotations.kind, IGNORED_KINDS)
    return (
        annotations.kind == "microcalcification",
        Regions(
            annotations.centres[ignored], annotations.diameter_mm[ignored] / 2, tuple(annotations.regions.values())
        ),
    )
