"""A simulated mammogram, start to end: breast, calcium, acquisition, processing, truth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage, Intent, Laterality, Window
from microcalc.simulate.acquisition import Exposure, coloured_noise, digitise, expose, noise_variance
from microcalc.simulate.anatomy import build
from microcalc.simulate.breast import Density, View, draw_breast
from microcalc.simulate.confusers import add_receptor_faults
from microcalc.simulate.contents import Amounts, Contents, Place, draw_contents
from microcalc.simulate.processing import present
from microcalc.simulate.systems import System

RAW_ONLY: tuple[Intent, ...] = ("raw",)


@dataclass(frozen=True, slots=True)
class Technique:
    """How the image was taken, for the header."""

    anode: str
    filter_material: str
    kvp: float
    mas: float
    thickness_mm: float
    force_n: float
    organ_dose_mgy: float
    kerma_ugy: float


@dataclass(frozen=True, eq=False, slots=True)
class SimulatedMammogram:
    """One view of one breast, raw or processed or both, with the truth.

    Attributes
    ----------
    stored
        Per intent the stored values (rows, columns) uint16: raw falls with density,
        processed rises with it.
    windows
        Of the processed image; empty without one.
    places
        The truth, pixel positions in the stored image.
    """

    system: System
    view: View
    laterality: Laterality
    density: Density
    stored: dict[Intent, NDArray[np.uint16]]
    windows: tuple[Window, ...]
    places: tuple[Place, ...]
    technique: Technique


def simulate_mammogram(
    system: System,
    *,
    view: View = "CC",
    laterality: Laterality = "L",
    density: Density = "B",
    seed: int | np.random.SeedSequence = 0,
    intents: Collection[Intent] = RAW_ONLY,
    amounts: Amounts | None = None,
    dose: float = 1.0,
) -> SimulatedMammogram:
    """Simulate one mammogram at the system's native matrix and pitch.

    Parameters
    ----------
    seed
        The same seed gives the same breast, noise and truth.
    intents
        The raw and the processed image are of the same exposure.
    dose
        Factor on the usual exposure.
    """
    rng = np.random.default_rng(seed)
    amounts = amounts or Amounts()
    shape = system.fields[int(rng.random() < 0.25) % len(system.fields)]
    height, width = shape[0] * system.pitch_mm, shape[1] * system.pitch_mm
    breast = draw_breast(rng, view=view, density=density, height_mm=height, width_mm=width, size=min(1.0, height / 210))
    beam = system.beam(breast.thickness_mm)
    n_crossings = int(rng.poisson(amounts.crossings))
    anatomy = build(rng, breast, beam, shape, system.pitch_mm, n_crossings=n_crossings)
    kerma = dose * system.kerma_ugy * float(np.exp(rng.normal(0.0, 0.12)))
    metered = (anatomy.depth > min(20.0, 0.5 * float(anatomy.depth.max()))) & ~anatomy.muscle
    exposure = expose(system, anatomy.attenuation, anatomy.thickness, kerma_ugy=kerma, metered=metered)
    contents = draw_contents(rng, system, breast, anatomy, exposure, amounts)
    specks = int(rng.poisson(amounts.specks)) if rng.random() < 0.25 else 0
    raw, faults = _read_out(rng, system, exposure, contents, specks=specks)
    no_calcium = [*anatomy.crossings / system.pitch_mm, *faults]
    places = [*contents.places, *_no_calcium(no_calcium, contents.places, clearance_px=2.0 / system.pitch_mm)]
    stored: dict[Intent, NDArray[np.uint16]] = {}
    windows: tuple[Window, ...] = ()
    if "processed" in intents:
        processed = present(system, raw)
        stored["processed"], windows = processed.stored, processed.windows
    if "raw" in intents:
        stored["raw"] = raw
    return SimulatedMammogram(
        system=system,
        view=view,
        laterality=laterality,
        density=density,
        stored={i: _as_seen(pixels, laterality) for i, pixels in stored.items()},
        windows=windows,
        places=tuple(p if laterality == "L" else p.mirrored(shape[1]) for p in places),
        technique=_technique(rng, beam.anode, beam.filter_material, beam.kvp, breast.thickness_mm, kerma),
    )


def _read_out(
    rng: np.random.Generator, system: System, exposure: Exposure, contents: Contents, *, specks: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Calcium shades the primary beam; then noise, faults of the receptor, digitisation."""
    signal: FloatImage = exposure.primary * (1 - np.minimum(contents.contrast, np.float32(0.98))) + exposure.scatter
    noise_sd: FloatImage = np.sqrt(noise_variance(system, signal))
    values = signal + noise_sd * coloured_noise(rng, system, signal.shape)
    faults = add_receptor_faults(rng, values, noise_sd, specks=specks)
    return digitise(system, values), faults


def _no_calcium(pixels: Sequence[NDArray[np.number]], calcium: Sequence[Place], *, clearance_px: float) -> list[Place]:
    """Confusers without calcium, but for those where calcium happens to lie."""
    found = [(float(row), float(column)) for row, column in pixels]
    return [
        Place(row=row, column=column, diameter_mm=0.0, kind="no_calcium")
        for row, column in found
        if all(np.hypot(row - c.row, column - c.column) > clearance_px for c in calcium)
    ]


def _as_seen(pixels: NDArray[np.uint16], laterality: Laterality) -> NDArray[np.uint16]:
    return pixels if laterality == "L" else np.ascontiguousarray(pixels[:, ::-1])


def _technique(
    rng: np.random.Generator, anode: str, material: str, kvp: float, thickness_mm: float, kerma: float
) -> Technique:
    """Header values of the usual size; the dose follows thickness and exposure."""
    relative = float(np.exp(0.035 * (thickness_mm - 55.0))) * kerma / 90.0
    return Technique(
        anode=anode,
        filter_material=material,
        kvp=kvp,
        mas=round(90.0 * relative, 1),
        thickness_mm=round(thickness_mm),
        force_n=round(float(rng.uniform(50.0, 140.0)), 1),
        organ_dose_mgy=round(1.3 * relative**0.6, 3),
        kerma_ugy=kerma,
    )
