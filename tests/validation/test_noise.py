"""Noise measures give back what synthetic noise was made with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from microcalc.validation.noise import (
    NoiseModel,
    fit_noise,
    log_slope,
    neighbour_correlation,
    noise_of,
    noise_power_spectrum,
    power_at,
)


def test_what_two_exposures_share_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    pattern = 50.0 * rng.random((400, 400))
    pair = [(pattern + rng.normal(0.0, 3.0, pattern.shape)).astype(np.float32) for _ in range(2)]
    assert noise_of(*pair).std() == pytest.approx(3.0, rel=0.01)


def test_neighbours_of_a_moving_average_share_half_their_noise_along_it() -> None:
    white = np.random.default_rng(1).normal(size=(600, 601))
    rows, columns = neighbour_correlation(white[:, 1:] + white[:, :-1])
    assert (rows, columns) == pytest.approx((0.0, 0.5), abs=0.01)


def test_the_power_of_white_noise_is_its_variance_times_the_pixel() -> None:
    noise = np.random.default_rng(2).normal(0.0, 2.0, (512, 512))
    power, f = noise_power_spectrum(noise, 0.1)
    assert power_at(power, f, 1.0, width=0.25) == pytest.approx(4.0 * 0.01, rel=0.05)
    assert power_at(power, f, 4.0, width=0.25) == pytest.approx(4.0 * 0.01, rel=0.05)


def test_the_power_of_blurred_noise_is_the_blur_squared() -> None:
    pitch, sigma_px = 0.1, 1.2
    white = np.random.default_rng(3).normal(size=(768, 768))
    power, f = noise_power_spectrum(ndimage.gaussian_filter(white, sigma_px), pitch)
    measured = power_at(power, f, 2.0, width=0.1) / power_at(power, f, 0.5, width=0.1)
    transfer = np.exp(-2.0 * (np.pi * sigma_px * pitch * np.array([2.0, 0.5])) ** 2)
    assert measured == pytest.approx((transfer[0] / transfer[1]) ** 2, rel=0.1)


def test_the_three_terms_of_the_noise_come_back() -> None:
    signal = np.geomspace(20.0, 2000.0, 9)
    model = fit_noise(signal, 2.5**2 + 0.13 * signal + (0.002 * signal) ** 2)
    assert (model.electronic, model.quantum, model.fixed) == pytest.approx((2.5, 0.13, 0.002), rel=1e-3)


@pytest.mark.parametrize("fixed", [0.0, 0.003])
def test_stabilised_noise_has_a_deviation_of_one_at_every_signal(fixed: float) -> None:
    rng, model = np.random.default_rng(4), NoiseModel(2.0, 0.1, fixed)
    for signal in (50.0, 300.0, 1500.0):
        sd = np.sqrt(2.0**2 + 0.1 * signal + (fixed * signal) ** 2)
        values = (signal + rng.normal(0.0, sd, 200_000)).astype(np.float32)
        assert model.stabilised(values).std() == pytest.approx(1.0, abs=0.01)


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    x = np.array([20.0, 50.0, 100.0, 200.0])
    assert log_slope(x, 3.0 * x**0.97) == pytest.approx(0.97)
