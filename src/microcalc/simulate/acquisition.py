"""From attenuation to the stored raw image: exposure, scatter, blur, noise, digitisation.

References
----------
Noise model (electronic, quantum with local gain, fixed pattern; noise of unit variance
filtered by the system's kernel): Borges et al. 2019, doi 10.1002/mp.13534.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microcalc.domain import FloatImage
from microcalc.simulate.raster import enlarge, filtered, frequencies
from microcalc.simulate.systems import System

_SCATTER_STEP_MM = 2.0
_SCATTER_SIGMA_MM = 8.0


@dataclass(frozen=True, eq=False, slots=True)
class Exposure:
    """The noise-free image at the receptor, (rows, columns) float32, in stored values less the offset.

    ``primary`` is blurred by the receptor, ``scatter`` is smooth.
    """

    primary: FloatImage
    scatter: FloatImage

    @property
    def signal(self) -> FloatImage:
        """Expected stored value less the offset."""
        return self.primary + self.scatter


def expose(
    system: System, attenuation: FloatImage, thickness_mm: FloatImage, *, kerma_ugy: float, metered: NDArray[np.bool_]
) -> Exposure:
    """Expose a breast so that the metered region receives a mean detector kerma.

    Parameters
    ----------
    attenuation
        (rows, columns) minus log of the primary transmission, calcium not included.
    thickness_mm
        (rows, columns) compressed thickness, 0 in air: where scatter comes from.
    metered
        (rows, columns) True where the automatic exposure control looks.
    """
    transmitted = np.exp(-attenuation)
    scatter = _scatter(system, transmitted, thickness_mm)
    blurred = filtered(transmitted, system.pitch_mm, lambda r, c: system.mtf(np.hypot(r, c)))
    mean = float((transmitted[metered] + scatter[metered]).mean())
    scale = np.float32(system.gain_per_ugy * kerma_ugy / mean)
    return Exposure(primary=np.maximum(blurred, 0.0) * scale, scatter=scatter * scale)


def _scatter(system: System, transmitted: FloatImage, thickness_mm: FloatImage) -> FloatImage:
    """Scatter-to-primary ratio of the local thickness times primary, spread over 8 mm."""
    k = max(round(_SCATTER_STEP_MM / system.pitch_mm), 1)
    source = np.where(thickness_mm > 1.0, transmitted * system.scatter_to_primary(thickness_mm), 0.0)
    h, w = -(-source.shape[0] // k), -(-source.shape[1] // k)
    padded = np.pad(source, ((0, h * k - source.shape[0]), (0, w * k - source.shape[1])))
    coarse = padded.reshape(h, k, w, k).mean(axis=(1, 3)).astype(np.float32)
    spread = ndimage.gaussian_filter(coarse, _SCATTER_SIGMA_MM / (k * system.pitch_mm), mode="nearest")
    at = [(np.arange(n) - 0.5 * (k - 1)) / k for n in transmitted.shape]
    return np.maximum(enlarge(spread, at[0], at[1]), 0.0)


def noise_variance(system: System, signal: FloatImage, *, field_columns: int | None = None) -> FloatImage:
    """Variance of the stored value, (rows, columns).

    The receptor's image is corrected for the tube's heel effect, its noise is not: with
    the output falling towards the nipple the variance over signal rises.
    """
    columns = field_columns or signal.shape[1]
    across = np.arange(signal.shape[1], dtype=np.float32) / columns
    output = 1.0 + system.heel * (0.5 - across)
    quantum = np.float32(system.variance_ratio) / output[None, :] * signal
    fixed = np.float32(system.fixed_pattern**2) * signal**2
    return np.asarray(np.float32(system.electronic_noise**2) + quantum + fixed, dtype=np.float32)


def coloured_noise(rng: np.random.Generator, system: System, shape: tuple[int, int]) -> FloatImage:
    """Gaussian noise of unit variance with the system's noise power spectrum."""
    if system.converter == "a-Se":
        row, column = system.noise_lag
        white = rng.standard_normal((shape[0] + 2, shape[1] + 2), dtype=np.float32)
        noise = white[1:-1, 1:-1].copy()
        noise += np.float32(row) * (white[:-2, 1:-1] + white[2:, 1:-1])
        noise += np.float32(column) * (white[1:-1, :-2] + white[1:-1, 2:])
        return np.asarray(noise / np.float32(np.sqrt(1.0 + 2 * row**2 + 2 * column**2)), dtype=np.float32)
    size = (fft.next_fast_len(shape[0], real=True), fft.next_fast_len(shape[1], real=True))
    spectrum = fft.rfft2(rng.standard_normal(size, dtype=np.float32), workers=1)
    spectrum *= np.sqrt(system.noise_power(*frequencies(size, system.pitch_mm)) / mean_noise_power(system))
    return np.asarray(fft.irfft2(spectrum, s=size, workers=1)[: shape[0], : shape[1]], dtype=np.float32)


def mean_noise_power(system: System) -> float:
    """Mean of ``System.noise_power`` over all frequencies of the raster."""
    f = fft.fftfreq(512, system.pitch_mm)
    return float(np.mean(system.noise_power(f[:, None], f[None, :])))


def digitise(system: System, values: FloatImage) -> NDArray[np.uint16]:
    """Values less the offset to stored values: offset, rounding, clipping."""
    stored: NDArray[np.uint16] = np.clip(np.rint(values + system.offset), 0, system.saturation).astype(np.uint16)
    return stored


def visibility(system: System, signal_patch: FloatImage, noise_sd: float) -> float:
    """Detectability d' of a known signal in the system's noise: the ideal matched filter.

    Parameters
    ----------
    signal_patch
        (h, w) difference in stored values, noise-free.
    noise_sd
        Standard deviation of the stored value there.
    """
    size = tuple(fft.next_fast_len(n + 16) for n in signal_patch.shape)
    spectrum = np.abs(fft.fft2(signal_patch.astype(np.float64), s=size)) ** 2
    row_f, column_f = (fft.fftfreq(n, system.pitch_mm) for n in size)
    power = system.noise_power(row_f[:, None], column_f[None, :]) / mean_noise_power(system)
    return float(np.sqrt(np.sum(spectrum / power) / (size[0] * size[1])) / noise_sd)
