"""One unit is one noise standard deviation, whatever the exposure, the processing or the place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Intent
from microcalc.normalise.noise import (
    _interpolated,
    _order,
    _square_root,
    _white_gain,
    equalise_noise,
    high_pass,
    noise_by_level,
)

EXPOSURES = (200.0, 400.0, 800.0, 1200.0)


def _ramp(low: float = 150.0, high: float = 1300.0) -> np.ndarray:
    return np.array(np.broadcast_to(np.linspace(low, high, 700), (256, 700)))


def _noisy(exposure: np.ndarray, variance: np.ndarray, *, seed: int = 0) -> np.ndarray:
    return np.asarray(exposure + np.random.default_rng(seed).normal(size=exposure.shape) * np.sqrt(variance))


def _sd_by_band(stable: np.ndarray, bands: int = 7) -> np.ndarray:
    residual = high_pass(stable.astype(np.float32), spacing_mm=0.1)[0][8:-8]
    return np.array([part.std() for part in np.array_split(residual[:, 8:-8], bands, axis=1)])


@pytest.mark.parametrize(("a", "b"), [(0.117, 4.0), (0.04, 4.0), (0.13, 5.2), (0.2, 100.0)])
def test_flat_fields_of_any_exposure_come_to_one(a: float, b: float) -> None:
    exposure = _ramp()
    pixels = -_noisy(exposure, a * exposure + b).astype(np.float32)
    stable = equalise_noise(pixels, np.ones(pixels.shape, dtype=bool), spacing_mm=0.1, intent="raw")
    assert _sd_by_band(stable) == pytest.approx(1.0, abs=0.03)


def test_one_flat_field_comes_to_one() -> None:
    pixels = -_noisy(np.full((300, 300), 600.0), np.array(70.0)).astype(np.float32)
    stable = equalise_noise(pixels, np.ones(pixels.shape, dtype=bool), spacing_mm=0.1, intent="raw")
    assert _sd_by_band(stable, 3) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_no_noise_at_all_gives_no_contrast(intent: Intent) -> None:
    pixels = np.full((100, 100), -500.0 if intent == "raw" else 500.0, dtype=np.float32)
    stable = equalise_noise(pixels, np.ones(pixels.shape, dtype=bool), spacing_mm=0.1, intent=intent)
    assert np.ptp(stable) == 0.0


_CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "logarithm": lambda x: 4000.0 - 500.0 * np.log(x),
    "power": lambda x: 4000.0 - 60.0 * x**0.5,
    "sigmoid": lambda x: 4000.0 / (1.0 + np.exp((np.log(x) - 6.3) / 0.45)),
}


@pytest.mark.parametrize("curve", _CURVES)
def test_an_unknown_monotone_grey_curve_is_undone_at_every_level(curve: str) -> None:
    exposure = _ramp()
    pixels = _CURVES[curve](_noisy(exposure, 0.117 * exposure + 4.0)).astype(np.float32)
    stable = equalise_noise(pixels, np.ones(pixels.shape, dtype=bool), spacing_mm=0.1, intent="processed")
    assert _sd_by_band(stable) == pytest.approx(1.0, abs=0.08)
    smooth = ndimage.gaussian_filter(stable, 8.0)[128]
    assert (np.diff(smooth[20:-20:20]) < 0).all(), "more exposure is darker"


def test_a_gain_that_falls_over_the_field_is_divided_out_and_one_single_figure_is_not_enough() -> None:
    heel = np.broadcast_to(np.linspace(1.0, 0.7, 900), (512, 900))
    exposure = np.full(heel.shape, 800.0)
    pixels = -_noisy(exposure, 0.117 * exposure / heel**3).astype(np.float32)
    tissue = np.ones(pixels.shape, dtype=bool)
    local = _sd_by_band(equalise_noise(pixels, tissue, spacing_mm=0.1, intent="raw"))
    assert local == pytest.approx(1.0, abs=0.06)
    residual, level = high_pass(pixels, spacing_mm=0.1)
    single = _sd_by_band(_square_root(pixels, *noise_by_level(residual, level, tissue)))
    assert np.abs(single / single.mean() - 1).max() > 0.15, "the test sees the gain"


@pytest.mark.parametrize("spacing_mm", [0.05, 0.1, 0.2, 0.4])
def test_white_noise_keeps_its_deviation_in_the_high_pass_at_any_spacing(spacing_mm: float) -> None:
    noise = np.random.default_rng(0).normal(size=(500, 500)).astype(np.float32)
    assert high_pass(noise, spacing_mm=spacing_mm)[0].std() == pytest.approx(1.0, abs=0.04)


def _wave_kept(wavelength_mm: float, spacing_mm: float) -> float:
    """How much of a wave's amplitude the high-pass leaves, next to what it leaves of white noise."""
    x = np.arange(round(20.0 / spacing_mm)) * spacing_mm
    wave = np.tile(np.sin(2 * np.pi * x / wavelength_mm), (40, 1)).astype(np.float32)
    middle = high_pass(wave, spacing_mm=spacing_mm)[0][20, x.size // 4 : -x.size // 4]
    return float(np.sqrt(2) * middle.std() * _white_gain(0.2 / spacing_mm))


@pytest.mark.parametrize("spacing_mm", [0.05, 0.07, 0.2])
@pytest.mark.parametrize("wavelength_mm", [1.0, 1.6, 3.0])
def test_the_high_pass_is_one_length_in_millimetres_whatever_the_spacing(
    wavelength_mm: float, spacing_mm: float
) -> None:
    assert _wave_kept(wavelength_mm, spacing_mm) == pytest.approx(_wave_kept(wavelength_mm, 0.1), abs=0.02)


@pytest.mark.parametrize("spacing_mm", [0.05, 0.2])
def test_a_gain_that_varies_over_the_field_is_divided_out_over_the_same_length_at_any_spacing(
    spacing_mm: float,
) -> None:
    rows, columns = (round(n / spacing_mm) for n in (40.0, 80.0))
    gain = np.where(np.arange(columns) * spacing_mm < 40.0, 1.0, 0.6)
    pixels = (1000.0 + 10.0 * gain * np.random.default_rng(0).normal(size=(rows, columns))).astype(np.float32)
    stable = equalise_noise(pixels, np.ones(pixels.shape, dtype=bool), spacing_mm=spacing_mm, intent="processed")
    quarter = columns // 4
    assert stable[:, :quarter].std() == pytest.approx(stable[:, -quarter:].std(), rel=0.1)


def test_rare_bright_calcifications_do_not_change_the_unit() -> None:
    rng = np.random.default_rng(1)
    pixels = (np.linspace(600.0, 1400.0, 300) + rng.normal(0.0, 10.0, (300, 300))).astype(np.float32)
    specks = pixels.copy()
    for row, column in rng.integers(10, 290, (40, 2)):
        specks[row : row + 3, column : column + 3] += 200.0
    tissue = np.ones(pixels.shape, dtype=bool)
    plain, with_specks = (equalise_noise(p, tissue, spacing_mm=0.1, intent="processed") for p in (pixels, specks))
    assert _sd_by_band(plain, 1)[0] == pytest.approx(1.0, abs=0.03)
    contrast = (with_specks - plain)[specks > pixels]
    assert np.median(contrast) == pytest.approx(20.0, rel=0.2)


def test_the_order_is_that_of_a_stable_sort() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=500), rng.integers(-3, 3, 500), [-0.0, 0.0, -0.0]]).astype(np.float32)
    np.testing.assert_array_equal(_order(values), np.argsort(values, kind="stable"))


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_even_knots_need_no_search(scale: float) -> None:
    rng = np.random.default_rng(0)
    pixels = (scale * rng.random((20, 300))).astype(np.float32)
    knots = np.linspace(float(pixels.min()), float(pixels.max()), 1024)
    values = np.cumsum(rng.random(1024))
    expected = np.interp(pixels, knots, values).astype(np.float32)
    np.testing.assert_allclose(_interpolated(pixels, knots, values), expected, rtol=1e-6)


@pytest.mark.parametrize("end", ["black", "white"])
def test_what_is_left_of_the_noise_in_a_clipped_area_is_no_speck(end: str) -> None:
    grey = _noisy(np.broadcast_to(np.linspace(-60.0, 180.0, 700), (256, 700)), np.array(25.0))
    pixels = np.rint(np.clip(grey, 0.0, 255.0)).astype(np.float32)
    if end == "white":
        pixels = 255.0 - pixels
    stable = equalise_noise(pixels, np.ones(pixels.shape, dtype=bool), spacing_mm=0.1, intent="processed")
    residual = np.abs(high_pass(stable, spacing_mm=0.1)[0][8:-8])
    clipped, shown = residual[:, 100:200], residual[:, 300:650]
    assert clipped.max() < shown.max()
    assert 1.4826 * np.median(shown) == pytest.approx(1.0, abs=0.05)


def _clipped_field(black: float, white: float, low: float, high: float) -> tuple[FloatImage, BoolImage, slice]:
    """Return tissue of which these parts are clipped to either end, in air with a letter, and the columns not clipped.

    The noise is greatest in the middle of the grey scale.
    """
    noise = 0.02 * (high - low)
    shown = np.linspace(low + 4 * noise, high - 4 * noise, 400)
    steep = np.linspace(-6 * noise, 4 * noise, 60)
    wide = round(520 / (1.0 - black - white))
    columns = [np.full(round(black * wide), low - 6 * noise), low + steep, shown]
    columns += [high - steep[::-1], np.full(round(white * wide), high + 6 * noise)]
    level = np.broadcast_to(np.concatenate(columns), (256, sum(c.size for c in columns)))
    law = noise * (0.6 + 0.4 * np.sin(np.pi * np.clip((level - low) / (high - low), 0.0, 1.0)))
    pixels = np.zeros((320, level.shape[1]), dtype=np.float32)
    pixels[:256] = np.rint(np.clip(_noisy(level, law**2), low, high))
    pixels[290:310, 40:60] = 1.2 * high
    tissue = np.zeros(pixels.shape, dtype=bool)
    tissue[10:246] = True
    return pixels, tissue, slice(columns[0].size + 60, columns[0].size + 460)


_PARTS = [(0.0, 0.0), (0.02, 0.0), (0.3, 0.0), (0.55, 0.0), (0.85, 0.0), (0.4, 0.4), (0.6, 0.2)]


@pytest.mark.parametrize(("low", "high"), [(0.0, 255.0), (1.0, 1023.0), (300.0, 4095.0)])
@pytest.mark.parametrize(("black", "white"), [*_PARTS, (0.0, 0.3), (0.0, 0.55), (0.0, 0.85)])
def test_the_unit_does_not_depend_on_how_much_is_clipped_nor_to_which_value(
    black: float, white: float, low: float, high: float
) -> None:
    pixels, tissue, columns = _clipped_field(black, white, low, high)
    stable = equalise_noise(pixels, tissue, spacing_mm=0.1, intent="processed")
    residual = high_pass(stable, spacing_mm=0.1)[0][20:236]
    shown = residual[:, columns]
    units = [1.4826 * np.median(np.abs(part)) for part in np.array_split(shown, 5, axis=1)]
    np.testing.assert_allclose(units, 1.0, atol=0.06)
    for clipped in (residual[:, 8 : max(8, columns.start - 70)], residual[:, columns.stop + 70 : -8]):
        assert np.abs(clipped).max(initial=0.0) < 2.0, "no specks"


def test_the_unit_does_not_depend_on_grains_in_the_black() -> None:
    pixels, tissue, columns = _clipped_field(0.8, 0.0, 0.0, 255.0)
    rng = np.random.default_rng(1)
    grains = (pixels == 0.0) & tissue & (rng.random(pixels.shape) < 0.2)
    pixels[grains] = rng.integers(1, 3, np.count_nonzero(grains))
    stable = equalise_noise(pixels, tissue, spacing_mm=0.1, intent="processed")
    residual = high_pass(stable, spacing_mm=0.1)[0][20:236]
    assert 1.4826 * np.median(np.abs(residual[:, columns])) == pytest.approx(1.0, abs=0.05)
    assert np.abs(residual[:, 8 : columns.start - 70]).max() < 2.0, "no specks"


@pytest.mark.parametrize("grey", [0.0, 100.0, 255.0])
def test_a_picture_of_hardly_more_than_black_and_white_has_a_unit(grey: float) -> None:
    pixels = np.where(np.arange(400) < 200, 0.0, 255.0) * np.ones((300, 1))
    pixels[100:110, 190:210] = grey
    stable = equalise_noise(
        pixels.astype(np.float32), np.ones(pixels.shape, dtype=bool), spacing_mm=0.1, intent="processed"
    )
    assert np.isfinite(stable).all()
