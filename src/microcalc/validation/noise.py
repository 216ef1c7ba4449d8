"""Variance, correlation and power spectrum of the noise in flat fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from microcalc.domain import FloatImage

Floats = NDArray[np.float64]


def noise_of(first: NDArray[np.floating], second: NDArray[np.floating]) -> Floats:
    """Return the noise (rows, columns) of two exposures of the same object, scaled to the variance of one exposure."""
    difference = np.asarray(first, dtype=np.float64) - second
    return np.asarray((difference - difference.mean()) / np.sqrt(2.0))


def neighbour_correlation(noise: Floats) -> tuple[float, float]:
    """Return the autocorrelation with the neighbour in the next row, and in the next column."""
    power = float(np.mean(noise**2))
    return float(np.mean(noise[1:] * noise[:-1])) / power, float(np.mean(noise[:, 1:] * noise[:, :-1])) / power


def noise_power_spectrum(noise: Floats, pitch_mm: float, *, side: int = 128) -> tuple[Floats, Floats]:
    """Return the noise power spectrum in mm² x variance, and the radial frequency in 1/mm, both (side, side).

    The spectrum is the mean over half-overlapping square regions after subtraction of their means. IEC 62220-1 fits a
    plane instead.
    """
    starts = [range(0, n - side + 1, side // 2) for n in noise.shape]
    total = np.zeros((side, side))
    for r in starts[0]:
        for c in starts[1]:
            region = noise[r : r + side, c : c + side]
            total += np.abs(np.fft.fft2(region - region.mean())) ** 2
    f = np.fft.fftfreq(side, pitch_mm)
    return total / (len(starts[0]) * len(starts[1])) * pitch_mm**2 / side**2, np.hypot(f[:, None], f[None, :])


def power_at(power: Floats, frequency: Floats, f: float, *, width: float) -> float:
    """Return the mean power at radial frequencies within ``width`` of ``f``."""
    return float(power[np.abs(frequency - f) <= width].mean())


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Noise variance in stored values: electronic² + quantum * signal + (fixed * signal)²."""

    electronic: float
    quantum: float
    fixed: float

    def stabilised(self, signal: FloatImage) -> Floats:
        """Return the signal transformed so that its noise has a standard deviation of 1: the integral of 1 / SD.

        Without ``fixed`` this is the generalised Anscombe transform without the constant 3/8.
        """
        s = np.maximum(np.asarray(signal, dtype=np.float64), 0.0)
        e2, q, g = self.electronic**2, self.quantum, self.fixed
        root = np.sqrt(e2 + q * s + (g * s) ** 2)
        if g * float(s.max()) < 1e-3 * np.sqrt(max(q * float(s.max()), 1e-12)):
            return np.asarray(2.0 / q * root)
        return np.asarray(np.log(2.0 * g * root + 2.0 * g**2 * s + q) / g)


def fit_noise(signal: Floats, variance: Floats) -> NoiseModel:
    """Return the non-negative least-squares fit to variances (n,) at signals (n,), with equal relative errors."""
    design = np.stack([np.ones_like(signal), signal, signal**2], axis=1) / variance[:, None]
    scale = np.linalg.norm(design, axis=0)
    terms, _ = optimize.nnls(design / scale, np.ones_like(signal))
    electronic2, quantum, fixed2 = terms / scale
    return NoiseModel(float(np.sqrt(electronic2)), float(quantum), float(np.sqrt(fixed2)))


def log_slope(x: Floats, y: Floats) -> float:
    """Return the least-squares slope of log y over log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
