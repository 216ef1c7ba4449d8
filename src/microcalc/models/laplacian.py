"""A multi-scale Laplacian of Gaussian: the baseline that a trained scorer has to exceed.

References
----------
Lindeberg T. Feature detection with automatic scale selection. Int J Comput Vis 30 (1998) 79.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from microcalc.domain import NormalisedMammogram, PixelScores

SPACING_MM = 0.1
DIAMETERS_MM = (0.2, 0.3, 0.45, 0.65)
"""Diameters of the blobs. A Laplacian of Gaussian of standard deviation s responds most to a disc of 2.83 s."""


class LaplacianFilter:
    """Rates bright round blobs of microcalcification size; a ``domain.PixelScorer``.

    The rating is the response in units of its own noise: the filter's kernel is scaled so that
    uncorrelated noise of standard deviation 1, the unit of a normalised mammogram,
    gives responses of standard deviation 1 at every scale.
    """

    def __init__(self, *, spacing_mm: float = SPACING_MM) -> None:
        self._spacing_mm = spacing_mm

    @property
    def spacing_mm(self) -> float:
        """Return the pixel spacing at which the filter is applied."""
        return self._spacing_mm

    def score(self, mammogram: NormalisedMammogram) -> PixelScores:
        """Return the likelihood of every pixel, in [0, 1) in the breast, 0 without a blob.

        It is r / (10 + r) for a response of r noise standard deviations: 0.5 at ten.
        """
        response = np.zeros(mammogram.pixels.shape, dtype=np.float32)
        for diameter_mm in DIAMETERS_MM:
            sigma_px = diameter_mm / np.sqrt(8) / mammogram.spacing_mm
            blobs = ndimage.gaussian_laplace(mammogram.pixels, sigma_px, mode="nearest")
            np.maximum(response, blobs / -_noise_gain(float(sigma_px)), out=response)
        return PixelScores(np.where(mammogram.breast, response / (10 + response), np.float32(0)))


def _noise_gain(sigma_px: float) -> np.float32:
    """Return the standard deviation of the filter's response to uncorrelated noise of standard deviation 1."""
    reach = int(np.ceil(6 * sigma_px)) + 1
    impulse = np.zeros((2 * reach + 1, 2 * reach + 1))
    impulse[reach, reach] = 1
    return np.float32(np.sqrt(np.sum(ndimage.gaussian_laplace(impulse, sigma_px) ** 2)))
