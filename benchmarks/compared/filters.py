"""Blob detectors of scikit-image, and filters of OpenCV."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.compared.marks import Find, candidates_of_map, candidates_of_points
from microcalc.domain import Candidates, FloatImage, Mammogram, NormalisedMammogram

_SIGMAS_PX: Final = (0.7, 2.5)
"""Standard deviations of the blobs that are searched for: diameters of 0.2 to 0.7 mm."""


def blobs(function: str, **options: Any) -> Find:
    """Return a detector of blobs of scikit-image: places with the response of a difference of Gaussians there."""

    def find(_mammogram: Mammogram, normalised: NormalisedMammogram) -> Candidates:
        from skimage import feature

        found = getattr(feature, function)(
            normalised.pixels, min_sigma=_SIGMAS_PX[0], max_sigma=_SIGMAS_PX[1], **options
        )
        places = np.asarray(found[:, :2], dtype=np.float64)
        rating = _difference_of_gaussians(normalised.pixels)[tuple(places.astype(int).T)]
        return candidates_of_points(normalised, places, _as_likelihood(rating).astype(np.float64))

    return find


def opencv(response: str) -> Find:
    """Return a detector of the local maxima of a filter of OpenCV: ``difference of Gaussians`` or ``top-hat``."""
    respond = {"difference of Gaussians": _opencv_dog, "top-hat": _opencv_top_hat}[response]
    return lambda _mammogram, normalised: candidates_of_map(normalised, _as_likelihood(respond(normalised.pixels)))


def _difference_of_gaussians(pixels: FloatImage) -> FloatImage:
    low = ndimage.gaussian_filter(pixels, _SIGMAS_PX[1])
    return np.asarray(ndimage.gaussian_filter(pixels, _SIGMAS_PX[0]) - low, dtype=np.float32)


def _opencv_dog(pixels: FloatImage) -> FloatImage:
    import cv2

    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), _SIGMAS_PX[0]) - cv2.GaussianBlur(pixels, (0, 0), _SIGMAS_PX[1]))


def _opencv_top_hat(pixels: FloatImage) -> FloatImage:
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
    return np.asarray(cv2.morphologyEx(cv2.GaussianBlur(pixels, (0, 0), _SIGMAS_PX[0]), cv2.MORPH_TOPHAT, disc))


def _as_likelihood(rating: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a rating in (0, 1) that rises with another, of which values from -10 to 100 differ."""
    return np.asarray(0.5 + np.arctan(rating / 10.0) / np.pi, dtype=np.float32)
