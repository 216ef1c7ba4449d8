"""The classifier of patches finds a mark where there is one, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from microcalc.validation.classifier import auc, cross_validate, folds_of, separation


def _patches(rng: np.random.Generator, n: int, seam: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    patches = rng.normal(size=(n, 48, 48)).astype(np.float32)
    marked = np.arange(n) % 2 == 0
    patches[marked, 12, 12:36] += seam
    patches[marked, 35, 12:36] += seam
    return patches, marked, np.array([f"p{i // 20}" for i in range(n)])


def test_a_faint_seam_around_patches_is_found() -> None:
    patches, marked, patient = _patches(np.random.default_rng(0), 400, 1.0)
    assert cross_validate(patches, marked, patient, steps=60, folds=2, seed=1).auc > 0.8


def test_patches_alike_are_not_told_apart() -> None:
    patches, marked, patient = _patches(np.random.default_rng(1), 400, 0.0)
    found = cross_validate(patches, marked, patient, steps=20, folds=2, seed=1)
    assert abs(found.auc - 0.5) < 4 * found.standard_error
    assert found.low < 0.5 < found.high


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    rating, positive = np.round(rng.normal(size=300), 1), rng.random(300) < 0.3
    assert auc(rating, positive) == pytest.approx(roc_auc_score(positive, rating))


def test_no_patient_is_in_two_folds() -> None:
    patient = np.array([f"p{i % 13}" for i in range(400)])
    fold = folds_of(patient, np.arange(400) % 3 == 0, 3, np.random.default_rng(0))
    assert all(len(set(fold[patient == p].tolist())) == 1 for p in set(patient.tolist()))
    assert set(fold.tolist()) == {0, 1, 2}


def test_the_standard_error_of_independent_patches_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(3)
    found = separation(rng.normal(size=2000), np.arange(2000) < 1000, np.arange(2000).astype(np.str_), rng)
    assert found.standard_error == pytest.approx(np.sqrt(2.0 / 12 / 1000), rel=0.15)
