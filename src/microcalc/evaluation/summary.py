"""The figures that are reported of a detector, group by group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.table import ImageRow
from microcalc.evaluation.bootstrap import Difference, Estimate, Figure, bootstrap_methods
from microcalc.evaluation.curves import Values, end_x, end_y, mean_height
from microcalc.evaluation.froc import sensitivity_figures
from microcalc.evaluation.judge import JudgedImage, Rules
from microcalc.evaluation.match import Matched
from microcalc.evaluation.ratings import PatientRatings, gather

PER_IMAGE = (0.1, 1.0, 10.0)
PER_CM2 = (0.1, 0.4, 1.0, 10.0)
CLUSTERS_PER_IMAGE = (0.05, 0.1, 0.2, 0.5, 1.0)
DIAMETER_EDGES_MM = (0.0, 0.15, 0.2, 0.3, 0.5, np.inf)
D_PRIME_EDGES = (0.0, 3.0, 5.0, 8.0, np.inf)
_FALSE = {"all": "false marks", "reviewed": "marks reviewed as no calcium"}


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """Figures to take of one group of lesions and images.

    ``about`` is what is counted: microcalcifications (marks), clusters, or findings
    (clusters at the default operating point).
    """

    group: str
    about: str
    ratings: PatientRatings
    figures: dict[str, Figure]
    n_images: int

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What makes it the same question to two detectors."""
        return self.group, self.about, tuple(self.figures)

    @property
    def n_lesions(self) -> int:
        """Lesions of the group."""
        return int(self.ratings.n_positive.sum())


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the summary."""

    group: str
    about: str
    figure: str
    lesions: int
    images: int
    estimate: Estimate | Difference


@dataclass(frozen=True, eq=False, slots=True)
class RatedImages:
    """Lesions and false marks of several images, flat, with the image each belongs to."""

    lesion_rating: Values
    lesion_image: NDArray[np.int64]
    nl_rating: Values
    nl_image: NDArray[np.int64]


def questions(judged: Sequence[JudgedImage], rules: Rules) -> list[Question]:
    """All figures that these images can answer: all, per system, intent and density, by diameter, by d'."""
    asked = _of_group("all", judged, rules)
    asked += _of_images(judged, rules, "system", lambda j: j.image.system)
    asked += _of_images(judged, rules, "intent", lambda j: j.image.intent)
    asked += _of_images(judged, rules, "density", lambda j: density_of(j.image))
    asked += _by(judged, rules, "diameter", " mm", DIAMETER_EDGES_MM, lambda j: j.diameter_mm)
    asked += _by(judged, rules, "d'", "", D_PRIME_EDGES, lambda j: j.d_prime)
    return [q for q in asked if q.n_lesions > 0 and q.ratings.exposure.sum() > 0]


def answer(asked: Sequence[Question], *, resamples: int, seed: int) -> list[Answer]:
    """Every figure with its interval; each question starts from the same seed."""
    return answer_methods({"": asked}, (), resamples=resamples, seed=seed)[0][""]


def answer_difference(
    first: Sequence[Question], second: Sequence[Question], *, resamples: int, seed: int
) -> list[Answer]:
    """First minus second, for the questions that both can answer."""
    pair = ("first", "second")
    return answer_methods(dict(zip(pair, (first, second), strict=True)), [pair], resamples=resamples, seed=seed)[1][
        pair
    ]


def answer_methods(
    asked: Mapping[str, Sequence[Question]], pairs: Sequence[tuple[str, str]], *, resamples: int, seed: int
) -> tuple[dict[str, list[Answer]], dict[tuple[str, str], list[Answer]]]:
    """Every figure of several methods, and the differences of pairs of them (first minus second), on one set of draws.

    A question that one of a pair cannot answer has no difference.
    """
    answers: dict[str, list[Answer]] = {method: [] for method in asked}
    differences: dict[tuple[str, str], list[Answer]] = {pair: [] for pair in pairs}
    by_key: dict[tuple[str, str, tuple[str, ...]], dict[str, Question]] = {}
    for method, its in asked.items():
        for q in its:
            by_key.setdefault(q.key, {})[method] = q
    for of_methods in by_key.values():
        a_question = next(iter(of_methods.values()))
        estimates, changes = bootstrap_methods(
            {method: q.ratings for method, q in of_methods.items()},
            a_question.figures,
            [p for p in pairs if p[0] in of_methods and p[1] in of_methods],
            resamples=resamples,
            rng=np.random.default_rng(seed),
        )
        for method, e in estimates.items():
            answers[method] += _answers(of_methods[method], e)
        for pair, d in changes.items():
            differences[pair] += _answers(of_methods[pair[0]], d)
    return answers, differences


def _answers(q: Question, values: Mapping[str, Estimate] | Mapping[str, Difference]) -> list[Answer]:
    return [Answer(q.group, q.about, name, q.n_lesions, q.n_images, value) for name, value in values.items()]


def rate(
    judged: Sequence[JudgedImage],
    matched: Callable[[JudgedImage], Matched],
    *,
    counted: NDArray[np.bool_],
    lesions: Callable[[JudgedImage], NDArray[np.bool_]] | None = None,
) -> RatedImages:
    """Flat ratings of the images; false marks of the ``counted`` (n,) images only, and of chosen lesions."""
    parts = [matched(j) for j in judged]
    chosen = [
        m.lesion_rating if lesions is None else m.lesion_rating[lesions(j)] for m, j in zip(parts, judged, strict=True)
    ]
    false = [m.nl_rating if use else np.empty(0) for m, use in zip(parts, counted, strict=True)]
    index = np.arange(len(parts), dtype=np.int64)
    return RatedImages(
        np.concatenate([np.empty(0), *chosen]),
        np.repeat(index, [len(c) for c in chosen]),
        np.concatenate([np.empty(0), *false]),
        np.repeat(index, [len(f) for f in false]),
    )


def counted_images(judged: Sequence[JudgedImage], rules: Rules) -> NDArray[np.bool_]:
    """(n,) the images on which false marks are counted."""
    if rules.false_on == "all":
        return np.ones(len(judged), dtype=np.bool_)
    return np.array([j.marks.lesion_rating.size == 0 for j in judged], dtype=np.bool_)


def areas_cm2(judged: Sequence[JudgedImage]) -> Values | None:
    """(n,) breast areas; None where one of them is not known."""
    areas = [j.breast_area_cm2 for j in judged]
    known = [a for a in areas if a is not None]
    return np.array(known, dtype=np.float64) if len(known) == len(areas) else None


def patient_ratings(judged: Sequence[JudgedImage], rated: RatedImages, exposure: Values) -> PatientRatings:
    """Ratings by patient; ``exposure`` (n,) of each image."""
    names = sorted({j.image.patient_or_image for j in judged})
    place = {name: i for i, name in enumerate(names)}
    patient = np.array([place[j.image.patient_or_image] for j in judged], dtype=np.int64)
    return gather(
        rated.lesion_rating,
        patient[rated.lesion_image],
        rated.nl_rating,
        patient[rated.nl_image],
        np.bincount(patient, exposure, minlength=len(names)),
    )


def marks_of(judged: JudgedImage) -> Matched:
    """Individual microcalcifications."""
    return judged.marks


def clusters_of(judged: JudgedImage) -> Matched:
    """Clusters; only for detectors that group."""
    if judged.clusters is None:
        raise ValueError(f"image {judged.image.image!r} has no clusters, expected a detector that groups")
    return judged.clusters


def _findings_of(judged: JudgedImage) -> Matched:
    """Findings, all rated alike: shown or not."""
    if judged.findings is None:
        raise ValueError(f"image {judged.image.image!r} has no findings, expected a detector that groups")
    m = judged.findings
    shown = np.where(np.isfinite(m.lesion_rating), 1.0, -np.inf)
    return Matched(shown, np.ones_like(m.nl_rating), m.lesion_mark, m.nl_mark)


def density_of(image: ImageRow) -> str:
    """The breast's density, such as ``"B"``, from a tag ``density-B``; empty where there is none."""
    found = [tag.removeprefix("density-") for tag in image.tags.split() if tag.startswith("density-")]
    return found[0] if found else ""


def _of_images(
    judged: Sequence[JudgedImage], rules: Rules, quantity: str, value: Callable[[JudgedImage], str]
) -> list[Question]:
    """Every value's images apart, unless all images are of one value; none for what is not known."""
    values = [value(j) for j in judged]
    if len(set(values)) < 2:
        return []
    asked = []
    for one in sorted(set(values) - {""}):
        asked += _of_group(f"{quantity} {one}", [j for j, v in zip(judged, values, strict=True) if v == one], rules)
    return asked


def _of_group(group: str, judged: Sequence[JudgedImage], rules: Rules) -> list[Question]:
    counted = counted_images(judged, rules)
    images = counted.astype(np.float64)
    rated = rate(judged, marks_of, counted=counted)
    false = _FALSE[rules.false_marks]
    figures = sensitivity_figures(PER_IMAGE, f"{false} per image") | _area(f"{false} per image")
    asked = [Question(group, "microcalcifications", patient_ratings(judged, rated, images), figures, len(judged))]
    areas = areas_cm2(judged)
    if areas is not None:
        per_cm2 = patient_ratings(judged, rated, areas * images)
        figures = sensitivity_figures(PER_CM2, f"{false} per cm²")
        asked.append(Question(group, "microcalcifications", per_cm2, figures, len(judged)))
    if all(j.clusters is not None for j in judged):
        clusters = patient_ratings(judged, rate(judged, clusters_of, counted=counted), images)
        per_image = "false clusters per image"
        figures = sensitivity_figures(CLUSTERS_PER_IMAGE, per_image) | _area(per_image)
        asked.append(Question(group, "clusters", clusters, figures, len(judged)))
        findings = patient_ratings(judged, rate(judged, _findings_of, counted=counted), images)
        shown: dict[str, Figure] = {"sensitivity": end_y, "false findings per image": end_x}
        asked.append(Question(group, "findings", findings, shown, len(judged)))
    return asked


def _area(unit: str) -> dict[str, Figure]:
    """Area under the curve up to one false mark per image (the range is ours)."""
    return {f"area under FROC, 0 to 1 {unit}": partial(mean_height, low=0.0, high=1.0)}


def _by(
    judged: Sequence[JudgedImage],
    rules: Rules,
    quantity: str,
    unit: str,
    edges: Sequence[float],
    values: Callable[[JudgedImage], Values],
) -> list[Question]:
    """Microcalcifications in strata; false marks are those of all images."""
    counted = counted_images(judged, rules)
    figures = sensitivity_figures(PER_IMAGE, f"{_FALSE[rules.false_marks]} per image")
    asked = []
    for low, high in pairwise(edges):

        def within(j: JudgedImage, low: float = low, high: float = high) -> NDArray[np.bool_]:
            return (values(j) >= low) & (values(j) < high)

        rated = rate(judged, marks_of, counted=counted, lesions=within)
        name = f"{quantity} {low:g} to {high:g}{unit}" if np.isfinite(high) else f"{quantity} {low:g}{unit} or more"
        ratings = patient_ratings(judged, rated, counted.astype(np.float64))
        asked.append(Question(name, "microcalcifications", ratings, figures, len(judged)))
    return asked
