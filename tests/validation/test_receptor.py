"""Criteria 2 to 7 are met by the systems as they are, and each planted fault fails its criterion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from microcalc.simulate.spectrum import attenuation_per_mm
from microcalc.simulate.systems import SYSTEMS, System, system
from microcalc.validation import receptor, thresholds
from microcalc.validation.beams import half_value_layer_mm, measure_beams
from microcalc.validation.criteria import Measurement


def _failed(measurements: list[Measurement]) -> set[int]:
    return {f.criterion for f in measurements if not f.is_met}


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_every_system_passes(name: str) -> None:
    measurements = receptor.measure_receptor(system(name), effort=receptor.QUICK, seed=1)
    assert {f.criterion for f in measurements} == {2, 3, 4, 5, 6, 7}
    assert [f for f in measurements if not f.is_met] == []


_FAULTS: dict[str, tuple[str, Callable[[System], System], int]] = {
    "offset of 5 more": ("siemens", lambda s: replace(s, offset=s.offset + 5.0), 2),
    "gain a third less": ("ge", lambda s: replace(s, gain_per_ugy=0.67 * s.gain_per_ugy), 2),
    "air not clipped at 7500": ("siemens", lambda s: replace(s, saturation=16383), 2),
    "blur of half the frequency": ("ge", lambda s: replace(s, mtf_scale_per_mm=0.5 * s.mtf_scale_per_mm), 3),
    "blur of another converter": ("hologic", lambda s: replace(s, mtf_scale_per_mm=5.0), 3),
    "twice the quantum noise": ("hologic", lambda s: replace(s, variance_ratio=2 * s.variance_ratio), 4),
    "noise of the square of the signal": ("hologic", lambda s: replace(s, fixed_pattern=0.02), 4),
    "white noise": ("ge", lambda s: replace(s, noise_floor=1.0), 5),
    "noise without heel": ("siemens", lambda s: replace(s, heel=0.0), 6),
    "beam of another tube": ("ge-pristina", lambda s: replace(s, beams=system("ge-ds").beams), 7),
    "much electronic noise": ("ge", lambda s: replace(s, electronic_noise=12.0), 7),
}


@pytest.mark.parametrize("fault", list(_FAULTS))
def test_a_planted_fault_fails_its_criterion(fault: str) -> None:
    name, plant, point = _FAULTS[fault]
    measurements = receptor.measure_receptor(plant(system(name)), effort=receptor.QUICK, seed=1)
    assert point in _failed(measurements)


def test_a_system_without_targets_is_a_miss_and_no_pass() -> None:
    measurements = receptor.measure_receptor(replace(system("ge"), name="unheard-of"), effort=receptor.QUICK, seed=1)
    assert {2, 4, 5, 7} <= _failed(measurements)


def test_gold_thresholds_lie_in_their_range_and_double_noise_lifts_them() -> None:
    s = system("hologic")
    worse = replace(s, variance_ratio=4 * s.variance_ratio)
    rng = np.random.default_rng(0)
    found = [
        thresholds.gold_threshold_um(rng, x, thresholds.uniform(rng, x, thresholds.QUICK, kerma_ugy=100.0), 0.25)
        for x in (s, worse)
    ]
    assert 0.15 < found[0] < 0.30
    assert found[1] / found[0] == pytest.approx(2.0, rel=0.15)


def test_beams_pass_and_a_hardened_one_does_not() -> None:
    assert _failed(measure_beams(list(SYSTEMS.values()))) == set()
    energy = np.arange(10.0, 30.0)
    bare = half_value_layer_mm(energy, np.ones(20))
    assert half_value_layer_mm(energy, np.exp(-0.5 * attenuation_per_mm("aluminium", energy))) > bare


def test_the_half_value_layer_of_one_energy_is_that_of_the_formula() -> None:
    mu = float(attenuation_per_mm("aluminium", np.array([20.0]))[0])
    assert half_value_layer_mm(np.array([20.0]), np.array([1.0])) == pytest.approx(np.log(2) / mu, rel=1e-3)
