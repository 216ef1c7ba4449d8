"""Tiles hold the image as it is, and reduced levels keep what a reader looks for."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microcalc.errors import InputError
from microcalc.viewer.pixels import TILE_PX, Pyramid, PyramidCache, make_pyramid, pyramid_of_values, reduced_levels


def _pyramid(pixels: np.ndarray) -> Pyramid:
    return make_pyramid(pixels.astype(np.float32), "processed")


@given(
    arrays(np.int32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(-60000, 5000)),
)
@settings(max_examples=40)
def test_whole_values_come_back_exactly_from_their_tiles(pixels: np.ndarray) -> None:
    pyramid = _pyramid(pixels)
    values = pyramid.tile(len(pyramid.levels) - 1, 0, 0) * pyramid.scale + pyramid.offset
    np.testing.assert_array_equal(values, pixels) if np.ptp(pixels) <= 65535 else np.testing.assert_allclose(
        values, pixels, atol=np.ptp(pixels) / 65535
    )


def test_fractional_values_come_back_within_a_step_of_sixteen_bits() -> None:
    pixels = np.random.default_rng(1).normal(0, 1, (30, 20))
    pyramid = _pyramid(pixels)
    np.testing.assert_allclose(pyramid.levels[0] * pyramid.scale + pyramid.offset, pixels, atol=pyramid.scale)


def test_tiles_put_together_are_the_level() -> None:
    codes = np.random.default_rng(2).integers(0, 65536, (1300, 1100)).astype(np.uint16)
    pyramid = _pyramid(codes)
    for level in range(len(pyramid.levels)):
        whole = pyramid.levels[-1 - level]
        across, down = (-(-n // TILE_PX) for n in reversed(whole.shape))
        rows = [np.hstack([pyramid.tile(level, x, y) for x in range(across)]) for y in range(down)]
        np.testing.assert_array_equal(np.vstack(rows), whole)
        for column, row in ((across, 0), (0, down), (-1, 0), (0, -1)):
            with pytest.raises(InputError, match="expected one inside the image"):
                pyramid.tile(level, column, row)


def test_levels_are_halves_rounded_up_and_the_last_is_one_tile() -> None:
    levels = reduced_levels(np.zeros((1025, 2049), np.uint16))
    assert [level.shape for level in levels] == [(1025, 2049), (513, 1025), (257, 513), (129, 257)]


def test_a_microcalcification_of_one_pixel_stays_visible_at_every_level_and_noise_does_not_grow() -> None:
    rng, noise = np.random.default_rng(3), 20.0
    pixels = rng.normal(2000, noise, (2048, 2048))
    place = (1201, 803)
    pixels[place] += 20 * noise
    levels = reduced_levels(pixels.astype(np.uint16))
    for k, level in enumerate(levels):
        background = float(np.median(level))
        assert abs(background - 2000) < noise  # the picture is not brightened
        assert level[place[0] >> k, place[1] >> k] - background > 10 * noise
        assert (level > 2000 + 10 * noise).sum() == 1  # and nothing else looks like calcium


def test_a_layer_keeps_its_values_between_its_limits() -> None:
    values = np.array([[0.0, 0.5, 1.0, 2.0]], dtype=np.float32)
    pyramid = pyramid_of_values(values, 0.0, 1.0)
    np.testing.assert_allclose(pyramid.levels[0] * pyramid.scale + pyramid.offset, [[0, 0.5, 1, 1]], atol=1e-4)


def test_content_is_where_the_breast_is() -> None:
    pixels = np.zeros((1200, 1000))
    pixels[400:800, 0:300] = 1000
    left, top, right, bottom = _pyramid(pixels).content
    assert (left, top, right, bottom) == (0, 400, 300, 800)
    assert _pyramid(np.zeros((20, 30))).content == (0, 0, 30, 20)


def test_the_cache_keeps_to_its_bytes_and_makes_each_pyramid_once() -> None:
    made: list[str] = []
    cache = PyramidCache(most_bytes=250_000)

    def make(name: str) -> None:
        def one() -> object:
            made.append(name)
            return _pyramid(np.zeros((200, 200)))

        cache.get(name, one)  # type: ignore[arg-type]

    threads = [threading.Thread(target=make, args=("a",)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["a"]
    for name in ("b", "c", "d", "d", "a"):
        make(name)
    assert made == ["a", "b", "c", "d", "a"]
    assert sum(p.n_bytes for p in cache._pyramids.values()) <= 250_000
