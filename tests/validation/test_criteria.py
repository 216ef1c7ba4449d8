"""A criterion is met only when it was measured and all its values lie within their limits."""

from __future__ import annotations

import math

import pytest

from microcalc.validation.criteria import CRITERIA, Measurement, not_measured, report_of


def test_bounds_are_included_and_nan_never_passes() -> None:
    assert Measurement(1, "all", "x", 0.5, 0.5, 0.7).is_met
    assert not Measurement(1, "all", "x", 0.71, 0.5, 0.7).is_met
    assert not Measurement(1, "all", "x", math.nan).is_met
    assert not not_measured(4, "no such thing").is_met


def test_one_failed_measurement_fails_its_criterion() -> None:
    report = report_of(
        [Measurement(2, "ge", "a", 1.0, 0.0), Measurement(2, "ge", "b", -1.0, 0.0), Measurement(1, "ge", "c", 1.0, 0.0)]
    )
    assert (report.is_met(1), report.is_met(2), report.is_met(3)) == (True, False, False)
    assert report.n_met == 1


@pytest.mark.parametrize(
    ("low", "high", "words"), [(0.1, 0.2, "0.1 .. 0.2"), (-math.inf, 3.0, "<= 3"), (0.98, math.inf, ">= 0.98")]
)
def test_the_target_is_written(low: float, high: float, words: str) -> None:
    assert Measurement(1, "all", "x", 0.0, low, high).target == words


def test_the_report_names_every_criterion_and_ends_with_the_count() -> None:
    lines = report_of([Measurement(3, "ge", "transfer", 0.5, 0.4, 0.6, "a note"), not_measured(18, "no torch")]).lines()
    assert lines[-1] == f"1 of {len(CRITERIA)} criteria met"
    assert sum("NOT MET" in line for line in lines) == 19
    assert any("transfer" in line and "pass" in line and "a note" in line for line in lines)
    assert any("not measured" in line and "FAIL" in line and "no torch" in line for line in lines)
