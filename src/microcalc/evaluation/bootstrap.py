"""Intervals and paired differences by resampling patients.

The patient is drawn, never the image or the mark: what belongs to one patient is
alike. A figure is any function of a curve; both methods of a comparison see the same
draws, which is what makes it paired.

References
----------
B. Efron, R. J. Tibshirani, *An Introduction to the Bootstrap*, Chapman & Hall 1993,
chapters 13 (percentile interval) and 16 (tests).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from microcalc.evaluation.curves import Values
from microcalc.evaluation.ratings import PatientRatings

_BLOCK_VALUES = 4_000_000


class Figure(Protocol):
    """One number of each curve, such as ``partial(step_at, at=1.0)``."""

    def __call__(self, x: Values, y: Values, /) -> Values:
        """(b,) of x and y (b, v)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; NaN where it is not defined.

    The interval is the percentile one. It is as narrow as a point where every patient
    is served alike (nothing missed at all), and NaN where there is but one patient.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, first minus second, with its 95 % interval.

    ``p`` is two-sided: twice the smaller share of resamples on either side of 0, each
    counted with one added, so that it is never 0.
    """

    value: float
    low: float
    high: float
    p: float


def draw_patients(n_patients: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(resamples, n_patients) how often each patient is drawn; each row sums to ``n_patients``."""
    return rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=resamples)


def resample(ratings: PatientRatings, figures: Mapping[str, Figure], draws: NDArray[np.int64]) -> dict[str, Values]:
    """(b,) of each figure on the draws (b, p), in blocks of bounded memory."""
    block = max(1, _BLOCK_VALUES // (2 * ratings.thresholds.size + 2))
    parts: dict[str, list[Values]] = {name: [] for name in figures}
    for start in range(0, len(draws), block):
        x, y = ratings.curves(draws[start : start + block])
        for name, figure in figures.items():
            parts[name].append(figure(x, y))
    return {name: np.concatenate(values) for name, values in parts.items()}


def bootstrap(
    ratings: PatientRatings,
    figures: Mapping[str, Figure],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Each figure with its percentile interval by patient."""
    return bootstrap_methods({"": ratings}, figures, (), resamples=resamples, rng=rng, level=level)[0][""]


def compare(
    first: PatientRatings,
    second: PatientRatings,
    figures: Mapping[str, Figure],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Each figure of the first minus that of the second, on the same draws of patients.

    Raises
    ------
    ValueError
        The two are not of the same number of patients (which must be the same ones, in one order).
    """
    pair = ("first", "second")
    both = dict(zip(pair, (first, second), strict=True))
    return bootstrap_methods(both, figures, [pair], resamples=resamples, rng=rng, level=level)[1][pair]


def bootstrap_methods(
    ratings: Mapping[str, PatientRatings],
    figures: Mapping[str, Figure],
    pairs: Sequence[tuple[str, str]],
    *,
    resamples: int = 2000,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[dict[str, dict[str, Estimate]], dict[tuple[str, str], dict[str, Difference]]]:
    """Figures of several methods and their differences, all on one set of draws.

    Parameters
    ----------
    ratings
        Per method, of the same patients in one order.
    pairs
        Names of methods to compare, first minus second.

    Returns
    -------
    estimates, differences
        By method and figure, and by pair and figure.

    Raises
    ------
    ValueError
        The methods are not of the same number of patients.
    """
    n_patients = next(iter(ratings.values())).n_patients
    for other in ratings.values():
        if other.n_patients != n_patients:
            raise ValueError(f"{n_patients} patients against {other.n_patients}, expected the same patients")
    draws = np.ones((1, n_patients), dtype=np.int64)
    if n_patients > 1:
        draws = np.concatenate([draws, draw_patients(n_patients, resamples, rng)])
    values = {method: resample(of_method, figures, draws) for method, of_method in ratings.items()}
    estimates = {
        method: {name: Estimate(float(v[0]), *_interval(v[1:], level)) for name, v in of_method.items()}
        for method, of_method in values.items()
    }
    differences: dict[tuple[str, str], dict[str, Difference]] = {}
    for first, second in pairs:
        changes = {name: values[first][name] - values[second][name] for name in figures}
        differences[first, second] = {
            name: Difference(float(c[0]), *_interval(c[1:], level), _two_sided_p(c[1:])) for name, c in changes.items()
        }
    return estimates, differences


def _interval(values: Values, level: float) -> tuple[float, float]:
    """Percentile interval of the resamples that have the figure at all."""
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _two_sided_p(differences: Values) -> float:
    defined = differences[np.isfinite(differences)]
    if defined.size == 0:
        return float("nan")
    smaller = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (defined.size + 1)))
