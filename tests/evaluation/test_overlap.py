"""Overlap of outlines, and the rules of other publications."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.evaluation.marks import Marks
from microcalc.evaluation.matched_images import MatchedImage, Rules, match_image
from microcalc.evaluation.overlap import PER_IMAGE, PER_OBJECT, estimate_overlap, overlapping, polygons_of

_Outline = tuple[tuple[float, float], ...]


def _square(row: float, column: float, half: float) -> _Outline:
    return tuple((row + a * half, column + b * half) for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1)))


def _image(patient: str = "P1", spacing_mm: tuple[float, float] = (0.1, 0.1)) -> ImageRow:
    return ImageRow(f"i-{patient}", Path("i.png"), "processed", spacing_mm, patient=patient)


def _matched(
    marks: list[tuple[float, float, float]],
    lesions: list[tuple[float, float, float]],
    rules: Rules,
    image: ImageRow | None = None,
) -> MatchedImage:
    """Match square marks to square lesions, each (row, column, half side)."""
    rows = [AnnotationRow("i", r, c, 0.2 * h, outline=_square(r, c, h)) for r, c, h in lesions]
    centres = np.array([m[:2] for m in marks], dtype=np.float64).reshape(-1, 2)
    detected = Marks(centres, np.linspace(0.9, 0.5, len(marks)), outlines=[_square(*m) for m in marks])
    return match_image(detected, image or _image(), rows, rules)


@given(st.floats(0.5, 5), st.floats(0.5, 5))
def test_the_overlap_of_concentric_squares_is_the_quotient_of_their_areas(one: float, other: float) -> None:
    matched = _matched([(50, 50, one)], [(50, 50, other)], Rules())
    found = estimate_overlap([matched], resamples=10, seed=0)
    expected = min(one, other) ** 2 / max(one, other) ** 2
    for name in (PER_OBJECT, PER_IMAGE):
        estimate, number = found[name]
        assert estimate.value == pytest.approx(expected)
        assert number == 1


def test_the_mean_of_an_image_weighs_by_area_and_that_of_objects_does_not() -> None:
    matched = _matched([(20, 20, 1), (60, 60, 4)], [(20, 20, 2), (60, 60, 4)], Rules())
    found = estimate_overlap([matched], resamples=10, seed=0)
    assert found[PER_OBJECT][0].value == pytest.approx((4 / 16 + 1) / 2)
    assert found[PER_IMAGE][0].value == pytest.approx((4 + 64) / (16 + 64))
    assert [found[name][1] for name in (PER_OBJECT, PER_IMAGE)] == [2, 1]


def test_the_interval_is_by_patient() -> None:
    images = [_matched([(50, 50, h)], [(50, 50, 2)], Rules(), _image(f"P{i}")) for i, h in enumerate((1, 2, 2, 2))]
    estimate, _ = estimate_overlap(images, resamples=2000, seed=1)[PER_OBJECT]
    assert estimate.value == pytest.approx((0.25 + 3) / 4)
    assert estimate.low < estimate.value < estimate.high <= 1


def test_without_outlines_nothing_is_stated() -> None:
    rows = [AnnotationRow("i", 50, 50, 0.4)]
    matched = match_image(Marks(np.array([[50.0, 50.0]]), np.array([0.9])), _image(), rows, Rules())
    assert matched.overlap is None
    assert estimate_overlap([matched], resamples=10, seed=0) == {}


def test_a_mark_far_from_the_centre_hits_by_its_outline_where_the_rules_say_so() -> None:
    lesion, mark = (50.0, 50.0, 20.0), (50.0, 58.0, 12.0)  # 0.8 mm apart, one inside the other: IoU 0.36
    assert _matched([mark], [lesion], Rules()).marks.nl_rating.size == 1
    assert _matched([mark], [lesion], Rules(hit_iou=0.3)).marks.lesion_rating.tolist() == [0.9]
    assert _matched([mark], [lesion], Rules(hit_iou=0.4)).marks.nl_rating.size == 1


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(0.5, 8)), min_size=1, max_size=8))
def test_pairs_that_overlap_are_those_of_every_pair_compared(squares: list[tuple[float, float, float]]) -> None:
    polygons = polygons_of([_square(*s) for s in squares])
    expected = {
        (i, j)
        for i, a in enumerate(polygons)
        for j, b in enumerate(polygons)
        if shapely.intersection(a, b).area >= 0.3 * shapely.union(a, b).area
    }
    assert set(overlapping(polygons, polygons, min_iou=0.3)) == expected


def test_a_radius_in_pixels_follows_the_spacing_of_each_image() -> None:
    coarse = _image(spacing_mm=(0.2, 0.2))
    for image, half in ((_image(), 0.1), (coarse, 0.1)):
        near = _matched([(50, 54.9, half)], [(50, 50, half)], Rules(hit_px=5), image)
        far = _matched([(50, 55.2, half)], [(50, 50, half)], Rules(hit_px=5), image)
        assert near.marks.lesion_rating.tolist() == [0.9]
        assert far.marks.nl_rating.tolist() == [0.9]


def test_microcalcifications_over_the_size_cut_are_neither_hit_nor_false() -> None:
    matched = _matched([(20, 20, 1), (60, 60, 4)], [(20, 20, 1), (60, 60, 4)], Rules(max_diameter_mm=0.5))
    assert matched.marks.lesion_rating.tolist() == [0.9]
    assert matched.marks.nl_rating.size == 0
