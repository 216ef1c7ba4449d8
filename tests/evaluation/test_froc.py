from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.evaluation.curves import mean_height, step_at
from microcalc.evaluation.froc import FrocCurve, froc_curve
from microcalc.evaluation.ratings import gather

MISSED = -np.inf


def sensitivity_at(curve: FrocCurve, nlf: float) -> float:
    return float(step_at(curve.nlf, curve.llf, at=nlf))


def test_a_hand_worked_curve() -> None:
    # Two images; lesions rated 0.9, 0.5, missed; false marks 0.8, 0.5, 0.2, 0.2.
    curve = froc_curve([0.9, 0.5, MISSED], [0.8, 0.5, 0.2, 0.2], 2)
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.5, 0.2]
    assert curve.nlf.tolist() == [0, 0, 0.5, 1.0, 2.0]
    np.testing.assert_allclose(curve.llf, [0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    for nlf, llf in ((0, 1 / 3), (0.5, 1 / 3), (0.99, 1 / 3), (1, 2 / 3), (2, 2 / 3), (100, 2 / 3)):
        assert sensitivity_at(curve, nlf) == pytest.approx(llf)


def test_the_area_of_a_hand_worked_curve() -> None:
    # Level at 1/3 to 0.5, a slope from 1/3 to 2/3 where ratings tie, level at 2/3 to the end and beyond.
    curve = froc_curve([0.9, 0.5, MISSED], [0.8, 0.5, 0.2, 0.2], 2)
    assert mean_height(curve.nlf, curve.llf, low=0, high=1) == pytest.approx(1 / 6 + 1 / 4)
    assert mean_height(curve.nlf, curve.llf, low=0, high=4) * 4 == pytest.approx(1 / 6 + 1 / 4 + 2)
    assert mean_height(curve.nlf, curve.llf, low=0.75, high=1) * 0.25 == pytest.approx(0.25 * (1 / 2 + 2 / 3) / 2)


def test_the_loosest_threshold_is_on_the_curve() -> None:
    curve = froc_curve([0.9, 0.1], [0.5, 0.05], 1)
    assert (curve.nlf[-1], curve.llf[-1]) == (2, 1)


def test_ratings_need_not_reach_zero() -> None:
    curve = froc_curve([7.0, 5.0], [6.0], 1)
    assert curve.llf.tolist() == [0, 0.5, 0.5, 1]


def test_four_false_marks_on_forty_images_are_a_tenth_per_image() -> None:
    curve = froc_curve([0.5], [0.9, 0.8, 0.7, 0.6], 40)
    assert sensitivity_at(curve, 0.1) == 1
    assert sensitivity_at(froc_curve([0.5], [0.9, 0.8, 0.7], 30), 0.1) == 1


def test_false_marks_per_area_are_those_per_image_over_the_area() -> None:
    per_image, per_cm2 = froc_curve([0.5], [0.9, 0.4], 2), froc_curve([0.5], [0.9, 0.4], 200)
    np.testing.assert_allclose(per_image.nlf, 100 * per_cm2.nlf)


@pytest.mark.parametrize(("lesions", "images"), [([], 1), ([0.5], 0)])
def test_a_curve_without_lesions_or_images_is_refused(lesions: list[float], images: int) -> None:
    with pytest.raises(ValueError, match="expected at least one of each"):
        froc_curve(lesions, [0.5], images)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_rating_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="rating is NaN"):
        froc_curve([bad], [0.5], 1)
    with pytest.raises(ValueError, match="rating is NaN"):
        froc_curve([0.5], [bad], 1)


rating = st.integers(0, 6).map(lambda i: i / 6)
lesion_ratings = st.lists(st.one_of(rating, st.just(MISSED)), min_size=1, max_size=12)
nl_ratings = st.lists(rating, max_size=20)
nlf_values = st.one_of(st.just(0.0), st.integers(0, 40).map(lambda i: i / 8))


@given(lesion_ratings, nl_ratings, st.integers(1, 8))
def test_both_axes_only_grow_as_the_threshold_falls(lesions: list[float], false: list[float], n: int) -> None:
    curve = froc_curve(lesions, false, n)
    assert (np.diff(curve.threshold) < 0).all()
    assert (np.diff(curve.nlf) >= 0).all()
    assert (np.diff(curve.llf) >= 0).all()
    assert (curve.nlf[0], curve.llf[0]) == (0, 0)
    assert curve.nlf[-1] == len(false) / n


@given(st.lists(rating, min_size=1, max_size=12), nl_ratings)
def test_a_reader_who_misses_nothing_ends_at_llf_one(lesions: list[float], false: list[float]) -> None:
    assert froc_curve(lesions, false, 3).llf[-1] == 1


@given(lesion_ratings, nl_ratings, nlf_values)
def test_a_monotone_transformation_of_the_ratings_changes_nothing(
    lesions: list[float], false: list[float], nlf: float
) -> None:
    warped = froc_curve(_warp(lesions), _warp(false), 4)
    assert sensitivity_at(warped, nlf) == sensitivity_at(froc_curve(lesions, false, 4), nlf)


def _warp(ratings: list[float]) -> list[float]:
    return [r if r == MISSED else r**3 - 5 for r in ratings]


@given(lesion_ratings, nl_ratings, rating, nlf_values)
def test_a_further_false_mark_never_raises_the_sensitivity(
    lesions: list[float], false: list[float], added: float, nlf: float
) -> None:
    before, after = froc_curve(lesions, false, 4), froc_curve(lesions, [*false, added], 4)
    assert sensitivity_at(after, nlf) <= sensitivity_at(before, nlf)


@given(lesion_ratings, nl_ratings, nlf_values, st.integers(0, 11))
def test_a_lesion_that_is_rated_higher_never_lowers_the_sensitivity(
    lesions: list[float], false: list[float], nlf: float, which: int
) -> None:
    higher = lesions.copy()
    higher[which % len(lesions)] = 2.0
    assert sensitivity_at(froc_curve(higher, false, 4), nlf) >= sensitivity_at(froc_curve(lesions, false, 4), nlf)


@given(lesion_ratings, nl_ratings, nlf_values, st.integers(1, 5))
def test_counts_in_the_gaps_lose_nothing(lesions: list[float], false: list[float], nlf: float, n: int) -> None:
    ratings = gather(lesions, np.zeros(len(lesions), int), false, np.zeros(len(false), int), [n])
    x, y = ratings.curve()
    assert float(step_at(x, y, at=nlf)) == sensitivity_at(froc_curve(lesions, false, n), nlf)
    curve = froc_curve(lesions, false, n)
    for threshold, nl, ll in zip(ratings.vertex_thresholds()[:-1], x, y, strict=False):
        shown = np.searchsorted(-curve.threshold, -threshold, side="right") - 1
        assert (nl, ll) == (curve.nlf[shown], curve.llf[shown])
