from __future__ import annotations

import numpy as np
import pytest
from tests.cascade.cascades import place_and_score, random_cascade, random_mammogram, rate_samples, stored

from microcalc.cascade.cascade import likelihood_of
from microcalc.cascade.rate import CascadeScorer, places_of, places_of_windows
from microcalc.cascade.windows import integral_windows


@pytest.mark.parametrize("depth", [1, 2])
def test_a_sample_gets_the_place_and_score_of_the_definition(depth: int) -> None:
    rng = np.random.default_rng(4)
    cascade, mammogram = random_cascade(rng, depth=depth), random_mammogram(rng)
    rows, columns = rng.integers(0, 41, 60), rng.integers(0, 60, 60)
    place, score = places_of(cascade, stored(mammogram), rows, columns)
    expected = [place_and_score(cascade, mammogram, r, c) for r, c in zip(rows, columns, strict=True)]
    assert list(zip(place.tolist(), score.tolist(), strict=True)) == expected
    assert len(set(place.tolist())) == 3


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("scale", [1.0, 400.0])
def test_every_breast_pixel_is_rated_as_the_sample_there_to_the_last_bit(depth: int, scale: float) -> None:
    rng = np.random.default_rng(7)
    cascade = random_cascade(rng, depth=depth, trees=(1, 2, 2, 2, 3))  # the last nodes are reached by few
    mammogram = random_mammogram(rng, shape=(50, 90), scale=scale)
    likelihood = CascadeScorer(cascade).score(mammogram).likelihood
    rows, columns = np.nonzero(mammogram.breast)
    np.testing.assert_array_equal(likelihood[rows, columns], rate_samples(cascade, stored(mammogram), rows, columns))


def test_sums_that_wrap_around_change_nothing() -> None:
    rng = np.random.default_rng(5)
    mammogram = random_mammogram(rng, shape=(40, 4000))
    mammogram.pixels[:] = 1000 - mammogram.pixels  # a band of 28 rows sums to 3.6e9
    mammogram.breast[:] = True
    cascade = random_cascade(rng, depth=2)
    likelihood = CascadeScorer(cascade).score(mammogram).likelihood
    assert [place_and_score(cascade, mammogram, 30, c)[0] for c in (3990, 3995)] == places_of(
        cascade, stored(mammogram), np.array([30, 30]), np.array([3990, 3995])
    )[0].tolist()
    rows, columns = np.full(50, 30), np.arange(3940, 3990)
    np.testing.assert_array_equal(likelihood[rows, columns], rate_samples(cascade, stored(mammogram), rows, columns))


def test_windows_are_rated_as_the_samples_in_their_middle() -> None:
    rng = np.random.default_rng(6)
    cascade, image = random_cascade(rng, depth=2), stored(random_mammogram(rng))
    samples = np.stack([np.zeros(1100), rng.integers(0, 41, 1100), rng.integers(0, 60, 1100)], axis=1).astype(np.int32)
    place, score = places_of_windows(cascade, integral_windows([image], samples))
    expected = places_of(cascade, image, samples[:, 1], samples[:, 2])
    np.testing.assert_array_equal(place, expected[0])
    np.testing.assert_array_equal(score, expected[1])


def test_the_likelihood_is_zero_outside_the_breast_and_between_zero_and_one_inside() -> None:
    rng = np.random.default_rng(8)
    mammogram = random_mammogram(rng)
    likelihood = CascadeScorer(random_cascade(rng, depth=1)).score(mammogram).likelihood
    assert (likelihood[~mammogram.breast] == 0).all()
    assert (likelihood[mammogram.breast] > 0).all()
    assert (likelihood < 1).all()


def test_an_image_without_breast_is_rated_zero() -> None:
    rng = np.random.default_rng(8)
    mammogram = random_mammogram(rng)
    mammogram.breast[:] = False
    assert not CascadeScorer(random_cascade(rng, depth=1)).score(mammogram).likelihood.any()


def test_the_number_of_threads_changes_nothing() -> None:
    rng = np.random.default_rng(9)
    cascade, mammogram = random_cascade(rng, depth=2), random_mammogram(rng, shape=(100, 60))
    one, two = (CascadeScorer(cascade, threads=n).score(mammogram).likelihood for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_the_rating_rises_with_the_place_and_within_it_with_the_score() -> None:
    cascade = random_cascade(np.random.default_rng(10), depth=2)
    bounds = cascade.bounds
    relative = np.linspace(-1, 1, 2001, dtype=np.float32)
    likelihood = np.concatenate([likelihood_of(np.full(2001, k), relative * bounds[k], bounds) for k in range(3)])
    assert (np.diff(likelihood) > 0).all()
    assert (likelihood[:4002] < 0.5).all()
    assert (likelihood[4002:] > 0.5).all()
    assert 0 < likelihood.min() < likelihood.max() < 1
