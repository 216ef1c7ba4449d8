"""Areas under whole ROC curves and their paired differences, with DeLong's variance for clustered samples.

The samples of one patient are correlated. The variance of DeLong et al. takes them as independent, so that its interval
is too narrow where a patient gives several; Obuchowski's variance of clustered samples does not, and equals it where
each patient gives one sample. Neither describes the part of the curve at very low FPF, which matters in a mammogram:
see `microcalc.evaluation.roc`.

References
----------
E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845.
N. A. Obuchowski, Biometrics 53 (1997) 567-578 (several samples of a patient).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from microcalc.evaluation.bootstrap import CONFIDENCE, Difference, Estimate
from microcalc.evaluation.curves import Values
from microcalc.evaluation.ratings import PatientRatings


def areas_by_patient(ratings: Sequence[PatientRatings]) -> tuple[Values, Values]:
    """Return the areas under the ROC curves of several methods, and their covariance by patient.

    Parameters
    ----------
    ratings
        One of each method, as `microcalc.evaluation.roc.gather_samples` makes them: the same samples, and the same
        patients in the same order.

    Returns
    -------
    areas
        (methods,).
    covariance
        (methods, methods); NaN where the positives or the negatives are all of one patient.

    Raises
    ------
    ValueError
        There is no positive or no negative sample.
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


def area_estimate(area: float, variance: float) -> Estimate:
    """Return an area with its normal confidence interval, clipped to 0 and 1."""
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * np.sqrt(variance)
    return Estimate(float(area), float(np.maximum(area - reach, 0.0)), float(np.minimum(area + reach, 1.0)))


def area_difference(area: Values, covariance: Values, first: int, second: int) -> Difference:
    """Return the difference of two methods' areas with its normal confidence interval and two-sided p.

    Parameters
    ----------
    area, covariance
        As `areas_by_patient` returns them.
    first, second
        Indices of the methods; the second is subtracted from the first.

    Returns
    -------
    Difference
        p is 1 where both methods rate all samples alike.
    """
    value = float(area[first] - area[second])
    variance = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
    if np.isnan(variance):
        return Difference(value, float("nan"), float("nan"), float("nan"))
    deviation = float(np.sqrt(max(variance, 0.0)))
    reach = float(NormalDist().inv_cdf((1 + CONFIDENCE) / 2)) * deviation
    if deviation == 0.0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    return Difference(value, value - reach, value + reach, math.erfc(abs(value) / deviation / math.sqrt(2)))


def _sums_by_patient(ratings: PatientRatings) -> tuple[Values, Values]:
    """Return DeLong's structural components, summed over the samples of each patient.

    Returns
    -------
    v10, v01
        (p,) sums over the positives of a patient of the fraction of all negatives rated lower, and over the negatives
        of a patient of the fraction of all positives rated higher; ties count half.
    """
    n, m = ratings.n_positive.sum(), ratings.exposure.sum()
    false, hits = ratings.false.sum(axis=0), ratings.hits.sum(axis=0)
    above = np.cumsum(false)
    # Columns 1, 3, ... hold the negatives that tie with a positive: they count half.
    v10 = 1 - (above[0:-1:2] + false[1::2] / 2) / m
    true = np.cumsum(hits)
    v01 = np.empty(false.size)
    v01[0], v01[2::2], v01[1::2] = 0.0, true, true - hits / 2
    return ratings.hits @ v10, ratings.false @ (v01 / n)


def _clustered(over: Values, has_sample: NDArray[np.bool_]) -> Values:
    """Return the sums of squares and products over the I patients that have a sample, times I / (I - 1)."""
    patients = int(np.count_nonzero(has_sample))
    return np.asarray(over @ over.T * (patients / (patients - 1) if patients > 1 else np.nan))
