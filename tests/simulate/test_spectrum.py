"""Spectra and attenuation against figures that others published."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from microcalc.simulate.spectrum import (
    Material,
    Receptor,
    attenuation_per_mm,
    removed_fraction,
    signal_weight,
    spectra,
    tissue_attenuation,
)

BEAMS: tuple[tuple[str, Receptor], ...] = (
    ("Hologic Dimensions W_Rh 28", "a-Se"),
    ("Hologic Dimensions W_Ag 31", "a-Se"),
    ("Siemens Insp W_Rh 29", "a-Se"),
    ("GE Essential Mo_Rh 28", "CsI"),
    ("GE Essential Rh_Rh 29", "CsI"),
    ("GE Pristina Mo_Mo 26", "CsI"),
    ("GE Pristina Rh_Ag 34", "CsI"),
)


@pytest.mark.parametrize(
    ("material", "density", "energy_kev", "mass_attenuation"),
    [
        # NIST XAAMDI (Hubbell and Seltzer 1995), cm2/g
        ("aluminium", 2.699, 10.0, 26.23),
        ("aluminium", 2.699, 20.0, 3.441),
        ("aluminium", 2.699, 30.0, 1.128),
        ("pmma", 1.19, 20.0, 0.5714),
        ("water", 1.0, 20.0, 0.8096),
        ("gold", 19.32, 20.0, 78.83),
    ],
)
def test_attenuation_is_that_of_nist(material: str, density: float, energy_kev: float, mass_attenuation: float) -> None:
    mu = attenuation_per_mm(material, np.array([energy_kev]))[0]
    assert mu == pytest.approx(0.1 * density * mass_attenuation, rel=0.01)


def half_value_layer_mm(spectrum: str) -> float:
    """Aluminium that halves the air kerma of the photons that leave the tube."""
    energy, weight = signal_weight(spectrum, "CsI")
    share_absorbed = -np.expm1(-0.1 * attenuation_per_mm("CsI", energy))
    # NIST XAAMDI, dry air: mass energy absorption in cm2/g
    kev = np.array([5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 40.0])
    absorption = np.array([39.31, 22.70, 9.446, 4.742, 1.334, 0.5389, 0.1537, 0.06833])
    kerma = weight / share_absorbed * np.exp(np.interp(np.log(energy), np.log(kev), np.log(absorption)))
    depth = np.linspace(0.0, 1.0, 2001)
    left = np.exp(-np.outer(depth, attenuation_per_mm("aluminium", energy))) @ kerma / kerma.sum()
    return float(np.interp(-0.5, -left, depth))


@pytest.mark.parametrize(
    ("spectrum", "expected_mm"),
    [
        ("Hologic Dimensions W_Rh 28", 0.476),
        ("Hologic Dimensions W_Rh 30", 0.491),
        ("Hologic Dimensions W_Ag 31", 0.543),
        ("Siemens Insp W_Rh 29", 0.484),  # between 28 and 30 kV
        ("GE Essential Mo_Rh 28", 0.362),
        ("GE Essential Rh_Rh 29", 0.364),  # 0.414 in a header: that tube's window is some 0.1 mm Al more
        ("GE Pristina Mo_Mo 26", 0.287),
        ("GE Pristina Rh_Ag 34", 0.481),
    ],
)
def test_half_value_layers_are_as_computed_for_the_tubes(spectrum: str, expected_mm: float) -> None:
    assert half_value_layer_mm(spectrum) == pytest.approx(expected_mm, rel=0.05)


@pytest.mark.parametrize(("spectrum", "receptor"), BEAMS)
def test_the_weights_of_the_energies_are_shares_of_the_signal(spectrum: str, receptor: Receptor) -> None:
    _, weight = signal_weight(spectrum, receptor)
    assert weight.sum() == pytest.approx(1.0)
    assert weight.min() >= 0.0


def exact(spectrum: str, receptor: Receptor, fat_mm: NDArray[np.float64], gland_mm: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    energy, weight = signal_weight(spectrum, receptor)
    depth = np.outer(fat_mm, attenuation_per_mm("fat", energy)) + np.outer(
        gland_mm, attenuation_per_mm("gland", energy)
    )
    return -np.log(np.exp(-depth) @ weight)


@pytest.mark.parametrize(("spectrum", "receptor"), BEAMS)
def test_tissue_attenuation_is_the_sum_over_the_spectrum(spectrum: str, receptor: Receptor) -> None:
    rng = np.random.default_rng(0)
    fat = rng.uniform(0.0, 105.0, 500)
    gland = rng.uniform(0.0, 1.0, 500) * (105.0 - fat)
    found = tissue_attenuation(spectrum, receptor, fat.astype(np.float32), gland.astype(np.float32))
    assert found == pytest.approx(exact(spectrum, receptor, fat, gland), abs=0.01)


@pytest.mark.parametrize(("spectrum", "receptor"), BEAMS)
def test_the_beam_hardens_on_its_way(spectrum: str, receptor: Receptor) -> None:
    at = np.array([0.0, 20.0, 40.0, 60.0, 80.0])
    depth = tissue_attenuation(spectrum, receptor, at.astype(np.float32), np.zeros(5, np.float32))
    assert np.all(np.diff(depth, 2) < 0.0)


@pytest.mark.parametrize(("spectrum", "receptor"), BEAMS)
def test_calcium_removes_more_than_gland_and_apatite_more_than_oxalate(spectrum: str, receptor: Receptor) -> None:
    materials: tuple[Material, ...] = ("calcium_oxalate", "calcium_carbonate", "hydroxyapatite")
    shares = [
        float(removed_fraction(spectrum, receptor, m, np.array(0.2), fat_mm=40.0, gland_mm=13.0)) for m in materials
    ]
    assert 0.0 < shares[0] < shares[1] < shares[2]
    nothing = removed_fraction(spectrum, receptor, "gold", np.array(0.0), fat_mm=40.0, gland_mm=13.0)
    assert float(nothing) == pytest.approx(0.0, abs=1e-12)


def test_the_same_calcification_removes_less_behind_a_thick_breast() -> None:
    thin, thick = (
        float(
            removed_fraction("Siemens Insp W_Rh 29", "a-Se", "hydroxyapatite", np.array(0.2), fat_mm=mm, gland_mm=0.0)
        )
        for mm in (20.0, 80.0)
    )
    assert thick < thin


def test_the_spectra_of_all_systems_are_there() -> None:
    assert {name for name, _ in BEAMS} <= set(spectra())
