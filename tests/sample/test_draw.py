from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.datasets.outlines import is_inside
from microcalc.domain import BENIGN_CALCIUM, Annotations
from microcalc.geometry import Grid
from microcalc.sample.draw import draw_negatives, negative_mask, peaks, positive_pixels, reviewed_negatives

_GRID = Grid((0.1, 0.1), (0.03, 0.05))
_BREAST = np.ones((40, 50), dtype=bool)


def _annotations(*places: tuple[float, float, str, float]) -> Annotations:
    """Places (row px, column px, kind, diameter mm)."""
    return Annotations(
        centres=_GRID.to_mm(np.array([place[:2] for place in places], dtype=np.float64)),
        diameter_mm=np.array([place[3] for place in places]),
        kind=np.array([place[2] for place in places]),
        cluster=np.array([""] * len(places)),
    )


def test_positives_are_the_pixels_within_the_radius_of_a_microcalcification_in_the_breast() -> None:
    breast = _BREAST.copy()
    breast[:, 21] = False
    found = positive_pixels(_annotations((10, 20, "microcalcification", 0.3)), breast, _GRID, radius_mm=0.1001)
    assert {(int(r), int(c)) for _, r, c in found} == {(10, 20), (9, 20), (11, 20), (10, 19)}


def test_the_nearest_pixel_is_positive_however_small_the_radius() -> None:
    found = positive_pixels(_annotations((10.4, 20.6, "microcalcification", 0.0)), _BREAST, _GRID, radius_mm=0.0)
    assert found.tolist() == [[0, 10, 21]]


def test_only_microcalcifications_are_positive_and_each_sample_names_its_own() -> None:
    kinds = (*BENIGN_CALCIUM, "no_calcium", "unsure")
    places = [(5.0, 5.0 + 6 * i, kind, 0.2) for i, kind in enumerate(kinds)]
    annotations = _annotations(*places, (30, 30, "microcalcification", 0.2), (-9, 3, "microcalcification", 0.2))
    assert positive_pixels(annotations, _BREAST, _GRID, radius_mm=0.0).tolist() == [[len(kinds), 30, 30]]


@pytest.mark.parametrize("kind", ["microcalcification", *BENIGN_CALCIUM, "unsure"])
def test_clearance_is_counted_from_the_edge_of_what_is_or_may_be_calcium(kind: str) -> None:
    mask = negative_mask(
        _annotations((20, 25, kind, 0.6)), _BREAST, _GRID, clearance_mm=0.5, unmeasured_clearance_mm=0.5
    )
    rows, columns = np.mgrid[:40, :50]
    distance_mm = 0.1 * np.hypot(rows - 20, columns - 25)
    assert not mask[distance_mm < 0.8 - 1e-6].any()
    assert mask[distance_mm > 0.8 + 1e-6].all()


def test_a_region_with_its_clearance_is_neither_positive_nor_negative_but_what_is_known_in_it_is_positive() -> None:
    corners = np.array([(10, 10), (10, 30), (20, 30), (20, 10)])
    places = _annotations(
        (15, 20, "calcification_region", 0.0), (12, 12, "no_calcium", 0.0), (18, 25, "microcalcification", 0.2)
    )
    annotations = replace(places, regions={0: _GRID.to_mm(corners)})
    mask = negative_mask(annotations, _BREAST, _GRID, clearance_mm=0.31, unmeasured_clearance_mm=9.0)
    rows, columns = np.mgrid[:40, :50]
    beyond_mm = 0.1 * np.hypot(
        np.maximum(np.maximum(10 - rows, rows - 20), 0), np.maximum(np.maximum(10 - columns, columns - 30), 0)
    )
    assert np.array_equal(mask, beyond_mm > 0.31)
    assert reviewed_negatives(annotations, mask, _GRID).size == 0
    assert positive_pixels(annotations, _BREAST, _GRID, radius_mm=0.0).tolist() == [[2, 18, 25]]


@given(
    st.lists(st.tuples(st.floats(-10, 60), st.floats(-10, 60)), min_size=3, max_size=7),
    st.tuples(st.integers(0, 39), st.integers(0, 49)),
)
def test_no_pixel_inside_any_outline_of_a_region_is_negative(
    corners: list[tuple[float, float]], pixel: tuple[int, int]
) -> None:
    annotations = replace(
        _annotations((*corners[0], "calcification_region", 0.0)), regions={0: _GRID.to_mm(np.array(corners))}
    )
    mask = negative_mask(annotations, _BREAST, _GRID, clearance_mm=0.05, unmeasured_clearance_mm=0.0)
    assert not (mask[pixel] and is_inside(pixel, tuple(corners)))


def test_what_was_judged_free_of_calcium_stays_negative_and_outside_the_breast_nothing_is() -> None:
    breast = _BREAST.copy()
    breast[:5] = False
    mask = negative_mask(
        _annotations((20, 25, "no_calcium", 1.0)), breast, _GRID, clearance_mm=0.5, unmeasured_clearance_mm=0.5
    )
    assert np.array_equal(mask, breast)


def test_clearance_reaches_in_from_beyond_the_border() -> None:
    mask = negative_mask(
        _annotations((-2, 25, "coarse", 0.0), (90, 90, "coarse", 0.0)),
        _BREAST,
        _GRID,
        clearance_mm=0.4,
        unmeasured_clearance_mm=0.4,
    )
    assert not mask[1, 25]
    assert np.count_nonzero(~mask) < 20


def test_no_pixel_is_both_positive_and_negative() -> None:
    annotations = _annotations((10.3, 20.7, "microcalcification", 0.0), (12.0, 22.0, "microcalcification", 0.2))
    positive = positive_pixels(annotations, _BREAST, _GRID, radius_mm=0.1)
    negative = negative_mask(annotations, _BREAST, _GRID, clearance_mm=0.2, unmeasured_clearance_mm=0.2)
    assert not negative[positive[:, 1], positive[:, 2]].any()


def test_negatives_are_drawn_from_the_mask_once_each_and_all_where_there_are_few() -> None:
    mask = np.random.default_rng(1).random((40, 50)) < 0.2
    drawn = draw_negatives(mask, n=100, rng=np.random.default_rng(2))
    assert len({tuple(s) for s in drawn.tolist()}) == 100
    assert mask[drawn[:, 1], drawn[:, 2]].all()
    everything = draw_negatives(mask, n=10_000, rng=np.random.default_rng(2))
    assert np.array_equal(everything[:, 1:], np.argwhere(mask))


@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 50), distance=st.integers(1, 6))
def test_peaks_are_the_highest_first_one_per_neighbourhood_and_inside_the_mask(
    seed: int, levels: int, distance: int
) -> None:
    rng = np.random.default_rng(seed)
    rating = rng.integers(0, levels, (25, 30)).astype(np.float32)  # few levels: plateaus
    mask = rng.random(rating.shape) < 0.8
    found = peaks(rating, mask, n=10_000, distance_px=distance)
    values = rating[found[:, 1], found[:, 2]]
    assert mask[found[:, 1], found[:, 2]].all()
    assert (np.diff(values) <= 0).all()
    assert values[0] == rating[mask].max()
    apart = np.abs(found[:, None, 1:] - found[None, :, 1:]).max(axis=2)
    assert (apart[~np.eye(len(found), dtype=bool)] > distance).all()
    assert np.array_equal(peaks(rating, mask, n=3, distance_px=distance), found[:3])


def test_a_mask_of_nothing_has_no_peaks() -> None:
    assert peaks(np.ones((5, 5), dtype=np.float32), np.zeros((5, 5), dtype=bool), n=9, distance_px=1).shape == (0, 3)


def test_what_nobody_measured_keeps_a_clearance_of_its_own() -> None:
    mask = negative_mask(
        _annotations((20, 25, "microcalcification", 0.0)), _BREAST, _GRID, clearance_mm=0.2, unmeasured_clearance_mm=1.0
    )
    rows, columns = np.mgrid[:40, :50]
    distance_mm = 0.1 * np.hypot(rows - 20, columns - 25)
    assert not mask[distance_mm < 1.0 - 1e-6].any()
    assert mask[distance_mm > 1.0 + 1e-6].all()
