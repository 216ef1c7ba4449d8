"""The receptor of each system, measured as a physicist would: flat fields, an edge, noise spectra."""

from __future__ import annotations

import numpy as np
import pytest

from microcalc.domain import FloatImage
from microcalc.simulate.acquisition import Exposure, coloured_noise, digitise, expose, noise_variance, visibility
from microcalc.simulate.systems import SYSTEMS, System, system

SHAPE = (400, 420)
NAMES = list(SYSTEMS)


def flat_field(s: System, kerma: float, seed: int = 0) -> FloatImage:
    """Stored values behind a uniform block of 50 mm without scatter."""
    rng = np.random.default_rng(seed)
    attenuation = np.full(SHAPE, 2.5, dtype=np.float32)
    metered = np.ones(SHAPE, dtype=np.bool_)
    exposure = expose(s, attenuation, np.zeros(SHAPE, np.float32), kerma_ugy=kerma, metered=metered)
    signal = exposure.signal
    values = signal + np.sqrt(noise_variance(s, signal)) * coloured_noise(rng, s, SHAPE)
    return digitise(s, values.astype(np.float32)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_value_is_linear_in_exposure_from_its_offset_on(name: str) -> None:
    s = system(name)
    kerma = np.array([10.0, 20.0, 50.0, 100.0, 200.0])
    means = [flat_field(s, k).mean() for k in kerma]
    slope, offset = np.polyfit(kerma, means, 1)
    assert slope == pytest.approx(s.gain_per_ugy, rel=0.005)
    assert offset == pytest.approx(s.offset, abs=0.5)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("hologic", 0.10, 0.16), ("ge", 0.03, 0.05), ("siemens", 0.10, 0.13)]
)
def test_variance_over_signal_is_within_the_measured_bounds(name: str, low: float, high: float) -> None:
    s = system(name)
    image = flat_field(s, 100.0)
    middle = image[:, 180:240]
    assert low < middle.var() / (middle.mean() - s.offset) < high


@pytest.mark.parametrize("name", NAMES)
def test_variance_over_signal_rises_towards_the_nipple(name: str) -> None:
    image = flat_field(system(name), 100.0)
    assert image[:, -100:].var() > 1.1 * image[:, :100].var()


@pytest.mark.parametrize(("name", "low", "high"), [("hologic", 0.02, 0.10), ("ge", 0.30, 0.50), ("siemens", 0.0, 0.15)])
def test_neighbouring_pixels_share_noise_as_the_receptor_does(name: str, low: float, high: float) -> None:
    noise = coloured_noise(np.random.default_rng(1), system(name), (600, 600))
    assert noise.var() == pytest.approx(1.0, rel=0.03)
    for lagged in (noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1]):
        assert low < lagged.mean() < high


@pytest.mark.parametrize("name", NAMES)
def test_noise_has_the_power_spectrum_that_visibility_assumes(name: str) -> None:
    s = system(name)
    noise = coloured_noise(np.random.default_rng(2), s, (512, 512))
    power = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    f = np.fft.fftfreq(512, s.pitch_mm)
    radial = np.hypot(f[:, None], f[None, :])
    expected = s.noise_power(f[:, None], f[None, :])
    low, high = (radial > 0.5) & (radial < 1.5), (radial > 4.5) & (radial < 5.3)
    assert power[high].mean() / power[low].mean() == pytest.approx(
        expected[high].mean() / expected[low].mean(), rel=0.1
    )


def test_siemens_clips_air_at_7500() -> None:
    s = system("siemens")
    assert digitise(s, np.array([[9000.0]], dtype=np.float32))[0, 0] == 7500


@pytest.mark.parametrize("name", NAMES)
def test_a_slanted_edge_shows_the_modulation_transfer(name: str) -> None:
    s, slope = system(name), 0.05
    row, column = np.mgrid[0:400, 0:256].astype(np.float64)
    distance_px = (column - 128 - slope * (row - 200)) * np.cos(np.arctan(slope))
    # sampled softly enough not to alias; the softening is divided out below
    soft_px = 0.6
    from scipy.special import erf

    edge = 0.5 * (1 + erf(distance_px / soft_px / np.sqrt(2)))
    attenuation = (1.0 - 0.5 * edge).astype(np.float32)
    flat = np.ones(edge.shape, dtype=np.bool_)
    exposure = expose(s, attenuation, np.zeros(edge.shape, np.float32), kerma_ugy=100.0, metered=flat)
    transmitted = np.exp(-attenuation.astype(np.float64))
    bins = np.round(distance_px * 4).astype(int)
    frequencies = np.array([1.0, 2.0, 3.0, 4.0])
    measured = _line_spectrum(exposure.signal, bins, s.pitch_mm, frequencies) / _line_spectrum(
        transmitted, bins, s.pitch_mm, frequencies
    )
    scale = s.gain_per_ugy * 100.0 / transmitted.mean()
    assert measured / scale == pytest.approx(s.mtf(frequencies), abs=0.05)


def _line_spectrum(image, bins, pitch_mm: float, f):  # type: ignore[no-untyped-def]
    """Fourier amplitude of the line spread function from an edge's profile, four bins a pixel."""
    wanted = np.arange(-240, 241)
    profile = np.array([image[bins == b].mean() for b in wanted])
    spread = np.diff(profile) * np.hanning(len(profile) - 1)
    x = (wanted[1:] - 0.5) * pitch_mm / 4
    return np.abs((spread[None, :] * np.exp(-2j * np.pi * f[:, None] * x[None, :])).sum(axis=1))


def test_scatter_stays_a_tenth_of_primary_inside_a_block() -> None:
    s = system("siemens")
    shape = (900, 900)
    thickness = np.full(shape, 50.0, np.float32)
    metered = np.ones(shape, dtype=np.bool_)
    exposure = expose(s, 0.05 * thickness, thickness, kerma_ugy=90.0, metered=metered)
    assert (exposure.scatter / exposure.primary)[450, 450] == pytest.approx(0.11, abs=0.02)
    assert exposure.signal.mean() == pytest.approx(s.gain_per_ugy * 90.0, rel=1e-3)


def test_visibility_in_white_noise_is_the_signals_energy() -> None:
    from dataclasses import replace

    white = replace(system("siemens"), noise_lag=(0.0, 0.0))
    signal = np.zeros((20, 20), np.float32)
    signal[8:12, 8:12] = 3.0
    assert visibility(white, signal, noise_sd=2.0) == pytest.approx(np.sqrt(16) * 3.0 / 2.0, rel=1e-6)


def test_visibility_rises_with_the_square_root_of_exposure() -> None:
    s = replace_noise_free(system("hologic"))
    patch = np.zeros((16, 16), np.float32)
    patch[6:10, 6:10] = 1.0
    d_prime = []
    for level in (200.0, 800.0):
        signal = np.full((1, 1), level, np.float32)
        exposure = Exposure(primary=signal, scatter=np.zeros_like(signal))
        d_prime.append(visibility(s, 0.05 * level * patch, float(np.sqrt(noise_variance(s, exposure.signal))[0, 0])))
    assert d_prime[1] / d_prime[0] == pytest.approx(2.0, rel=0.01)


def replace_noise_free(s: System) -> System:
    """Without electronic and fixed-pattern noise."""
    from dataclasses import replace

    return replace(s, electronic_noise=0.0, fixed_pattern=0.0)
