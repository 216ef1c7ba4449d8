"""Normalising as a whole: polarity, position, mask, and real mammograms."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from tests.normalise.breasts import SHAPE, breast_image, half_disc, mammogram, raw_image

from microcalc.domain import Intent, Mammogram
from microcalc.errors import NoBreastError
from microcalc.images.info import ImageInfo
from microcalc.images.open import open_mammogram
from microcalc.normalise.mammogram import normalise
from microcalc.normalise.resample import resample

SPECK = (500, 200)


def _depth_mm() -> NDArray[np.float64]:
    """Distance from the skin; the chest wall's border is none."""
    widened = np.pad(half_disc(), ((0, 0), (100, 0)), mode="edge")
    return np.asarray(0.1 * ndimage.distance_transform_edt(widened)[:, 100:])


def _with_speck(intent: Intent) -> Mammogram:
    """A speck of 0.3 mm that removes a tenth of the beam."""
    pixels = raw_image() if intent == "raw" else breast_image()
    rows, columns = np.indices(SHAPE)
    speck = np.hypot(rows - SPECK[0], columns - SPECK[1]) < 1.6
    pixels[speck] *= np.float32(0.9 if intent == "raw" else 1.1)  # minus the exposure: nearer to 0 is brighter
    return mammogram(pixels, intent=intent)


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_calcium_is_brighter_and_stays_where_it_is(intent: Intent) -> None:
    normalised = normalise(_with_speck(intent), spacing_mm=0.1)
    at = normalised.grid.to_pixels(np.array([SPECK]) * 0.1)[0].round().astype(int)
    window = normalised.pixels[at[0] - 20 : at[0] + 21, at[1] - 20 : at[1] + 21]
    assert window[20, 20] > 4.0
    assert ndimage.gaussian_filter(window, 1.0)[20, 20] == ndimage.gaussian_filter(window, 1.0).max()


def test_a_raw_image_and_its_exposure_shown_dense_is_white_agree() -> None:
    raw = raw_image()
    shown = mammogram((raw + 8000.0).astype(np.float32))
    a, b = (normalise(m, spacing_mm=0.1) for m in (mammogram(raw, intent="raw"), shown))
    inner = _depth_mm() > 5.0
    assert np.corrcoef(a.pixels[inner], b.pixels[inner])[0, 1] > 0.97
    assert a.pixels[inner].std() == pytest.approx(b.pixels[inner].std(), rel=0.1)


def test_noise_has_a_standard_deviation_of_one_in_the_breast() -> None:
    normalised = normalise(mammogram(raw_image(), intent="raw"), spacing_mm=0.1)
    inner = normalised.pixels[_depth_mm() > 5.0]
    assert inner.std() == pytest.approx(1.0, abs=0.06)
    assert abs(float(inner.mean())) < 0.1


def test_outside_the_breast_is_zero_and_the_skin_is_not_rated() -> None:
    normalised = normalise(mammogram(breast_image()), spacing_mm=0.1)
    outside = ~ndimage.binary_dilation(half_disc(), iterations=8)
    assert not normalised.pixels[outside].any()
    assert not normalised.breast[_depth_mm() < 1.4].any()
    assert normalised.breast[_depth_mm() > 4.0].all(), "the chest wall's border is no skin"


def test_the_whole_image_is_rated_where_that_is_asked_for() -> None:
    pixels = np.random.default_rng(0).normal(1000, 10, (200, 150)).astype(np.float32)
    normalised = normalise(mammogram(pixels), spacing_mm=0.1, whole_image=True)
    assert normalised.breast.all()
    assert normalised.breast_area_cm2 == pytest.approx(3.0)


def test_a_blank_image_is_refused() -> None:
    with pytest.raises(NoBreastError):
        normalise(mammogram(np.zeros(SHAPE, dtype=np.float32)), spacing_mm=0.1)


def test_only_oblique_views_lose_a_bright_corner() -> None:
    pixels = breast_image()
    rows, columns = np.indices(SHAPE) * 0.1
    pixels = np.where(half_disc() | (rows < 50) & (columns < 42), 1000.0, pixels).astype(np.float32)
    pixels += np.where(columns / 25 + rows / 60 < 1, 400, 0).astype(np.float32)
    pixels += np.random.default_rng(0).normal(0, 10, SHAPE).astype(np.float32)
    areas = {
        view: normalise(mammogram(pixels, view=view), spacing_mm=0.1).breast_area_cm2 for view in ("CC", "MLO", None)
    }
    assert areas["CC"] == areas[None]
    assert areas["CC"] - areas["MLO"] == pytest.approx(7.5, abs=1.5)


def test_padding_of_the_header_is_followed() -> None:
    padding = np.zeros(SHAPE, dtype=bool)
    padding[:, 450:] = True
    bright = np.where(padding, 5000, breast_image()).astype(np.float32)
    padded = replace(mammogram(bright), padding=padding)
    assert normalise(padded, spacing_mm=0.1).breast_area_cm2 == pytest.approx(26.0, abs=1.5)


# Few of the images, so that the suite stays fast: an ordinary one, two whose fat is as black
# as the background, and the largest.
@pytest.mark.parametrize(
    ("file", "area_cm2"), [("IM0101", 259), ("IM0005", 208), ("IM0060", 109), ("IM0055", 594), ("IM0006", 62)]
)
def test_a_real_craniocaudal_image_gives_its_breast(shared_data: Path, file: str, area_cm2: float) -> None:
    folder = shared_data / "cdd-cesm"
    with (folder / "images.csv").open(newline="") as handle:
        row = next(r for r in csv.DictReader(handle) if r["file"] == f"{file}.jpg")
    spacing_mm = float(row["pixel_spacing_mm"])
    image = open_mammogram(folder / row["file"], ImageInfo((spacing_mm, spacing_mm), "processed", view="CC"))
    normalised = normalise(image, spacing_mm=0.1)
    assert normalised.breast_area_cm2 == pytest.approx(area_cm2, rel=0.06)
    assert 0.55 < normalised.breast.mean() < 0.9
    residual = normalised.pixels - ndimage.gaussian_filter(normalised.pixels, 2.0)
    grey, _ = resample(image.pixels, image.grid, 0.1)
    shown = normalised.breast & (ndimage.gaussian_filter(grey, 2.0) > 5.0)  # fat that is clipped to black has no noise
    assert np.count_nonzero(shown) > 0.7 * np.count_nonzero(normalised.breast)
    assert 1.4826 * np.median(np.abs(residual[shown])) == pytest.approx(0.95, abs=0.05)


def test_in_a_real_oblique_image_muscle_and_skin_are_out_and_the_coarse_calcifications_in(shared_data: Path) -> None:
    normalised = normalise(open_mammogram(shared_data / "fo-dicom" / "GH133.dcm"), spacing_mm=0.1)
    breast = normalised.breast
    assert normalised.breast_area_cm2 == pytest.approx(183, rel=0.04)
    assert not breast[:400, -150:].any(), "pectoral muscle"
    assert breast[:400, -600:-450].all(), "beside it"
    for row, column in ((1608, 1716), (1840, 1684)):
        window = normalised.pixels[row - 30 : row + 30, column - 30 : column + 30]
        assert breast[row, column]
        assert window.max() > 15, "a coarse calcification"
    edge = breast & ~ndimage.binary_erosion(breast, iterations=3)
    skin = edge[:2100, :1550]
    assert np.median(normalised.pixels[:2100, :1550][skin]) > 0, "not in the dark roll-off outside the skin"
