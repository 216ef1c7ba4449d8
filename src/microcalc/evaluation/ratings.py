"""The ratings of a test set by patient, reduced without loss to what ROC and FROC curves depend on.

A curve depends on the ratings of the negatives only through the numbers of them above, equal to and below each rating
of a positive. Tens of millions of negatives are therefore stored as counts between the ratings of the positives, and a
bootstrap resample is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from microcalc.evaluation.curves import Values

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False, slots=True)
class PatientRatings:
    """Counts of the positives and negatives of p patients at k distinct ratings.

    Attributes
    ----------
    thresholds
        (k,) distinct finite ratings of positives, highest first.
    hits
        (p, k) number of positives of each patient with exactly this rating.
    false
        (p, 2k + 1) number of negatives of each patient: above the first threshold, equal to it, between the first and
        the second, equal to the second, ..., below the last.
    n_positive
        (p,) number of positives of each patient, including the missed ones (-inf).
    exposure
        (p,) denominator of the false marks of each patient: images, cm² of breast, or negatives.

    Notes
    -----
    Memory is 24 bytes x p x k: 60 MB for 500 patients and 5,000 positives.
    """

    thresholds: Values
    hits: Values
    false: Values
    n_positive: Values
    exposure: Values

    @property
    def n_patients(self) -> int:
        """Number of patients, including those without positives."""
        return int(self.exposure.size)

    def select_patients(self, chosen: NDArray[np.bool_] | NDArray[np.integer]) -> PatientRatings:
        """Return the ratings of some of the patients, such as those of one system."""
        return PatientRatings(
            self.thresholds, self.hits[chosen], self.false[chosen], self.n_positive[chosen], self.exposure[chosen]
        )

    def merge_patients(self, owner: NDArray[np.integer], n_owners: int) -> PatientRatings:
        """Return the ratings with several rows merged into one, such as the images of a patient.

        Parameters
        ----------
        owner
            (p,) new index of each row, 0 to ``n_owners - 1``.
        """
        belongs = np.zeros((n_owners, self.n_patients))
        belongs[owner, np.arange(self.n_patients)] = 1.0
        return PatientRatings(
            self.thresholds,
            belongs @ self.hits,
            belongs @ self.false,
            belongs @ self.n_positive,
            belongs @ self.exposure,
        )

    def with_positives(self, positive_rating: ArrayLike, positive_patient: ArrayLike) -> PatientRatings:
        """Return the same negatives with some of the positives only, such as those of one size.

        Parameters
        ----------
        positive_rating, positive_patient
            As in `gather`.

        Raises
        ------
        ValueError
            A rating is not that of a positive.
        """
        rating, owner = _ratings(positive_rating), np.asarray(positive_patient, dtype=np.int64).reshape(-1)
        hits = _count_hits(self.thresholds[::-1], rating, owner, self.n_patients)
        n_positive = np.bincount(owner, minlength=self.n_patients).astype(np.float64)
        return replace(self, hits=hits, n_positive=n_positive)

    def without_unused_thresholds(self) -> PatientRatings:
        """Return the ratings without thresholds that no positive has; the curve stays the same."""
        kept = np.flatnonzero(self.hits.any(axis=0))
        if kept.size == self.thresholds.size:
            return self
        starts = np.concatenate([[0], np.stack([2 * kept + 1, 2 * kept + 2], axis=1).ravel()])
        false = np.add.reduceat(self.false, starts, axis=1)
        return replace(self, thresholds=self.thresholds[kept], hits=self.hits[:, kept], false=false)

    def curve(self) -> tuple[Values, Values]:
        """Return the curve of all patients, each counted once: x and y, each (2k + 2,)."""
        x, y = self.curves(np.ones((1, self.n_patients)))
        return x[0], y[0]

    def curves(self, weights: NDArray[np.floating] | NDArray[np.integer]) -> tuple[Values, Values]:
        """Return one curve for each weighting of the patients.

        Parameters
        ----------
        weights
            (b, p) weight of each patient, such as the number of times it was drawn.

        Returns
        -------
        x, y
            (b, 2k + 2) false marks per exposure, and fraction of positives hit. Rows without a positive or without
            exposure have no curve and are NaN.
        """
        weight = np.asarray(weights, dtype=np.float64)
        positives, exposure = weight @ self.n_positive, weight @ self.exposure
        defined = (positives > 0) & (exposure > 0)
        x, y = np.zeros((2, len(weight), 2 * self.thresholds.size + 2))
        np.cumsum(weight @ self.false, axis=1, out=x[:, 1:])
        found = np.cumsum(weight @ self.hits, axis=1)
        y[:, 2::2], y[:, 3::2] = found, found
        x /= np.where(defined, exposure, np.nan)[:, None]
        y /= np.where(defined, positives, np.nan)[:, None]
        return x, y

    def vertex_thresholds(self) -> Values:
        """Return the thresholds (2k + 2,) of the vertices of a curve: a mark with at least this rating is shown."""
        thresholds = np.empty(2 * self.thresholds.size + 2)
        thresholds[0], thresholds[-1] = np.inf, -np.inf
        thresholds[1:-1:2] = np.nextafter(self.thresholds, np.inf)
        thresholds[2::2] = self.thresholds
        return thresholds


def gather(
    positive_rating: ArrayLike,
    positive_patient: ArrayLike,
    negative_rating: ArrayLike,
    negative_patient: ArrayLike,
    exposure: ArrayLike,
) -> PatientRatings:
    """Count the ratings of a test set by patient.

    Parameters
    ----------
    positive_rating, positive_patient
        (n,) ratings of lesions or positive samples, -inf where missed; and index of the patient of each.
    negative_rating, negative_patient
        (m,) ratings of false marks or negative samples; and index of the patient of each.
    exposure
        (p,) denominator of the false marks of each patient: images, cm² of breast, or negatives.

    Raises
    ------
    ValueError
        A rating is NaN, or +inf.
    """
    positive, negative = _ratings(positive_rating), _ratings(negative_rating)
    per_patient = np.asarray(exposure, dtype=np.float64).reshape(-1)
    p = per_patient.size
    owner = np.asarray(positive_patient, dtype=np.int64).reshape(-1)
    levels = np.unique(positive[np.isfinite(positive)])
    hits = _count_hits(levels, positive, owner, p)
    false = _count_gaps(levels, negative, np.asarray(negative_patient, dtype=np.int64).reshape(-1), p)
    n_positive = np.bincount(owner, minlength=p).astype(np.float64)
    return PatientRatings(levels[::-1].astype(np.float64), hits, false, n_positive, per_patient)


def _count_hits(
    levels: NDArray[np.floating], rating: NDArray[np.floating], owner: NDArray[np.int64], n_patients: int
) -> Values:
    """Return the number of positives (p, k) of each patient at each level, highest level first."""
    found = np.isfinite(rating)
    k = levels.size
    place = np.searchsorted(levels, rating[found])
    if place.size and (place.max() >= k or not np.array_equal(levels[place], rating[found])):
        raise ValueError("the rating of a positive is not one of the thresholds, expected a subset of the positives")
    hits = np.bincount(owner[found] * k + (k - 1 - place), minlength=n_patients * k)
    return hits.reshape(n_patients, k).astype(np.float64)


def _count_gaps(
    levels: NDArray[np.floating],
    rating: NDArray[np.floating],
    owner: NDArray[np.int64],
    n_patients: int,
) -> Values:
    """Return the numbers of ratings (p, 2k + 1) at and between the levels, highest first; computed in chunks."""
    width = 2 * levels.size + 1
    counts = np.zeros(n_patients * width)
    for start in range(0, rating.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        # Twice the number of levels below, plus one where the rating is a level itself.
        gap = np.searchsorted(levels, rating[part], "left") + np.searchsorted(levels, rating[part], "right")
        place = owner[part] * width + (width - 1 - gap)
        counts += np.bincount(place, minlength=counts.size)
    return counts.reshape(n_patients, width)


def _ratings(values: ArrayLike) -> NDArray[np.floating]:
    rating = np.asarray(values)
    if not np.issubdtype(rating.dtype, np.floating):
        rating = rating.astype(np.float64)
    if np.isnan(rating).any() or np.isposinf(rating).any():
        raise ValueError("a rating is NaN or +inf, expected finite ratings (-inf: missed)")
    return rating.reshape(-1)
