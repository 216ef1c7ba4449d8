"""Insert simulated calcifications into mammograms, real ones included.

In a raw image, a calcification removes a fraction of the primary beam: the linear value less the offset is
multiplied by the fraction transmitted. In a processed image, a small change of the log exposure is multiplied by
the local slope of the processing. As the processing amplifies the noise of the image by the same slope, the slope
is the noise measured in the image divided by the relative noise of the raw image of the system.

Only pixels under a calcification change, by a smooth function, and the result is quantised as the image was, so
that there is no visible edge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage, Mammogram
from microcalc.simulate.acquisition import detectability, noise_variance
from microcalc.simulate.calcification import Calcification, render_calcification
from microcalc.simulate.spectrum import Material, removed_fraction
from microcalc.simulate.systems import SYSTEMS, System

_THICKNESS_MM = 53.0  # of a typical breast (UK dose surveys: 52 to 60 mm); its share of gland, skin included: ours
_GLAND_MM = 12.0


@dataclass(frozen=True, eq=False, slots=True)
class Imaging:
    """Hold the imaging properties with which microcalcifications are inserted into an image.

    Attributes
    ----------
    blur_mm
        Standard deviation of the blur by motion and by the height of the calcium above the detector.
    scatter_to_primary
        Scatter-to-primary ratio behind a typical breast.
    relative_noise
        Standard deviation of the noise divided by the signal in a raw image behind a typical breast.
    """

    system: System
    spacing_mm: tuple[float, float]
    blur_mm: float
    scatter_to_primary: float
    relative_noise: float

    def mtf(self, f: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the modulation transfer function at spatial frequencies in 1/mm, the blur included."""
        return np.asarray(self.system.mtf(f) * np.exp(-2 * (np.pi * self.blur_mm * f) ** 2))

    def contrast(self, calcification: Calcification) -> FloatImage:
        """Return the fraction of the primary signal removed, (k, k), before blur."""
        return self.removed(calcification.material, calcification.packing * calcification.thickness_mm)

    def removed(self, material: Material, solid_mm: FloatImage) -> FloatImage:
        """Return the fraction of the primary signal that a thickness of solid material removes."""
        return removed_fraction(
            self.system.beam(_THICKNESS_MM).spectrum,
            self.system.converter,
            material,
            solid_mm,
            fat_mm=_THICKNESS_MM - _GLAND_MM,
            gland_mm=_GLAND_MM,
        )

    def d_prime(self, calcification: Calcification) -> float:
        """Return the detectability as in simulated images, which processing is assumed not to change."""
        _, patch = render_calcification(
            self.contrast(calcification), np.array([20.0, 20.0]), spacing_mm=self.spacing_mm, mtf=self.mtf
        )
        return detectability(self.system, patch / np.float32(1 + self.scatter_to_primary), self.relative_noise)


def draw_imaging(rng: np.random.Generator, mammogram: Mammogram) -> Imaging:
    """Return the imaging properties of a mammogram's system; blur and dose are drawn, as they vary between images."""
    system = system_of(mammogram)
    signal = np.full((1, 2), system.gain_per_ugy * system.kerma_ugy(_THICKNESS_MM), dtype=np.float32)
    noise = float(np.sqrt(noise_variance(system, signal)[0, 1]) / signal[0, 1])  # [0, 1]: the field's centre
    blur_mm = float(rng.uniform(0.0, 0.06))  # the patient moves, the calcium lies at any height: ours

    return Imaging(
        system,
        mammogram.spacing_mm,
        blur_mm,
        scatter_to_primary=float(system.scatter_to_primary(np.array(_THICKNESS_MM))),
        relative_noise=noise * float(np.exp(rng.normal(0, 0.25))),  # dose varies from image to image
    )


def system_of(mammogram: Mammogram) -> System:
    """Return the system that shares most words with the name in the table and, among these, is nearest in pitch."""

    def words(text: str) -> set[str]:
        return set(re.findall(r"[a-z]{2,}", text.lower()))

    def likeness(system: System) -> tuple[int, float]:
        shared = words(mammogram.system or "") & words(f"{system.name} {system.manufacturer} {system.model}")
        return len(shared), -abs(system.pitch_mm - mammogram.spacing_mm[0])

    return max(SYSTEMS.values(), key=likeness)


def insert_raw(mammogram: Mammogram, contrast: FloatImage, *, offset: float, scatter_to_primary: float) -> Mammogram:
    """Multiply the linear exposure by the fraction that the calcifications transmit.

    Parameters
    ----------
    contrast
        (rows, columns) fraction of the primary signal removed.
    offset
        Stored value of the system without exposure.
    scatter_to_primary
        Scatter-to-primary ratio behind the grid; scatter reduces the contrast.
    """
    exposure = -mammogram.pixels - np.float32(offset)
    removed = np.minimum(contrast / np.float32(1 + scatter_to_primary), 0.95)  # where shadows overlap
    dimmed = exposure * (1 - removed) + np.float32(offset)
    return replace(mammogram, pixels=-np.rint(dimmed).astype(np.float32))


def insert_processed(
    mammogram: Mammogram, contrast: FloatImage, *, slope: FloatImage, scatter_to_primary: float, sharpening: float
) -> Mammogram:
    """Add the change of the log exposure times the local slope of the processing.

    Parameters
    ----------
    contrast
        (rows, columns) fraction of the primary signal removed.
    slope
        (rows, columns) grey values per unit of log exposure, for fine detail.
    scatter_to_primary
        Scatter-to-primary ratio behind the grid; scatter reduces the contrast.
    sharpening
        Gain of an unsharp mask of 0.4 mm in the processing. ``slope`` includes it, as noise is
        fine detail; coarser detail is amplified less.
    """
    signal = -np.log1p(-np.clip(contrast / np.float32(1 + scatter_to_primary), 0, 0.95)) * slope
    if sharpening > 0:
        sigma = [0.4 / s for s in mammogram.spacing_mm]
        coarse = ndimage.gaussian_filter(signal, sigma, truncate=3.0)
        signal = signal - np.float32(sharpening / (1 + sharpening)) * coarse
    top = float(mammogram.pixels.max())
    changed = np.clip(np.rint(mammogram.pixels + signal), float(mammogram.pixels.min()), top)
    return replace(mammogram, pixels=np.where(np.abs(signal) < 0.25, mammogram.pixels, changed).astype(np.float32))
