"""The metrics that are reported of a detector, for all images and by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.table import ImageRow
from microcalc.evaluation.bootstrap import Difference, Estimate, Metric, bootstrap_methods
from microcalc.evaluation.curves import Values, end_x, end_y, mean_height
from microcalc.evaluation.folds import fold_of
from microcalc.evaluation.froc import sensitivity_metrics
from microcalc.evaluation.match import Matches
from microcalc.evaluation.matched_images import MatchedImage, Rules
from microcalc.evaluation.overlap import estimate_overlap
from microcalc.evaluation.ratings import PatientRatings, gather

PER_IMAGE = (0.1, 1.0, 10.0)
PER_CM2 = (0.1, 0.4, 1.0, 10.0)
CLUSTERS_PER_IMAGE = (0.05, 0.1, 0.2, 0.5, 1.0)
DIAMETER_EDGES_MM = (0.0, 0.15, 0.2, 0.3, 0.5, np.inf)
D_PRIME_EDGES = (0.0, 3.0, 5.0, 8.0, np.inf)
_FALSE = {"all": "false marks", "reviewed": "marks reviewed as no calcium"}


Target = Literal["microcalcifications", "clusters", "findings", "members", "outlines"]
"""What is counted: marks, clusters, clusters at the default operating point, the members of these, or outlines."""


@dataclass(frozen=True, eq=False, slots=True)
class MetricGroup:
    """Metrics to be computed of one target in one group of lesions and images.

    Attributes
    ----------
    group
        Name of the group, such as ``"all"`` or ``"density B"``.
    ratings
        Lesions and false marks of the group, by patient.
    metrics
        Functions of the curve, by name.
    """

    group: str
    target: Target
    ratings: PatientRatings
    metrics: dict[str, Metric]
    n_images: int

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """Identify the same group, target and metrics of another detector."""
        return self.group, self.target, tuple(self.metrics)

    @property
    def n_lesions(self) -> int:
        """Number of lesions in the group."""
        return int(self.ratings.n_positive.sum())


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One metric of one group with its interval, or the difference of two detectors."""

    group: str
    target: Target
    metric: str
    lesions: int
    images: int
    estimate: Estimate | Difference


@dataclass(frozen=True, eq=False, slots=True)
class RatedImages:
    """Ratings of the lesions and false marks of several images, each with the index of its image.

    Attributes
    ----------
    lesion_rating, lesion_image
        (n,) and (n,); a missed lesion is rated -inf.
    nl_rating, nl_image
        (m,) and (m,).
    """

    lesion_rating: Values
    lesion_image: NDArray[np.int64]
    nl_rating: Values
    nl_image: NDArray[np.int64]


def metric_groups(images: Sequence[MatchedImage], rules: Rules) -> list[MetricGroup]:
    """Return every group of metrics that the images allow.

    The groups are: all images; those of each system, intent, breast density and fold; microcalcifications by diameter
    and by d'. A group without a lesion, or without an image to count false marks on, is omitted.
    """
    groups = _of_group("all", images, rules)
    groups += _by_image_property(images, rules, "system", lambda m: m.image.system)
    groups += _by_image_property(images, rules, "intent", lambda m: m.image.intent)
    groups += _by_image_property(images, rules, "density", lambda m: density_of(m.image))
    groups += _by_image_property(images, rules, "fold", lambda m: fold_of(m.image))
    groups += _by_lesion_property(images, rules, "diameter", " mm", DIAMETER_EDGES_MM, lambda m: m.diameter_mm)
    groups += _by_lesion_property(images, rules, "d'", "", D_PRIME_EDGES, lambda m: m.d_prime)
    return [g for g in groups if g.n_lesions > 0 and g.ratings.exposure.sum() > 0]


def estimate_metrics(groups: Sequence[MetricGroup], *, resamples: int, seed: int) -> list[MetricValue]:
    """Return every metric of one detector with its interval; each group starts from the same seed."""
    return estimate_methods({"": groups}, (), resamples=resamples, seed=seed)[0][""]


def estimate_outlines(images: Sequence[MatchedImage], *, resamples: int, seed: int) -> list[MetricValue]:
    """Return how well the outlines of hit microcalcifications agree with the annotated ones."""
    return [
        MetricValue("all", "outlines", metric, number, len(images), estimate)
        for metric, (estimate, number) in estimate_overlap(images, resamples=resamples, seed=seed).items()
    ]


def estimate_differences(
    first: Sequence[MetricGroup], second: Sequence[MetricGroup], *, resamples: int, seed: int
) -> list[MetricValue]:
    """Return the paired differences, first minus second, of the groups that both detectors have."""
    pair = ("first", "second")
    groups = dict(zip(pair, (first, second), strict=True))
    return estimate_methods(groups, [pair], resamples=resamples, seed=seed)[1][pair]


def estimate_methods(
    groups: Mapping[str, Sequence[MetricGroup]], pairs: Sequence[tuple[str, str]], *, resamples: int, seed: int
) -> tuple[dict[str, list[MetricValue]], dict[tuple[str, str], list[MetricValue]]]:
    """Return the metrics of several methods, and the differences of pairs of methods, on the same resamples.

    Parameters
    ----------
    groups
        By method.
    pairs
        Methods to compare, first minus second; a group that one of the two lacks has no difference.

    Returns
    -------
    values
        By method.
    differences
        By pair.
    """
    values: dict[str, list[MetricValue]] = {method: [] for method in groups}
    differences: dict[tuple[str, str], list[MetricValue]] = {pair: [] for pair in pairs}
    by_key: dict[tuple[str, str, tuple[str, ...]], dict[str, MetricGroup]] = {}
    for method, of_method in groups.items():
        for group in of_method:
            by_key.setdefault(group.key, {})[method] = group
    for by_method in by_key.values():
        estimates, changes = bootstrap_methods(
            {method: group.ratings for method, group in by_method.items()},
            next(iter(by_method.values())).metrics,
            [p for p in pairs if p[0] in by_method and p[1] in by_method],
            resamples=resamples,
            rng=np.random.default_rng(seed),
        )
        for method, estimate in estimates.items():
            values[method] += _metric_values(by_method[method], estimate)
        for pair, change in changes.items():
            differences[pair] += _metric_values(by_method[pair[0]], change)
    return values, differences


def _metric_values(group: MetricGroup, values: Mapping[str, Estimate] | Mapping[str, Difference]) -> list[MetricValue]:
    return [
        MetricValue(group.group, group.target, metric, group.n_lesions, group.n_images, value)
        for metric, value in values.items()
    ]


def rate(
    images: Sequence[MatchedImage],
    matches_of: Callable[[MatchedImage], Matches],
    *,
    counted: NDArray[np.bool_],
    lesions: Callable[[MatchedImage], NDArray[np.bool_]] | None = None,
) -> RatedImages:
    """Return the ratings of the lesions and false marks of several images.

    Parameters
    ----------
    matches_of
        Selects what is counted: `marks_of` or `clusters_of`.
    counted
        (n_images,) whether the false marks of an image count.
    lesions
        Selects lesions of an image by a mask (n_truth,); all by default.
    """
    parts = [matches_of(m) for m in images]
    chosen = [
        p.lesion_rating if lesions is None else p.lesion_rating[lesions(m)] for p, m in zip(parts, images, strict=True)
    ]
    false = [p.nl_rating if use else np.empty(0) for p, use in zip(parts, counted, strict=True)]
    index = np.arange(len(parts), dtype=np.int64)
    return RatedImages(
        np.concatenate([np.empty(0), *chosen]),
        np.repeat(index, [len(c) for c in chosen]),
        np.concatenate([np.empty(0), *false]),
        np.repeat(index, [len(f) for f in false]),
    )


def counted_images(images: Sequence[MatchedImage], rules: Rules) -> NDArray[np.bool_]:
    """Return for each image (n,) whether false marks are counted on it."""
    if rules.false_on == "all":
        return np.ones(len(images), dtype=np.bool_)
    return np.array([not m.has_lesion for m in images], dtype=np.bool_)


def areas_cm2(images: Sequence[MatchedImage]) -> Values | None:
    """Return the breast areas (n,) in cm², or None where the area of any image is unknown."""
    areas = [m.breast_area_cm2 for m in images]
    known = [a for a in areas if a is not None]
    return np.array(known, dtype=np.float64) if len(known) == len(areas) else None


def patient_ratings(images: Sequence[MatchedImage], rated: RatedImages, exposure: Values) -> PatientRatings:
    """Return the ratings by patient.

    Parameters
    ----------
    exposure
        (n_images,) what false marks are counted per: 1 for an image, or the breast area in cm².
    """
    names = sorted({m.image.patient_or_image for m in images})
    place = {name: i for i, name in enumerate(names)}
    patient = np.array([place[m.image.patient_or_image] for m in images], dtype=np.int64)
    return gather(
        rated.lesion_rating,
        patient[rated.lesion_image],
        rated.nl_rating,
        patient[rated.nl_image],
        np.bincount(patient, exposure, minlength=len(names)),
    )


def marks_of(image: MatchedImage) -> Matches:
    """Return the matches of individual microcalcifications."""
    return image.marks


def clusters_of(image: MatchedImage) -> Matches:
    """Return the matches of clusters.

    Raises
    ------
    ValueError
        The detector does not group its marks.
    """
    if image.clusters is None:
        raise ValueError(f"image {image.image.image!r} has no clusters, expected a detector that groups its marks")
    return image.clusters


def _findings_of(image: MatchedImage) -> Matches:
    """Return the matches of findings, all with the rating 1: a finding is shown or not."""
    if image.findings is None:
        raise ValueError(f"image {image.image.image!r} has no findings, expected a detector that groups its marks")
    m = image.findings
    shown = np.where(np.isfinite(m.lesion_rating), 1.0, -np.inf)
    return Matches(shown, np.ones_like(m.nl_rating), m.lesion_mark, m.nl_mark)


def density_of(image: ImageRow) -> str:
    """Return the breast density, such as ``"B"``, from the tag ``density-B``; empty where there is none."""
    densities = [tag.removeprefix("density-") for tag in image.tags.split() if tag.startswith("density-")]
    return densities[0] if densities else ""


def _by_image_property(
    images: Sequence[MatchedImage], rules: Rules, name: str, value_of: Callable[[MatchedImage], str]
) -> list[MetricGroup]:
    """Return the groups of images of each known value, unless all images have the same value."""
    values = [value_of(m) for m in images]
    if len(set(values)) < 2:
        return []
    groups = []
    for one in sorted(set(values) - {""}):
        groups += _of_group(f"{name} {one}", [m for m, v in zip(images, values, strict=True) if v == one], rules)
    return groups


def _of_group(group: str, images: Sequence[MatchedImage], rules: Rules) -> list[MetricGroup]:
    """Return the metrics of one group of images: marks per image and per cm², clusters, findings."""
    counted = counted_images(images, rules)
    exposure = counted.astype(np.float64)
    rated = rate(images, marks_of, counted=counted)
    false = _FALSE[rules.false_marks]
    metrics = sensitivity_metrics(PER_IMAGE, f"{false} per image") | _area(f"{false} per image")
    if rules.mean_up_to is not None:
        metrics |= _area(f"{false} per image", up_to=rules.mean_up_to)
    groups = [MetricGroup(group, "microcalcifications", patient_ratings(images, rated, exposure), metrics, len(images))]
    areas = areas_cm2(images)
    if areas is not None:
        per_cm2 = patient_ratings(images, rated, areas * exposure)
        metrics = sensitivity_metrics(PER_CM2, f"{false} per cm²")
        groups.append(MetricGroup(group, "microcalcifications", per_cm2, metrics, len(images)))
    if all(m.clusters is not None for m in images):
        clusters = patient_ratings(images, rate(images, clusters_of, counted=counted), exposure)
        per_image = "false clusters per image"
        metrics = sensitivity_metrics(CLUSTERS_PER_IMAGE, per_image) | _area(per_image)
        groups.append(MetricGroup(group, "clusters", clusters, metrics, len(images)))
        findings = patient_ratings(images, rate(images, _findings_of, counted=counted), exposure)
        shown: dict[str, Metric] = {"sensitivity": end_y, "false findings per image": end_x}
        groups.append(MetricGroup(group, "findings", findings, shown, len(images)))
        groups += _of_members(group, [m for m in images if m.members is not None])
    return groups


def _of_members(group: str, images: Sequence[MatchedImage]) -> list[MetricGroup]:
    """Return what findings list of the clusters that they hit: all of these metrics are at the default point."""
    members = [m.members for m in images if m.members is not None]
    listed = [np.where(m.listed, 1.0, -np.inf) for m in members]
    false = [np.ones(m.n_false) for m in members]
    exposure = np.array([m.n_findings for m in members], dtype=np.float64)
    of_members: dict[str, Metric] = {
        "fraction of a found cluster's microcalcifications that are members": end_y,
        "false members per finding of a cluster": end_x,
    }
    found = [np.ones(len(m.findings_of_cluster)) for m in members]
    findings = [np.ones(sum(m.findings_of_cluster)) for m in members]
    n_found = np.array([len(m.findings_of_cluster) for m in members], dtype=np.float64)
    return [
        MetricGroup(group, "members", _by_patient(images, listed, false, exposure), of_members, len(images)),
        MetricGroup(
            group, "members", _by_patient(images, found, findings, n_found), {"findings per found cluster": end_x},
            len(images),
        ),
    ]  # fmt: skip


def _by_patient(
    images: Sequence[MatchedImage], lesions: Sequence[Values], false: Sequence[Values], exposure: Values
) -> PatientRatings:
    index = np.arange(len(images), dtype=np.int64)
    rated = RatedImages(
        np.concatenate([np.empty(0), *lesions]),
        np.repeat(index, [len(values) for values in lesions]),
        np.concatenate([np.empty(0), *false]),
        np.repeat(index, [len(values) for values in false]),
    )
    return patient_ratings(images, rated, exposure)


def _area(unit: str, *, up_to: float = 1.0) -> dict[str, Metric]:
    """Return the area under the FROC curve, divided by its width; one false mark per image as the end is ours."""
    return {f"area under FROC, 0 to {up_to:g} {unit}": partial(mean_height, low=0.0, high=up_to)}


def _by_lesion_property(
    images: Sequence[MatchedImage],
    rules: Rules,
    name: str,
    unit: str,
    edges: Sequence[float],
    values: Callable[[MatchedImage], Values],
) -> list[MetricGroup]:
    """Return one group for each stratum of microcalcifications; false marks are those of all images."""
    counted = counted_images(images, rules)
    metrics = sensitivity_metrics(PER_IMAGE, f"{_FALSE[rules.false_marks]} per image")
    groups = []
    for low, high in pairwise(edges):

        def within(m: MatchedImage, low: float = low, high: float = high) -> NDArray[np.bool_]:
            return (values(m) >= low) & (values(m) < high)

        rated = rate(images, marks_of, counted=counted, lesions=within)
        group = f"{name} {low:g} to {high:g}{unit}" if np.isfinite(high) else f"{name} {low:g}{unit} or more"
        ratings = patient_ratings(images, rated, counted.astype(np.float64))
        groups.append(MetricGroup(group, "microcalcifications", ratings, metrics, len(images)))
    return groups
