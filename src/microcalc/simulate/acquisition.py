"""Simulate the acquisition of a raw image: exposure, scatter, blur, noise and digitisation.

References
----------
Noise model (electronic, quantum with local gain, fixed pattern; noise of unit variance
filtered by the system's kernel): Borges et al. 2019, doi 10.1002/mp.13534.

Noise that differs over the field: van Schie and Karssemeijer 2008.

Scatter as a smooth field of the local thickness: after Leon et al. 2014, doi 10.1118/1.4873321.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microcalc.domain import FloatImage
from microcalc.simulate.raster import enlarge, filtered, frequencies
from microcalc.simulate.spectrum import tissue_attenuation
from microcalc.simulate.systems import Beam, System

_SCATTER_STEP_MM = 2.0
_SCATTER_SIGMA_MM = 8.0  # 6 to 12
_MOST_REMOVED = np.float32(0.98)


@dataclass(frozen=True, eq=False, slots=True)
class Exposure:
    """Hold the noise-free image at the receptor, (rows, columns) float32, in stored values less the offset.

    ``primary`` is blurred by the receptor, ``scatter`` is smooth.
    """

    primary: FloatImage
    scatter: FloatImage

    @property
    def signal(self) -> FloatImage:
        """Return the expected stored value less the offset."""
        return self.primary + self.scatter


def expose(
    system: System,
    beam: Beam,
    *,
    fat_mm: FloatImage,
    gland_mm: FloatImage,
    thickness_mm: FloatImage,
    kerma_ugy: float,
    metered: NDArray[np.bool_],
) -> Exposure:
    """Expose a breast so that the metered region receives a mean detector kerma.

    Parameters
    ----------
    fat_mm, gland_mm
        (rows, columns) paths of the beam, without calcium; skin and muscle count as the path
        through gland of equal attenuation.
    thickness_mm
        (rows, columns) compressed thickness, the source of scatter; 0 in air.
    kerma_ugy
        Mean detector air kerma of the metered region.
    metered
        (rows, columns) True in the region that the automatic exposure control measures.
    """
    transmitted = tissue_attenuation(beam.spectrum, system.converter, fat_mm, gland_mm)
    np.exp(np.negative(transmitted, out=transmitted), out=transmitted)
    scatter_to_primary = system.scatter_to_primary(thickness_mm)
    return expose_transmission(system, transmitted, scatter_to_primary, kerma_ugy=kerma_ugy, metered=metered)


def expose_transmission(
    system: System,
    transmitted: FloatImage,
    scatter_to_primary: float | NDArray[np.floating],
    *,
    kerma_ugy: float,
    metered: NDArray[np.bool_],
) -> Exposure:
    """Expose an object of known transmission: a test object, or a breast.

    Parameters
    ----------
    transmitted
        (rows, columns) primary signal relative to that in air.
    scatter_to_primary
        One number or (rows, columns): ratio of the scatter that originates at a pixel to its primary signal.
    kerma_ugy, metered
        As in ``expose``; the kerma includes primary and scatter.
    """
    scatter = _scatter(system, transmitted * np.asarray(scatter_to_primary, dtype=np.float32))
    blurred = filtered(transmitted, system.pitch_mm, lambda r, c: _transfer(system, np.hypot(r, c)))
    mean = float(transmitted[metered].mean(dtype=np.float64) + scatter[metered].mean(dtype=np.float64))
    scale = np.float32(system.gain_per_ugy * kerma_ugy / mean)
    np.maximum(blurred, 0.0, out=blurred)
    blurred *= scale
    scatter *= scale
    return Exposure(primary=blurred, scatter=scatter)


def _transfer(system: System, f: FloatImage) -> FloatImage:
    """Return ``System.mtf`` by linear interpolation in a fine table, as there are millions of frequencies."""
    at = np.linspace(0.0, float(f.max()), 4096)
    return np.interp(f, at, system.mtf(at)).astype(np.float32)


def _scatter(system: System, source: FloatImage) -> FloatImage:
    """Spread the scatter of each pixel by a Gaussian of 8 mm; beyond the image, its border values continue."""
    k = max(round(_SCATTER_STEP_MM / system.pitch_mm), 1)
    h, w = -(-source.shape[0] // k), -(-source.shape[1] // k)
    padded = np.pad(source, ((0, h * k - source.shape[0]), (0, w * k - source.shape[1])), mode="edge")
    coarse = padded.reshape(h, k, w, k).mean(axis=(1, 3), dtype=np.float32)
    spread = ndimage.gaussian_filter(coarse, _SCATTER_SIGMA_MM / (k * system.pitch_mm), mode="nearest")
    at = [(np.arange(n) - 0.5 * (k - 1)) / k for n in source.shape]
    return np.maximum(enlarge(spread, at[0], at[1]), np.float32(0.0))


def relative_output(system: System, shape: tuple[int, ...], *, field_columns: int | None = None) -> FloatImage:
    """Return the exposure over the field without an object, (rows, columns), about 1 at its centre.

    It falls from the chest wall, column 0, to the nipple by the heel effect, and to the sides as the distance to the
    tube grows. It varies smoothly by 2 per cent between individual machines. The stored image has been corrected
    for it, its noise has not.

    Parameters
    ----------
    shape
        (rows, columns) of a part of the image that includes all its rows.
    field_columns
        Number of columns of the whole image, if ``shape`` has fewer.
    """
    rows, columns = shape[0], field_columns or shape[1]
    across = np.arange(shape[1], dtype=np.float32) / np.float32(columns)
    along = (np.arange(rows, dtype=np.float32) + np.float32(0.5)) / np.float32(rows)
    aside_mm = (along - np.float32(0.5)) * np.float32(system.fields[-1][0] * system.pitch_mm)
    longer = (1.0 + (aside_mm / np.float32(system.header.source_to_detector_mm)) ** 2) ** np.float32(-1.5)
    machine = np.random.default_rng(zlib.crc32(system.name.encode())).normal(1.0, 0.02, (5, 4)).astype(np.float32)
    output = enlarge(machine, along * np.float32(4.0), across * np.float32(3.0))
    output *= longer[:, None]
    output *= (1.0 + np.float32(system.heel) * (np.float32(0.5) - across))[None, :]
    return output


def noise_variance(system: System, signal: FloatImage, *, field_columns: int | None = None) -> FloatImage:
    """Return the variance of the stored value at a signal (rows, columns) less the offset.

    It is the sum of electronic noise, quantum noise and fixed pattern. Where the exposure is lower, the variance
    relative to the signal is higher, as the stored image is corrected for the exposure; see ``relative_output``.
    """
    variance = np.float32(system.variance_ratio) / relative_output(system, signal.shape, field_columns=field_columns)
    variance += np.float32(system.fixed_pattern**2) * signal
    variance *= signal
    variance += np.float32(system.electronic_noise**2)
    return variance


def coloured_noise(rng: np.random.Generator, system: System, shape: tuple[int, int]) -> FloatImage:
    """Draw Gaussian noise (rows, columns) of unit variance with the noise power spectrum of the system."""
    if system.converter == "a-Se":
        return _kernel_noise(rng, system.noise_lag, shape)
    size = (fft.next_fast_len(shape[0], real=True), fft.next_fast_len(shape[1], real=True))
    spectrum = fft.rfft2(rng.standard_normal(size, dtype=np.float32), workers=1)
    spectrum *= np.sqrt(system.noise_power(*frequencies(size, system.pitch_mm)) / np.float32(mean_noise_power(system)))
    noise = fft.irfft2(spectrum, s=size, workers=1, overwrite_x=True)
    return np.ascontiguousarray(noise[: shape[0], : shape[1]], dtype=np.float32)


def _kernel_noise(rng: np.random.Generator, lag: tuple[float, float], shape: tuple[int, int]) -> FloatImage:
    row, column = lag
    white = rng.standard_normal((shape[0] + 2, shape[1] + 2), dtype=np.float32)
    noise = white[1:-1, 1:-1].copy()
    noise += np.float32(row) * (white[:-2, 1:-1] + white[2:, 1:-1])
    noise += np.float32(column) * (white[1:-1, :-2] + white[1:-1, 2:])
    noise /= np.float32(np.sqrt(1.0 + 2 * row**2 + 2 * column**2))
    return noise


@lru_cache
def mean_noise_power(system: System) -> float:
    """Return the mean of ``System.noise_power`` over all frequencies of the raster."""
    f = fft.fftfreq(512, system.pitch_mm)
    return float(np.mean(system.noise_power(f[:, None], f[None, :])))


def read_out(
    rng: np.random.Generator, system: System, exposure: Exposure, contrast: FloatImage | None = None
) -> FloatImage:
    """Return values with noise (rows, columns), less the offset and before digitisation.

    Parameters
    ----------
    contrast
        (rows, columns) fraction of the primary signal that calcium removes, blurred by the system.
    """
    signal = exposure.signal
    if contrast is not None:
        signal -= exposure.primary * np.minimum(contrast, _MOST_REMOVED)
    noise = coloured_noise(rng, system, (signal.shape[0], signal.shape[1]))
    noise *= np.sqrt(noise_variance(system, signal))
    signal += noise
    return signal


def digitise(system: System, values: FloatImage) -> NDArray[np.uint16]:
    """Convert values less the offset to stored values: add the offset, round, and clip."""
    stored: NDArray[np.uint16] = np.clip(np.rint(values + system.offset), 0, system.saturation).astype(np.uint16)
    return stored


def detectability(system: System, signal_patch: FloatImage, noise_sd: float) -> float:
    """Return the detectability d' of a known signal in the noise of the system, by the ideal observer (matched filter).

    Parameters
    ----------
    signal_patch
        (h, w) noise-free difference in stored values.
    noise_sd
        Standard deviation of the noise in stored values at that position.
    """
    size = tuple(fft.next_fast_len(n + 16) for n in signal_patch.shape)
    spectrum = np.abs(fft.fft2(signal_patch.astype(np.float64), s=size)) ** 2
    row_f, column_f = (fft.fftfreq(n, system.pitch_mm) for n in size)
    power = system.noise_power(row_f[:, None], column_f[None, :]) / mean_noise_power(system)
    return float(np.sqrt(np.sum(spectrum / power) / (size[0] * size[1])) / noise_sd)
