from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from microcalc.evaluation.bootstrap import bootstrap
from microcalc.evaluation.roc import (
    ROC_METRICS,
    RocCurve,
    gather_samples,
    log_mean_sensitivity,
    mean_sensitivity,
    roc_curve,
    sensitivity_at_fpf,
)


def two_classes(seed: int, n: int, m: int, *, levels: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    positive, negative = rng.normal(1.5, 1, n), rng.normal(0, 1, m)
    return (positive, negative) if levels is None else (np.round(positive * levels), np.round(negative * levels))


seeds, sizes, ties = st.integers(0, 1000), st.integers(1, 60), st.sampled_from([None, 1, 3])


@given(seeds, sizes, sizes, ties)
def test_the_curve_is_that_of_scikit_learn(seed: int, n: int, m: int, levels: int | None) -> None:
    from sklearn import metrics  # takes two seconds

    positive, negative = two_classes(seed, n, m, levels=levels)
    ours = roc_curve(positive, negative)
    labels, ratings = np.repeat([1, 0], [n, m]), np.concatenate([positive, negative])
    fpf, tpf, _ = metrics.roc_curve(labels, ratings, drop_intermediate=False)
    # Ours leaves out the points between two ratings of positives, which lie on straight lines.
    theirs = {(round(float(x), 9), round(float(y), 9)) for x, y in zip(fpf, tpf, strict=True)}
    assert {(round(float(x), 9), round(float(y), 9)) for x, y in zip(ours.fpf, ours.tpf, strict=True)} <= theirs
    assert metrics.auc(ours.fpf, ours.tpf) == pytest.approx(metrics.auc(fpf, tpf))
    assert (ours.fpf[0], ours.tpf[0], ours.fpf[-1], ours.tpf[-1]) == (0, 0, 1, 1)


@given(seeds, sizes, sizes, ties, st.sampled_from([0.05, 0.1, 0.5, 1.0]))
def test_the_mean_sensitivity_is_the_partial_area_of_scikit_learn(
    seed: int, n: int, m: int, levels: int | None, high: float
) -> None:
    from sklearn import metrics  # takes two seconds

    positive, negative = two_classes(seed, n, m, levels=levels)
    area = mean_sensitivity(roc_curve(positive, negative), high=high) * high
    # McClish's correction, as scikit-learn and pROC report it.
    corrected = 0.5 * (1 + (area - high**2 / 2) / (high - high**2 / 2)) if high < 1 else area
    labels, ratings = np.repeat([1, 0], [n, m]), np.concatenate([positive, negative])
    assert corrected == pytest.approx(metrics.roc_auc_score(labels, ratings, max_fpr=high if high < 1 else None))


@given(seeds, sizes, sizes, ties, st.floats(0, 1))
def test_sensitivity_at_an_fpf_lies_on_the_curve_of_scikit_learn(
    seed: int, n: int, m: int, levels: int | None, fpf: float
) -> None:
    from sklearn import metrics  # takes two seconds

    positive, negative = two_classes(seed, n, m, levels=levels)
    x, y, _ = metrics.roc_curve(
        np.repeat([1, 0], [n, m]), np.concatenate([positive, negative]), drop_intermediate=False
    )
    at = sensitivity_at_fpf(roc_curve(positive, negative), fpf)
    same = np.isclose(x, fpf, rtol=1e-11, atol=0)
    assert at == pytest.approx(y[same].max() if same.any() else np.interp(fpf, x, y))


@given(seeds, sizes, sizes, ties)
def test_the_thresholds_attain_their_points(seed: int, n: int, m: int, levels: int | None) -> None:
    positive, negative = two_classes(seed, n, m, levels=levels)
    curve = roc_curve(positive, negative)
    for threshold, x, y in zip(curve.threshold, curve.fpf, curve.tpf, strict=True):
        assert (negative >= threshold).mean() == pytest.approx(x)
        assert (positive >= threshold).mean() == pytest.approx(y)


def test_the_logarithmic_mean_of_a_power_curve_has_its_closed_form() -> None:
    # s(f) = f**a between close vertices: mean over ln f is (b**a - c**a) / (a ln(b/c)).
    fpf = np.concatenate([[0], np.geomspace(1e-8, 1, 20_001)])
    a, low, high = 0.3, 1e-6, 1e-1
    curve = RocCurve(np.empty(0), fpf, fpf**a)
    assert log_mean_sensitivity(curve) == pytest.approx((high**a - low**a) / (a * np.log(high / low)), rel=1e-6)


def test_the_logarithmic_mean_of_a_step_is_its_share_of_the_decades() -> None:
    # Half of the positives outrank every negative, the other half all but one in a thousand.
    curve = roc_curve([3.0, 1.0], np.repeat([2.0, 0.0], [1, 999]))
    assert log_mean_sensitivity(curve, low=1e-6) == pytest.approx(0.5 * 3 / 5 + 1.0 * 2 / 5)


def test_chance_has_a_mean_sensitivity_of_half_the_range() -> None:
    curve = roc_curve([0.5], [0.5])
    assert mean_sensitivity(curve, high=0.1) == pytest.approx(0.05)
    assert sensitivity_at_fpf(curve, 0.3) == pytest.approx(0.3)


def test_rejected_samples_have_the_lowest_rating_of_all() -> None:
    rejected = roc_curve([2.0, -np.inf], [1.0, -np.inf, -np.inf])
    lowest = roc_curve([2.0, -9.0], np.array([1.0, -9.0, -9.0], dtype=np.float32))
    np.testing.assert_allclose(rejected.fpf, lowest.fpf)
    np.testing.assert_allclose(rejected.tpf, lowest.tpf)


@pytest.mark.parametrize(("positive", "negative"), [([], [0.1]), ([0.1], [])])
def test_an_empty_class_is_refused(positive: list[float], negative: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least one of each"):
        roc_curve(positive, negative)


def test_a_rating_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="rating is NaN"):
        roc_curve([0.1, np.nan], [0.1])


def test_one_system_is_the_curve_of_its_patients_alone() -> None:
    positive, negative = two_classes(5, 200, 3000, levels=None)
    owner, off = np.arange(200) % 10, np.arange(3000) % 10
    chosen = np.arange(10) < 4
    ratings = gather_samples(positive, owner, negative, off, n_patients=10).select_patients(chosen)
    alone = roc_curve(positive[chosen[owner]], negative[chosen[off]])
    figures = bootstrap(ratings, ROC_METRICS, resamples=200, rng=np.random.default_rng(0))
    assert figures["mean sensitivity, FPF 0 to 0.1"].value == pytest.approx(mean_sensitivity(alone))
    assert figures["mean sensitivity, log FPF 1e-6 to 1e-1"].value == pytest.approx(log_mean_sensitivity(alone))
    assert figures["sensitivity at FPF 1e-4"].value == pytest.approx(sensitivity_at_fpf(alone, 1e-4))
    assert all(e.low <= e.value <= e.high for e in figures.values())


def test_more_negatives_than_fit_one_chunk_are_all_counted() -> None:
    rng = np.random.default_rng(0)
    negative = rng.normal(size=2_200_000).astype(np.float32)
    positive = np.array([2.0, 3.0, 4.0], dtype=np.float32)
    curve = roc_curve(positive, negative)
    assert curve.fpf[-2] == pytest.approx((negative >= 2).mean())
    assert sensitivity_at_fpf(curve, 0.0) == (positive > negative.max()).mean()
