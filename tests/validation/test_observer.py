"""Model observers against details in noise, where d' is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from microcalc.domain import FloatImage
from microcalc.validation.observer import eye_filtered, hotelling_d_prime, matched_filter_d_prime

PITCH = 0.08


def _array(amplitude: float, sigma_px: float, side: int = 800) -> tuple[FloatImage, np.ndarray]:
    nodes = np.arange(20, side - 20, 20)
    places = np.array([(r, c) for r in nodes for c in nodes], dtype=np.float64)
    points = np.zeros((side, side))
    points[places[:, 0].astype(int), places[:, 1].astype(int)] = amplitude * 2 * np.pi * sigma_px**2
    return ndimage.gaussian_filter(points, sigma_px).astype(np.float32), places


def _noise(seed: int, side: int = 800) -> FloatImage:
    return np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)


def test_without_prewhitening_d_prime_is_that_of_the_formula() -> None:
    signal, places = _array(2.0, 1.5)
    found = matched_filter_d_prime(_noise(1) + signal, _noise(2), signal, places, half_px=9, pitch_mm=PITCH)
    one, _ = _array(2.0, 1.5, side=41)  # a single one, at (20, 20)
    power = np.abs(np.fft.fft2(one)) ** 2
    f = np.hypot(np.fft.fftfreq(41, PITCH)[:, None], np.fft.fftfreq(41, PITCH)[None, :])
    eye2 = f * np.exp(-2 * (f / 3.4) ** 2)
    expected = np.sum(power * eye2) / np.sqrt(np.sum(power * eye2**2) * 41 * 41)
    assert found == pytest.approx(expected, rel=0.06)


def test_the_hotelling_observer_comes_near_the_ideal_in_white_noise_and_not_beyond() -> None:
    signal, places = _array(1.5, 1.2)
    found = hotelling_d_prime(_noise(3) + signal, _noise(4), places, pitch_mm=PITCH)
    ideal = 1.5 * np.sqrt(np.pi) * 1.2
    assert 0.8 * ideal < found < 1.05 * ideal


def test_structure_disturbs_the_hotelling_observer_less() -> None:
    signal, places = _array(3.0, 1.2)
    slow = 60.0 * ndimage.gaussian_filter(_noise(9), 12.0)
    image, without = _noise(5) + signal + slow, _noise(6) + slow
    plain = matched_filter_d_prime(image, without, signal, places, half_px=9, pitch_mm=PITCH)
    assert hotelling_d_prime(image, without, places, pitch_mm=PITCH) > plain


def test_the_eye_sees_no_level() -> None:
    assert np.abs(eye_filtered(np.full((64, 64), 7.0), PITCH)).max() < 1e-9
