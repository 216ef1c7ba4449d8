"""ROC of samples: pixels of microcalcifications against all other breast pixels.

TPF is the sensitivity, FPF the fraction of negative samples with at least the same rating. With tens of millions of
negatives only very low FPF matters: 0.1 is 100,000 pixels of a mammogram, 1e-5 is ten. The mean sensitivity is
therefore reported over the logarithm of FPF as well.

References
----------
J.-J. Mordang et al., IWDM 2016, LNCS 9699:35-42 (mean sensitivity over FPF 0 to 0.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from microcalc.evaluation.bootstrap import Metric
from microcalc.evaluation.curves import Values, interpolate_at, log_mean_height, mean_height
from microcalc.evaluation.ratings import PatientRatings, gather


@dataclass(frozen=True, eq=False, slots=True)
class RocCurve:
    """The vertices of the empirical ROC curve, from (0, 0) to (1, 1), joined by straight lines.

    At each vertex, samples with at least the rating ``threshold`` are called positive.
    """

    threshold: Values
    fpf: Values
    tpf: Values


def roc_curve(positive_rating: ArrayLike, negative_rating: ArrayLike) -> RocCurve:
    """Return the exact ROC curve.

    Parameters
    ----------
    positive_rating, negative_rating
        (n,) and (m,) ratings; a rejected sample is rated -inf, the lowest rating.

    Raises
    ------
    ValueError
        A class is empty, or a rating is NaN or +inf.
    """
    n, m = np.size(positive_rating), np.size(negative_rating)
    if n == 0 or m == 0:
        raise ValueError(f"{n} positives and {m} negatives, expected at least one of each")
    ratings = gather_samples(
        positive_rating,
        np.zeros(n, dtype=np.int64),
        negative_rating,
        np.zeros(m, dtype=np.int64),
        n_patients=1,
    )
    fpf, tpf = ratings.curve()
    return RocCurve(ratings.vertex_thresholds(), fpf, tpf)


def gather_samples(
    positive_rating: ArrayLike,
    positive_patient: ArrayLike,
    negative_rating: ArrayLike,
    negative_patient: ArrayLike,
    *,
    n_patients: int,
) -> PatientRatings:
    """Count the ratings of samples by patient, for `microcalc.evaluation.bootstrap`.

    Parameters
    ----------
    positive_rating, negative_rating
        As in `roc_curve`.
    positive_patient, negative_patient
        (n,) and (m,) index of the patient of each sample, 0 to ``n_patients - 1``.
    """
    owner = np.asarray(negative_patient, dtype=np.int64).reshape(-1)
    negatives = np.bincount(owner, minlength=n_patients)
    return gather(
        _bounded(positive_rating),
        positive_patient,
        _bounded(negative_rating),
        owner,
        negatives,
    )


def mean_sensitivity(curve: RocCurve, *, high: float = 0.1) -> float:
    """Return the mean TPF over FPF in [0, high] on a linear axis."""
    return float(mean_height(curve.fpf, curve.tpf, low=0.0, high=high))


def log_mean_sensitivity(curve: RocCurve, *, low: float = 1e-6) -> float:
    """Return the mean TPF over ln FPF up to 0.1: ``1/(ln 0.1 - ln low) * integral of TPF(f)/f df``."""
    return float(log_mean_height(curve.fpf, curve.tpf, low=low, high=1e-1))


def sensitivity_at_fpf(curve: RocCurve, fpf: float) -> float:
    """Return the TPF at an FPF."""
    return float(interpolate_at(curve.fpf, curve.tpf, at=fpf))


ROC_METRICS: Mapping[str, Metric] = {
    "mean sensitivity, FPF 0 to 0.1": partial(mean_height, low=0.0, high=0.1),
    "mean sensitivity, log FPF 1e-6 to 1e-1": partial(log_mean_height, low=1e-6, high=1e-1),
    "sensitivity at FPF 1e-5": partial(interpolate_at, at=1e-5),
    "sensitivity at FPF 1e-4": partial(interpolate_at, at=1e-4),
}
"""The metrics that are reported of every ROC curve, for each system and pooled."""


def _bounded(rating: ArrayLike) -> NDArray[np.floating]:
    """Return ratings with -inf replaced by the lowest finite number: in ROC a rejected sample has the lowest rating."""
    values: NDArray[np.floating] = np.asarray(rating)
    if values.dtype != np.float32:
        values = values.astype(np.float64)
    return values.clip(min=values.dtype.type(np.finfo(np.float32).min))
