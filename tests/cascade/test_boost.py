from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microcalc.cascade.boost import BINS, Binned, Boosting, Tree, TreeSettings, boost

_EDGES = np.arange(1, BINS, dtype=np.int32)


def _binned(values: np.ndarray) -> Binned:
    """Features (f, n) of integers 0 to 127, each in a bin of its own."""
    return Binned(values.astype(np.uint8), np.tile(_EDGES, (len(values), 1)))


def _boost(
    values: np.ndarray, n_positive: int, rounds: int, *, boosting: Boosting = "ranking", depth: int = 1,
    counts: np.ndarray | None = None, shrinkage: float = 1.0,
) -> list[tuple[Tree, np.ndarray]]:  # fmt: skip
    n = values.shape[1]
    counts = np.ones(n, dtype=np.float32) if counts is None else counts.astype(np.float32)
    grown = boost(
        _binned(values), np.zeros(n, dtype=np.float32), counts, n_positive,
        settings=TreeSettings(boosting, depth, shrinkage, share=1.0), rng=np.random.default_rng(0),
    )  # fmt: skip
    return list(islice(grown, rounds))


def _noise(seed: int, *, n: int = 200, features: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(60, 12, (features, n))
    values[0, : n // 2] += 10  # the positives: the first half
    return np.clip(np.rint(values), 0, BINS - 1).astype(np.int32)


def _pairs_loss(score: np.ndarray, n_positive: int) -> float:
    """Mean of exp(negative's score less positive's score) over all pairs."""
    return float(np.mean(np.exp(-score[:n_positive].astype(float))) * np.mean(np.exp(score[n_positive:].astype(float))))


def test_a_feature_that_separates_is_found_in_one_round() -> None:
    values = _noise(1)
    values[3] = np.repeat([80, 40], 100)
    ((tree, score),) = _boost(values, 100, 1)
    assert tree.feature.tolist() == [3]
    assert 40 < tree.threshold[0] <= 80
    assert score[:100].min() > score[100:].max()


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.sampled_from([1, 2]))
def test_the_loss_over_all_pairs_falls_with_every_round(seed: int, depth: int) -> None:
    losses = [1.0, *(_pairs_loss(score, 100) for _, score in _boost(_noise(seed), 100, 8, depth=depth))]
    assert (np.diff(losses) < 1e-6).all()


@pytest.mark.parametrize("depth", [1, 2])
def test_no_other_votes_of_a_ranking_tree_lower_the_loss_further(depth: int) -> None:
    values = _noise(2, n=2000)
    ((tree, score),) = _boost(values, 1000, 1, depth=depth)
    least = _pairs_loss(score, 1000)
    for change in np.eye(2**depth) * 0.3:
        for sign in (-1, 1):
            other = Tree(tree.feature, tree.threshold, (tree.vote + sign * change).astype(np.float32))
            assert _pairs_loss(other.votes(values[tree.feature]), 1000) > least


def test_the_factorised_weights_are_those_of_all_pairs() -> None:
    values = _noise(3, n=60)
    (_, score), (tree, _) = _boost(values, 30, 2)
    pairs = np.exp(score[np.newaxis, 30:].astype(float) - score[:30, np.newaxis])
    best = {}
    for feature in range(len(values)):
        for threshold in _EDGES:
            high = values[feature] >= threshold
            gain = high[:30, np.newaxis].astype(int) - high[np.newaxis, 30:]
            better, worse = pairs[gain == 1].sum(), pairs[gain == -1].sum()
            best[feature, int(threshold)] = pairs[gain == 0].sum() + 2 * np.sqrt(better * worse)
    least = min(best.values())
    assert best[int(tree.feature[0]), int(tree.threshold[0])] == pytest.approx(least, rel=1e-5)


def test_a_classification_stump_is_the_least_squares_stump_of_scikit_learn() -> None:
    from sklearn.tree import DecisionTreeRegressor  # takes two seconds

    values = _noise(4)
    ((tree, score),) = _boost(values, 100, 1, boosting="classification")
    judge = DecisionTreeRegressor(max_depth=1).fit(values.T, np.repeat([1.0, -1.0], 100))
    assert tree.feature[0] == judge.tree_.feature[0]
    assert tree.threshold[0] == np.ceil(judge.tree_.threshold[0])
    np.testing.assert_allclose(score, judge.predict(values.T), atol=1e-3)


def test_depth_two_learns_what_no_sum_of_stumps_can() -> None:
    rng = np.random.default_rng(5)
    signs = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]]).repeat(100, axis=0).T  # alike is positive
    values = np.rint(60 + 20 * signs + rng.normal(scale=3, size=(2, 400))).astype(np.int32)
    shallow, deep = (_boost(values, 200, 10, depth=d)[-1][1] for d in (1, 2))
    assert np.mean(deep[:200, np.newaxis] > deep[np.newaxis, 200:]) == 1.0
    assert np.mean(shallow[:200, np.newaxis] > shallow[np.newaxis, 200:]) < 0.8


@pytest.mark.parametrize("boosting", ["ranking", "classification"])
def test_a_sample_that_counts_for_three_is_as_three_samples(boosting: Boosting) -> None:
    values = _noise(6)
    counts = np.ones(200)
    counts[150:] = 3
    tripled = np.concatenate([values, values[:, 150:], values[:, 150:]], axis=1)
    for (one, _), (other, _) in zip(
        _boost(values, 100, 4, boosting=boosting, depth=2, counts=counts),
        _boost(tripled, 100, 4, boosting=boosting, depth=2),
        strict=True,
    ):
        assert (one.feature == other.feature).all()
        assert (one.threshold == other.threshold).all()
        np.testing.assert_allclose(one.vote, other.vote, atol=1e-4)


def test_the_trees_say_of_the_values_what_boosting_reckoned_on_bins() -> None:
    values = _noise(7)
    total = np.zeros(200, dtype=np.float32)
    for tree, score in _boost(values, 100, 5, depth=2, shrinkage=0.5):
        total += tree.votes(values[tree.feature])
        np.testing.assert_array_equal(total, score)
