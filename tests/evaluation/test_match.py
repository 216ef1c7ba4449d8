from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from microcalc.evaluation.match import Regions, annotated_clusters, as_regions, covered, match, match_clusters

NOWHERE = np.empty((0, 2))


def points(*positions: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(positions, dtype=np.float64).reshape(-1, 2)


def test_a_mark_at_exactly_the_hit_radius_hits() -> None:
    matched = match(points((1.0, 0.5)), [0.7], points((1.0, 1.0)), hit_mm=0.5)
    assert matched.lesion_rating.tolist() == [0.7]
    assert matched.nl_rating.size == 0


def test_a_mark_beyond_the_hit_radius_is_false_and_the_lesion_is_missed() -> None:
    matched = match(points((1.0, 0.49)), [0.7], points((1.0, 1.0)), hit_mm=0.5)
    assert matched.lesion_rating.tolist() == [-np.inf]
    assert matched.lesion_mark.tolist() == [-1]
    assert matched.nl_rating.tolist() == [0.7]


def test_the_second_mark_on_one_annotation_is_neither_hit_nor_false() -> None:
    matched = match(points((0.1, 0.0), (0.0, 0.0)), [0.9, 0.4], points((0.0, 0.0)))
    assert matched.lesion_rating.tolist() == [0.9]
    assert matched.nl_rating.size == 0


def test_one_mark_between_two_annotations_serves_the_nearer_one_only() -> None:
    matched = match(points((0.0, 0.2)), [0.9], points((0.0, 0.0), (0.0, 0.5)))
    assert matched.lesion_rating.tolist() == [0.9, -np.inf]


def test_a_lower_mark_serves_the_annotation_that_the_higher_one_left() -> None:
    matched = match(points((0.0, 0.2), (0.0, 0.1)), [0.9, 0.8], points((0.0, 0.0), (0.0, 0.5)))
    assert matched.lesion_rating.tolist() == [0.9, 0.8]
    assert matched.lesion_mark.tolist() == [0, 1]


def test_marks_on_ignored_calcium_are_not_false() -> None:
    marks, ratings = points((0, 0), (0, 2.9), (0, 5.4), (9, 9)), [0.9, 0.8, 0.7, 0.6]
    matched = match(marks, ratings, NOWHERE, ignored=Regions(points((0, 1.0), (0, 5.0)), np.array([2.0, 0.0])))
    assert matched.nl_rating.tolist() == [0.6]
    assert matched.nl_mark.tolist() == [3]


def test_a_microcalcification_beside_ignored_calcium_is_still_hit() -> None:
    matched = match(points((0, 0)), [0.9], points((0, 0.1)), ignored=Regions(points((0, 0)), 1.0))
    assert matched.lesion_rating.tolist() == [0.9]


def test_marks_inside_an_ignored_outline_are_not_false() -> None:
    square = points((0, 0), (0, 10), (10, 10), (10, 0))
    matched = match(
        points((5, 5), (5, 10.4), (5, 11)), [0.9, 0.8, 0.7], NOWHERE, ignored=Regions(NOWHERE, 0.0, [square])
    )
    assert matched.nl_rating.tolist() == [0.7]


def test_without_marks_everything_is_missed_and_without_lesions_everything_is_false() -> None:
    assert match(NOWHERE, [], points((0, 0), (1, 1))).lesion_rating.tolist() == [-np.inf, -np.inf]
    assert match(points((0, 0), (1, 1)), [0.1, 0.2], NOWHERE).nl_rating.tolist() == [0.2, 0.1]


@pytest.mark.parametrize("likelihood", [[0.1], [0.1, np.nan], [0.1, np.inf]])
def test_likelihoods_that_do_not_fit_are_refused(likelihood: list[float]) -> None:
    with pytest.raises(ValueError, match="expected one finite likelihood for each"):
        match(points((0, 0), (1, 1)), likelihood, NOWHERE)


coordinates = st.integers(0, 8).map(lambda i: i / 4)
positions = st.lists(st.tuples(coordinates, coordinates), max_size=12)


@given(positions, positions, positions)
def test_every_mark_has_one_fate_and_their_order_does_not_matter(
    marks: list[tuple[float, float]],
    truth: list[tuple[float, float]],
    benign: list[tuple[float, float]],
) -> None:
    ratings = np.array([((7 * i) % 5) / 5 for i in range(len(marks))])
    once = match(points(*marks), ratings, points(*truth), ignored=Regions(points(*benign)))
    order = np.random.default_rng(len(marks)).permutation(len(marks))
    again = match(points(*marks)[order], ratings[order], points(*truth), ignored=Regions(points(*benign)))
    hits = once.lesion_mark[once.lesion_mark >= 0]
    assert len(set(hits.tolist()) | set(once.nl_mark.tolist())) == hits.size + once.nl_mark.size <= len(marks)
    np.testing.assert_array_equal(once.lesion_rating, again.lesion_rating)
    np.testing.assert_array_equal(once.nl_rating, again.nl_rating)


@given(positions, positions, st.floats(0.1, 0.9))
def test_the_hits_above_a_threshold_do_not_depend_on_the_marks_below(
    marks: list[tuple[float, float]], truth: list[tuple[float, float]], threshold: float
) -> None:
    ratings = np.array([((7 * i) % 11) / 11 for i in range(len(marks))])
    every = match(points(*marks), ratings, points(*truth))
    shown = ratings >= threshold
    strict = match(points(*marks)[shown], ratings[shown], points(*truth))
    np.testing.assert_array_equal(
        strict.lesion_rating, np.where(every.lesion_rating >= threshold, every.lesion_rating, -np.inf)
    )
    np.testing.assert_array_equal(strict.nl_rating, every.nl_rating[every.nl_rating >= threshold])


TRIANGLE = points((0, 0), (0, 3), (3, 0))
NAMES = ["a", "a", "a"]
FAR = points((50, 50), (51, 50), (50, 51))


def test_a_cluster_whose_centre_is_inside_the_outline_hits() -> None:
    matched = match_clusters([points((1, 1), (1.2, 1), (1, 1.2))], [0.9], TRIANGLE, NAMES, outline_buffer_mm=0.0)
    assert matched.lesion_rating.tolist() == [0.9]


def test_a_cluster_with_two_members_on_microcalcifications_hits_from_outside() -> None:
    members = points((0, 3), (0, 0), (-20, -20))
    assert match_clusters([members], [0.9], TRIANGLE, NAMES).lesion_rating.tolist() == [0.9]


def test_two_members_on_the_same_microcalcification_count_once() -> None:
    members = points((0, 3), (0, 3.1), (-20, 3), (-20, 3), (-20, 3))
    matched = match_clusters([members], [0.9], TRIANGLE, NAMES)
    assert matched.lesion_rating.tolist() == [-np.inf]
    assert matched.nl_rating.tolist() == [0.9]


def test_the_buffer_widens_the_outline() -> None:
    members = [points((-0.8, 1), (-0.8, 1.2), (-0.8, 1.4))]
    assert match_clusters(members, [0.9], TRIANGLE, NAMES, hit_mm=0.1, outline_buffer_mm=1.0).nl_rating.size == 0
    assert match_clusters(members, [0.9], TRIANGLE, NAMES, hit_mm=0.1, outline_buffer_mm=0.7).nl_rating.size == 1


def test_a_drawn_outline_belongs_to_the_cluster() -> None:
    members = [points((8, 8), (8.1, 8), (8, 8.1))]
    drawn = {"a": points((0, 0), (0, 9), (9, 9), (9, 0))}
    assert match_clusters(members, [0.9], TRIANGLE, NAMES, truth_outlines_mm=drawn).lesion_rating.tolist() == [0.9]


def test_one_cluster_over_two_annotated_ones_finds_one() -> None:
    truth = np.concatenate([TRIANGLE, TRIANGLE + points((0, 8))])
    matched = match_clusters([truth], [0.9], truth, ["a"] * 3 + ["b"] * 3)
    assert sorted(matched.lesion_rating.tolist()) == [-np.inf, 0.9]


def test_a_second_cluster_on_a_found_one_is_ignored() -> None:
    matched = match_clusters([TRIANGLE, TRIANGLE + 0.1], [0.5, 0.9], TRIANGLE, NAMES)
    assert matched.lesion_rating.tolist() == [0.9]
    assert matched.nl_rating.size == 0


def test_a_cluster_mostly_on_ignored_calcium_is_ignored_and_half_is_not_most() -> None:
    half = np.concatenate([FAR[:2], FAR[:2] + 5])
    for members, false in ((FAR, 0), (half, 1)):
        matched = match_clusters([members], [0.9], TRIANGLE, NAMES, ignored=Regions(FAR))
        assert matched.nl_rating.size == false


def test_a_group_of_single_microcalcifications_is_not_false() -> None:
    matched = match_clusters([FAR], [0.9], np.concatenate([TRIANGLE, FAR]), [*NAMES, "", "", ""])
    assert matched.lesion_rating.tolist() == [-np.inf]
    assert matched.nl_rating.size == 0


def test_lesions_come_in_the_order_of_the_annotated_clusters() -> None:
    names = ["z", "z", "z", "b", "b", "b", ""]
    truth = np.concatenate([TRIANGLE, FAR, points((90, 90))])
    assert annotated_clusters(names) == ["b", "z"]
    assert match_clusters([FAR], [0.3], truth, names).lesion_rating.tolist() == [0.3, -np.inf]


def test_no_point_is_covered_by_nothing() -> None:
    assert covered(TRIANGLE, Regions(NOWHERE, 1.0), hit_mm=0.5).tolist() == [False, False, False]
    assert covered(NOWHERE, Regions(TRIANGLE, 1.0), hit_mm=0.5).size == 0


@pytest.mark.parametrize(
    ("outline", "inside", "outside"),
    [
        ([(1, 1)], (1, 1.4), (1, 1.6)),  # a point
        ([(0, 0), (2, 2)], (0.2, 0.8), (0, 2)),  # a line
        ([(0, 0), (0, 4), (4, 4), (1, 2), (4, 0)], (0.5, 2), (3.5, 2)),  # a concave outline, and its notch
        ([(0, 0), (0, 4), (4, 4), (4, 0), (0, 0)], (2, 2), (2, 5)),  # a closed one
    ],
)
def test_an_outline_covers_what_it_encloses(
    outline: list[tuple[float, float]], inside: tuple[float, float], outside: tuple[float, float]
) -> None:
    places, corners = np.array([inside, outside]), np.array(outline, dtype=np.float64)
    assert covered(places, Regions(NOWHERE, 0.0, [corners]), hit_mm=0.5).tolist() == [True, False]


def test_an_outline_without_corners_is_refused() -> None:
    with pytest.raises(ValueError, match="no corners"):
        covered(TRIANGLE, Regions(NOWHERE, 0.0, [NOWHERE]), hit_mm=0.5)


SQUARE = points((10, 10), (10, 20), (20, 20), (20, 10))


def _found(*members: tuple[float, float]) -> tuple[bool, int]:
    """Whether a cluster of these members hits the region, and how many false clusters there are."""
    matched = match_clusters([points(*members)], [0.9], NOWHERE, [], truth_outlines_mm=as_regions([SQUARE]))
    return bool(matched.lesion_mark[0] == 0), matched.nl_rating.size


@pytest.mark.parametrize(
    ("members", "hit"),
    [
        ([(11, 11), (12, 12), (13, 13)], True),
        ([(9, 10.5), (9.5, 10.5)], True),  # its centre is within 1 mm
        ([(19, 19), (19, 19.5), (40, 40), (50, 50), (60, 60)], True),  # two members
        ([(19, 19), (40, 40), (50, 50)], False),
        ([(8, 8), (8.5, 8.5)], False),
    ],
)
def test_a_region_is_hit_by_the_centre_of_a_cluster_or_by_two_of_its_members(
    members: list[tuple[float, float]], hit: bool
) -> None:
    assert _found(*members) == (hit, 0 if hit else 1)


def test_a_second_cluster_in_a_region_is_not_false_and_a_region_without_one_is_missed() -> None:
    clusters = [points((11, 11), (12, 12)), points((17, 17), (18, 18))]
    matched = match_clusters(clusters, [0.5, 0.9], NOWHERE, [], truth_outlines_mm=as_regions([SQUARE, SQUARE + 40]))
    assert matched.lesion_rating.tolist() == [0.9, -np.inf]
    assert matched.nl_rating.size == 0
