"""Compute the figures of the study: all methods on the same samples, images and resamples of patients."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from microcalc.errors import InputError
from microcalc.evaluation.bootstrap import Difference, Estimate, bootstrap_methods
from microcalc.evaluation.delong import area_difference, area_estimate, areas_by_patient
from microcalc.evaluation.matched_images import MatchedImage, Rules, match_image
from microcalc.evaluation.metrics import (
    D_PRIME_EDGES,
    DIAMETER_EDGES_MM,
    MetricValue,
    estimate_methods,
    metric_groups,
)
from microcalc.evaluation.ratings import PatientRatings
from microcalc.evaluation.reporting.figures import Band, band
from microcalc.evaluation.roc import ROC_METRICS, gather_samples
from microcalc.study.examples import Example, choose_examples
from microcalc.study.predictions import METHODS, VENDORS, ImagePredictions

LINEAR, LOG = tuple(ROC_METRICS)[:2]
"""Names of the two mean sensitivities among the ROC figures."""
AREA = "area under the whole curve"

Pair = tuple[str, str]
_CURVE_RESAMPLES = 500
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class RocGroup:
    """ROC figures of one group of samples: pooled, a manufacturer, or a stratum.

    Attributes
    ----------
    images, patients, positives, negatives
        Their numbers.
    estimates
        By method and figure.
    differences
        By pair of methods (first minus second) and figure.
    """

    name: str
    images: int
    patients: int
    positives: int
    negatives: int
    estimates: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[Pair, Mapping[str, Difference]]


@dataclass(frozen=True, eq=False, slots=True)
class FrocFigures:
    """FROC of marks and clusters: figures by method and by pair of methods, curves by kind of lesion and method."""

    values: Mapping[str, Sequence[MetricValue]]
    differences: Mapping[Pair, Sequence[MetricValue]]
    bands: Mapping[str, Mapping[str, Band]]


@dataclass(frozen=True, eq=False, slots=True)
class StudyFigures:
    """All figures of the study with their intervals.

    Attributes
    ----------
    methods, vendors
        Names in the order of the report.
    pairs
        Methods whose differences are computed, first minus second.
    groups
        Figures of ``"pooled"`` and of each vendor.
    strata
        Figures by d', diameter and density, pooled over the vendors.
    roc_bands
        Curves by group and method.
    froc
        None where no method has marks.
    examples
        Hits, misses and the worst false marks of the pair, where images have pixels.
    """

    methods: tuple[str, ...]
    vendors: tuple[str, ...]
    pairs: tuple[Pair, ...]
    groups: Mapping[str, RocGroup]
    strata: tuple[RocGroup, ...]
    roc_bands: Mapping[str, Mapping[str, Band]]
    froc: FrocFigures | None
    examples: tuple[Example, ...]
    rules: Rules
    resamples: int
    seed: int


@dataclass(frozen=True, eq=False, slots=True)
class _Samples:
    """The ratings of the samples of all images, counted by image, with properties of the samples and images."""

    ratings: Mapping[str, PatientRatings]
    positive: Mapping[str, NDArray[np.float32]]
    owner: NDArray[np.int64]
    patient: NDArray[np.str_]
    d_prime: NDArray[np.float64]
    diameter_mm: NDArray[np.float64]


def evaluate_study(
    images: Iterable[ImagePredictions],
    *,
    rules: Rules | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> StudyFigures:
    """Evaluate all methods on the same samples.

    Parameters
    ----------
    images
        The test images, each once. Their ratings are kept in memory (4 bytes each).
    rules
        Rules of hits and false marks. Give ``Rules(min_d_prime=recipe.sample.min_d_prime)``, so that invisible
        microcalcifications are neither lesions nor background.
    resamples, seed
        Number and seed of the bootstrap resamples by patient.

    Raises
    ------
    InputError
        There is no image, no positive or no negative sample, or the methods differ between images.
    """
    predictions = list(images)
    methods = _methods(predictions)
    pairs = _pairs(methods)
    vendors = _ordered({i.vendor for i in predictions}, VENDORS)
    samples = _gather(predictions, methods)
    vendor = np.array([i.vendor for i in predictions])
    chosen = {"pooled": np.ones(len(predictions), dtype=np.bool_)} | {v: vendor == v for v in vendors}
    groups, bands = {}, {}
    for name, mask in chosen.items():
        _LOG.info("ROC of %s: %d methods, %d resamples", name, len(methods), resamples)
        ratings = _of_images(samples, mask)
        groups[name] = _roc_group(name, ratings, mask, pairs, resamples, seed, with_area=True)
        if groups[name].positives:
            bands[name] = {m: _band(r, resamples, seed, roc=True) for m, r in ratings.items()}
    strata = _strata(samples, predictions, pairs, resamples, seed)
    rules = rules or Rules()
    matched = _match(predictions, methods, rules)
    _LOG.info("FROC of marks and clusters")
    return StudyFigures(
        methods,
        vendors,
        pairs,
        groups,
        strata,
        bands,
        _froc(matched, pairs, rules, resamples, seed),
        choose_examples(predictions, _shown(matched), rules),
        rules,
        resamples,
        seed,
    )


def _methods(images: Sequence[ImagePredictions]) -> tuple[str, ...]:
    if not images:
        raise InputError("no test image, expected some")
    names = set(images[0].positive)
    for image in images:
        if set(image.positive) != names or set(image.negative) != names:
            raise InputError(
                f"image {image.row.image!r} is rated by {', '.join(sorted(image.positive))}, another by "
                f"{', '.join(sorted(names))}, expected the same methods on all"
            )
        sizes = {(image.positive[m].size, image.negative[m].size) for m in names}
        if len(sizes) != 1 or next(iter(sizes))[0] != image.d_prime.size:
            raise InputError(f"image {image.row.image!r}: the methods rate different numbers of samples, expected one")
    return _ordered(names, METHODS)


def _pairs(methods: Sequence[str]) -> tuple[Pair, ...]:
    """Return the pair against every other method except the LoG filter, the publication's comparison first."""
    return tuple(("pair", m) for m in methods if m not in ("pair", "log")) if "pair" in methods else ()


def _ordered(names: set[str], known: Sequence[str]) -> tuple[str, ...]:
    return (*(n for n in known if n in names), *sorted(names - set(known)))


def _gather(images: Sequence[ImagePredictions], methods: Sequence[str]) -> _Samples:
    index = np.arange(len(images), dtype=np.int64)
    owner = np.repeat(index, [i.d_prime.size for i in images])
    off = np.repeat(index, [i.negative[methods[0]].size for i in images])
    if owner.size == 0 or off.size == 0:
        raise InputError(f"{owner.size} positive and {off.size} negative samples, expected some of each")
    positive = {m: np.concatenate([i.positive[m] for i in images]) for m in methods}
    ratings = {
        m: gather_samples(
            positive[m], owner, np.concatenate([i.negative[m] for i in images]), off, n_patients=len(images)
        )
        for m in methods
    }
    return _Samples(
        ratings,
        positive,
        owner,
        np.array([i.row.patient_or_image for i in images]),
        np.concatenate([i.d_prime for i in images]),
        np.concatenate([i.diameter_mm for i in images]),
    )


def _of_images(
    samples: _Samples, images: NDArray[np.bool_], positives: NDArray[np.bool_] | None = None
) -> dict[str, PatientRatings]:
    """Return the ratings of some images by method, counted by patient; of some positives only, where given."""
    names, patient = np.unique(samples.patient[images], return_inverse=True)
    chosen = {}
    for method, ratings in samples.ratings.items():
        if positives is not None:
            rating = np.clip(samples.positive[method][positives], np.finfo(np.float32).min, None)
            ratings = ratings.with_positives(rating, samples.owner[positives])
        chosen[method] = ratings.select_patients(images).merge_patients(patient, names.size).without_unused_thresholds()
    return chosen


def _roc_group(
    name: str,
    ratings: Mapping[str, PatientRatings],
    images: NDArray[np.bool_],
    pairs: Sequence[Pair],
    resamples: int,
    seed: int,
    *,
    with_area: bool,
) -> RocGroup:
    rng = np.random.default_rng(seed)
    estimates, differences = bootstrap_methods(ratings, ROC_METRICS, pairs, resamples=resamples, rng=rng)
    any_of = next(iter(ratings.values()))
    positives = int(any_of.n_positive.sum())
    if with_area and positives:
        methods = list(ratings)
        area, covariance = areas_by_patient(list(ratings.values()))
        for i, method in enumerate(methods):
            estimates[method][AREA] = area_estimate(area[i], covariance[i, i])
        for first, second in pairs:
            difference = area_difference(area, covariance, methods.index(first), methods.index(second))
            differences[first, second][AREA] = difference
    return RocGroup(
        name,
        int(np.count_nonzero(images)),
        any_of.n_patients,
        positives,
        int(any_of.exposure.sum()),
        estimates,
        differences,
    )


def _strata(
    samples: _Samples, images: Sequence[ImagePredictions], pairs: Sequence[Pair], resamples: int, seed: int
) -> tuple[RocGroup, ...]:
    """Return figures by d' and diameter (its positives, all negatives), and by density and intent (its images)."""
    everywhere = np.ones(len(images), dtype=np.bool_)
    chosen: list[tuple[str, NDArray[np.bool_], NDArray[np.bool_] | None]] = []
    for quantity, unit, values, edges in (
        ("d'", "", samples.d_prime, D_PRIME_EDGES),
        ("diameter", " mm", samples.diameter_mm, DIAMETER_EDGES_MM),
    ):
        for low, high in pairwise(edges):
            name = f"{quantity} {low:g} to {high:g}{unit}" if np.isfinite(high) else f"{quantity} {low:g}{unit} or more"
            chosen.append((name, everywhere, (values >= low) & (values < high)))
    density, intent = np.array([i.density for i in images]), np.array([i.row.intent for i in images])
    chosen += [(f"density {d}", density == d, None) for d in sorted(set(density.tolist()) - {""})]
    if len(set(intent.tolist())) > 1:
        chosen += [(f"intent {i}", intent == i, None) for i in sorted(set(intent.tolist()))]
    strata = []
    for name, mask, positives in chosen:
        ratings = _of_images(samples, mask, positives)
        if any(r.n_positive.sum() for r in ratings.values()):
            strata.append(_roc_group(name, ratings, mask, pairs, resamples, seed, with_area=False))
    return tuple(strata)


def _match(images: Sequence[ImagePredictions], methods: Sequence[str], rules: Rules) -> dict[str, list[MatchedImage]]:
    """Return the judged marks on all images, for each method that has marks on every image."""
    marking = [m for m in methods if all(m in i.detections for i in images)]
    return {m: [_match_one(i, m, rules) for i in images] for m in marking}


def _match_one(image: ImagePredictions, method: str, rules: Rules) -> MatchedImage:
    tags = f"{image.row.tags} density-{image.density}" if image.density else image.row.tags
    row = replace(image.row, system=image.vendor, tags=tags)
    return replace(
        match_image(image.detections[method], row, image.annotations, rules), breast_area_cm2=image.breast_cm2
    )


def _froc(
    matched: Mapping[str, list[MatchedImage]], pairs: Sequence[Pair], rules: Rules, resamples: int, seed: int
) -> FrocFigures | None:
    # Findings and their members need an operating point, which the methods of the study do not have.
    groups = {
        m: [g for g in metric_groups(i, rules) if g.target in ("microcalcifications", "clusters")]
        for m, i in matched.items()
    }
    groups = {m: g for m, g in groups.items() if g}
    if not groups:
        return None
    values, differences = estimate_methods(
        groups, [p for p in pairs if p[0] in groups and p[1] in groups], resamples=resamples, seed=seed
    )
    bands: dict[str, dict[str, Band]] = {}
    for method, of_method in groups.items():
        for group in of_method:
            if group.group == "all" and all("per image" in metric for metric in group.metrics):
                bands.setdefault(group.target, {})[method] = _band(group.ratings, resamples, seed, roc=False)
    return FrocFigures(values, differences, bands)


def _band(ratings: PatientRatings, resamples: int, seed: int, *, roc: bool) -> Band:
    rng = np.random.default_rng(seed)
    return band(ratings, resamples=min(resamples, _CURVE_RESAMPLES), rng=rng, roc=roc)


def _shown(matched: Mapping[str, list[MatchedImage]]) -> tuple[str, list[MatchedImage]] | None:
    """Return the method whose hits and misses are shown, with its judged marks: the pair, or the first with marks."""
    name = "pair" if "pair" in matched else next(iter(matched), None)
    return None if name is None else (name, matched[name])
