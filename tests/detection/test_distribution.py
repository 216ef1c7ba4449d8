from __future__ import annotations

import numpy as np
import pytest

from microcalc.detection.distribution import distribution_of
from microcalc.domain import Distribution


def _spread(length_mm: float, width_mm: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rng = np.random.default_rng(0)
    corners = np.array([(0, 0), (0, length_mm), (width_mm, 0), (width_mm, length_mm)], dtype=np.float64)
    return np.concatenate([corners, rng.uniform(0, 1, (10, 2)) * (width_mm, length_mm)])


@pytest.mark.parametrize(
    ("length_mm", "width_mm", "expected"),
    [
        (8, 6, "grouped"),
        (8, 0.5, "grouped"),  # too short for a line
        (18, 15, "grouped"),
        (15, 1, "linear"),
        (50, 4, "linear"),
        (40, 15, "segmental"),
        (40, 35, "regional"),
        (120, 90, "diffuse"),
    ],
)
def test_extent_and_width_say_how_members_are_distributed(
    length_mm: float, width_mm: float, expected: Distribution
) -> None:
    places = _spread(length_mm, width_mm)
    angle = np.deg2rad(37)
    turned = places @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert distribution_of(places) == distribution_of(turned) == expected


def test_members_on_one_line_or_in_one_place_have_a_distribution() -> None:
    assert distribution_of(np.array([(0.0, 0.0), (0.0, 6.0), (0.0, 12.0)])) == "linear"
    assert distribution_of(np.array([(1.0, 1.0)] * 3)) == "grouped"
