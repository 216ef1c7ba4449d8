"""Criteria 8 and 9: the smallest details that a model observer detects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage
from microcalc.simulate.spectrum import Material, removed_fraction
from microcalc.simulate.systems import System
from microcalc.validation.criteria import Measurement, not_measured
from microcalc.validation.observer import THRESHOLD, hotelling_d_prime, matched_filter_d_prime
from microcalc.validation.phantoms import (
    BREAST_MM,
    PMMA_MM,
    array_of,
    disc_contrast,
    exposed,
    sphere_thickness,
    structured_background,
    transmission,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A background: its transmission (side, side), an exposure of it, and the kerma of the exposure."""

    transmitted: FloatImage
    exposed: FloatImage
    kerma_ugy: float


@dataclass(frozen=True, slots=True)
class Effort:
    """Side of the images in pixels, and number of images of each kind."""

    side: int
    images: int


FULL = Effort(side=1000, images=3)
QUICK = Effort(side=600, images=1)

_SPACING_PX = 20
_HALF_PX = 9
_DIAMETERS_MM = np.array([0.07, 0.09, 0.12, 0.16, 0.21])


def measure_thresholds(s: System, *, effort: Effort, seed: int) -> list[Measurement]:
    """Measure criteria 8 and 9 of one system."""
    rng = np.random.default_rng([seed, 8, *s.name.encode()])
    return [*_discs(rng, s, effort), *_spheres(rng, s, effort)]


def order_of_systems(measurements: Sequence[Measurement], *, tolerance: float) -> list[Measurement]:
    """Return the order of criterion 8, Hologic <= Siemens < GE, from the thresholds at 0.25 mm.

    Parameters
    ----------
    measurements
        Measurements of all systems.
    tolerance
        Tolerance of the first comparison, relative: two standard errors of a ratio.
    """
    gold = {f.system: f.measured for f in measurements if f.criterion == 8 and f.what == _GOLD.format(0.25)}
    if not {"hologic", "siemens"} < set(gold) or not any(name.startswith("ge") for name in gold):
        return [not_measured(8, "the order takes Hologic, Siemens and a GE system")]
    best = min(v for name, v in gold.items() if name.startswith("ge"))
    return [
        Measurement(8, "all", "Hologic over Siemens, 0.25 mm", gold["hologic"] / gold["siemens"], 0.0, 1.0 + tolerance),
        Measurement(8, "all", "lowest GE over Siemens, 0.25 mm", best / gold["siemens"], 1.0),
    ]


_GOLD = "gold threshold of {:g} mm in um"


def _discs(rng: np.random.Generator, s: System, effort: Effort) -> list[Measurement]:
    at_100, at_50, at_200 = (uniform(rng, s, effort, kerma_ugy=kerma) for kerma in (100.0, 50.0, 200.0))
    exponent = np.log(gold_threshold_um(rng, s, at_200, 0.25) / gold_threshold_um(rng, s, at_50, 0.25)) / np.log(4.0)
    return [
        Measurement(8, s.name, _GOLD.format(0.25), gold_threshold_um(rng, s, at_100, 0.25), 0.15, 0.30),
        Measurement(8, s.name, _GOLD.format(0.1), gold_threshold_um(rng, s, at_100, 0.1), 0.7, 1.6),
        # ours: electronic noise of 2.3 stored values alone makes it -0.535 from 50 to 200 uGy, fixed noise flattens it
        Measurement(8, s.name, "exponent of its fall, 50-200 uGy", float(exponent), -0.57, -0.43),
    ]


def gold_threshold_um(rng: np.random.Generator, s: System, scenes: Sequence[Scene], diameter_mm: float) -> float:
    """Return the thickness in um of a gold disc at which d' is 3.5; d' is proportional to contrast."""
    beam = s.beam(BREAST_MM)
    detail = disc_contrast(s, beam, diameter_mm=diameter_mm, gold_um=0.25 if diameter_mm > 0.2 else 1.2)
    contrast, places = array_of(s, detail, side=scenes[0].transmitted.shape[0], spacing_px=_SPACING_PX)
    found = [
        matched_filter_d_prime(
            _exposed(rng, s, scene.transmitted, scene.kerma_ugy, contrast),
            scene.exposed,
            -contrast,
            places,
            half_px=_HALF_PX,
            pitch_mm=s.pitch_mm,
        )
        for scene in scenes
    ]
    wanted = float(detail.max()) * THRESHOLD / max(float(np.mean(found)), 1e-9)
    at_um = np.linspace(0.0, 10.0, 200)
    contrasts = [float(disc_contrast(s, beam, diameter_mm=0.1, gold_um=um).max()) for um in at_um]
    return float(np.interp(wanted, contrasts, at_um))


_SPHERES: Mapping[str, tuple[Material, float, float]] = {
    "hydroxyapatite": ("hydroxyapatite", 0.08, 0.13),
    "calcium oxalate": ("calcium_oxalate", 0.12, 0.17),
    "carbonate in structure": ("calcium_carbonate", 0.10, 0.13),  # the specks of the L1 phantom
}


def _spheres(rng: np.random.Generator, s: System, effort: Effort) -> list[Measurement]:
    even, structured = uniform(rng, s, effort, kerma_ugy=100.0), _structured(rng, s, effort)
    return [
        Measurement(
            9,
            s.name,
            f"threshold of {name} in mm",
            sphere_threshold_mm(rng, s, material, structured if "structure" in name else even),
            low,
            high,
        )
        for name, (material, low, high) in _SPHERES.items()
    ]


def sphere_threshold_mm(rng: np.random.Generator, s: System, material: Material, scenes: Sequence[Scene]) -> float:
    """Return the diameter in mm of a solid sphere at which d' is 3.5, interpolated; inf where none is visible."""
    found = []
    for diameter in _DIAMETERS_MM:
        path = sphere_thickness(float(diameter))
        detail = removed_fraction(s.beam(BREAST_MM).spectrum, s.converter, material, path, fat_mm=20.0, gland_mm=25.0)
        contrast, places = array_of(s, detail, side=scenes[0].transmitted.shape[0], spacing_px=_SPACING_PX)
        images = [_exposed(rng, s, scene.transmitted, scene.kerma_ugy, contrast) for scene in scenes]
        found.append(
            np.mean(
                [
                    hotelling_d_prime(image, scene.exposed, places, pitch_mm=s.pitch_mm)
                    for image, scene in zip(images, scenes, strict=True)
                ]
            )
        )
    rising = np.maximum.accumulate(np.maximum(found, 1e-3))
    if rising[-1] < THRESHOLD:
        return float("inf")
    return float(np.exp(np.interp(np.log(THRESHOLD), np.log(rising), np.log(_DIAMETERS_MM))))


def uniform(rng: np.random.Generator, s: System, effort: Effort, *, kerma_ugy: float) -> list[Scene]:
    """Return exposures of 45 mm of PMMA."""
    level = transmission(s, s.beam(BREAST_MM), {"pmma": PMMA_MM})
    flat = np.full((effort.side, effort.side), level, dtype=np.float32)
    return [Scene(flat, _exposed(rng, s, flat, kerma_ugy), kerma_ugy) for _ in range(effort.images)]


def _structured(rng: np.random.Generator, s: System, effort: Effort) -> list[Scene]:
    scenes = [structured_background(rng, s, side=effort.side) for _ in range(effort.images)]
    return [Scene(scene, _exposed(rng, s, scene, 100.0), 100.0) for scene in scenes]


def _exposed(
    rng: np.random.Generator, s: System, transmitted: FloatImage, kerma_ugy: float, contrast: FloatImage | None = None
) -> FloatImage:
    """Return an exposure with the scatter of a breast."""
    ratio = float(s.scatter_to_primary(np.array(BREAST_MM)))
    return exposed(rng, s, transmitted, kerma_ugy=kerma_ugy, scatter_to_primary=ratio, contrast=contrast)
