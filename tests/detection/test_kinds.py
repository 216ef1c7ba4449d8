from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import shapely
import shapely.affinity
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from microcalc.detection.kinds import chain_length_mm, features_of, kind_of_cluster, kinds_of
from microcalc.detection.shapes import measure_shapes
from microcalc.domain import CalcificationKind, Candidates, FloatImage, Mammogram, Shape
from microcalc.geometry import Points

SPACING_MM = 0.07
SIDE_MM = 30.0

Drawing = list[shapely.Geometry]
Places = list[tuple[float, float]]


def _image(drawing: Drawing, *, contrast: float = 100) -> FloatImage:
    """Draw bright shapes (x = column, y = row, in mm) on noise, blurred as by a detector."""
    n = int(SIDE_MM / SPACING_MM)
    fine = (np.arange(3 * n) - 1.0) * SPACING_MM / 3
    inside = shapely.contains_xy(shapely.union_all(drawing), *np.meshgrid(fine, fine)).astype(np.float64)
    blurred = ndimage.gaussian_filter(inside, 2.5).reshape(n, 3, n, 3).mean(axis=(1, 3))
    pixels = 1000 + contrast * blurred + np.random.default_rng(0).normal(0, 3, (n, n))
    return np.asarray(pixels, dtype=np.float32)


def _kinds(
    pixels: FloatImage, places: Places, spacing: tuple[float, float] = (SPACING_MM, SPACING_MM)
) -> list[CalcificationKind | None]:
    mammogram = Mammogram(pixels, spacing, "processed", "1")
    candidates = Candidates(np.array(places, dtype=np.float64), np.linspace(0.99, 0.9, len(places)))
    found = measure_shapes(mammogram, candidates, min_likelihood=0.5, min_contrast_to_noise=2.0, min_dip=0.3)
    return list(kinds_of(mammogram, found.candidates.centres, found.shapes))


def _specks() -> tuple[Drawing, Places]:
    places = np.random.default_rng(3).uniform(10, 20, (12, 2))
    return [shapely.Point(column, row).buffer(0.15) for row, column in places], [(r, c) for r, c in places]


def _artery() -> tuple[Drawing, Places]:
    """Draw dashes in the two walls of an artery, 2 mm apart, that runs obliquely."""
    along, across = np.array([0.8, 0.6]), np.array([-0.6, 0.8])  # (x, y)
    drawing, places = list[shapely.Geometry](), Places()
    for k in range(8):
        middle = np.array([7.0, 8.0]) + along * (0.5 + 2.2 * k) + across * (k % 2 * 2.0 - 1.0)
        drawing.append(shapely.LineString([middle - 0.35 * along, middle + 0.35 * along]).buffer(0.12))
        places.append((float(middle[1]), float(middle[0])))
    return drawing, places


def test_a_group_of_specks_is_of_microcalcifications() -> None:
    drawing, places = _specks()
    assert set(_kinds(_image(drawing), places)) == {"microcalcification"}


def test_dashes_along_the_walls_of_a_drawn_artery_are_vascular() -> None:
    drawing, places = _artery()
    assert set(_kinds(_image(drawing), places)) == {"vascular"}


def test_round_specks_on_a_line_are_microcalcifications() -> None:
    places = [(8 + 1.5 * k, 8 + 1.1 * k) for k in range(9)]
    assert set(_kinds(_image([shapely.Point(c, r).buffer(0.15) for r, c in places]), places)) == {"microcalcification"}


def test_a_drawn_rod_is_rod_like() -> None:
    rod = shapely.LineString([(8, 8), (12, 11)]).buffer(0.3)
    assert _kinds(_image([rod]), [(9.5, 10.0)]) == ["rod_like"]


@pytest.mark.parametrize("radius_mm", [0.6, 1.5])
def test_a_drawn_ring_is_a_rim(radius_mm: float) -> None:
    ring = shapely.Point(15, 15).buffer(radius_mm).difference(shapely.Point(15, 15).buffer(radius_mm - 0.3))
    assert _kinds(_image([ring]), [(15.0, 15.0 + radius_mm - 0.15)]) == ["rim_or_skin"]


def test_a_drawn_disc_of_a_millimetre_is_coarse_unless_it_is_faint() -> None:
    disc = shapely.Point(15, 15).buffer(0.6)
    assert _kinds(_image([disc]), [(15.0, 15.0)]) == ["coarse"]
    assert _kinds(_image([disc], contrast=10), [(15.0, 15.0)]) == ["microcalcification"]


@pytest.mark.parametrize("draw", [_specks, _artery])
def test_kinds_do_not_depend_on_which_way_the_image_is_turned_or_mirrored(
    draw: Callable[[], tuple[Drawing, Places]],
) -> None:
    drawing, places = draw()
    pixels = _image(drawing)
    last = (pixels.shape[0] - 1) * SPACING_MM
    upright = _kinds(pixels, places)
    assert _kinds(np.ascontiguousarray(np.rot90(pixels)), [(last - c, r) for r, c in places]) == upright
    assert _kinds(np.ascontiguousarray(pixels[:, ::-1]), [(r, last - c) for r, c in places]) == upright


def _dash(row: float, column: float, angle: float, length: float = 0.6) -> Shape:
    box = shapely.affinity.rotate(shapely.box(-length / 2, -0.1, length / 2, 0.1), angle, origin=(0, 0))
    outline = np.asarray(shapely.affinity.translate(box, column, row).exterior.coords)[:, ::-1]
    return Shape(outline, 0.2 * length, elongation=length / 0.2, contrast_to_noise=5)


@given(st.floats(0, 360))
def test_alignment_is_that_of_the_dashes_whatever_the_angle_of_their_line(angle: float) -> None:
    mammogram = Mammogram(np.zeros((400, 400), np.float32), (0.1, 0.1), "processed", "1")
    along = np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
    centres: Points = np.asarray(20 + along * np.arange(-4, 5)[:, np.newaxis] * 1.2, dtype=np.float64)
    middle = features_of(mammogram, centres, [_dash(row, column, angle) for row, column in centres])[4]
    crossed = features_of(mammogram, centres, [_dash(row, column, angle + 90) for row, column in centres])[4]
    assert middle is not None
    assert crossed is not None
    assert (middle.neighbours, middle.on_line) == (8, 1.0)
    assert middle.alignment == pytest.approx(np.log(3), abs=0.02)
    assert crossed.alignment == pytest.approx(-np.log(3), abs=0.02)


def test_what_has_no_outline_has_no_kind() -> None:
    mammogram = Mammogram(np.zeros((9, 9), np.float32), (0.1, 0.1), "processed", "1")
    assert kinds_of(mammogram, np.array([[0.3, 0.3]]), [None]) == (None,)
    assert kinds_of(mammogram, np.zeros((0, 2)), []) == ()


def test_a_cluster_is_benign_only_if_more_than_half_of_all_its_members_are_of_one_kind() -> None:
    assert kind_of_cluster(["vascular", "vascular", None]) == "vascular"
    assert kind_of_cluster(["vascular", "vascular", None, "coarse"]) == "microcalcification"
    assert kind_of_cluster(["vascular", "microcalcification"]) == "microcalcification"
    assert kind_of_cluster([None, None, None]) == "microcalcification"


def test_an_artery_is_as_long_as_its_dashes_reach_and_its_two_walls_count_once() -> None:
    one = [_dash(10.0, 10.0 + 2 * k, 0.0) for k in range(6)]
    other = [_dash(11.5, 10.0 + 2 * k, 0.0) for k in range(6)]
    assert chain_length_mm(one) == pytest.approx(10.6)
    assert chain_length_mm(one + other) == pytest.approx(np.hypot(10.6, 1.5))


def test_a_calcification_longer_than_a_gap_is_as_long_as_it_is() -> None:
    long = Shape(np.array([[0.0, 0], [0, 14], [1, 14], [1, 0], [0, 0]]), 14.0, elongation=14, contrast_to_noise=9)
    assert chain_length_mm([long]) == pytest.approx(14)


def test_chains_farther_apart_than_a_centimetre_are_counted_one_by_one() -> None:
    assert chain_length_mm([_dash(10, 10, 0), _dash(10, 30, 90)]) == pytest.approx(1.2)
    assert chain_length_mm([]) == 0
