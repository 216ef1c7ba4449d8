from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microcalc.detection.candidates import find_candidates
from microcalc.domain import Candidates, FloatImage, NormalisedMammogram


def _mammogram(
    shape: tuple[int, int], spacing_mm: float, origin_mm: tuple[float, float] = (0.0, 0.0)
) -> NormalisedMammogram:
    return NormalisedMammogram(
        np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=bool), spacing_mm, origin_mm, "uid"
    )


def _find(
    likelihood: FloatImage, *, min_likelihood: float = 0.1, min_distance_mm: float = 0.5, max_count: int = 99
) -> Candidates:
    return find_candidates(
        _mammogram(likelihood.shape, 0.1),
        likelihood,
        min_likelihood=min_likelihood,
        min_distance_mm=min_distance_mm,
        max_count=max_count,
    )


@pytest.mark.parametrize("spacing_mm", [0.05, 0.07, 0.1])
@pytest.mark.parametrize("place_mm", [(2.0, 2.0), (2.013, 1.962), (1.55, 2.449)])
def test_a_blob_between_pixels_is_found_to_a_fifth_of_a_pixel(spacing_mm: float, place_mm: tuple[float, float]) -> None:
    mammogram = _mammogram((90, 90), spacing_mm, origin_mm=(0.02, -0.01))
    positions = mammogram.grid.to_mm(np.indices((90, 90)).reshape(2, -1).T)
    square_mm2 = np.sum((positions - place_mm) ** 2, axis=1).reshape(90, 90)
    likelihood = (0.9 * np.exp(-square_mm2 / (2 * 0.15**2))).astype(np.float32)
    found = find_candidates(mammogram, likelihood, min_likelihood=0.5, min_distance_mm=0.5, max_count=9)
    assert found.centres.shape == (1, 2)
    assert np.abs(found.centres[0] - place_mm).max() < 0.2 * spacing_mm
    assert found.likelihood[0] == likelihood.max()


@given(seed=st.integers(0, 1000), min_distance_mm=st.sampled_from([0.2, 0.5, 1.3]))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_no_two_candidates_are_closer_than_the_distance_and_none_is_missing(seed: int, min_distance_mm: float) -> None:
    likelihood = np.random.default_rng(seed).random((40, 50)).astype(np.float32)
    found = _find(likelihood, min_likelihood=0.8, min_distance_mm=min_distance_mm, max_count=10_000)
    apart = np.linalg.norm(found.centres[:, np.newaxis] - found.centres, axis=2)
    assert apart[~np.eye(len(apart), dtype=bool)].min() >= min_distance_mm
    assert np.all(np.diff(found.likelihood) <= 0)
    every = _find(likelihood, min_likelihood=0.8, min_distance_mm=1e-6, max_count=10_000)
    nearest = np.linalg.norm(every.centres[:, np.newaxis] - found.centres, axis=2).min(axis=1)
    assert np.all(nearest < min_distance_mm)  # whatever was left out lies close to one kept


def test_fewer_candidates_are_the_most_likely_ones() -> None:
    likelihood = np.random.default_rng(1).random((60, 60)).astype(np.float32)
    many, few = _find(likelihood, max_count=500), _find(likelihood, max_count=7)
    np.testing.assert_array_equal(few.likelihood, many.likelihood[:7])
    np.testing.assert_array_equal(few.centres, many.centres[:7])


def test_a_higher_minimum_only_shortens_the_list() -> None:
    likelihood = np.random.default_rng(2).random((60, 60)).astype(np.float32)
    low, high = _find(likelihood), _find(likelihood, min_likelihood=0.95)
    assert 0 < high.likelihood.size < low.likelihood.size
    np.testing.assert_array_equal(high.centres, low.centres[: high.likelihood.size])


def test_a_plateau_is_one_candidate() -> None:
    likelihood = np.zeros((30, 30), dtype=np.float32)
    likelihood[10:13, 10:13] = 0.8
    assert _find(likelihood, min_distance_mm=0.5).likelihood.tolist() == pytest.approx([0.8])


def test_where_nothing_is_likely_nothing_is_found() -> None:
    nothing = _find(np.zeros((30, 30), dtype=np.float32), min_likelihood=0.0)
    assert nothing.centres.shape == (0, 2)
    assert nothing.likelihood.shape == (0,)


def test_a_maximum_in_the_corner_is_found() -> None:
    likelihood = np.zeros((30, 30), dtype=np.float32)
    likelihood[0, 29] = 0.7
    np.testing.assert_allclose(_find(likelihood).centres, [[0.0, 2.9]])


@given(seed=st.integers(0, 1000), max_count=st.integers(1, 60), levels=st.sampled_from([2, 5, 1000]))
@settings(deadline=None, max_examples=25, derandomize=True)
def test_considering_the_highest_maxima_first_changes_nothing(seed: int, max_count: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    likelihood = (np.floor(rng.random((60, 70)) * levels) / levels).astype(np.float32)
    likelihood[20:40] *= rng.random()  # a crowd of maxima that lie too close to each other
    few, all_ = (_find(likelihood, min_distance_mm=1.5, max_count=count) for count in (max_count, 10_000))
    np.testing.assert_array_equal(few.centres, all_.centres[:max_count])
    np.testing.assert_array_equal(few.likelihood, all_.likelihood[:max_count])
