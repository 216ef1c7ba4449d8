from __future__ import annotations

import numpy as np
import pytest

from microcalc.detection.candidates import find_candidates
from microcalc.domain import NormalisedMammogram
from microcalc.models.laplacian import DIAMETERS_MM, LaplacianFilter


def _disc(diameter_mm: float, spacing_mm: float, *, contrast: float) -> NormalisedMammogram:
    rows, columns = np.indices((61, 61))
    distance_mm = np.hypot(rows - 30, columns - 30) * spacing_mm
    pixels = np.where(distance_mm <= diameter_mm / 2, contrast, 0).astype(np.float32)
    return NormalisedMammogram(pixels, np.ones((61, 61), dtype=bool), spacing_mm, (0.0, 0.0), "uid")


@pytest.mark.parametrize("diameter_mm", DIAMETERS_MM)
def test_a_bright_disc_is_rated_highest_at_its_centre(diameter_mm: float) -> None:
    likelihood = LaplacianFilter().score(_disc(diameter_mm, 0.1, contrast=5)).likelihood
    assert np.argwhere(likelihood == likelihood.max()).tolist() == [[30, 30]]


def test_a_dark_disc_is_rated_nought_at_its_centre() -> None:
    assert LaplacianFilter().score(_disc(0.5, 0.1, contrast=-5)).likelihood[30, 30] == 0


def test_more_contrast_is_more_likely() -> None:
    weak, strong = (LaplacianFilter().score(_disc(0.3, 0.1, contrast=c)).likelihood[30, 30] for c in (2, 4))
    assert 0 < weak < strong < 1


def test_pure_noise_stays_below_the_likelihood_of_ten_standard_deviations() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 200)).astype(np.float32)
    mammogram = NormalisedMammogram(noise, np.ones((200, 200), dtype=bool), 0.1, (0, 0), "uid")
    scored = LaplacianFilter().score(mammogram).likelihood
    assert scored.max() < 0.4


def test_outside_the_breast_is_nought() -> None:
    mammogram = _disc(0.3, 0.1, contrast=5)
    mammogram.breast[25:36, 25:36] = False
    assert np.all(LaplacianFilter().score(mammogram).likelihood[~mammogram.breast] == 0)


@pytest.mark.parametrize("spacing_mm", [0.05, 0.07, 0.1])
def test_two_discs_are_two_candidates(spacing_mm: float) -> None:
    one = _disc(0.3, spacing_mm, contrast=5)
    shift = round(1.0 / spacing_mm)
    both = NormalisedMammogram(
        one.pixels + np.roll(one.pixels, shift, axis=1), one.breast, spacing_mm, (0.0, 0.0), "uid"
    )
    found = find_candidates(
        both, LaplacianFilter().score(both).likelihood, min_likelihood=0.4, min_distance_mm=0.4, max_count=9
    )
    assert sorted(found.centres[:, 1]) == pytest.approx([30 * spacing_mm, (30 + shift) * spacing_mm], abs=0.05)
