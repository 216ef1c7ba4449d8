"""Test objects of a physicist's quality control, exposed and read out by a system as breasts are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import special

from microcalc.domain import FloatImage
from microcalc.simulate.acquisition import digitise, expose_transmission, read_out
from microcalc.simulate.calcification import PITCH_MM, render_calcification
from microcalc.simulate.spectrum import attenuation_per_mm, signal_weight
from microcalc.simulate.systems import Beam, System

Floats = NDArray[np.float64]

PMMA_MM = 45.0  # equivalent to a breast of 53 mm (EUREF)
BREAST_MM = 53.0
EDGE_SOFT_PX = 0.6  # sigma of the blur of the edge, divided out after the measurement: a sharp edge would alias
EDGE_TILT = 0.05  # about 3 degrees


def transmission(system: System, beam: Beam, path_mm: Mapping[str, float]) -> float:
    """Return the fraction of the primary signal in air that is transmitted by materials of given thicknesses in mm."""
    energy, weight = signal_weight(beam.spectrum, system.converter)
    depth = sum(attenuation_per_mm(material, energy) * mm for material, mm in path_mm.items())
    return float(np.sum(weight * np.exp(-np.asarray(depth))))


def exposed(
    rng: np.random.Generator,
    system: System,
    transmitted: FloatImage,
    *,
    kerma_ugy: float,
    scatter_to_primary: float = 0.0,
    contrast: FloatImage | None = None,
    metered: NDArray[np.bool_] | None = None,
) -> FloatImage:
    """Return the stored values (rows, columns) of a raw image of a test object, as float32.

    Parameters
    ----------
    transmitted
        (rows, columns) fraction of the primary signal that the object transmits.
    contrast
        (rows, columns) fraction of the transmitted signal that small details remove, blurred by the system.
    metered
        (rows, columns) region in which the mean detector kerma is ``kerma_ugy``; by default the whole image.
    """
    metered = np.ones(transmitted.shape, dtype=np.bool_) if metered is None else metered
    exposure = expose_transmission(system, transmitted, scatter_to_primary, kerma_ugy=kerma_ugy, metered=metered)
    return digitise(system, read_out(rng, system, exposure, contrast)).astype(np.float32)


def flat_field(rng: np.random.Generator, system: System, *, kerma_ugy: float, side: int) -> FloatImage:
    """Return a uniform exposure, (side, side)."""
    return exposed(rng, system, np.ones((side, side), dtype=np.float32), kerma_ugy=kerma_ugy)


def edge(rng: np.random.Generator, system: System, *, kerma_ugy: float, side_mm: float = 30.0) -> FloatImage:
    """Return an exposure of the edge of an absorber that transmits half, slightly tilted against the columns."""
    side = round(side_mm / system.pitch_mm)
    row, column = np.mgrid[:side, :side].astype(np.float64) - (side - 1) / 2
    distance_px = (column - EDGE_TILT * row) / np.hypot(1.0, EDGE_TILT)
    shape = 0.5 + 0.25 * (1.0 + special.erf(distance_px / EDGE_SOFT_PX / np.sqrt(2.0)))
    return exposed(rng, system, shape.astype(np.float32), kerma_ugy=kerma_ugy)


def edge_softness(system: System, f: Floats) -> Floats:
    """Return the modulation transfer of the blur of the edge itself at frequencies ``f`` in 1/mm."""
    return np.asarray(np.exp(-2.0 * (np.pi * EDGE_SOFT_PX * system.pitch_mm * f) ** 2))


def steps(
    rng: np.random.Generator, system: System, *, kerma_ugy: float, side: int, thickness_mm: tuple[float, ...]
) -> FloatImage:
    """Return an exposure of n steps of PMMA, one below the other, each (side // n, side), of a given mean kerma."""
    beam = system.beam(BREAST_MM)
    levels = np.array([transmission(system, beam, {"pmma": mm}) for mm in thickness_mm], dtype=np.float32)
    rows = np.minimum(np.arange(side) * len(levels) // side, len(levels) - 1)
    return exposed(rng, system, np.repeat(levels[rows, None], side, axis=1), kerma_ugy=kerma_ugy)


def aluminium(rng: np.random.Generator, system: System, *, kerma_ugy: float) -> tuple[FloatImage, NDArray[np.bool_]]:
    """Return an exposure of 0.2 mm of aluminium, 10 mm square, on 45 mm of PMMA, and the mask of its interior."""
    beam, side = system.beam(BREAST_MM), round(60.0 / system.pitch_mm)
    behind = transmission(system, beam, {"pmma": PMMA_MM})
    shaded = transmission(system, beam, {"pmma": PMMA_MM, "aluminium": 0.2})
    distance_mm = np.max(np.abs(np.mgrid[:side, :side] - (side - 1) / 2), axis=0) * system.pitch_mm
    transmitted = np.where(distance_mm < 5.0, shaded, behind).astype(np.float32)
    ratio = float(system.scatter_to_primary(np.array(BREAST_MM)))
    image = exposed(rng, system, transmitted, kerma_ugy=kerma_ugy, scatter_to_primary=ratio, metered=distance_mm > 8.0)
    return image, distance_mm < 4.0


def disc_contrast(system: System, beam: Beam, *, diameter_mm: float, gold_um: float) -> FloatImage:
    """Return the fraction of the primary (k, k) that a gold disc on 45 mm of PMMA removes, before blur, at 20 µm."""
    energy, weight = signal_weight(beam.spectrum, system.converter)
    behind = weight * np.exp(-attenuation_per_mm("pmma", energy) * PMMA_MM)
    shaded = behind * np.exp(-attenuation_per_mm("gold", energy) * gold_um / 1000.0)
    return np.asarray(np.float32(1.0 - shaded.sum() / behind.sum()) * _disc(diameter_mm))


def _disc(diameter_mm: float) -> FloatImage:
    """Return the fraction of each pixel of 20 µm that a disc covers, by 5 x 5 points."""
    half, fine = int(np.ceil(diameter_mm / 2 / PITCH_MM)) + 1, 5
    at = (np.arange((2 * half + 1) * fine) - ((2 * half + 1) * fine - 1) / 2) * PITCH_MM / fine
    covered = np.hypot(at[:, None], at[None, :]) <= diameter_mm / 2
    return np.asarray(covered.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean(axis=(1, 3)), dtype=np.float32)


def sphere_thickness(diameter_mm: float) -> FloatImage:
    """Return the mean path through a sphere (k, k) in mm, for pixels of 20 µm, by 5 x 5 points."""
    half, fine = int(np.ceil(diameter_mm / 2 / PITCH_MM)) + 1, 5
    at = (np.arange((2 * half + 1) * fine) - ((2 * half + 1) * fine - 1) / 2) * PITCH_MM / fine
    chord = 2.0 * np.sqrt(np.maximum((diameter_mm / 2) ** 2 - at[:, None] ** 2 - at[None, :] ** 2, 0.0))
    return np.asarray(chord.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean(axis=(1, 3)), dtype=np.float32)


def array_of(system: System, detail: FloatImage, *, side: int, spacing_px: int) -> tuple[FloatImage, Floats]:
    """Return an image of one detail at every node of a square grid, shifted by another quarter of a pixel each time.

    Parameters
    ----------
    detail
        (k, k) fraction of the primary removed, at a pitch of 20 µm, before blur.

    Returns
    -------
    contrast
        (side, side), blurred by the system.
    places
        (n, 2) row and column of the details in pixels.
    """
    nodes = np.arange(spacing_px, side - spacing_px, spacing_px)
    whole = np.array([(r, c) for r in nodes for c in nodes])
    phase = np.stack([np.arange(len(whole)) % 4, np.arange(len(whole)) // 4 % 4], axis=1)
    contrast = np.zeros((side, side), dtype=np.float32)
    spacing = (system.pitch_mm, system.pitch_mm)
    for part in np.unique(phase, axis=0):
        (top, left), patch = render_calcification(detail, 64.0 + part / 4.0, spacing_mm=spacing, mtf=system.mtf)
        for row, column in whole[(phase == part).all(axis=1)]:
            _add(contrast, patch, int(row) + top - 64, int(column) + left - 64)
    return contrast, whole + phase / 4.0


def _add(out: FloatImage, patch: FloatImage, row: int, column: int) -> None:
    """Add the part of a patch that lies inside the image."""
    r0, c0 = max(row, 0), max(column, 0)
    r1, c1 = min(row + patch.shape[0], out.shape[0]), min(column + patch.shape[1], out.shape[1])
    out[r0:r1, c0:c1] += patch[r0 - row : r1 - row, c0 - column : c1 - column]


def structured_background(rng: np.random.Generator, system: System, *, side: int) -> FloatImage:
    """Return the transmission of acrylic spheres in 48 mm of water, as in the L1 phantom.

    References
    ----------
    Cockmartin et al., Physics in Medicine and Biology 62 (2017), doi 10.1088/1361-6560/aa5e2e: spheres of six
    diameters in equal volumes.
    """
    depth_mm, pitch = 48.0, system.pitch_mm
    area_mm2 = (side * pitch) ** 2
    acrylic = np.zeros((side, side), dtype=np.float32)
    for diameter in (15.88, 12.70, 9.52, 6.35, 3.18, 1.58):
        # a filling of 55 % in all, packed as poured spheres are (ours)
        n = int(0.55 / 6 * depth_mm * area_mm2 / (np.pi / 6 * diameter**3))
        for row, column in rng.uniform(-0.5 * diameter, side * pitch + 0.5 * diameter, (n, 2)):
            _add_sphere(acrylic, row / pitch, column / pitch, diameter / 2 / pitch, pitch)
    acrylic = np.minimum(acrylic, np.float32(depth_mm))
    return _water_and_acrylic(system, acrylic, depth_mm)


def _add_sphere(path: FloatImage, row: float, column: float, radius_px: float, pitch_mm: float) -> None:
    r0, c0 = max(int(row - radius_px), 0), max(int(column - radius_px), 0)
    r1, c1 = min(int(row + radius_px) + 2, path.shape[0]), min(int(column + radius_px) + 2, path.shape[1])
    if r0 >= r1 or c0 >= c1:
        return
    y, x = np.arange(r0, r1)[:, None] - row, np.arange(c0, c1)[None, :] - column
    path[r0:r1, c0:c1] += 2.0 * pitch_mm * np.sqrt(np.maximum(radius_px**2 - y**2 - x**2, 0.0))


def _water_and_acrylic(system: System, acrylic_mm: FloatImage, depth_mm: float) -> FloatImage:
    """Return the transmission of acrylic that displaces water, interpolated over its thickness."""
    beam = system.beam(BREAST_MM)
    at = np.linspace(0.0, depth_mm, 25)
    left = [transmission(system, beam, {"pmma": mm, "water": depth_mm - mm}) for mm in at]
    return np.exp(np.interp(acrylic_mm, at, np.log(left))).astype(np.float32)
