"""Realism of simulated processed images: how well a small network tells their patches from real ones. Needs torch.

Both kinds are treated alike: grey levels through the window of the header, 8 bit, JPEG, resampled, and cut into patches
of 48 pixels, each normalised to mean 0 and standard deviation 1. At 0.1 mm per pixel the network compares noise,
sharpness and processing, at 0.8 mm tissue. An AUC of 0.5 means that the kinds cannot be told apart. Power spectra and
kurtosis are compared as well.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from microcalc.datasets.open import open_row, refuse_images, unusable_images
from microcalc.datasets.table import ImageRow, Table
from microcalc.display.grey import apply_window, stretch
from microcalc.domain import BoolImage, FloatImage, Mammogram
from microcalc.errors import InputError
from microcalc.execution.executor import SERIAL, Executor, run_in_order
from microcalc.normalise.breast import breast_mask
from microcalc.normalise.resample import resample, resample_mask
from microcalc.validation.classifier import Separation, check_torch, cross_validate
from microcalc.validation.texture import GABOR_PER_MM, gabor_excess, largest_square, periodic_part
from microcalc.wording import quantity

Floats = NDArray[np.float64]
_LOG = logging.getLogger(__name__)

SCALES_MM = (0.1, 0.2, 0.4, 0.8)
PATCH_PX = 48
_FINEST_MM = SCALES_MM[0]
_MOST_WITHOUT = 0.02  # of a patch, outside the breast


@dataclass(frozen=True, slots=True)
class Scale:
    """The comparison at one scale.

    Attributes
    ----------
    separation
        Performance of the classifier.
    octaves
        Centre of each octave in cycles/mm, and ratio of the mean power of simulated to real normalised patches.
    """

    spacing_mm: float
    separation: Separation
    n_simulated: int
    n_real: int
    octaves: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Realism:
    """The comparison at all scales, and the median excess kurtosis of Gabor responses at 0.25, 0.5 and 1 /mm."""

    scales: tuple[Scale, ...]
    simulated_excess: tuple[float, ...]
    real_excess: tuple[float, ...]

    def lines(self) -> list[str]:
        """Return the lines of the report: one per scale, then the spectra, then the kurtosis."""
        lines = ["mm per pixel   AUC (95 % by patient)   patches simulated, real   (AUC 0.5: not told apart)"]
        for s in self.scales:
            t = s.separation
            lines.append(
                f"{s.spacing_mm:12g}   {t.auc:.3f} ({t.low:.3f} .. {t.high:.3f})   {s.n_simulated}, {s.n_real}"
            )
        lines.append("power of simulated over real, by frequency in 1/mm:")
        lines += [f"{s.spacing_mm:12g}   " + "  ".join(f"{f:.2g}: {r:.2f}" for f, r in s.octaves) for s in self.scales]
        lines.append("excess kurtosis of Gabor responses, simulated against real:")
        for f, a, b in zip(GABOR_PER_MM, self.simulated_excess, self.real_excess, strict=True):
            lines.append(f"{f:9g} /mm   {a:.2f} against {b:.2f}")
        return lines


@dataclass(frozen=True, slots=True)
class Comparison:
    """Hold the settings of a comparison.

    Attributes
    ----------
    scales_mm
        Pixel spacings of the patches.
    jpeg_quality
        JPEG quality of all images; preferably that of the real images, where these are JPEG files.
    per_image
        Largest number of patches of each image and scale.
    steps, folds
        Training steps per fold, and number of folds; no patient is in two folds.
    """

    seed: int
    scales_mm: Sequence[float] = SCALES_MM
    jpeg_quality: int = 95
    per_image: int = 100
    steps: int = 2000
    folds: int = 3


def measure_realism(simulated: Table, real: Table, settings: Comparison, *, executor: Executor = SERIAL) -> Realism:
    """Compare the processed images of two tables.

    Parameters
    ----------
    executor
        Processes that read images.

    Raises
    ------
    InputError
        A table has fewer patients with processed images than there are folds.
    MissingExtraError
        torch is not installed.
    """
    check_torch()
    both = [_processed(t, kind, settings.folds) for t, kind in ((simulated, "simulated"), (real, "real"))]
    found = [_read(rows, settings, executor) for rows in both]
    scales = []
    for k, spacing_mm in enumerate(settings.scales_mm):
        _LOG.info("telling patches of %g mm per pixel apart", spacing_mm)
        scales.append(_compared(found, both, k, settings))
    medians = [tuple(np.nanmedian([excess for _, excess in images], axis=0).tolist()) for images in found]
    return Realism(tuple(scales), medians[0], medians[1])


_Image = tuple[list[FloatImage], tuple[float, ...]]


def _processed(table: Table, kind: str, folds: int) -> list[ImageRow]:
    rows = [i for i in table.images if i.intent == "processed"]
    patients = {i.patient_or_image for i in rows}
    if len(patients) < folds:
        raise InputError(f"processed {kind} images of {quantity(len(patients), 'patient')}, expected at least {folds}")
    refuse_images(list(unusable_images(rows).values()), of=len(rows))
    return rows


def _read(rows: Sequence[ImageRow], settings: Comparison, executor: Executor) -> list[_Image]:
    seeds = np.random.SeedSequence(settings.seed).spawn(len(rows))
    specs = list(zip(rows, seeds, strict=True))
    return run_in_order(executor, partial(_of_image, settings=settings), specs, work="reading images")


def _of_image(spec: tuple[ImageRow, np.random.SeedSequence], *, settings: Comparison) -> _Image:
    """Return patches at each scale, and the kurtosis."""
    row, seed = spec
    rng = np.random.default_rng(seed)
    mammogram = open_row(row)
    grey = compressed(grey_levels(mammogram), quality=settings.jpeg_quality)
    breast = breast_mask(grey, spacing_mm=mammogram.spacing_mm[0], intent="processed", padding=mammogram.padding)
    patches = []
    for spacing_mm in settings.scales_mm:
        pixels, _ = resample(grey, mammogram.grid, spacing_mm)
        inside = resample_mask(breast, mammogram.grid, spacing_mm)
        patches.append(draw_patches(rng, pixels, inside, n=settings.per_image))
    fine, _ = resample(grey, mammogram.grid, _FINEST_MM)
    inner = resample_mask(ndimage.binary_erosion(breast, iterations=round(8 / mammogram.spacing_mm[0])),
                          mammogram.grid, _FINEST_MM)  # fmt: skip
    square = largest_square(inner)
    if square[0].stop - square[0].start < 200:  # too small for the lowest frequency
        return patches, (np.nan,) * len(GABOR_PER_MM)
    return patches, gabor_excess(periodic_part(fine[square]), _FINEST_MM)


def grey_levels(mammogram: Mammogram) -> NDArray[np.uint8]:
    """Return grey levels by the window of the header, or without one from the lowest to the highest value."""
    if mammogram.window is not None:
        return apply_window(mammogram.pixels, mammogram.window)
    return stretch(mammogram.pixels, float(mammogram.pixels.min()), float(mammogram.pixels.max()))


def compressed(grey: NDArray[np.uint8], *, quality: int) -> FloatImage:
    """Return the image after JPEG compression, as float32."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), dtype=np.float32)


def draw_patches(rng: np.random.Generator, pixels: FloatImage, inside: BoolImage, *, n: int) -> FloatImage:
    """Return up to n random patches (m, 48, 48) within a mask, each with mean 0 and standard deviation 1."""
    half = PATCH_PX // 2
    covered = ndimage.uniform_filter(inside.astype(np.float32), PATCH_PX) > 1.0 - _MOST_WITHOUT
    covered[:half] = covered[-half:] = False
    covered[:, :half] = covered[:, -half:] = False
    flat = np.flatnonzero(covered)
    chosen = rng.choice(flat, min(n, flat.size), replace=False)
    out = np.empty((len(chosen), PATCH_PX, PATCH_PX), dtype=np.float32)
    for patch, row, column in zip(out, *np.divmod(chosen, pixels.shape[1]), strict=True):
        here = pixels[row - half : row + half, column - half : column + half]
        patch[...] = (here - here.mean()) / max(float(here.std()), 1e-3)
    return out


def octave_powers(patches: FloatImage, spacing_mm: float) -> tuple[Floats, Floats]:
    """Return the centres (k,) in 1/mm and the mean power (k,) of octaves up to the Nyquist frequency."""
    window = np.outer(np.hanning(PATCH_PX), np.hanning(PATCH_PX))
    power = np.mean(np.abs(np.fft.fft2(patches * window)) ** 2, axis=0)
    f = np.hypot(np.fft.fftfreq(PATCH_PX, spacing_mm)[:, None], np.fft.fftfreq(PATCH_PX, spacing_mm)[None, :])
    edges = 0.5 / spacing_mm * 2.0 ** np.arange(-4, 1)
    bands = list(pairwise(edges))
    centres = np.array([np.sqrt(low * high) for low, high in bands])
    return centres, np.array([power[(f >= low) & (f < high)].mean() for low, high in bands])


def _compared(found: Sequence[list[_Image]], rows: Sequence[Sequence[ImageRow]], k: int, settings: Comparison) -> Scale:
    """Compare two sets of images at the k-th scale."""
    spacing_mm, folds = settings.scales_mm[k], settings.folds
    patches = [np.concatenate([p[k] for p, _ in images]) for images in found]
    if min(len(p) for p in patches) < folds:
        raise InputError(f"no patch of {PATCH_PX * spacing_mm:g} mm fits into the breasts of a table, expected some")
    patient = [
        f"{kind} {row.patient_or_image}"
        for kind, images, these in zip(("simulated", "real"), found, rows, strict=True)
        for (p, _), row in zip(images, these, strict=True)
        for _ in range(len(p[k]))
    ]
    is_real = np.repeat([False, True], [len(p) for p in patches])
    told = cross_validate(
        np.concatenate(patches), is_real, np.array(patient), steps=settings.steps, folds=folds, seed=settings.seed
    )
    (centres, first), (_, second) = (octave_powers(p, spacing_mm) for p in patches)
    octaves = tuple(zip(centres.tolist(), (first / second).tolist(), strict=True))
    return Scale(spacing_mm, told, len(patches[0]), len(patches[1]), octaves)
