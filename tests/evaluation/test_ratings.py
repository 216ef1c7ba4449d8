from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.evaluation.bootstrap import bootstrap_methods, draw_patients, resample
from microcalc.evaluation.ratings import PatientRatings, gather
from microcalc.evaluation.roc import (
    ROC_METRICS,
    gather_samples,
    log_mean_sensitivity,
    mean_sensitivity,
    roc_curve,
    sensitivity_at_fpf,
)

seeds = st.integers(0, 10_000)


class Drawn:
    """Positives and negatives of images, with many ties."""

    def __init__(self, seed: int, n: int = 25, m: int = 60, images: int = 8) -> None:
        rng = np.random.default_rng(seed)
        self.positive, self.negative = rng.integers(2, 9, n) / 8.0, rng.integers(0, 7, m) / 8.0
        self.owner, self.off = rng.integers(0, images, n), rng.integers(0, images, m)
        self.images = images

    def ratings(self) -> PatientRatings:
        return gather_samples(self.positive, self.owner, self.negative, self.off, n_patients=self.images)


def test_figures_of_resamples_are_those_of_all_samples_drawn_one_by_one() -> None:
    # The counts in the gaps lose nothing: no digit differs from the curve of every sample.
    rng = np.random.default_rng(0)
    owner, off = np.repeat(np.arange(6), 20), np.repeat(np.arange(6), 3000)
    positive, negative = rng.normal(2, 1, owner.size).astype(np.float32), rng.normal(0, 1, off.size).astype(np.float32)
    ratings = gather_samples(positive, owner, negative, off, n_patients=6)
    draws = draw_patients(6, 40, rng)
    values = resample(ratings, ROC_METRICS, draws)
    for i, draw in enumerate(draws):
        curve = roc_curve(np.repeat(positive, draw[owner]), np.repeat(negative, draw[off]))
        direct = [
            mean_sensitivity(curve),
            log_mean_sensitivity(curve),
            sensitivity_at_fpf(curve, 1e-5),
            sensitivity_at_fpf(curve, 1e-4),
        ]
        np.testing.assert_allclose([values[f][i] for f in ROC_METRICS], direct, rtol=1e-12)


@given(seeds)
def test_images_counted_as_their_patients_are_what_gathering_by_patient_gives(seed: int) -> None:
    d = Drawn(seed)
    patient = np.random.default_rng(seed).integers(0, 3, d.images)
    direct = gather_samples(d.positive, patient[d.owner], d.negative, patient[d.off], n_patients=3)
    folded = d.ratings().merge_patients(patient, 3)
    for name in ("thresholds", "hits", "false", "n_positive", "exposure"):
        np.testing.assert_array_equal(getattr(folded, name), getattr(direct, name))


@given(seeds)
def test_some_of_the_positives_have_the_curve_that_they_have_alone(seed: int) -> None:
    d = Drawn(seed)
    some = np.arange(d.positive.size) % 3 == 0
    chosen = d.ratings().with_positives(d.positive[some], d.owner[some]).without_unused_thresholds()
    alone = gather_samples(d.positive[some], d.owner[some], d.negative, d.off, n_patients=d.images)
    for name in ("thresholds", "hits", "false", "n_positive", "exposure"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(alone, name))


def test_no_positives_at_all_leave_one_gap() -> None:
    d = Drawn(1)
    none = d.ratings().with_positives([], []).without_unused_thresholds()
    assert none.thresholds.size == 0
    np.testing.assert_array_equal(none.false[:, 0], d.ratings().false.sum(axis=1))


def test_a_positive_that_was_not_there_is_refused() -> None:
    for stranger in (0.3, 9.0):
        with pytest.raises(ValueError, match="not one of the thresholds"):
            Drawn(1).ratings().with_positives([stranger], [0])


def test_missed_lesions_stay_missed_among_the_chosen() -> None:
    ratings = gather([0.5, -np.inf, 0.7], [0, 0, 1], [0.6], [1], [1, 1])
    chosen = ratings.with_positives([-np.inf, 0.7], [0, 1]).without_unused_thresholds()
    assert (chosen.n_positive.tolist(), chosen.hits.tolist()) == ([1, 1], [[0], [1]])


def test_all_methods_see_the_same_draws() -> None:
    d = Drawn(5, n=80, m=400)
    one = d.ratings()
    rng = np.random.default_rng(0)
    estimates, differences = bootstrap_methods(
        {"a": one, "b": one.merge_patients(np.arange(d.images), d.images)},
        ROC_METRICS,
        [("a", "b")],
        resamples=50,
        rng=rng,
    )
    assert estimates["a"] == estimates["b"]
    assert {(v.value, v.low, v.high, v.p) for v in differences["a", "b"].values()} == {(0, 0, 0, 1)}
