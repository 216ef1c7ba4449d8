from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from microcalc.evaluation.bootstrap import Metric, compare
from microcalc.evaluation.curves import mean_height
from microcalc.evaluation.delong import area_difference, area_estimate, areas_by_patient
from microcalc.evaluation.ratings import PatientRatings
from microcalc.evaluation.roc import gather_samples, mean_sensitivity, roc_curve

Floats = NDArray[np.float64]


def two_methods(seed: int, n: int = 40, m: int = 90, *, levels: float = 2.0) -> tuple[Floats, Floats]:
    """(2, n) and (2, m) ratings of two methods that agree in part, with ties."""
    rng = np.random.default_rng(seed)
    positive = rng.normal(1.2, 1, n) + rng.normal(0, 0.7, (2, n)) + np.array([[0.2], [0.0]])
    negative = rng.normal(0, 1, m) + rng.normal(0, 0.7, (2, m))
    return np.round(positive * levels), np.round(negative * levels)


def by_patient(
    positive: Floats, negative: Floats, owner: NDArray[np.int64], off: NDArray[np.int64]
) -> list[PatientRatings]:
    n = int(max(owner.max(), off.max())) + 1
    return [gather_samples(p, owner, q, off, n_patients=n) for p, q in zip(positive, negative, strict=True)]


def independent(positive: Floats, negative: Floats) -> list[PatientRatings]:
    """Every sample is of another patient."""
    n, m = positive.shape[1], negative.shape[1]
    return by_patient(positive, negative, np.arange(n), n + np.arange(m))


@pytest.fixture(scope="module")
def proc(judge: Callable[[str], str]) -> Callable[[str], list[float]]:
    """Runs lines of R with pROC, and returns the numbers printed."""
    rscript = judge("Rscript")
    if subprocess.run([rscript, "-e", "library(pROC)"], capture_output=True, check=False).returncode:
        if os.environ.get("MICROCALC_JUDGES") == "required":
            pytest.fail("R's pROC is not installed, and MICROCALC_JUDGES=required")
        pytest.skip("R's pROC is not installed")

    def run(lines: str) -> list[float]:
        code = f"suppressMessages(library(pROC)); options(digits=15)\n{lines}"
        done = subprocess.run([rscript, "-e", code], capture_output=True, check=True, text=True)
        return [float(v) for v in done.stdout.split()]

    return run


def in_r(values: Floats) -> str:
    return "c(" + ",".join(f"{v:.17g}" for v in values) + ")"


def test_areas_variances_and_p_are_those_of_proc(proc: Callable[[str], list[float]]) -> None:
    positive, negative = two_methods(1)
    lines = [f"l <- rep(c(1, 0), c({positive.shape[1]}, {negative.shape[1]}))"]
    for i in (0, 1):
        rating = in_r(np.concatenate([positive[i], negative[i]]))
        lines.append(f"r{i} <- roc(l, {rating}, levels=c(0, 1), direction='<', quiet=TRUE)")
    lines.append("t <- roc.test(r0, r1, method='delong', paired=TRUE)")
    lines.append("cat(auc(r0), auc(r1), var(r0), var(r1), cov(r0, r1), t$p.value, t$conf.int, ci.auc(r0)[c(1, 3)],")
    lines.append("auc(r0, partial.auc=c(1, 0.9)) / 0.1, auc(r1, partial.auc=c(1, 0.9)) / 0.1)")
    theirs = proc("\n".join(lines))
    area, covariance = areas_by_patient(independent(positive, negative))
    change, one = area_difference(area, covariance, 0, 1), area_estimate(area[0], covariance[0, 0])
    partial = [mean_sensitivity(roc_curve(p, n)) for p, n in zip(positive, negative, strict=True)]
    ours = [*area, covariance[0, 0], covariance[1, 1], covariance[0, 1], change.p, change.low, change.high]
    np.testing.assert_allclose(np.array([*ours, one.low, one.high, *partial]), theirs, rtol=1e-9)


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 30))
def test_the_area_is_that_of_scikit_learn(seed: int, n: int, m: int) -> None:
    from sklearn import metrics  # takes two seconds

    positive, negative = two_methods(seed, n, m)
    theirs = [
        metrics.roc_auc_score(np.repeat([1, 0], [n, m]), np.concatenate(p))
        for p in zip(positive, negative, strict=True)
    ]
    np.testing.assert_allclose(areas_by_patient(independent(positive, negative))[0], theirs)


def test_samples_that_come_many_from_a_patient_widen_the_interval_as_the_bootstrap_says() -> None:
    rng = np.random.default_rng(0)
    patients = 60
    owner, off = np.repeat(np.arange(patients), 8), np.repeat(np.arange(patients), 40)
    shared = rng.normal(0, 1, (2, patients))
    positive = 1 + shared[:, owner] + rng.normal(0, 1, (2, owner.size))
    negative = rng.normal(0, 1, (2, off.size))
    ratings = by_patient(positive, negative, owner, off)
    clustered = area_difference(*areas_by_patient(ratings), 0, 1)
    naive = area_difference(*areas_by_patient(independent(positive, negative)), 0, 1)
    whole: dict[str, Metric] = {"auc": lambda x, y: mean_height(x, y, low=0.0, high=1.0)}
    drawn = compare(ratings[0], ratings[1], whole, resamples=1000, rng=rng)["auc"]
    assert clustered.value == pytest.approx(drawn.value)
    assert clustered.high - clustered.low == pytest.approx(drawn.high - drawn.low, rel=0.1)
    assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)


def test_a_method_does_not_differ_from_itself() -> None:
    positive, negative = two_methods(3)
    change = area_difference(*areas_by_patient(independent(positive[[0, 0]], negative[[0, 0]])), 0, 1)
    assert (change.value, change.low, change.high, change.p) == (0, 0, 0, 1)


def test_one_patient_has_an_area_and_no_interval() -> None:
    positive, negative = two_methods(4)
    ratings = by_patient(positive, negative, np.zeros(40, dtype=np.int64), np.zeros(90, dtype=np.int64))
    area, covariance = areas_by_patient(ratings)
    change = area_difference(area, covariance, 0, 1)
    assert np.isfinite(area).all()
    assert np.isnan([change.low, change.high, change.p]).all()


def test_no_positive_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one of each"):
        areas_by_patient([gather_samples([], [], [0.1], [0], n_patients=1)])
