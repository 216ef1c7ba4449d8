from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.cascade.cascades import masks_of

from microcalc.cascade.haar import KINDS, Kind, all_features, draw_features, features_of

_DRAWN = draw_features(60, np.random.default_rng(0))


@pytest.mark.parametrize("kind", KINDS)
def test_the_level_of_the_tissue_cancels_in_every_feature(kind: Kind) -> None:
    masks = all_features(kind)
    assert len(masks) > 1000
    assert (masks.sum(axis=(1, 2)) == 0).all()
    assert masks.any(axis=(1, 2)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_value_fits_into_32_bits(kind: Kind) -> None:
    weights = np.abs(all_features(kind).astype(np.int64)).sum(axis=(1, 2))
    assert weights.max() * 1000 * 32 < 2**31  # of pixels at the ends of what is stored


@pytest.mark.parametrize("kind", KINDS)
def test_corners_and_masks_say_the_same(kind: Kind) -> None:
    masks = all_features(kind)[::7]
    np.testing.assert_array_equal(masks_of(features_of(masks)), masks)


@given(arrays(np.int64, (13, 13), elements=st.integers(-32000, 32000)))
def test_a_features_value_on_the_integral_image_is_its_weighted_sum_of_pixels(window: np.ndarray) -> None:
    integral = np.pad(window.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    of_corners = np.add.reduceat(_DRAWN.weight * integral[_DRAWN.row, _DRAWN.column], _DRAWN.start[:-1])
    np.testing.assert_array_equal(of_corners, (masks_of(_DRAWN) * window).sum(axis=(1, 2)))


def test_a_rectangle_beside_another_has_six_corners_and_one_in_another_eight() -> None:
    assert set(np.diff(features_of(all_features("two")).start)) == {6}
    assert set(np.diff(features_of(all_features("surround")).start)) == {8}


def test_a_bright_pixel_raises_what_surrounds_it_and_lowers_what_it_surrounds() -> None:
    masks = all_features("surround")
    assert (masks[:, 6, 6] > 0).any()
    assert (masks[:, 6, 6] < 0).any()


def test_drawn_features_differ_and_come_from_every_kind_alike() -> None:
    drawn = masks_of(draw_features(120, np.random.default_rng(1)))
    assert len(np.unique(drawn.reshape(120, -1), axis=0)) == 120
    for place, kind in enumerate(KINDS):
        own = {m.tobytes() for m in all_features(kind)}
        assert all(m.tobytes() in own for m in drawn[20 * place : 20 * (place + 1)])


def test_the_same_seed_draws_the_same_features() -> None:
    again = draw_features(60, np.random.default_rng(0))
    np.testing.assert_array_equal(again.weight, _DRAWN.weight)
    np.testing.assert_array_equal(masks_of(_DRAWN.chosen(np.array([5, 2]))), masks_of(_DRAWN)[[5, 2]])
