"""What is taken for microcalcifications, as solids and as the receptor sees them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from microcalc.domain import BENIGN_CALCIUM, Kind
from microcalc.simulate.bodies import Balls, Cup, Lines, discs_along, imaged_lines, lines_path
from microcalc.simulate.calcification import PITCH_MM
from microcalc.simulate.confusers import CONFUSERS, draw_confuser
from microcalc.simulate.structure import Tubes
from microcalc.simulate.systems import system

CC, MLO = 0.0, -np.pi / 4


def sizes_mm(name: str, n: int = 30) -> list[float]:
    bodies = [b for seed in range(n) for b in draw_confuser(np.random.default_rng(seed), name).bodies]
    return [b.project(CC).diameter_mm for b in bodies if not isinstance(b, Lines)]


def test_every_kind_of_calcium_that_the_simulator_knows_has_a_row_and_the_rest_is_no_calcium() -> None:
    kinds = {row.kind for row in CONFUSERS.values()}
    assert kinds <= set(get_args(Kind))
    assert kinds - {"no_calcium"} == set(BENIGN_CALCIUM) - {"rim_or_skin", "other_calcium"}
    assert {name for name, row in CONFUSERS.items() if row.kind == "no_calcium"} == {
        "clip",
        "metal-marker",
        "deodorant",
    }


@pytest.mark.parametrize("name", CONFUSERS)
def test_the_same_seed_draws_the_same_confuser_and_both_views_show_all_of_it(name: str) -> None:
    first, second = (draw_confuser(np.random.default_rng(7), name) for _ in range(2))
    assert len(first.bodies) == len(second.bodies) >= 1
    for one, other in zip(first.bodies, second.bodies, strict=True):
        for angle in (CC, MLO):
            if isinstance(one, Lines):
                assert isinstance(other, Lines)
                assert np.array_equal(one.project(angle).rows, other.project(angle).rows)
                continue
            assert not isinstance(other, Lines)
            seen = one.project(angle)
            assert np.array_equal(seen.thickness_mm, other.project(angle).thickness_mm)
            assert seen.thickness_mm.max() > 0
            assert 0.0 < seen.packing <= 1.0


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("coarse", 0.5, 4.5),
        ("popcorn", 1.5, 22.0),
        ("rim", 1.5, 36.0),
        ("round", 0.4, 1.3),
        ("skin", 0.4, 1.4),
        ("dystrophic", 0.8, 12.0),
        ("deodorant", 0.04, 1.2),
    ],
)
def test_sizes_are_those_of_the_lexicon(name: str, least: float, most: float) -> None:
    sizes = sizes_mm(name)
    assert least < min(sizes)
    assert max(sizes) < most


@pytest.mark.parametrize("name", ["rim", "skin"])
def test_a_shell_has_a_lucent_centre(name: str) -> None:
    for seed in range(10):
        (body, *_) = draw_confuser(np.random.default_rng(seed), name).bodies
        assert isinstance(body, Balls)
        thickness = body.project(CC).thickness_mm
        middle = thickness.shape[0] // 2
        near = slice(middle - 2, middle + 3)
        assert np.mean(thickness[near, near]) < 0.7 * thickness.max()


def test_a_ball_is_as_thick_as_it_is_wide_from_every_side() -> None:
    ball = Balls((0, 0, 0), np.zeros((1, 3)), np.full((1, 3), 0.5), 0.0, np.zeros((9, 9)), 0.0, "hydroxyapatite", 1.0)
    for angle in (CC, MLO, 1.0):
        seen = ball.project(angle)
        assert seen.thickness_mm.max() == pytest.approx(1.0, abs=0.01)
        assert seen.thickness_mm.sum() * PITCH_MM**2 == pytest.approx(np.pi / 6, rel=0.01)


def test_an_offset_in_height_shows_as_rows_in_the_oblique_view_alone() -> None:
    ball = Balls((5, 2, 3), np.zeros((1, 3)), np.full((1, 3), 0.5), 0.0, np.zeros((9, 9)), 0.0, "hydroxyapatite", 1.0)
    assert ball.project(CC).offset_mm == pytest.approx((2.0, 3.0), abs=0.02)
    assert ball.project(MLO).offset_mm == pytest.approx(((2.0 - 5.0) / np.sqrt(2), 3.0), abs=0.02)


def test_milk_of_calcium_is_a_smudge_from_above_and_a_crescent_from_the_side() -> None:
    cup = Cup((0.0, 0.0, 0.0), 1.0, 0.3, "calcium_carbonate", 0.2)
    above, aside = (cup.project(angle).thickness_mm > 0.05 for angle in (CC, MLO))
    rows, columns = (np.ptp(np.argwhere(above)[:, k]) for k in (0, 1))
    assert rows == pytest.approx(columns, rel=0.05)
    rows, columns = (np.ptp(np.argwhere(aside)[:, k]) for k in (0, 1))
    assert rows < 0.75 * columns


def test_an_artery_is_two_broken_lines_one_to_four_millimetres_apart() -> None:
    for seed in range(8):
        (body,) = draw_confuser(np.random.default_rng(seed), "arterial").bodies
        assert isinstance(body, Lines)
        assert 1.0 <= body.apart_mm <= 4.0
        tubes = body.project(CC)
        apart = np.hypot(tubes.rows[0] - tubes.rows[1], tubes.columns[0] - tubes.columns[1])
        assert apart == pytest.approx(body.apart_mm, rel=0.01)
        assert 0.0 < np.mean(tubes.weight > 0) < 1.0
        assert 0.2 <= 2 * np.median(tubes.radius_mm) <= 0.6


@pytest.mark.parametrize("name", ["arterial", "rod-like", "suture"])
@pytest.mark.parametrize("angle", [CC, MLO])
def test_the_truth_of_lines_holds_every_piece_of_calcium(name: str, angle: float) -> None:
    """Dots between the places that the truth lists would be taken for no calcium."""
    for seed in range(12):
        for body in draw_confuser(np.random.default_rng(seed), name).bodies:
            assert isinstance(body, Lines)
            tubes = body.project(angle)
            discs = discs_along(tubes, every_mm=body.mark_mm, together=body.apart_mm > 0)
            calcium = np.stack([tubes.rows, tubes.columns], axis=-1)[tubes.weight > 0]
            radius = tubes.radius_mm[tubes.weight > 0]
            away = np.linalg.norm(calcium[:, None] - discs[None, :, :2], axis=-1) + radius[:, None]
            assert ((away - discs[:, 2] / 2).min(axis=1) <= 1e-6).all()
            assert (discs[:, 2] <= body.mark_mm + body.apart_mm + 2 * tubes.radius_mm.max() + 0.3).all()
            nearest = np.linalg.norm(calcium[:, None] - discs[None, :, :2], axis=-1).min(axis=0)
            assert (nearest <= body.apart_mm / 2 + body.mark_mm).all()  # none where no calcium is


def test_rods_point_to_the_nipple() -> None:
    headings: list[float] = []
    for seed in range(10):
        for body in draw_confuser(np.random.default_rng(seed), "rod-like").bodies:
            assert isinstance(body, Lines)
            along = body.path_mm[0, -1] - body.path_mm[0, 0]
            headings.append(float(np.degrees(np.arctan2(np.hypot(along[0], along[1]), along[2]))))
            assert 2.5 < np.linalg.norm(along) < 21.0
            assert 0.5 <= 2 * body.radius_mm.max() <= 1.0
    assert np.median(headings) < 25.0


def test_lines_are_imaged_where_they_lie_and_with_all_they_remove() -> None:
    s = system("hologic")
    row = np.full((1, 400), 10.0)
    tubes = Tubes(row, np.linspace(5.0, 25.0, 400)[None], np.full((1, 400), 0.17), np.ones((1, 400)), 20.0 / 400)
    shape = (300, 500)
    corner, path = lines_path(tubes, shape, s.pitch_mm)
    assert path.sum() * s.pitch_mm**2 == pytest.approx(np.pi * 0.17**2 * 20.0, rel=0.02)
    peak = np.unravel_index(int(path.argmax()), path.shape)
    assert (corner[0] + peak[0]) * s.pitch_mm == pytest.approx(10.0, abs=s.pitch_mm)
    _, contrast = imaged_lines(tubes, shape, s.pitch_mm, contrast=lambda p: 0.1 * p, mtf=s.mtf)
    assert contrast.max() < 0.1 * path.max()
    assert contrast.sum() == pytest.approx(0.1 * path.sum(), rel=0.06)


def test_lines_outside_the_image_give_nothing() -> None:
    far = np.full((1, 10), 900.0)
    _, path = lines_path(Tubes(far, far, np.full((1, 10), 0.2), np.ones((1, 10)), 0.05), (50, 60), 0.1)
    assert path.size == 0
