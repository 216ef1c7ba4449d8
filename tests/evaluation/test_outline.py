from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from microcalc.evaluation.outline import convex_hull, distance_to_polygon

SQUARE = np.array([(0.0, 0.0), (0.0, 2.0), (2.0, 2.0), (2.0, 0.0)])


def test_distance_is_zero_inside_and_euclidean_outside() -> None:
    points = np.array([(1, 1), (3, 1), (5, 6), (1, -0.5)])
    np.testing.assert_allclose(distance_to_polygon(points, SQUARE), [0, 1, 5, 0.5], atol=1e-12)


def test_a_closed_outline_is_the_same_as_an_open_one() -> None:
    points = np.random.default_rng(0).uniform(-3, 5, (50, 2))
    closed = np.concatenate([SQUARE, SQUARE[:1]])
    np.testing.assert_allclose(distance_to_polygon(points, closed), distance_to_polygon(points, SQUARE))


def test_the_notch_of_a_concave_outline_is_outside() -> None:
    notched = np.array([(0, 0), (0, 4), (4, 4), (1, 2), (4, 0)], dtype=np.float64)
    assert distance_to_polygon(np.array([(3.5, 2.0)]), notched)[0] > 0
    assert distance_to_polygon(np.array([(0.5, 2.0)]), notched)[0] == 0


def test_points_and_lines_are_outlines_too() -> None:
    point, line = convex_hull(np.array([(1.0, 1.0)] * 3)), convex_hull(np.array([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]))
    assert point.tolist() == [[1, 1]]
    assert sorted(line.tolist()) == [[0, 0], [2, 2]]
    np.testing.assert_allclose(distance_to_polygon(np.array([(4.0, 5.0)]), point), [5])
    np.testing.assert_allclose(distance_to_polygon(np.array([(0.0, 2.0)]), line), [np.sqrt(2)])


def test_an_outline_without_corners_is_refused() -> None:
    with pytest.raises(ValueError, match="no corners"):
        distance_to_polygon(SQUARE, np.empty((0, 2)))


@given(st.integers(0, 10_000), st.integers(4, 30))
def test_the_hull_has_the_corners_that_scipy_finds(seed: int, n: int) -> None:
    points = np.random.default_rng(seed).normal(size=(n, 2))
    theirs = points[ConvexHull(points).vertices]
    assert sorted(convex_hull(points).tolist()) == sorted(theirs.tolist())
