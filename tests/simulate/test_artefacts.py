"""What stands out in a mammogram and is no calcium."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tests.simulate.breasts import draw_breast

from microcalc.simulate.artefacts import (
    ARTEFACTS,
    GAINS,
    Faults,
    bad_lines,
    bad_pixels,
    draw_faults,
    dust,
    hair_contrast,
    hairs,
    lymph_node,
    mole,
    repair_pixels,
    skin_fold,
)
from microcalc.simulate.breast import View

SHAPE, PITCH = (120, 90), 0.1


def test_as_many_images_have_artefacts_and_low_dose_as_asked_for() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_faults(rng, artefacts=0.25, low_dose=0.1) for _ in range(4000)]
    assert np.mean([bool(f.names) for f in drawn]) == pytest.approx(0.25, abs=0.02)
    assert np.mean([f.dose < 1 for f in drawn]) == pytest.approx(0.1, abs=0.015)
    assert {f.dose for f in drawn} == {1.0, 0.5, 0.3}
    named = Counter(name for f in drawn for name in f.names)
    assert set(named) == set(ARTEFACTS)
    assert named["bad-pixels"] > named["motion"]
    assert draw_faults(rng, artefacts=0.0, low_dose=0.0) == Faults()


def test_tags_say_what_is_wrong() -> None:
    assert Faults().tags == ()
    assert Faults(("dust", "motion"), 0.3, (0.1, 0.2)).tags == ("dust", "motion", "dose-30")


def test_only_images_with_motion_move_and_by_up_to_half_a_millimetre() -> None:
    rng = np.random.default_rng(2)
    for faults in (draw_faults(rng, artefacts=1.0, low_dose=0.0) for _ in range(300)):
        moved = float(np.hypot(*faults.motion_mm))
        assert (0.1 <= moved <= 0.5) if "motion" in faults.names else moved == 0.0


@pytest.mark.parametrize(
    ("name", "least", "most"), [("seam", 0.002, 0.005), ("ghost", 0.005, 0.02), ("grid", 0.001, 0.005)]
)
def test_gains_differ_from_one_by_as_much_as_measured(name: str, least: float, most: float) -> None:
    for seed in range(10):
        gain = np.broadcast_to(GAINS[name](np.random.default_rng(seed), SHAPE, PITCH), SHAPE)
        off = float(np.abs(gain - 1.0).max())
        assert 0.9 * least <= off <= 1.01 * most


def test_a_repaired_pixel_is_the_mean_around_it() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(500.0, 20.0, SHAPE).astype(np.float32)
    before = values.copy()
    repair_pixels(np.random.default_rng(4), values)
    changed = values != before
    assert 5 <= changed.sum() <= 40 * 9
    assert values[changed].std() < 0.6 * before.std()


def test_bad_pixels_are_where_they_are_said_to_be() -> None:
    values = np.full(SHAPE, 500.0, np.float32)
    places = bad_pixels(np.random.default_rng(5), values, np.full(SHAPE, 5.0, np.float32), 12)
    assert places.shape == (12, 2)
    assert (np.abs(values[tuple(places.T)] - 500.0) >= 20.0).mean() > 0.8
    far = np.ones(SHAPE, bool)
    for row, column in places:
        far[row - 1 : row + 2, column - 1 : column + 2] = False
    assert (values[far] == 500.0).all()


def test_a_bad_line_is_straight() -> None:
    values = np.full(SHAPE, 500.0, np.float32)
    bad_lines(np.random.default_rng(6), values, np.full(SHAPE, 5.0, np.float32))
    changed = values != 500.0
    assert 1 <= min(changed.any(axis=0).sum(), changed.any(axis=1).sum()) <= 2 or changed.sum() < sum(SHAPE) + 1


def test_dust_is_small_and_takes_up_to_half_of_the_signal() -> None:
    specks = dust(np.random.default_rng(7), SHAPE, 50)
    assert len(specks) == 50
    for place, contrast in specks:
        assert (place >= 4).all()
        assert (place <= np.array(SHAPE) - 5).all()
        assert 0.02 < contrast.max() <= 0.5
        assert contrast.shape[0] * 0.02 < 0.7


def test_a_lymph_node_has_a_hilum_and_a_mole_a_halo_of_air() -> None:
    for seed in range(5):
        corner, node = lymph_node(np.random.default_rng(seed), np.array([60.0, 45.0]), PITCH)
        assert node.min() >= 0
        assert 1.0 < node.max() < 8.0
        assert np.abs(np.array(corner) + np.array(node.shape) / 2 - (60.0, 45.0)).max() < 1.5
        _, bump = mole(np.random.default_rng(seed), np.array([60.0, 45.0]), PITCH)
        assert bump.max() > 0.8
        assert bump.min() < -0.2


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_folds_and_hairs_begin_near_the_breast(view: View) -> None:
    rng = np.random.default_rng(8)
    breast = draw_breast(rng, view=view, density="B", height_mm=230.0, width_mm=180.0)
    fold = skin_fold(rng, breast)
    assert 0.4 < 2 * fold.radius_mm.max() < 2.1
    assert (fold.columns[:, 0] < 0.3 * breast.nipple_mm[1]).all()
    for hair in hairs(rng, breast):
        assert hair.columns.shape[0] == 1
        assert 0.0 < hair.weight.max() <= 4.0


def test_a_hair_removes_little() -> None:
    assert 0.005 < float(hair_contrast(np.float32(0.1))) < 0.03  # type: ignore[arg-type]
