"""The compressed breast: outlines, thickness, and what the views and sides share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from microcalc.simulate.breast import (
    SKIN_MM,
    Breast,
    Traits,
    View,
    compress,
    draw_traits,
    half_width,
    other_breast,
    rasterise,
)

HEIGHT, WIDTH, PITCH = 230.0, 180.0, 1.0
SHAPE = (230, 180)
VIEWS: tuple[View, ...] = ("CC", "MLO")


def a_breast(seed: int, view: View) -> Breast:
    rng = np.random.default_rng(seed)
    return compress(rng, draw_traits(rng, "B"), view=view, height_mm=HEIGHT, width_mm=WIDTH)


def women(n: int) -> list[Traits]:
    return [draw_traits(np.random.default_rng(seed), "B") for seed in range(n)]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("seed", range(4))
def test_a_breast_is_one_piece_that_touches_the_chest_wall_and_ends_before_the_far_edge(view: View, seed: int) -> None:
    inside = rasterise(a_breast(seed, view), SHAPE, PITCH).depth > 0
    assert inside[:, 0].any()
    assert not inside[:, -1].any()
    reach = inside.sum(axis=1)
    assert all(inside[row, :n].all() for row, n in enumerate(reach)), "no holes from the chest wall outwards"
    assert inside[0].any() == (view == "MLO"), "the axilla runs over the upper edge, a craniocaudal breast does not"


@pytest.mark.parametrize("view", VIEWS)
def test_the_nipple_is_where_the_breast_reaches_farthest(view: View) -> None:
    for seed in range(6):
        breast = a_breast(seed, view)
        assert breast.nipple_mm[1] == pytest.approx(breast.outline[:, 1].max(), abs=6.0)


def test_the_edge_is_half_a_circle_and_the_middle_as_thick_as_the_tilted_paddle_allows() -> None:
    breast = replace(a_breast(1, "CC"), tilt=(0.0, 0.0))
    maps = rasterise(breast, SHAPE, PITCH)
    radius = breast.thickness_mm / 2
    for depth in (2.0, 8.0, 15.0):
        at = np.abs(maps.depth - depth) < 0.3
        expected = breast.thickness_mm * np.sqrt(1 - (1 - depth / radius) ** 2)
        assert np.median(maps.thickness[at]) == pytest.approx(expected, rel=0.03)
    assert maps.thickness.max() == pytest.approx(breast.thickness_mm, rel=1e-3)
    assert (maps.thickness[maps.depth < -0.5] == 0).all()


def test_the_paddle_tilts_by_one_to_three_degrees_towards_the_nipple() -> None:
    degrees = [-np.degrees(np.arctan(a_breast(seed, "CC").tilt[1])) for seed in range(40)]
    assert 1.0 <= min(degrees) < 1.4
    assert 2.6 < max(degrees) <= 3.0


def test_a_ray_through_the_middle_crosses_skin_twice_and_at_the_rim_much_more() -> None:
    breast = a_breast(2, "CC")
    maps = rasterise(breast, SHAPE, PITCH)
    deep = maps.depth > breast.thickness_mm / 2 + 1
    assert maps.skin[deep] == pytest.approx(2 * SKIN_MM, abs=0.01)
    assert maps.skin.max() > 6 * SKIN_MM


def test_the_muscle_is_in_the_oblique_view_alone_and_its_edge_stands_at_15_to_45_degrees() -> None:
    assert a_breast(0, "CC").muscle is None
    for seed in range(8):
        muscle = a_breast(seed, "MLO").muscle
        assert muscle is not None
        across, along, thickness = muscle
        assert 14.9 <= np.degrees(np.arctan(across / along)) <= 45.1
        assert 10.0 <= thickness <= 30.0
        path = rasterise(a_breast(seed, "MLO"), SHAPE, PITCH).muscle
        straight = across * (1.0 - np.arange(int(along)) / along)
        widths = (path[: len(straight)] > 0).sum(axis=1)
        assert (widths[2:-2] >= straight[2:-2] - 1.5).all(), "convex: never behind the straight edge"


def test_thickness_follows_the_surveys_and_oblique_views_are_thicker() -> None:
    rng = np.random.default_rng(0)
    means = {
        view: np.mean([compress(rng, t, view=view, height_mm=HEIGHT, width_mm=WIDTH).thickness_mm for t in women(300)])
        for view in VIEWS
    }
    assert means["MLO"] - means["CC"] == pytest.approx(5.0, abs=1.0)
    assert means["MLO"] == pytest.approx(57.0 + 3.0, abs=3.0)  # 3 mm more for density B
    spread = np.std([t.thickness_mm for t in women(300)])
    assert 11.0 < spread < 15.0


def test_the_breasts_of_a_woman_resemble_each_other_more_than_those_of_two_women() -> None:
    own = [abs(other_breast(np.random.default_rng(9), t).depth_mm - t.depth_mm) for t in women(60)]
    others = [abs(a.depth_mm - b.depth_mm) for a, b in zip(women(60)[1:], women(60), strict=False)]
    assert 0 < np.median(own) < 0.4 * np.median(others)


def test_half_the_width_at_the_chest_wall_is_that_of_the_outline() -> None:
    breast = a_breast(3, "CC")
    up, down = half_width(breast, breast.nipple_mm[0], 5.0)
    inside = rasterise(breast, SHAPE, PITCH).depth[:, 5] > 0
    assert up + down == pytest.approx(float(inside.sum()), abs=2.0)
    assert half_width(breast, breast.nipple_mm[0], WIDTH) == (0.0, 0.0)
