from __future__ import annotations

import numpy as np
import pytest
from tests.cascade.cascades import masks_of, random_mammogram, stored

from microcalc.cascade.haar import draw_features
from microcalc.cascade.windows import by_image, feature_values, integral_windows, quantised
from microcalc.sample.store import StoredImage, gather

_RNG = np.random.default_rng(3)
_IMAGES = [stored(random_mammogram(_RNG, scale=scale)) for scale in (1.0, 500.0)]
_SAMPLES = np.array([[0, 3, 0], [0, 40, 44], [1, 20, 7], [1, 0, 0]], dtype=np.int32)


def test_values_are_weighted_sums_of_the_patch_around_the_sample() -> None:
    features = draw_features(40, _RNG)
    found = feature_values(integral_windows(_IMAGES, _SAMPLES), features)
    patches = quantised(gather(_IMAGES, _SAMPLES, margin_px=6)).astype(np.int64)  # (n, 13, 13)
    np.testing.assert_array_equal(found, np.einsum("frc,nrc->fn", masks_of(features), patches))


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_window_is_the_patch_turned(turn: int) -> None:
    features = draw_features(40, _RNG)
    found = feature_values(integral_windows(_IMAGES, _SAMPLES, turns=np.full(4, turn, dtype=np.uint8)), features)
    patches = quantised(gather(_IMAGES, _SAMPLES, margin_px=6)).astype(np.int64)
    mirrored = patches[:, :, ::-1] if turn >= 4 else patches
    every = [np.einsum("frc,nrc->fn", masks_of(features), np.rot90(mirrored, k, axes=(1, 2))) for k in range(4)]
    assert sum(np.array_equal(found, values) for values in every) == 1


def test_the_eight_turns_are_different() -> None:
    windows = integral_windows(_IMAGES, np.repeat(_SAMPLES[:1], 8, axis=0), turns=np.arange(8, dtype=np.uint8))
    assert len(np.unique(windows, axis=1).T) == 8


def test_quantising_rounds_to_a_32nd_of_the_noise() -> None:
    pixels = np.array([0, 1, -1, 0.5, 1 / 64, 7.3, 5000, -5000], dtype=np.float32)
    np.testing.assert_array_equal(quantised(pixels), [0, 32, -32, 16, 0, 234, 32000, -32000])


def test_a_stored_image_quantises_as_its_mammogram() -> None:
    mammogram = random_mammogram(_RNG, scale=30.0)
    np.testing.assert_array_equal(quantised(stored(mammogram, border_px=0).pixels), quantised(mammogram.pixels))


def test_samples_are_taken_image_by_image() -> None:
    assert list(by_image(_SAMPLES)) == [(0, slice(0, 2)), (1, slice(2, 4))]
    assert list(by_image(_SAMPLES[:0])) == []


def test_a_border_narrower_than_the_window_is_refused() -> None:
    narrow = stored(random_mammogram(_RNG), border_px=5)
    assert isinstance(narrow, StoredImage)
    with pytest.raises(ValueError, match="border 5 px, expected at least 6 px"):
        integral_windows([narrow], _SAMPLES[:1])
