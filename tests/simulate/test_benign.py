"""Benign calcium that is inserted: where it lies, how much there is, and what lines add to an image."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from microcalc.domain import BENIGN_CALCIUM, Mammogram
from microcalc.geometry import Grid
from microcalc.simulate.benign import PlacedBenign, PlacedLines, add_lines, draw_benign
from microcalc.simulate.bodies import Lines
from microcalc.simulate.confusers import CONFUSERS
from microcalc.simulate.insertion import Imaging
from microcalc.simulate.placement import PlacedCalcification
from microcalc.simulate.structure import Tubes
from microcalc.simulate.systems import SYSTEMS

SHAPE, SPACING_MM = (160, 110), 0.5
TAKEN = np.array([[40.0, 20.0], [20.0, 10.0]])
LOWER = np.array([[50.0, -5.0], [50.0, 60.0], [90.0, 60.0], [90.0, -5.0]])


def _drawn(seed: int, *, factor: float, view: str = "CC") -> list[PlacedBenign]:
    """Draw for half a disc of breast of 38 mm at the left edge, whose lower part is a region."""
    rows, columns = np.indices(SHAPE) * SPACING_MM
    breast = np.hypot(rows - 40.0, columns) < 38.0
    pixels = np.where(breast, 100.0, 0.0).astype(np.float32)
    pixels[80, 0] = 200.0  # so that the breast is not saturated
    image = Mammogram(pixels, (SPACING_MM, SPACING_MM), "processed", "1", view=view)
    return draw_benign(np.random.default_rng(seed), image, breast, factor=factor, taken_mm=TAKEN, regions_mm=[LOWER])


def test_every_kind_of_benign_calcium_is_drawn_and_nothing_else() -> None:
    drawn = [body for seed in range(4) for body in _drawn(seed, factor=16.0)]
    kinds = {row.kind for row in CONFUSERS.values()} & set(BENIGN_CALCIUM)
    assert {body.kind for body in drawn} == kinds
    assert len(kinds) == 10


def test_the_factor_is_one_on_the_rates_of_simulated_breasts() -> None:
    names = Counter(
        name.rsplit("-", 1)[0] for seed in range(30) for name in {body.cluster for body in _drawn(seed, factor=2.0)}
    )
    assert names["coarse"] / 30 == pytest.approx(2 * CONFUSERS["coarse"].rate, abs=0.3)
    assert names["arterial"] / 30 == pytest.approx(2 * CONFUSERS["arterial"].rate, abs=0.2)
    assert _drawn(0, factor=0.0) == []


def test_it_lies_in_the_breast_and_in_no_region_nor_at_known_calcium() -> None:
    for body in (body for seed in range(3) for body in _drawn(seed, factor=8.0)):
        if isinstance(body, PlacedCalcification):
            places = np.array([body.centre_mm])
        else:
            visible = body.tubes.weight > 0
            places = np.column_stack([body.tubes.rows[visible], body.tubes.columns[visible]])
        assert (np.hypot(places[:, 0] - 40.0, places[:, 1]) < 38.0).all()
        assert (places[:, 0] < 50.0).all()
        if body.kind == "coarse":
            assert np.hypot(*(TAKEN - places).T).min() > 4.5


@pytest.mark.parametrize(("view", "low", "high"), [("CC", 0.9, 1.1), ("MLO", 0.0, 0.8), ("LCC", 0.9, 1.1)])
def test_milk_of_calcium_is_round_from_above_and_a_crescent_from_the_side(view: str, low: float, high: float) -> None:
    bodies = (body for seed in range(10) for body in _drawn(seed, factor=4.0, view=view))
    seen = [b.calcification.thickness_mm > 0 for b in bodies if isinstance(b, PlacedCalcification) and "milk" in b.kind]
    assert len(seen) >= 4
    for filled in seen:
        assert low <= filled.any(axis=1).sum() / filled.any(axis=0).sum() <= high


def _straight(spacing_mm: tuple[float, float]) -> tuple[np.ndarray, Grid]:
    """The contrast of a straight line from (8, 6) to (14, 14) mm in an image of 20 x 20 mm."""
    t = np.linspace(0, 1, 251)[None]
    tubes = Tubes(8 + 6 * t, 6 + 8 * t, np.full(t.shape, 0.3), np.ones(t.shape), 0.04)
    lines = Lines(np.zeros((1, 251, 3)), tubes.radius_mm, tubes.weight, 0.04, 0.0, 2.0, "hydroxyapatite", 0.3)
    imaging = Imaging(SYSTEMS["ge"], spacing_mm, 0.0, scatter_to_primary=0.5, relative_noise=0.01)
    contrast = np.zeros([round(20 / s) for s in spacing_mm], dtype=np.float32)
    placed = PlacedLines(lines, tubes, "rod-like-1", "rod_like", "rod-like")
    add_lines(contrast, placed, grid=Grid(spacing_mm), imaging=imaging)
    return contrast, Grid(spacing_mm)


@pytest.mark.parametrize("spacing_mm", [(0.1, 0.1), (0.1, 0.16), (0.12, 0.1)])
def test_a_line_lies_where_it_is_said_to_lie_whatever_the_shape_of_the_pixels(spacing_mm: tuple[float, float]) -> None:
    contrast, grid = _straight(spacing_mm)
    rows, columns = np.nonzero(contrast > 0.5 * contrast.max())
    weight = contrast[rows, columns]
    middle = np.average(grid.to_mm(np.column_stack([rows, columns])), axis=0, weights=weight)
    assert middle == pytest.approx([11.0, 10.0], abs=0.05)
    square, _ = _straight((0.1, 0.1))
    area = spacing_mm[0] * spacing_mm[1] / 0.01
    assert contrast.sum() * area == pytest.approx(square.sum(), rel=0.03)


def test_the_discs_of_a_line_cover_it() -> None:
    t = np.linspace(0, 1, 251)[None]
    tubes = Tubes(8 + 6 * t, 6 + 8 * t, np.full(t.shape, 0.3), np.ones(t.shape), 0.04)
    lines = Lines(np.zeros((1, 251, 3)), tubes.radius_mm, tubes.weight, 0.04, 0.0, 2.0, "hydroxyapatite", 0.3)
    discs = PlacedLines(lines, tubes, "rod-like-1", "rod_like", "rod-like").discs((20.0, 20.0))
    assert len(discs) == 6
    assert (discs[:, 2] >= 2.0).all()
    along = np.column_stack([tubes.rows[0], tubes.columns[0]])
    away = np.hypot(*(along[:, None] - discs[None, :, :2]).transpose(2, 0, 1))
    assert (away <= discs[:, 2] / 2 + 1e-9).any(axis=1).all()


def test_the_discs_of_a_vessel_at_the_edge_lie_in_the_image_and_cover_the_wall_that_can_be_seen() -> None:
    rows = np.stack([np.full(100, -3.0), np.full(100, 1.0)])
    columns = np.tile(np.linspace(5, 9, 100), (2, 1))
    weight = np.stack([np.zeros(100), np.ones(100)])
    tubes = Tubes(rows, columns, np.full(rows.shape, 0.2), weight, 0.04)
    lines = Lines(np.zeros((1, 100, 3)), tubes.radius_mm, weight, 0.04, 4.0, 2.0, "hydroxyapatite", 0.3)
    discs = PlacedLines(lines, tubes, "arterial-1", "vascular", "arterial").discs((20.0, 20.0))
    assert (discs[:, 0] >= 0).all()
    away = np.hypot(discs[:, 0, None] - 1.0, discs[:, 1, None] - columns[1])
    assert (away <= discs[:, 2, None] / 2).any(axis=0).all()
