"""The slanted-edge method finds the modulation transfer of edges that were blurred by a known amount."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from microcalc.validation.edge import edge_transfer

F = np.array([0.5, 1.0, 2.0, 3.0, 5.0])


@pytest.mark.parametrize(("pitch", "sigma"), [(0.07, 0.05), (0.085, 0.06), (0.1, 0.09)])
@pytest.mark.parametrize("tilt", [0.03, -0.07])
def test_a_gaussian_blur_gives_its_gaussian(pitch: float, sigma: float, tilt: float) -> None:
    side = round(30.0 / pitch)
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    distance_mm = (column - tilt * row - 3.3) / np.hypot(1.0, tilt) * pitch
    image = (700.0 - 300.0 * special.erf(distance_mm / sigma / np.sqrt(2))).astype(np.float32)
    expected = np.exp(-2.0 * (np.pi * sigma * F) ** 2)
    assert edge_transfer(image, pitch, F) == pytest.approx(expected, abs=0.006)


def test_noise_hardly_matters() -> None:
    side, pitch, sigma = 420, 0.07, 0.05
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    distance_mm = (column - 0.05 * row) / np.hypot(1.0, 0.05) * pitch
    rng = np.random.default_rng(1)
    image = 800.0 + 200.0 * special.erf(distance_mm / sigma / np.sqrt(2)) + rng.normal(0.0, 4.0, distance_mm.shape)
    expected = np.exp(-2.0 * (np.pi * sigma * F) ** 2)
    assert edge_transfer(image.astype(np.float32), pitch, F) == pytest.approx(expected, abs=0.02)


def test_a_wide_veil_of_glare_takes_from_every_frequency() -> None:
    side, pitch = 420, 0.07
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    distance_mm = (column - 0.05 * row) / np.hypot(1.0, 0.05) * pitch
    sharp, wide = (special.erf(distance_mm / sigma / np.sqrt(2)) for sigma in (0.05, 2.0))
    veiled = (100.0 + 40.0 * (0.95 * sharp + 0.05 * wide)).astype(np.float32)
    expected = 0.95 * np.exp(-2.0 * (np.pi * 0.05 * F[1:]) ** 2)
    assert edge_transfer(veiled, pitch, F[1:]) == pytest.approx(expected, abs=0.02)
