"""What is measured of processed images: order of grey levels against density."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from microcalc.simulate.systems import system
from microcalc.validation import files
from microcalc.validation.files import rank_correlation, with_small_receptor


def _breast() -> tuple[np.ndarray, np.ndarray]:
    density = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(500, 400)), 12.0)
    density = 0.1 * density / density.std()
    y, x = np.mgrid[:500, :400]
    return density, np.hypot((y - 250) / 240, x / 390) < 1


def test_a_monotone_processing_keeps_the_order_and_a_reversed_one_turns_it() -> None:
    density, inside = _breast()
    raw = -1000.0 * np.exp(-density)
    grey = np.where(inside, 2000.0 + 800.0 * np.tanh(5 * density), 0.0)
    assert rank_correlation(raw, grey, 0.1) > 0.99
    assert rank_correlation(raw, np.where(inside, 4095.0 - grey, 0.0), 0.1) < -0.99


def test_grey_levels_of_something_else_have_no_order() -> None:
    density, inside = _breast()
    grey = np.where(inside, 2000.0 + 500.0 * density[::-1, ::-1], 0.0)
    assert abs(rank_correlation(-1000.0 * np.exp(-density), grey, 0.1)) < 0.5


def test_a_reduced_receptor_keeps_its_pixels() -> None:
    s = with_small_receptor(system("ge"), 80.0)
    assert s.fields[0][0] * s.pitch_mm == pytest.approx(80.0, abs=0.1)
    assert s.pitch_mm == system("ge").pitch_mm


@pytest.mark.parametrize("tick_s", [0.01, 3.0])
def test_what_an_image_costs_does_not_depend_on_the_speed_of_the_processor(
    tick_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr("microcalc.validation.files.time.process_time", lambda: tick_s * next(ticks))
    monkeypatch.setattr(files, "simulate_mammogram", lambda *_, **__: [next(ticks) for _ in range(11)])
    work, _, note = files._cost(system("ge"), seed=1)
    assert work == pytest.approx(12.0)
    assert note.startswith(f"{12 * tick_s:.1f} s")
