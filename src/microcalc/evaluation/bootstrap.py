"""Intervals and paired differences by resampling patients.

Patients are drawn, never images or marks, because the images and lesions of one patient are correlated. A metric is any
function of a curve. The methods of a comparison are evaluated on the same draws, which makes the differences paired.

References
----------
B. Efron, R. J. Tibshirani, *An Introduction to the Bootstrap*, Chapman & Hall 1993,
chapters 13 (percentile interval) and 16 (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from microcalc.evaluation.curves import Values
from microcalc.evaluation.ratings import PatientRatings

CONFIDENCE: Final = 0.95
"""Confidence level of every interval."""
_BLOCK_VALUES = 4_000_000


class Metric(Protocol):
    """A function that gives one number for each curve, such as ``partial(step_at, at=1.0)``."""

    def __call__(self, x: Values, y: Values, /) -> Values:
        """Return the metric (b,) of b curves x and y (b, v)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its 95 % interval; NaN where it is not defined.

    The bootstrap gives a percentile interval. It has no width where all patients have the same result (such as no
    lesion missed), and is NaN where there is only one patient.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, first minus second, with its 95 % interval.

    The two-sided ``p`` of the bootstrap is twice the smaller fraction of resamples on either side of 0, with 1 added to
    the counts so that it is never 0.
    """

    value: float
    low: float
    high: float
    p: float


def draw_patients(n_patients: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return how often each patient is drawn, (resamples, n_patients); each row sums to ``n_patients``."""
    return rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=resamples)


def resample(ratings: PatientRatings, metrics: Mapping[str, Metric], draws: NDArray[np.int64]) -> dict[str, Values]:
    """Return each metric (b,) on the draws (b, p), computed in blocks of bounded memory."""
    block = max(1, _BLOCK_VALUES // (2 * ratings.thresholds.size + 2))
    parts: dict[str, list[Values]] = {name: [] for name in metrics}
    for start in range(0, len(draws), block):
        x, y = ratings.curves(draws[start : start + block])
        for name, metric in metrics.items():
            parts[name].append(metric(x, y))
    return {name: np.concatenate(values) for name, values in parts.items()}


def bootstrap(
    ratings: PatientRatings,
    metrics: Mapping[str, Metric],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    """Return each metric with its percentile interval by patient."""
    return bootstrap_methods({"": ratings}, metrics, (), resamples=resamples, rng=rng)[0][""]


def compare(
    first: PatientRatings,
    second: PatientRatings,
    metrics: Mapping[str, Metric],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> dict[str, Difference]:
    """Return the difference of each metric, first minus second, on the same draws of patients.

    Parameters
    ----------
    first, second
        Ratings of two methods, of the same patients in the same order.

    Raises
    ------
    ValueError
        The numbers of patients differ.
    """
    pair = ("first", "second")
    both = dict(zip(pair, (first, second), strict=True))
    return bootstrap_methods(both, metrics, [pair], resamples=resamples, rng=rng)[1][pair]


def bootstrap_methods(
    ratings: Mapping[str, PatientRatings],
    metrics: Mapping[str, Metric],
    pairs: Sequence[tuple[str, str]],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
) -> tuple[dict[str, dict[str, Estimate]], dict[tuple[str, str], dict[str, Difference]]]:
    """Return the metrics of several methods and their differences, all on the same draws.

    Parameters
    ----------
    ratings
        Ratings by method, of the same patients in the same order.
    pairs
        Names of methods to compare, first minus second.

    Returns
    -------
    estimates
        By method and metric.
    differences
        By pair and metric.

    Raises
    ------
    ValueError
        The numbers of patients differ.
    """
    n_patients = next(iter(ratings.values())).n_patients
    for other in ratings.values():
        if other.n_patients != n_patients:
            raise ValueError(f"{n_patients} and {other.n_patients} patients, expected the same patients")
    draws = np.ones((1, n_patients), dtype=np.int64)
    if n_patients > 1:
        draws = np.concatenate([draws, draw_patients(n_patients, resamples, rng)])
    values = {method: resample(of_method, metrics, draws) for method, of_method in ratings.items()}
    estimates = {
        method: {name: Estimate(float(v[0]), *percentile_interval(v[1:])) for name, v in of_method.items()}
        for method, of_method in values.items()
    }
    differences: dict[tuple[str, str], dict[str, Difference]] = {}
    for first, second in pairs:
        changes = {name: values[first][name] - values[second][name] for name in metrics}
        differences[first, second] = {
            name: Difference(float(c[0]), *percentile_interval(c[1:]), _two_sided_p(c[1:]))
            for name, c in changes.items()
        }
    return estimates, differences


def percentile_interval(values: Values) -> tuple[float, float]:
    """Return the percentile interval of the resamples for which the metric is defined; NaN where it never is."""
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _two_sided_p(differences: Values) -> float:
    defined = differences[np.isfinite(differences)]
    if defined.size == 0:
        return float("nan")
    smaller = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (defined.size + 1)))
