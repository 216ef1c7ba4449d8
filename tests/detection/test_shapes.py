from __future__ import annotations

import contourpy
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.detection.shapes import Shapes, measure_shapes, most_outlined
from microcalc.domain import Candidates, FloatImage, Mammogram

SPACING_MM = 0.07
BLUR_MM = 0.06


def _measure(pixels: FloatImage, places_mm: list[tuple[float, float]], *, spacing: float = SPACING_MM) -> Shapes:
    mammogram = Mammogram(pixels, (spacing, spacing), "processed", "1")
    candidates = Candidates(np.array(places_mm, dtype=np.float64), np.linspace(0.99, 0.9, len(places_mm)))
    return measure_shapes(mammogram, candidates, min_likelihood=0.5, min_contrast_to_noise=2.0, min_dip=0.3)


def _image(
    shapes: list[shapely.Geometry], *, contrast: float = 100, noise: float = 2, side_mm: float = 20
) -> FloatImage:
    """Draw bright shapes (x = column, y = row, in mm) on noise, blurred as by a detector."""
    fine = SPACING_MM / 4
    n = int(side_mm / SPACING_MM)
    centres = (np.arange(4 * n) - 1.5) * fine
    columns, rows = np.meshgrid(centres, centres)
    inside = shapely.contains_xy(shapely.union_all(shapes), columns, rows).astype(np.float64)
    blurred = ndimage.gaussian_filter(inside, BLUR_MM / fine)
    coarse = blurred.reshape(n, 4, n, 4).mean(axis=(1, 3))
    pixels = 1000 + contrast * coarse + np.random.default_rng(0).normal(0, noise, (n, n))
    return np.asarray(pixels, dtype=np.float32)


def _overlap(outline: NDArray[np.float64], shape: shapely.Geometry) -> float:
    region = shapely.Polygon(outline[:, ::-1])
    return float(region.intersection(shape).area / region.union(shape).area)


@pytest.mark.parametrize("diameter_mm", [0.3, 0.5, 1.0, 2.0, 5.0, 8.0])
def test_a_disc_is_measured_from_the_size_of_a_speck_to_that_of_a_coarse_calcification(diameter_mm: float) -> None:
    disc = shapely.Point(10, 9).buffer(diameter_mm / 2)
    (shape,) = _measure(_image([disc]), [(9.0, 10.0)]).shapes
    assert shape is not None
    assert shape.diameter_mm == pytest.approx(diameter_mm, rel=0.15)
    assert _overlap(shape.outline, disc) > 0.75
    assert shape.elongation < 1.3
    np.testing.assert_array_equal(shape.outline[0], shape.outline[-1])


def test_all_marks_on_a_rod_are_one_calcification_as_long_as_the_rod() -> None:
    rod = shapely.LineString([(6, 6), (14, 10)]).buffer(0.3)
    marks = [(6 + 4 * t, 6 + 8 * t) for t in np.linspace(0.05, 0.95, 9)]
    measured = _measure(_image([rod]), marks)
    assert measured.candidates.likelihood.tolist() == [0.99]
    (shape,) = measured.shapes
    assert shape is not None
    assert shape.elongation > 5
    assert _overlap(shape.outline, rod) > 0.7


def test_two_specks_that_nearly_touch_are_two_and_neither_outline_holds_the_other() -> None:
    specks = [shapely.Point(10, 9).buffer(0.2), shapely.Point(10.55, 9).buffer(0.2)]
    measured = _measure(_image(specks), [(9.0, 10.0), (9.0, 10.55)])
    assert len(measured.shapes) == 2
    for shape, own, other in zip(measured.shapes, specks, specks[::-1], strict=True):
        assert shape is not None
        region = shapely.Polygon(shape.outline[:, ::-1])
        assert region.contains(own.centroid)
        assert not region.contains(other.centroid)


def test_a_faint_speck_beside_a_bright_one_keeps_its_own_outline() -> None:
    bright, faint = shapely.Point(10, 9).buffer(0.3), shapely.Point(11.0, 9).buffer(0.15)
    pixels = _image([bright], contrast=300) + _image([faint], contrast=60, noise=0) - 1000
    measured = _measure(pixels, [(9.0, 10.0), (9.0, 11.0)])
    assert len(measured.shapes) == 2
    assert measured.shapes[1] is not None
    assert measured.shapes[1].diameter_mm < 0.6


def test_plain_noise_has_no_calcification_to_outline() -> None:
    rng = np.random.default_rng(1)
    pixels = ndimage.gaussian_filter(rng.normal(1000, 10, (300, 300)), 20).astype(np.float32)
    pixels += rng.normal(0, 10, pixels.shape).astype(np.float32)
    places = [(float(r), float(c)) for r, c in rng.uniform(3, 18, (40, 2))]
    measured = _measure(pixels, places)
    large = [s for s in measured.shapes if s is not None and s.contrast_to_noise > 4]
    assert len(large) == 0


def test_less_likely_candidates_are_kept_as_they_are() -> None:
    mammogram = Mammogram(_image([]), (SPACING_MM, SPACING_MM), "processed", "1")
    candidates = Candidates(np.array([(5.0, 5.0), (5.0, 5.1), (6.0, 6.0)]), np.array([0.4, 0.3, 0.2]))
    measured = measure_shapes(mammogram, candidates, min_likelihood=0.5, min_contrast_to_noise=2.0, min_dip=0.3)
    assert measured.shapes == ()
    np.testing.assert_array_equal(measured.candidates.centres, candidates.centres)


def test_candidates_beyond_the_most_that_are_outlined_are_kept_as_they_are() -> None:
    places = np.array([(5.0, 5.0), (5.0, 10.0), (5.0, 15.0)])
    specks = [shapely.Point(column, row).buffer(0.2) for row, column in places]
    mammogram = Mammogram(_image(specks), (SPACING_MM, SPACING_MM), "processed", "1")
    candidates = Candidates(places, np.array([0.9, 0.8, 0.7]))
    every, two = (
        measure_shapes(
            mammogram, candidates, min_likelihood=0.5, min_contrast_to_noise=2.0, min_dip=0.3, max_outlined=most
        )
        for most in (3, 2)
    )
    assert len(every.shapes) == 3
    assert [shape.area_mm2 for shape in two.shapes if shape] == [shape.area_mm2 for shape in every.shapes[:2] if shape]
    np.testing.assert_array_equal(two.candidates.centres, places)


@pytest.mark.parametrize(("area_cm2", "most"), [(1.0, 300), (350.0, 300), (500.0, 202), (668.0, 100), (5000.0, 100)])
def test_fewer_are_outlined_where_a_large_area_is_searched(area_cm2: float, most: int) -> None:
    assert abs(most_outlined(area_cm2) - most) <= 7


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.1, 9.0), (19.9, 19.9), (10.0, 19.93)])
def test_a_speck_at_the_edge_of_the_image_is_no_error(place: tuple[float, float]) -> None:
    speck = shapely.Point(place[1], place[0]).buffer(0.2)
    assert len(_measure(_image([speck]), [place]).shapes) == 1


@pytest.mark.parametrize("side_px", [1, 2, 3, 8])
def test_an_image_smaller_than_the_ring_around_a_speck_is_no_error(side_px: int) -> None:
    pixels = np.full((side_px, side_px), 1000, dtype=np.float32)
    pixels[side_px // 2, side_px // 2] = 1500
    assert len(_measure(pixels, [(SPACING_MM * (side_px // 2),) * 2]).shapes) == 1


@pytest.mark.parametrize("spacing_mm", [(0.05, 0.2), (0.2, 0.05)])
def test_no_calcification_is_smaller_than_a_pixel_that_is_not_square(spacing_mm: tuple[float, float]) -> None:
    pixels = np.random.default_rng(4).normal(1000, 10, (200, 200)).astype(np.float32)
    mammogram = Mammogram(pixels, spacing_mm, "processed", "1.2")
    places = mammogram.grid.to_mm(np.random.default_rng(5).uniform(20, 180, (60, 2)))
    found = measure_shapes(
        mammogram, Candidates(places, np.full(60, 0.9)), min_likelihood=0.5, min_contrast_to_noise=0.5, min_dip=0.3
    )
    areas = [shape.area_mm2 for shape in found.shapes if shape is not None]
    assert areas
    assert min(areas) >= 0.01


def test_a_region_smaller_than_a_pixel_is_no_calcification() -> None:
    pixels = np.full((200, 200), 1000, dtype=np.float32)
    pixels += np.random.default_rng(4).normal(0, 10, pixels.shape).astype(np.float32)
    places = [(float(r), float(c)) for r, c in np.random.default_rng(5).uniform(1, 13, (60, 2))]
    measured = _measure(pixels, places)
    assert all(shape.area_mm2 >= SPACING_MM**2 for shape in measured.shapes if shape is not None)


@given(row=st.floats(4, 6), column=st.floats(4, 6), turned=st.booleans())
@settings(deadline=None, max_examples=15, derandomize=True)
def test_the_position_within_a_pixel_and_a_transposition_hardly_change_the_size(
    row: float, column: float, turned: bool
) -> None:
    pixels = _image([shapely.Point(column, row).buffer(0.25)], side_mm=10)
    place = (column, row) if turned else (row, column)
    (shape,) = _measure(pixels.T.copy() if turned else pixels, [place]).shapes
    assert shape is not None
    assert shape.diameter_mm == pytest.approx(0.5, abs=0.1)


def test_outlines_are_those_that_the_library_draws_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = _image([shapely.Point(5, 5).buffer(0.4), shapely.LineString([(9, 9), (11, 12)]).buffer(0.2)])
    places = [(5.0, 5.0), (10.5, 10.0)]
    ours = [shape.outline for shape in _measure(pixels, places).shapes if shape is not None]
    monkeypatch.setattr(
        "microcalc.detection.shapes._contours",
        lambda window: contourpy.contour_generator(
            window.columns_mm, window.rows_mm, window.pixels, line_type=contourpy.LineType.ChunkCombinedOffset
        ),
    )
    theirs = [shape.outline for shape in _measure(pixels, places).shapes if shape is not None]
    assert len(ours) == 2
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
