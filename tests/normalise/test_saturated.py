"""Areas clipped to white: nothing is searched there, and a clipped calcification is none of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tests.normalise.breasts import SHAPE, SPACING_MM, breast_image, half_disc, mammogram, raw_image

from microcalc.domain import BoolImage, FloatImage
from microcalc.normalise.mammogram import normalise

CENTRE = (500, 150)


def _away_mm() -> NDArray[np.float64]:
    rows, columns = np.indices(SHAPE)
    return np.asarray(SPACING_MM * np.hypot(rows - CENTRE[0], columns - CENTRE[1]))


def _with_white(radius_mm: float) -> FloatImage:
    """Return a breast with dense tissue that fades into its surroundings and is clipped in its middle."""
    dense = 800.0 * np.exp(-(np.maximum(_away_mm() - radius_mm, 0.0) ** 2) / 2.0)
    return np.minimum(breast_image() + dense, 1700.0).astype(np.float32)


def test_an_area_clipped_to_white_and_its_edge_are_not_searched() -> None:
    pixels = _with_white(5.0)
    breast = normalise(mammogram(pixels), spacing_mm=0.1).breast
    away_mm = SPACING_MM * ndimage.distance_transform_edt(~_largest(pixels == pixels.max()))
    assert not breast[away_mm < 0.4].any()
    noisy = pixels + np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    before = normalise(mammogram(noisy), spacing_mm=0.1).breast
    np.testing.assert_array_equal(breast[away_mm > 0.6], before[away_mm > 0.6])


def test_a_clipped_calcification_is_searched() -> None:
    pixels = _with_white(2.0)
    assert 10 < np.count_nonzero(pixels == pixels.max()) * SPACING_MM**2 < 20
    assert normalise(mammogram(pixels), spacing_mm=0.1).breast[CENTRE]


def test_a_brighter_letter_beside_the_breast_changes_nothing() -> None:
    pixels = _with_white(5.0)
    breast = normalise(mammogram(pixels), spacing_mm=0.1).breast
    pixels[100:160, 600:630] = 4095.0
    np.testing.assert_array_equal(normalise(mammogram(pixels), spacing_mm=0.1).breast, breast)


def test_the_brightest_grey_level_of_a_raw_image_is_no_white_area() -> None:
    pixels = np.minimum(raw_image(), -450.0).astype(np.float32)
    white = _largest(pixels == pixels.max()) & half_disc(radius_mm=38.0)
    assert np.count_nonzero(white) * SPACING_MM**2 > 20
    assert normalise(mammogram(pixels, intent="raw"), spacing_mm=0.1).breast[white].all()


def _largest(mask: BoolImage) -> BoolImage:
    labels, _ = ndimage.label(mask)
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))
