"""A point holds only when it was measured and all its parts hold; the report says so."""

from __future__ import annotations

import math

import pytest

from microcalc.validation.points import POINTS, Figure, missed, ordered


def test_bounds_are_included_and_absence_never_holds() -> None:
    assert Figure(1, "all", "x", 0.5, 0.5, 0.7).holds
    assert not Figure(1, "all", "x", 0.71, 0.5, 0.7).holds
    assert not Figure(1, "all", "x", math.nan).holds
    assert not missed(4, "no such thing").holds


def test_one_miss_is_enough() -> None:
    report = ordered([Figure(2, "ge", "a", 1.0, 0.0), Figure(2, "ge", "b", -1.0, 0.0), Figure(1, "ge", "c", 1.0, 0.0)])
    assert (report.holds(1), report.holds(2), report.holds(3)) == (True, False, False)
    assert report.n_holding == 1


@pytest.mark.parametrize(
    ("low", "high", "words"), [(0.1, 0.2, "0.1 .. 0.2"), (-math.inf, 3.0, "<= 3"), (0.98, math.inf, ">= 0.98")]
)
def test_the_target_is_said_in_words(low: float, high: float, words: str) -> None:
    assert Figure(1, "all", "x", 0.0, low, high).target == words


def test_the_report_names_every_point_and_ends_with_the_count() -> None:
    lines = ordered([Figure(3, "ge", "transfer", 0.5, 0.4, 0.6, "a note"), missed(18, "no torch")]).lines()
    assert lines[-1] == f"1 of {len(POINTS)} points hold"
    assert sum("MISSES" in line for line in lines) == 19
    assert any("transfer" in line and "pass" in line and "a note" in line for line in lines)
    assert any("not measured" in line and "MISS" in line and "no torch" in line for line in lines)
