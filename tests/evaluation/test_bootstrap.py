from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from microcalc.evaluation.bootstrap import Metric, bootstrap, compare, draw_patients, resample
from microcalc.evaluation.curves import end_x, end_y, mean_height, step_at
from microcalc.evaluation.froc import froc_curve, sensitivity_metrics
from microcalc.evaluation.ratings import PatientRatings, gather

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
END: dict[str, Metric] = {"sensitivity": end_y}


def simulated(seed: int, n_patients: int, *, shift: float = 1.0) -> tuple[Floats, Integers, Floats, Integers]:
    """Lesion ratings and owners, false ratings and owners; patients differ in difficulty."""
    rng = np.random.default_rng(seed)
    patients = np.arange(n_patients, dtype=np.int64)
    owner = np.repeat(patients, rng.integers(0, 6, n_patients))
    off = np.repeat(patients, rng.integers(0, 12, n_patients))
    lesions = rng.normal(shift, 1, owner.size) + rng.normal(0, 1, n_patients)[owner]
    lesions[rng.random(owner.size) < 0.1] = -np.inf
    return lesions, owner, rng.normal(0, 1, off.size), off


def test_each_draw_has_as_many_patients_as_there_are() -> None:
    draws = draw_patients(7, 50, np.random.default_rng(0))
    assert draws.shape == (50, 7)
    assert (draws.sum(axis=1) == 7).all()


def test_a_resample_is_the_curve_of_the_drawn_patients_written_out() -> None:
    lesions, owner, false, off = simulated(1, 9)
    ratings = gather(lesions, owner, false, off, np.full(9, 2.0))
    draws = draw_patients(9, 30, np.random.default_rng(2))
    figures = sensitivity_metrics([0.1, 1.0, 3.0], "false marks per image")
    values = resample(ratings, figures, draws)
    for i, draw in enumerate(draws):
        curve = froc_curve(np.repeat(lesions, draw[owner]), np.repeat(false, draw[off]), 2 * 9)
        for nlf, name in zip((0.1, 1.0, 3.0), figures, strict=True):
            assert values[name][i] == pytest.approx(float(step_at(curve.nlf, curve.llf, at=nlf)))


def test_blocks_do_not_change_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = gather(*simulated(1, 9), np.ones(9))
    draws = draw_patients(9, 30, np.random.default_rng(2))
    whole = resample(ratings, END, draws)["sensitivity"]
    monkeypatch.setattr("microcalc.evaluation.bootstrap._BLOCK_VALUES", 1)
    np.testing.assert_array_equal(resample(ratings, END, draws)["sensitivity"], whole)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    # Sensitivity 0.6 on average, a Beta(3, 2) from patient to patient; 60 patients of 5 lesions each.
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        found = rng.random((60, 5)) < rng.beta(3, 2, 60)[:, None]
        ratings = gather(np.where(found.ravel(), 1.0, -np.inf), np.repeat(np.arange(60), 5), [], [], np.ones(60))
        estimate = bootstrap(ratings, END, resamples=300, rng=rng)["sensitivity"]
        covered += estimate.low <= 0.6 <= estimate.high
    # 95 % less a small sample's loss; three standard deviations of 300 trials are 4 points.
    assert 0.90 <= covered / 300 <= 0.985


def test_lesions_drawn_one_by_one_would_give_too_narrow_an_interval() -> None:
    found = np.repeat([1.0, -np.inf], 50)
    patients = gather(found, np.repeat(np.arange(10), 10), [], [], np.ones(10))
    lesions = gather(found, np.arange(100), [], [], np.ones(100))
    wide, narrow = (bootstrap(r, END, rng=np.random.default_rng(0))["sensitivity"] for r in (patients, lesions))
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)


def test_a_detector_does_not_differ_from_itself() -> None:
    ratings = gather(*simulated(3, 12), np.ones(12))
    difference = compare(ratings, ratings, END, rng=np.random.default_rng(0))["sensitivity"]
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_a_paired_difference_is_narrower_than_the_two_intervals_say() -> None:
    lesions, owner, false, off = simulated(4, 40)
    first = gather(lesions + 0.3, owner, false, off, np.ones(40))
    second = gather(lesions, owner, false, off, np.ones(40))
    figure: dict[str, Metric] = {"auc": partial(mean_height, low=0, high=1)}
    rng = np.random.default_rng
    difference = compare(first, second, figure, rng=rng(0))["auc"]
    one, other = (bootstrap(r, figure, rng=rng(0))["auc"] for r in (first, second))
    assert difference.value == pytest.approx(one.value - other.value)
    assert difference.low > 0
    assert difference.p < 0.01
    assert difference.high - difference.low < 0.7 * np.hypot(one.high - one.low, other.high - other.low)


def test_swapping_the_two_turns_the_difference_round() -> None:
    first, second = (gather(*simulated(5, 15, shift=s), np.ones(15)) for s in (1.0, 0.5))
    a, b = (
        compare(x, y, END, rng=np.random.default_rng(0))["sensitivity"] for x, y in ((first, second), (second, first))
    )
    assert (a.value, a.p) == (-b.value, b.p)
    assert a.low == pytest.approx(-b.high)


def test_the_p_value_is_rarely_small_where_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    small = 0
    for _ in range(200):
        first, second = (
            gather(rng.normal(size=80), np.repeat(np.arange(40), 2), rng.normal(size=80), np.repeat(np.arange(40), 2),
                   np.ones(40))
            for _ in range(2)
        )  # fmt: skip
        figure: dict[str, Metric] = {"auc": partial(mean_height, low=0, high=2)}
        small += compare(first, second, figure, resamples=200, rng=rng)["auc"].p < 0.05
    assert small / 200 < 0.11


def test_different_patients_cannot_be_compared() -> None:
    first, second = (gather(*simulated(5, n), np.ones(n)) for n in (5, 6))
    with pytest.raises(ValueError, match="expected the same patients"):
        compare(first, second, END, rng=np.random.default_rng(0))


def test_one_patient_gives_a_value_and_no_interval() -> None:
    estimate = bootstrap(gather([0.5], [0], [0.4], [0], [1]), END, rng=np.random.default_rng(0))["sensitivity"]
    assert estimate.value == 1
    assert np.isnan([estimate.low, estimate.high]).all()


def test_resamples_without_a_lesion_are_left_out() -> None:
    # One of two patients has the only lesion: a quarter of the draws miss it.
    ratings = gather([0.5], [0], [0.4, 0.6], [0, 1], [1, 1])
    values = resample(ratings, {"end": end_x, "at": partial(step_at, at=9.0)}, np.array([[0, 2], [1, 1], [2, 0]]))
    assert np.isnan(values["end"]).tolist() == np.isnan(values["at"]).tolist() == [True, False, False]
    estimate = bootstrap(ratings, END, resamples=100, rng=np.random.default_rng(0))["sensitivity"]
    assert (estimate.low, estimate.high) == (1, 1)


def test_the_same_seed_gives_the_same_interval() -> None:
    ratings: PatientRatings = gather(*simulated(8, 20), np.ones(20))
    one, two = (bootstrap(ratings, END, rng=np.random.default_rng(4)) for _ in range(2))
    assert one == two


def test_a_whole_study_is_resampled_in_seconds() -> None:
    # 200 patients, 2,000 positives, 2 million negatives: kept as counts, 2,000 resamples stay cheap.
    rng = np.random.default_rng(0)
    ratings = gather(
        rng.normal(2, 1, 500), rng.integers(0, 100, 500), rng.normal(size=300_000), rng.integers(0, 100, 300_000),
        np.full(100, 3000.0),
    )  # fmt: skip
    assert ratings.false.shape == (100, 1001)
    estimate = bootstrap(ratings, {"mean": partial(mean_height, low=0, high=0.1)}, rng=rng)["mean"]
    assert estimate.low < estimate.value < estimate.high
