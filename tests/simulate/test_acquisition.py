"""The receptor of each system, measured as a physicist would: flat fields, an edge, noise spectra, details."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft, special

from microcalc.domain import FloatImage
from microcalc.simulate.acquisition import (
    Exposure,
    coloured_noise,
    detectability,
    digitise,
    expose,
    expose_transmission,
    mean_noise_power,
    noise_variance,
    read_out,
    relative_output,
)
from microcalc.simulate.spectrum import (
    Material,
    attenuation_per_mm,
    removed_fraction,
    signal_weight,
    tissue_attenuation,
)
from microcalc.simulate.systems import SYSTEMS, System, system

Floats = NDArray[np.float64]

SHAPE = (400, 420)
NAMES = list(SYSTEMS)
MIDDLE = slice(180, 240)
PMMA_MM, BREAST_MM = 45.0, 53.0  # that block stands for a breast of this thickness (EUREF)


def exposed_flat(s: System, kerma: float, shape: tuple[int, int] = SHAPE) -> Exposure:
    transmitted = np.full(shape, 0.05, dtype=np.float32)
    return expose_transmission(s, transmitted, 0.1, kerma_ugy=kerma, metered=np.ones(shape, dtype=np.bool_))


def flat_field(s: System, kerma: float, seed: int = 0) -> FloatImage:
    """Stored values behind a uniform block."""
    rng = np.random.default_rng(seed)
    return digitise(s, read_out(rng, s, exposed_flat(s, kerma))).astype(np.float32)


def behind_pmma(s: System) -> tuple[Floats, Floats]:
    """Energies in keV and the share of the signal that each brings behind 45 mm of PMMA."""
    energy, weight = signal_weight(s.beam(BREAST_MM).spectrum, s.converter)
    weight = weight * np.exp(-PMMA_MM * attenuation_per_mm("pmma", energy))
    return energy, weight / weight.sum()


def share_removed(s: System, material: Material, thickness_mm: float) -> float:
    """Contrast of a large plate on 45 mm of PMMA without scatter."""
    energy, weight = behind_pmma(s)
    return float(weight @ -np.expm1(-thickness_mm * attenuation_per_mm(material, energy)))


# --- Response -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_value_is_linear_in_exposure_from_its_offset_on(name: str) -> None:
    s = system(name)
    kerma = np.array([10.0, 20.0, 50.0, 100.0, 200.0])
    means = np.array([flat_field(s, k).mean(dtype=np.float64) for k in kerma])
    slope, offset = np.polyfit(kerma, means, 1)
    assert slope == pytest.approx(s.gain_per_ugy, rel=0.002)
    assert offset == pytest.approx(s.offset, abs=0.5)
    assert np.corrcoef(kerma, means)[0, 1] ** 2 > 0.9999


def test_siemens_clips_air_at_7500() -> None:
    s = system("siemens")
    assert np.all(flat_field(s, 3000.0) == 7500.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_image(name: str) -> None:
    s = system(name)
    np.testing.assert_array_equal(flat_field(s, 100.0, seed=4), flat_field(s, 100.0, seed=4))
    assert np.any(flat_field(s, 100.0, seed=4) != flat_field(s, 100.0, seed=5))


# --- Noise ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kerma", "low", "high"),
    [
        ("hologic", 100.0, 0.10, 0.16),
        ("siemens", 120.0, 0.10, 0.13),  # a stored value of 840
        ("ge", 100.0, 0.03, 0.05),
        ("ge-pristina", 100.0, 0.037, 0.053),
        ("ge-ds", 150.0, 0.04, 0.10),
    ],
)
def test_variance_over_signal_is_within_the_measured_bounds(name: str, kerma: float, low: float, high: float) -> None:
    s = system(name)
    middle = flat_field(s, kerma)[:, MIDDLE]
    assert low < middle.var() / (middle.mean() - s.offset) < high


@pytest.mark.parametrize("name", NAMES)
def test_quantum_noise_prevails_from_20_to_200_ugy(name: str) -> None:
    s = system(name)
    kerma = np.array([20.0, 60.0, 200.0])
    images = [flat_field(s, k)[:, MIDDLE] for k in kerma]
    signal = [np.log(i.mean() - s.offset) for i in images]
    quantum = [np.log(i.var() - s.electronic_noise**2) for i in images]
    assert np.polyfit(signal, quantum, 1)[0] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_variance_over_signal_rises_towards_the_nipple_but_the_signal_stays(name: str) -> None:
    image = flat_field(system(name), 100.0)
    assert image[:, -100:].var() > 1.1 * image[:, :100].var()
    assert image[:, -100:].mean() == pytest.approx(image[:, :100].mean(), rel=0.002)


@pytest.mark.parametrize("name", NAMES)
def test_the_output_falls_by_a_fifth_to_a_third_over_the_field(name: str) -> None:
    s = system(name)
    output = relative_output(s, SHAPE)
    assert 0.65 < output[200, -1] / output[200, 0] < 0.82
    assert output[200, 210] == pytest.approx(1.0, abs=0.06)
    np.testing.assert_array_equal(output, relative_output(s, SHAPE))


def test_two_machines_differ_in_their_output() -> None:
    assert np.any(relative_output(system("ge"), SHAPE) != relative_output(system("siemens"), SHAPE))


def test_a_part_of_the_field_has_the_noise_that_it_has_in_the_whole() -> None:
    s = system("hologic")
    signal = np.full(SHAPE, 500.0, np.float32)
    part = noise_variance(s, signal[:, :100], field_columns=SHAPE[1])
    np.testing.assert_allclose(part, noise_variance(s, signal)[:, :100], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("hologic", 0.02, 0.10),
        ("siemens", 0.0, 0.15),
        ("ge", 0.30, 0.50),
        ("ge-pristina", 0.30, 0.50),
        ("ge-ds", 0.30, 0.50),
    ],
)
def test_neighbouring_pixels_share_noise_as_the_receptor_does(name: str, low: float, high: float) -> None:
    noise = coloured_noise(np.random.default_rng(1), system(name), (600, 600))
    assert noise.dtype == np.float32
    assert noise.var() == pytest.approx(1.0, rel=0.03)
    for lagged in (noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1]):
        assert low < lagged.mean() < high


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("hologic", 0.65, 0.85), ("ge", 0.0, 0.35), ("ge-pristina", 0.0, 0.35), ("ge-ds", 0.0, 0.35)],
)
def test_noise_at_5_per_mm_is_as_far_below_that_at_1_as_measured(name: str, low: float, high: float) -> None:
    s = system(name)
    noise = coloured_noise(np.random.default_rng(2), s, (512, 512))
    power = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    f = np.fft.fftfreq(512, s.pitch_mm)
    radial = np.hypot(f[:, None], f[None, :])
    ratio = power[np.abs(radial - 5.0) < 0.25].mean() / power[np.abs(radial - 1.0) < 0.25].mean()
    assert low < ratio < high


@pytest.mark.parametrize("name", NAMES)
def test_noise_has_the_power_spectrum_that_visibility_assumes(name: str) -> None:
    s = system(name)
    noise = coloured_noise(np.random.default_rng(2), s, (512, 512))
    power = np.abs(np.fft.fft2(noise)) ** 2 / noise.size
    f = np.fft.fftfreq(512, s.pitch_mm)
    radial = np.hypot(f[:, None], f[None, :])
    expected = s.noise_power(f[:, None], f[None, :]) / mean_noise_power(s)
    for low, high in ((0.5, 1.5), (2.5, 3.5), (4.5, 5.3)):
        ring = (radial > low) & (radial < high)
        assert power[ring].mean() == pytest.approx(expected[ring].mean(), rel=0.05)


# --- Modulation transfer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "frequencies", "published", "tolerance"),
    [
        ("hologic", (2, 3, 5), (0.92, 0.85, 0.69), 0.03),
        ("siemens", (2, 5), (0.90, 0.62), 0.04),
        ("ge", (1, 2, 4), (0.85, 0.59, 0.24), 0.03),
        ("ge-ds", (1, 2, 4), (0.90, 0.76, 0.46), 0.03),
        ("ge-pristina", (1, 2, 3, 4, 5), (0.84, 0.66, 0.47, 0.32, 0.22), 0.03),
    ],
)
def test_a_slanted_edge_shows_the_published_modulation_transfer(
    name: str, frequencies: tuple[float, ...], published: tuple[float, ...], tolerance: float
) -> None:
    s, tilt, soft_px = system(name), 0.05, 0.6
    row, column = np.mgrid[0:400, 0:300].astype(np.float64)
    distance_px = (column - 150 - tilt * (row - 200)) / np.hypot(1.0, tilt)
    # soft, so as not to alias; the softness is divided out below
    edge = 1.0 - 0.25 * special.erfc(-distance_px / soft_px / np.sqrt(2.0))
    flat = np.ones(edge.shape, dtype=np.bool_)
    exposure = expose_transmission(s, edge.astype(np.float32), 0.0, kerma_ugy=600.0, metered=flat)
    stored = digitise(s, read_out(np.random.default_rng(3), s, exposure)).astype(np.float64)
    f = np.array([float(x) for x in frequencies])
    softness = np.exp(-2.0 * (np.pi * soft_px * s.pitch_mm * f) ** 2)
    step = 0.5 * s.gain_per_ugy * 600.0 / edge.mean()
    measured = line_spectrum(stored, distance_px, s.pitch_mm, f) / softness / step
    assert measured == pytest.approx(published, abs=tolerance)


def line_spectrum(image: Floats, distance_px: Floats, pitch_mm: float, f: Floats) -> Floats:
    """Fourier amplitude (n,) of an edge's line spread function; four bins a pixel."""
    bins = np.rint(distance_px * 4).astype(int) + 400
    inside = np.abs(bins - 400) <= 400
    total = np.bincount(bins[inside], weights=image[inside], minlength=801)
    profile = total / np.bincount(bins[inside], minlength=801)
    near = slice(360, 441)  # 10 pixels to both sides: noise beyond
    spread, x = np.diff(profile)[near], (np.arange(800)[near] - 399.5) * pitch_mm / 4
    binned = np.sinc(f * pitch_mm / 4) ** 2  # means over bins, and their difference
    amplitude = np.abs((spread[None, :] * np.exp(-2j * np.pi * f[:, None] * x[None, :])).sum(axis=1))
    return np.asarray(amplitude / binned)


# --- Exposure and scatter -------------------------------------------------------------------------------------


def test_scatter_stays_a_tenth_of_primary_inside_a_block() -> None:
    s = system("siemens")
    shape = (900, 900)
    thickness = np.full(shape, 50.0, np.float32)
    exposure = expose(
        s,
        s.beam(50.0),
        fat_mm=0.8 * thickness,
        gland_mm=0.2 * thickness,
        thickness_mm=thickness,
        kerma_ugy=90.0,
        metered=np.ones(shape, dtype=np.bool_),
    )
    assert (exposure.scatter / exposure.primary)[450, 450] == pytest.approx(0.11, abs=0.01)
    assert exposure.signal.mean() == pytest.approx(s.gain_per_ugy * 90.0, rel=1e-3)
    assert exposure.primary.dtype == exposure.scatter.dtype == np.float32


def rounded_breast(s: System) -> tuple[Exposure, FloatImage]:
    """50 mm, a fifth of it gland, with a half-round edge, and air from column 400 on; thickness in mm."""
    depth_mm = np.clip((np.arange(700) - 400) * -s.pitch_mm, 0.0, 25.0)
    thickness = np.tile(2.0 * np.sqrt(625.0 - (25.0 - depth_mm) ** 2), (500, 1)).astype(np.float32)
    exposure = expose(
        s,
        s.beam(50.0),
        fat_mm=0.8 * thickness,
        gland_mm=0.2 * thickness,
        thickness_mm=thickness,
        kerma_ugy=s.kerma_ugy(50.0),
        metered=thickness > 45.0,
    )
    return exposure, thickness


@pytest.mark.parametrize("name", NAMES)
def test_scatter_over_primary_falls_towards_the_breasts_edge(name: str) -> None:
    s = system(name)
    exposure, thickness = rounded_breast(s)
    ratio = (exposure.scatter / exposure.primary)[250]
    inner, rim, air = ratio[20], ratio[390], ratio[600]
    assert inner > 3.0 * rim > 3.0 * air
    assert thickness[250, 390] < 30.0
    assert (exposure.scatter >= 0.0).all()


def test_a_breast_in_the_beam_has_the_levels_of_real_raw_images() -> None:
    siemens, _ = rounded_breast(system("siemens"))
    assert 500 < siemens.signal[250, 20] + 50 < 1100
    assert siemens.signal[250, 600] + 50 > 7500  # air clips
    hologic, _ = rounded_breast(system("hologic"))
    assert hologic.signal[250, 20] + 50 < 1300
    assert hologic.signal[250, 600] + 50 > 7000
    assert 1400 < rounded_breast(system("ge-ds"))[0].signal[250, 20] < 3000
    assert 500 < rounded_breast(system("ge-pristina"))[0].signal[250, 20] < 1200


def test_calcium_takes_from_the_primary_alone() -> None:
    s = replace(system("siemens"), variance_ratio=0.0, electronic_noise=0.0, fixed_pattern=0.0)
    exposure = exposed_flat(s, 100.0)
    contrast = np.zeros(SHAPE, np.float32)
    contrast[100:110, 100:110] = 0.25
    values = read_out(np.random.default_rng(0), s, exposure, contrast)
    np.testing.assert_allclose(values[105, 105], 0.75 * exposure.primary[105, 105] + exposure.scatter[105, 105])
    np.testing.assert_allclose(values[300], exposure.signal[300], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_breast_transmits_what_its_paths_leave(name: str) -> None:
    s = system(name)
    shape = (120, 120)
    fat, gland = np.full(shape, 40.0, np.float32), np.full(shape, 10.0, np.float32)
    fat[:, 60:] = 30.0
    exposure = expose(
        s,
        s.beam(50.0),
        fat_mm=fat,
        gland_mm=gland,
        thickness_mm=np.zeros(shape, np.float32),
        kerma_ugy=100.0,
        metered=np.ones(shape, dtype=np.bool_),
    )
    expected = tissue_attenuation(s.beam(50.0).spectrum, s.converter, fat, gland)
    ratio = exposure.primary[60, 110] / exposure.primary[60, 10]
    assert ratio == pytest.approx(float(np.exp(expected[60, 10] - expected[60, 110])), rel=0.01)


# --- Contrast and details -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hologic", 0.135), ("siemens", 0.135), ("ge", 0.135), ("ge-ds", 0.135), ("ge-pristina", 0.116)],
)
def test_aluminium_has_the_contrast_that_scatter_leaves(name: str, expected: float) -> None:
    s = system(name)
    shape = (500, 500)
    energy, weight = signal_weight(s.beam(BREAST_MM).spectrum, s.converter)
    pmma = float(weight @ np.exp(-PMMA_MM * attenuation_per_mm("pmma", energy)))
    transmitted = np.full(shape, pmma, np.float32)
    side = round(10.0 / s.pitch_mm)
    plate = slice(250 - side // 2, 250 + side // 2)
    transmitted[plate, plate] *= 1.0 - share_removed(s, "aluminium", 0.2)
    ratio = float(s.scatter_to_primary(np.array(BREAST_MM)))
    exposure = expose_transmission(s, transmitted, ratio, kerma_ugy=100.0, metered=np.ones(shape, dtype=np.bool_))
    signal = exposure.signal
    contrast = 1.0 - signal[250, 250] / signal[250, 250 + side // 2 + 60]
    assert contrast == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("name", NAMES)
def test_contrast_to_noise_rises_with_the_square_root_of_exposure(name: str) -> None:
    s = system(name)
    ratio = [
        level / np.sqrt(noise_variance(s, np.full((1, 2), level, np.float32))[0, 1])
        for level in (100.0 * s.gain_per_ugy, 200.0 * s.gain_per_ugy)
    ]
    assert ratio[1] / ratio[0] == pytest.approx(np.sqrt(2.0), rel=0.05)


def eye_filter(f: Floats) -> Floats:
    """A mild one: the square root of the frequency, and its peak at 1.7 /mm."""
    return np.asarray(np.sqrt(f) * np.exp(-((f / 3.4) ** 2)))


def observer_d_prime(s: System, spectrum: Callable[[Floats], Floats], kerma: float) -> float:
    """D' of an observer that does not prewhiten, for a detail of known radial spectrum (mm²) of contrast."""
    f = np.linspace(0.02, 0.5 / s.pitch_mm, 1500)
    level = s.gain_per_ugy * kerma
    variance = float(noise_variance(s, np.full((1, 2), level, np.float32))[0, 1])
    noise = variance / level**2 * s.pitch_mm**2 * s.noise_power(f / np.sqrt(2), f / np.sqrt(2)) / mean_noise_power(s)
    scatter = float(s.scatter_to_primary(np.array(BREAST_MM)))
    seen = spectrum(f) * s.mtf(f) / (1.0 + scatter)
    eye = eye_filter(f)
    ring = 2.0 * np.pi * f * (f[1] - f[0])
    return float(np.sum(ring * (seen * eye) ** 2) / np.sqrt(np.sum(ring * seen**2 * eye**4 * noise)))


def threshold(d_prime: Callable[[float], float], low: float, high: float) -> float:
    """The size at which d' is 3.5."""
    sizes = np.geomspace(low, high, 12)
    return float(np.exp(np.interp(np.log(3.5), np.log([d_prime(x) for x in sizes]), np.log(sizes))))


def gold_threshold_um(name: str, diameter_mm: float, kerma: float = 100.0) -> float:
    s, r = system(name), 0.5 * diameter_mm

    def d_prime(thickness_um: float) -> float:
        contrast = share_removed(s, "gold", 1e-3 * thickness_um)
        return observer_d_prime(s, lambda f: contrast * r / f * special.j1(2.0 * np.pi * f * r), kerma)

    return threshold(d_prime, 0.02, 4.0)


def sphere_threshold_mm(name: str, material: Material) -> float:
    s = system(name)

    def d_prime(diameter_mm: float) -> float:
        at = np.linspace(0.0, 0.5 * diameter_mm, 60)
        path = np.sqrt(diameter_mm**2 - 4.0 * at**2)
        contrast = removed_fraction(s.beam(BREAST_MM).spectrum, s.converter, material, path, fat_mm=40.0, gland_mm=13.0)
        return observer_d_prime(
            s,
            lambda f: np.trapezoid(2 * np.pi * at * contrast * special.j0(2 * np.pi * np.outer(f, at)), at, axis=1),
            100.0,
        )

    return threshold(d_prime, 0.05, 0.3)


@pytest.mark.parametrize("name", NAMES)
def test_gold_discs_are_seen_as_thin_as_in_clinical_use(name: str) -> None:
    assert 0.15 < gold_threshold_um(name, 0.25) < 0.30
    assert 0.7 < gold_threshold_um(name, 0.1) < 1.6


def test_hologic_shows_gold_at_least_as_thin_as_siemens_and_both_thinner_than_ge() -> None:
    for diameter_mm in (0.1, 0.25):
        hologic, siemens, *ge = (gold_threshold_um(n, diameter_mm) for n in ("hologic", "siemens", "ge", "ge-pristina"))
        assert hologic <= siemens < min(ge)


@pytest.mark.parametrize("name", NAMES)
def test_the_threshold_falls_with_the_square_root_of_exposure(name: str) -> None:
    fall = gold_threshold_um(name, 0.25, kerma=200.0) / gold_threshold_um(name, 0.25, kerma=100.0)
    assert fall == pytest.approx(1.0 / np.sqrt(2.0), rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_spheres_of_apatite_are_seen_from_a_tenth_of_a_millimetre_on(name: str) -> None:
    assert 0.08 < sphere_threshold_mm(name, "hydroxyapatite") < 0.13
    assert 0.12 < sphere_threshold_mm(name, "calcium_oxalate") < 0.17


def test_visibility_in_white_noise_is_the_signals_energy() -> None:
    white = replace(system("siemens"), noise_lag=(0.0, 0.0))
    signal = np.zeros((20, 20), np.float32)
    signal[8:12, 8:12] = 3.0
    assert detectability(white, signal, noise_sd=2.0) == pytest.approx(np.sqrt(16) * 3.0 / 2.0, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_visibility_is_that_of_the_best_filter_on_noise(name: str) -> None:
    s = system(name)
    patch = np.zeros((64, 64), np.float32)
    patch[30:34, 30:34] = 0.5
    f = fft.fftfreq(64, s.pitch_mm)
    weights = fft.ifft2(fft.fft2(patch) / s.noise_power(f[:, None], f[None, :])).real
    rng = np.random.default_rng(6)
    tiles = coloured_noise(rng, s, (64 * 24, 64 * 24)).reshape(24, 64, 24, 64).transpose(0, 2, 1, 3).reshape(-1, 64, 64)
    measured = np.sum(weights * patch) / np.std(np.einsum("nij,ij->n", tiles, weights))
    # 576 tiles: the standard error of a standard deviation is 3 per cent
    assert detectability(s, patch, 1.0) == pytest.approx(measured, rel=0.09)
