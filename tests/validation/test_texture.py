"""Texture measures give back the exponent and the Gaussianity of synthetic fields."""

from __future__ import annotations

import numpy as np
import pytest

from microcalc.validation.texture import gabor_excess, largest_square, periodic_part, phase_scrambled, power_exponents


def power_law(beta: float, seed: int, side: int = 900, pitch: float = 0.1) -> np.ndarray:
    f = np.hypot(np.fft.fftfreq(side, pitch)[:, None], np.fft.rfftfreq(side, pitch)[None, :])
    f[0, 0] = f[0, 1]
    white = np.random.default_rng(seed).normal(size=(side, side))
    return np.fft.irfft2(np.fft.rfft2(white) * f ** (-beta / 2), s=(side, side)).astype(np.float32)


@pytest.mark.parametrize("beta", [2.6, 3.2, 3.7])
def test_the_exponent_of_a_power_law_comes_back(beta: float) -> None:
    found, fine = power_exponents(power_law(beta, 1), np.ones((900, 900), dtype=np.bool_), 0.1)
    assert found.mean() == pytest.approx(beta, abs=0.08)
    assert 0.1 < found.std() < 0.35
    assert fine.mean() == pytest.approx(beta, abs=0.15)


def test_noise_flattens_the_fine_end_only() -> None:
    field = power_law(3.2, 2)
    noisy = field / field.std() + 0.15 * np.random.default_rng(3).normal(size=field.shape)
    found, fine = power_exponents(noisy.astype(np.float32), np.ones(field.shape, dtype=np.bool_), 0.1)
    assert found.mean() == pytest.approx(3.2, abs=0.12)
    assert fine.mean() < 0.3


def test_regions_lie_within_the_mask() -> None:
    mask = np.zeros((900, 900), dtype=np.bool_)
    mask[100:360, 100:360] = True  # one region of 256 pixels fits, on the grid of steps of 64
    mask[:, 600:700] = True
    found, _ = power_exponents(power_law(3.0, 4), mask, 0.1)
    assert len(found) <= 1


def test_gaussian_fields_have_no_excess_at_any_frequency() -> None:
    excess = np.mean([gabor_excess(periodic_part(power_law(3.0, s, side=512)), 0.1) for s in range(5, 9)], axis=0)
    assert np.abs(excess).max() < 0.15


def test_lines_have_excess_that_scrambling_their_phases_takes_away() -> None:
    rng = np.random.default_rng(7)
    field = power_law(3.0, 8, side=600).astype(np.float64)
    field /= field.std()
    for _ in range(25):  # thin oblique lines
        r, c, angle = rng.uniform(0, 600), rng.uniform(0, 600), rng.uniform(0, np.pi)
        y, x = np.mgrid[:600, :600]
        across = (x - c) * np.sin(angle) - (y - r) * np.cos(angle)
        along = (x - c) * np.cos(angle) + (y - r) * np.sin(angle)
        field += 1.5 * np.exp(-((across / 4.0) ** 2)) * (np.abs(along) < 60)
    region = periodic_part(field)
    lines, scrambled = gabor_excess(region, 0.1), gabor_excess(phase_scrambled(rng, region), 0.1)
    assert min(lines[1:]) > 0.5
    assert np.abs(scrambled).max() < 0.3


def test_scrambling_keeps_the_power_spectrum() -> None:
    region = power_law(3.0, 9, side=128).astype(np.float64)
    scrambled = phase_scrambled(np.random.default_rng(0), region)
    expected = np.abs(np.fft.rfft2(region - region.mean()))[1:, 1:-1]
    assert np.abs(np.fft.rfft2(scrambled))[1:, 1:-1] == pytest.approx(expected, rel=1e-6)


def test_the_largest_square_is_found() -> None:
    mask = np.zeros((400, 320), dtype=np.bool_)
    mask[40:200, 80:240] = True
    mask[240:300] = True
    rows, columns = largest_square(mask)
    assert (rows.start, rows.stop, columns.start, columns.stop) == (40, 200, 80, 240)
