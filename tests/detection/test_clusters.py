from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microcalc.detection.clusters import BORDER_MM, group
from microcalc.domain import Candidates, Cluster

FLOOR = 0.5
MEMBER = 0.9


def _group(places: Sequence[tuple[float, float, float]]) -> list[Cluster]:
    """Clusters of (row, column, likelihood), by the field's rule: three, 5 mm, 1 cm²."""
    table = np.array(places, dtype=np.float64).reshape(-1, 3)
    candidates = Candidates(table[:, :2], table[:, 2])
    return group(
        candidates,
        max_gap_mm=5,
        min_members=3,
        max_area_cm2=1,
        min_likelihood=FLOOR,
        member_likelihood=MEMBER,
        member_gap_mm=5,
    )


def _mean_odds(*likelihoods: float) -> float:
    log_odds = [np.log(p / (1 - p)) for p in likelihoods]
    return float(1 / (1 + np.exp(-np.mean(log_odds))))


def _scattered(rng: np.random.Generator, n: int) -> list[tuple[float, float, float]]:
    table = np.column_stack([rng.uniform(0, 40, (n, 2)), rng.uniform(0.4, 1, n)])
    return [(row, column, likelihood) for row, column, likelihood in table.tolist()]


def test_three_within_reach_are_a_cluster_and_two_are_not() -> None:
    three = [(0, 0, 0.9), (0, 3, 0.8), (3, 0, 0.7)]
    (cluster,) = _group(three)
    assert cluster.members.tolist() == [0, 1, 2]
    assert _group(three[:2]) == []
    assert _group([]) == []


def test_a_cluster_of_three_is_rated_by_its_weakest_and_two_sizes_that_are_missing() -> None:
    (cluster,) = _group([(0, 0, 0.99), (0, 3, 0.95), (3, 0, 0.9)])
    assert cluster.likelihood == pytest.approx(_mean_odds(0.9, FLOOR, FLOOR))


def test_a_cluster_of_five_is_rated_by_its_third_fourth_and_fifth() -> None:
    (cluster,) = _group([(0, 0, 0.99), (0, 1, 0.98), (1, 0, 0.97), (1, 1, 0.9), (2, 2, 0.8)])
    assert cluster.likelihood == pytest.approx(_mean_odds(0.97, 0.9, 0.8))


def test_one_bright_speck_beside_two_doubtful_ones_rates_below_three_fair_ones() -> None:
    (odd,) = _group([(0, 0, 0.999), (0, 3, 0.55), (3, 0, 0.55)])
    (even,) = _group([(0, 0, 0.7), (0, 3, 0.7), (3, 0, 0.7)])
    assert odd.likelihood < even.likelihood


def test_neighbours_farther_apart_than_the_gap_are_no_cluster() -> None:
    assert _group([(0, 0, 0.9), (0, 5.1, 0.9), (5.1, 0, 0.9)]) == []


def test_three_in_a_chain_that_no_disc_of_a_square_centimetre_holds_are_no_cluster() -> None:
    line = [(0.0, 4.9 * i, 0.9) for i in range(3)]  # the middle one's disc, radius 5.64 mm, holds all
    assert len(_group(line)) == 1
    spiral = [(0, 0, 0.9), (0, 4.9, 0.9), (4.0, 7.5, 0.9)]
    assert len(_group(spiral)) == 1
    table = np.array(line)
    narrow = group(
        Candidates(table[:, :2], table[:, 2]),
        max_gap_mm=5,
        min_members=3,
        max_area_cm2=0.7,
        min_likelihood=FLOOR,
        member_likelihood=MEMBER,
        member_gap_mm=5,
    )
    assert narrow == []


def test_doubtful_candidates_do_not_chain_two_clusters_together() -> None:
    left = [(0, 0, 0.99), (1, 1, 0.99), (1, 0, 0.99)]
    right = [(row, column + 16, likelihood) for row, column, likelihood in left]
    bridge: list[tuple[float, float, float]] = [(0.0, 2.0 * i, 0.55) for i in range(1, 8)]
    best, second = _group([*left, *bridge, *right])[:2]
    assert {*best.members.tolist(), *second.members.tolist()} == {0, 1, 2, 10, 11, 12}


@pytest.mark.parametrize("core_likelihood", [0.93, 0.99, 0.99999])
def test_whether_a_neighbour_is_a_member_does_not_depend_on_how_likely_the_best_are(core_likelihood: float) -> None:
    core = [(0, 0, core_likelihood), (1, 1, core_likelihood), (1, 0, core_likelihood)]
    (cluster,) = _group([*core, (3, 0, 0.91), (0, 3, 0.89)])
    assert cluster.members.tolist() == [0, 1, 2, 3]


def test_what_is_linked_is_one_cluster_whatever_its_extent() -> None:
    (cluster,) = _group([(0.5 * (i % 2), 3.0 * i, 0.95) for i in range(20)])
    assert cluster.members.size == 20


def test_further_members_may_be_farther_apart_than_those_of_the_smallest_cluster() -> None:
    table = np.array([(0, 0, 0.95), (1, 0, 0.95), (0, 1, 0.95), (0, 7, 0.95)])
    for gap_mm, size in ((5, 3), (6, 4)):
        cluster = group(
            Candidates(table[:, :2], table[:, 2]),
            max_gap_mm=5,
            min_members=3,
            max_area_cm2=1,
            min_likelihood=FLOOR,
            member_likelihood=MEMBER,
            member_gap_mm=gap_mm,
        )[0]
        assert cluster.members.size == size


def test_three_on_one_line_have_an_outline_that_is_closed_and_holds_them_with_a_border() -> None:
    (cluster,) = _group([(1, 0, 0.9), (1, 2, 0.9), (1, 4, 0.9)])
    np.testing.assert_array_equal(cluster.outline[0], cluster.outline[-1])
    np.testing.assert_allclose(cluster.outline.min(axis=0), [1 - BORDER_MM, -BORDER_MM], atol=0.01)
    np.testing.assert_allclose(cluster.outline.max(axis=0), [1 + BORDER_MM, 4 + BORDER_MM], atol=0.01)


def test_three_in_one_place_are_a_cluster_with_a_round_outline() -> None:
    (cluster,) = _group([(1, 1, 0.9)] * 3)
    np.testing.assert_allclose(np.linalg.norm(cluster.outline - 1, axis=1), BORDER_MM)


@given(seed=st.integers(0, 10_000), n=st.integers(0, 60))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_the_order_of_candidates_does_not_matter(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    places = _scattered(rng, n)
    order = rng.permutation(n)
    straight, shuffled = _group(places), _group([places[i] for i in order])
    assert [c.likelihood for c in straight] == [c.likelihood for c in shuffled]
    assert [c.members.tolist() for c in straight] == [sorted(order[c.members].tolist()) for c in shuffled]


@given(seed=st.integers(0, 10_000), n=st.integers(3, 60))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_every_cluster_keeps_the_rules_and_no_candidate_is_in_two(seed: int, n: int) -> None:
    places = np.array(_scattered(np.random.default_rng(seed), n))
    clusters = _group(places.tolist())
    members = np.concatenate([c.members for c in clusters]) if clusters else np.zeros(0, dtype=int)
    assert members.size == np.unique(members).size
    assert all(c.members.size >= 3 and places[c.members, 2].min() >= FLOOR for c in clusters)
    for cluster in clusters:
        centres = places[cluster.members, :2]
        apart = np.linalg.norm(centres[:, np.newaxis] - centres, axis=2) + 100 * np.eye(len(centres))
        assert apart.min(axis=1).max() <= 5
    likelihoods = [c.likelihood for c in clusters]
    assert likelihoods == sorted(likelihoods, reverse=True)
    assert all(FLOOR <= value < 1 for value in likelihoods)


@given(seed=st.integers(0, 10_000), n=st.integers(3, 40))
@settings(deadline=None, max_examples=30, derandomize=True)
def test_adding_a_candidate_or_raising_one_never_lowers_the_best_cluster(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    places = _scattered(rng, n)
    before = max((c.likelihood for c in _group(places)), default=0.0)
    more = [*places, *_scattered(rng, 1)]
    assert max((c.likelihood for c in _group(more)), default=0.0) >= before
    row, column, likelihood = places[0]
    raised = [(row, column, (1 + likelihood) / 2), *places[1:]]
    assert max((c.likelihood for c in _group(raised)), default=0.0) >= before
