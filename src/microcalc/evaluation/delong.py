"""Areas under whole ROC curves, and their differences, without resampling.

`delong` takes samples as independent. Samples of one patient are not, so with several of
them per patient its interval is too narrow: it applies where each patient gives one sample.
`areas_by_patient` is the same estimate with the variance of clustered samples; where each
patient gives one sample the two agree. Neither says anything of the part of the curve at
very low FPF, which decides in a mammogram: see `microcalc.evaluation.roc` for that.

References
----------
E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845.
X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393 (by midranks).
N. A. Obuchowski, Biometrics 53 (1997) 567-578 (several samples of a patient).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from microcalc.evaluation.bootstrap import Difference, Estimate
from microcalc.evaluation.curves import Values
from microcalc.evaluation.ratings import PatientRatings


def delong(positive_ratings: ArrayLike, negative_ratings: ArrayLike) -> tuple[Values, Values]:
    """Areas under the curves of several methods on the same, independent samples.

    Parameters
    ----------
    positive_ratings, negative_ratings
        (methods, n) and (methods, m), the samples in one order.

    Returns
    -------
    area, covariance
        (methods,) and (methods, methods).

    Raises
    ------
    ValueError
        A class has fewer than two samples, or the methods have different numbers of them.
    """
    positive, negative = np.asarray(positive_ratings, dtype=np.float64), np.asarray(negative_ratings, dtype=np.float64)
    if positive.ndim != 2 or len(positive) != len(negative) or min(positive.shape[1], negative.shape[1]) < 2:
        raise ValueError(f"ratings of shapes {positive.shape} and {negative.shape}, expected two samples of each class")
    n, m = positive.shape[1], negative.shape[1]
    ranks = _midranks(np.concatenate([positive, negative], axis=1))
    # Of each sample, the share of the other class that it is on the right side of.
    v10 = (ranks[:, :n] - _midranks(positive)) / m
    v01 = 1 - (ranks[:, n:] - _midranks(negative)) / n
    covariance = np.atleast_2d(np.cov(v10)) / n + np.atleast_2d(np.cov(v01)) / m
    return v10.mean(axis=1), covariance


def areas_by_patient(ratings: Sequence[PatientRatings]) -> tuple[Values, Values]:
    """Areas under the curves of several methods, samples of a patient being alike.

    Parameters
    ----------
    ratings
        Per method, of the same patients in one order, as `microcalc.evaluation.roc.gather_samples` gives them.

    Returns
    -------
    area, covariance
        (methods,) and (methods, methods); NaN covariance where a class is in fewer than two patients.

    Raises
    ------
    ValueError
        There is no positive or no negative.
    """
    positives, negatives = ratings[0].n_positive, ratings[0].exposure
    n, m = positives.sum(), negatives.sum()
    if n == 0 or m == 0:
        raise ValueError(f"{n:g} positives and {m:g} negatives, expected at least one of each")
    sums = [_sums_by_patient(r) for r in ratings]
    area = np.array([v10.sum() / n for v10, _ in sums])
    over10 = np.array([v10 - positives * a for (v10, _), a in zip(sums, area, strict=True)])
    over01 = np.array([v01 - negatives * a for (_, v01), a in zip(sums, area, strict=True)])
    s10, s01 = _clustered(over10, positives > 0), _clustered(over01, negatives > 0)
    patients = positives.size
    s11 = over10 @ over01.T * (patients / (patients - 1) if patients > 1 else np.nan)
    return area, s10 / n**2 + s01 / m**2 + (s11 + s11.T) / (n * m)


def area_estimate(area: float, variance: float, *, level: float = 0.95) -> Estimate:
    """An area with its normal interval, kept within 0 and 1."""
    reach = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance)
    return Estimate(float(area), float(np.maximum(area - reach, 0.0)), float(np.minimum(area + reach, 1.0)))


def area_difference(area: Values, covariance: Values, first: int, second: int, *, level: float = 0.95) -> Difference:
    """First minus second of the methods' areas, with its normal interval and two-sided p.

    Two methods that rate all alike differ by nothing: p is 1.
    """
    value = float(area[first] - area[second])
    variance = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
    if np.isnan(variance):
        return Difference(value, float("nan"), float("nan"), float("nan"))
    deviation = float(np.sqrt(max(variance, 0.0)))
    reach = float(NormalDist().inv_cdf((1 + level) / 2)) * deviation
    if deviation == 0.0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    return Difference(value, value - reach, value + reach, math.erfc(abs(value) / deviation / math.sqrt(2)))


def _midranks(ratings: Values) -> Values:
    """(methods, n) ranks from 1 within each method; equal ratings share their mean rank."""
    ranks = np.empty_like(ratings)
    for row, out in zip(ratings, ranks, strict=True):
        _, level, count = np.unique(row, return_inverse=True, return_counts=True)
        out[:] = (np.cumsum(count) - (count - 1) / 2)[level]
    return ranks


def _sums_by_patient(ratings: PatientRatings) -> tuple[Values, Values]:
    """(p,) sums over a patient's positives, and negatives, of the share of the other class rightly below, or above."""
    n, m = ratings.n_positive.sum(), ratings.exposure.sum()
    false, hits = ratings.false.sum(axis=0), ratings.hits.sum(axis=0)
    above = np.cumsum(false)
    # Columns 1, 3, ... of the negatives are level with a positive: they count half.
    v10 = 1 - (above[0:-1:2] + false[1::2] / 2) / m
    found = np.cumsum(hits)
    v01 = np.empty(false.size)
    v01[0], v01[2::2], v01[1::2] = 0.0, found, found - hits / 2
    return ratings.hits @ v10, ratings.false @ (v01 / n)


def _clustered(over: Values, taking_part: NDArray[np.bool_]) -> Values:
    """Sum of squares and products over the patients that have a sample, times I / (I - 1)."""
    patients = int(np.count_nonzero(taking_part))
    return np.asarray(over @ over.T * (patients / (patients - 1) if patients > 1 else np.nan))
