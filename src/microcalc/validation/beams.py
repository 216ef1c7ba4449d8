"""Criterion 1: attenuation and half-value layers, against references independent of the simulator."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from microcalc.simulate.spectrum import attenuation_per_mm
from microcalc.simulate.systems import System
from microcalc.validation.criteria import Measurement, not_measured

Floats = NDArray[np.float64]

_NIST_PER_MM: Mapping[str, Mapping[float, float]] = {
    # NIST XAAMDI (Hubbell and Seltzer): mass attenuation in cm²/g times density in g/cm³, over 10
    "aluminium": {10: 26.23 * 0.2699, 15: 7.955 * 0.2699, 20: 3.441 * 0.2699, 30: 1.128 * 0.2699},
    "water": {10: 0.5329, 15: 0.1673, 20: 0.08096, 30: 0.03756},
    "pmma": {10: 3.357 * 0.119, 15: 1.101 * 0.119, 20: 0.5714 * 0.119, 30: 0.3032 * 0.119},
    "gold": {20: 78.83 * 1.932, 30: 27.52 * 1.932},
    # xraylib 4.3.0, compounds of ICRU and Hammerstein
    "fat": {18: 0.0632, 20: 0.0510, 22: 0.0428},
    "gland": {18: 0.1000, 20: 0.0781, 22: 0.0636},
    "skin": {18: 0.106, 20: 0.0829, 22: 0.0674},
    "hydroxyapatite": {18: 2.80, 20: 2.07, 22: 1.58},
    "calcium_oxalate": {18: 1.18, 20: 0.876, 22: 0.672},
    "calcium_carbonate": {18: 2.08, 20: 1.54, 22: 1.18},
}

_HALF_VALUE_MM: Mapping[str, float] = {
    # of aluminium, for air kerma, by spectrum; computed once from the tubes' outputs
    "W_Rh 28": 0.476,
    "W_Rh 29": 0.4835,  # between 28 and 30 kV
    "W_Rh 30": 0.491,
    "W_Ag 31": 0.543,
    "Mo_Rh 28": 0.362,
    "Rh_Rh 29": 0.364,
    "Mo_Mo 26": 0.287,
    "Rh_Ag 34": 0.481,
}

# NIST XAAMDI, dry air: mass energy absorption in cm²/g
_AIR_KEV = np.array([3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 40.0])
_AIR_ABSORPTION = np.array([160.2, 76.37, 39.31, 22.70, 9.446, 4.742, 1.334, 0.5389, 0.1537, 0.06833])


def measure_beams(systems: Sequence[System]) -> list[Measurement]:
    """Measure the largest error of the attenuation table, and the half-value layer of every beam that a system uses."""
    measurements = [
        Measurement(1, "all", f"attenuation of {material} over reference", *_worst_ratio(material, values))
        for material, values in _NIST_PER_MM.items()
    ]
    for s in systems:
        for name in sorted({s.beam(float(mm)).spectrum for mm in range(15, 111)}):
            key = next((k for k in _HALF_VALUE_MM if name.endswith(k)), None)
            if key is None:
                measurements.append(not_measured(1, f"no reference for the half-value layer of {name}", system=s.name))
                continue
            expected = _HALF_VALUE_MM[key]
            measured = half_value_layer_mm(*_photons()[name])
            what = f"half-value layer of {key} in mm Al"
            measurements.append(Measurement(1, s.name, what, measured, 0.95 * expected, 1.05 * expected))
    return measurements


def half_value_layer_mm(energy_kev: Floats, photons: Floats) -> float:
    """Return the half-value layer of a narrow beam: the thickness of aluminium in mm that halves its air kerma.

    Parameters
    ----------
    energy_kev, photons
        (n,) spectrum of the beam.
    """
    with np.errstate(divide="ignore"):
        absorbed = np.exp(np.interp(np.log(energy_kev), np.log(_AIR_KEV), np.log(_AIR_ABSORPTION)))
    kerma = photons * energy_kev * absorbed
    mu = attenuation_per_mm("aluminium", energy_kev)
    depth = np.linspace(0.0, 2.0, 2001)
    left = np.exp(-depth[:, None] * mu[None, :]) @ kerma / kerma.sum()
    return float(np.interp(0.5, left[::-1], depth[::-1]))


def _worst_ratio(material: str, expected: Mapping[float, float]) -> tuple[float, float, float]:
    """Return the ratio to the reference that is farthest from 1, and its bounds of 1 %."""
    energy = np.array(sorted(expected), dtype=np.float64)
    ratio = attenuation_per_mm(material, energy) / np.array([expected[e] for e in energy])
    return float(ratio[np.argmax(np.abs(ratio - 1.0))]), 0.99, 1.01


@lru_cache
def _photons() -> dict[str, tuple[Floats, Floats]]:
    """Return the energies in keV and the photons of each tabulated tube spectrum."""
    rows: dict[str, list[tuple[float, float]]] = {}
    with (resources.files("microcalc.simulate") / "tables" / "spectra.csv").open(encoding="utf-8") as file:
        for row in list(csv.reader(file))[1:]:
            rows.setdefault(row[0], []).append((float(row[1]), float(row[2])))
    return {name: (np.array([e for e, _ in r]), np.array([n for _, n in r])) for name, r in rows.items()}
