from __future__ import annotations

import numpy as np
import pytest

from microcalc.domain import Annotations, Candidates
from microcalc.training.operating_points import Marked, mark_operating_points


def _marked(ratings: dict[tuple[float, float], float], calcium: list[tuple[float, float, str]]) -> Marked:
    order = sorted(ratings, key=lambda place: -ratings[place])
    centres, n = np.array([(row, column) for row, column, _ in calcium]).reshape(-1, 2), len(calcium)
    return Marked(
        Candidates(np.array(order), np.array([ratings[place] for place in order])),
        Annotations(centres, np.full(n, 0.3), np.array([kind for *_, kind in calcium]), np.full(n, "")),
    )


TWO_IMAGES = [
    _marked({(1, 1): 0.99, (5, 5): 0.9, (9, 9): 0.7}, [(1, 1, "microcalcification"), (9, 9, "microcalcification")]),
    _marked({(1, 1): 0.95, (5, 5): 0.8, (9, 9): 0.6}, [(5, 5, "microcalcification"), (1, 1, "vascular")]),
]


@pytest.mark.parametrize(
    ("false_per_image", "threshold", "hit"),
    [(0.1, 0.99, 1), (0.5, 0.7, 3), (1.0, 0.6, 3)],  # the false marks are 0.9 and 0.6; vascular calcium is neither
)
def test_the_lowest_threshold_with_at_most_so_many_false_marks_is_taken(
    false_per_image: float, threshold: float, hit: int
) -> None:
    (point,) = mark_operating_points(TWO_IMAGES, (false_per_image,))
    assert point.threshold == threshold
    assert point.llf == pytest.approx(hit / 3)
    assert point.nlf <= false_per_image


def test_a_model_without_marks_has_operating_points_that_show_nothing() -> None:
    nothing = Marked(Candidates(np.zeros((0, 2)), np.zeros(0)), TWO_IMAGES[0].annotations)
    points = mark_operating_points([nothing], (0.1, 10.0))
    assert [(p.llf, p.nlf) for p in points] == [(0.0, 0.0)] * 2
    assert all(p.threshold == 1.0 for p in points)
