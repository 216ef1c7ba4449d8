"""Places of inserted calcifications: in the breast, apart, mostly in denser tissue."""

from __future__ import annotations

import numpy as np
import pytest

from microcalc.domain import Mammogram
from microcalc.simulate.placement import coarse_breast, draw_centres


def _places(seed: int, *, n: int = 8, taken: np.ndarray | None = None) -> np.ndarray:
    allowed = np.zeros((100, 80), dtype=bool)
    allowed[10:90, 5:70] = True
    brightness = np.tile(np.arange(80, dtype=np.float32), (100, 1))
    taken_mm = np.zeros((0, 2)) if taken is None else taken
    return draw_centres(
        np.random.default_rng(seed), allowed, brightness, n=n, spacing_mm=1.0, min_distance_mm=12.0, taken_mm=taken_mm
    )


def test_places_lie_in_the_breast_apart_from_each_other_and_from_what_is_known() -> None:
    taken = np.array([[50.0, 40.0], [20.0, 20.0]])
    for seed in range(10):
        places = _places(seed, taken=taken)
        both = np.concatenate([places, taken])
        apart = np.hypot(*(both[:, None] - both[None]).transpose(2, 0, 1)) + 99 * np.eye(len(both))
        assert apart[: len(places)].min() >= 12.0
        assert (places >= [9.5, 4.5]).all()
        assert (places <= [89.5, 69.5]).all()


def test_most_places_lie_in_the_denser_half() -> None:
    columns = np.concatenate([_places(seed, n=1)[:, 1] for seed in range(300)])
    assert np.mean(columns > 37.0) == pytest.approx(5 / 6, abs=0.07)


def test_where_room_is_short_there_are_fewer_places_and_without_room_none() -> None:
    assert 5 <= len(_places(0, n=200)) < 60
    empty = draw_centres(
        np.random.default_rng(0), np.zeros((9, 9), dtype=bool), np.zeros((9, 9), dtype=np.float32),
        n=3, spacing_mm=1.0, min_distance_mm=1.0, taken_mm=np.zeros((0, 2)),
    )  # fmt: skip
    assert empty.shape == (0, 2)


@pytest.mark.parametrize("letter", [3000.0, 4095.0])
def test_nothing_lies_where_the_breast_is_saturated_however_bright_a_letter_beside_it_is(letter: float) -> None:
    pixels = np.full((200, 160), 1000.0, dtype=np.float32)
    tissue = np.zeros(pixels.shape, dtype=bool)
    tissue[:, :120] = True
    pixels[:90, :120] = 3000.0
    pixels[10:30, 130:150] = letter
    breast = coarse_breast(Mammogram(pixels, (0.5, 0.5), "processed", "1"), tissue, skin_mm=3.0)
    rows, columns = (np.indices(breast.allowed.shape) + 0.5) * breast.spacing_mm
    assert not breast.allowed[rows < 46.0].any()
    assert breast.allowed[(rows > 50.0) & (rows < 95.0) & (columns > 5.0) & (columns < 55.0)].all()
