"""What was put around a picture, or drawn into it, is no breast; a picture that is none is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.normalise.breasts import SHAPE, SPACING_MM, breast_image, half_disc, mammogram, overlap, raw_image

from microcalc.domain import FloatImage, Intent
from microcalc.errors import NoBreastError
from microcalc.normalise.breast import breast_mask
from microcalc.normalise.frame import picture_box
from microcalc.normalise.mammogram import normalise

_SIDES: dict[str, tuple[slice, slice]] = {
    "left": np.s_[:, :80],
    "right": np.s_[:, -80:],
    "top": np.s_[:80, :],
    "bottom": np.s_[-80:, :],
}
_WHITE: dict[Intent, float] = {"processed": 4095.0, "raw": 0.0}


def _image(intent: Intent) -> FloatImage:
    return raw_image() if intent == "raw" else breast_image()


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_a_picture_without_anything_around_it_is_all_picture(intent: Intent) -> None:
    rows, columns = picture_box(_image(intent), spacing_mm=SPACING_MM, intent=intent)
    assert (rows, columns) == (slice(0, SHAPE[0]), slice(0, SHAPE[1]))


@pytest.mark.parametrize("sides", [("left",), ("right",), ("top",), ("bottom",), tuple(_SIDES)])
@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_strips_and_frames_are_left_out(intent: Intent, sides: tuple[str, ...]) -> None:
    pixels, expected = _image(intent), half_disc()
    for side in sides:
        pixels[_SIDES[side]] = _WHITE[intent]
        expected[_SIDES[side]] = False
    mask = breast_mask(pixels, spacing_mm=SPACING_MM, intent=intent, padding=None)
    assert overlap(mask, expected) > 0.95


@pytest.mark.parametrize("level", [500.0, 2000.0])
def test_a_frame_may_be_grey_and_noisy(level: float) -> None:
    pixels, expected = breast_image(), half_disc()
    for part in _SIDES.values():
        pixels[part] = np.random.default_rng(0).normal(level, 20.0, pixels[part].shape)
        expected[part] = False
    assert overlap(breast_mask(pixels, spacing_mm=SPACING_MM, intent="processed", padding=None), expected) > 0.95


def test_the_edge_of_a_strip_is_no_skin() -> None:
    pixels = breast_image()
    pixels[:, :80] = 4095.0
    assert normalise(mammogram(pixels), spacing_mm=SPACING_MM).breast[500, 90]


def test_a_round_white_shutter_is_left_out() -> None:
    pixels = breast_image()
    rows, columns = np.indices(SHAPE)
    shut = np.hypot(rows - 500, columns - 350) > 560
    pixels[shut] = 4095.0
    mask = breast_mask(pixels, spacing_mm=SPACING_MM, intent="processed", padding=None)
    assert overlap(mask, half_disc() & ~shut) > 0.95


def test_a_round_white_shutter_around_a_raw_image_is_left_out() -> None:
    pixels = raw_image()
    rows, columns = np.indices(SHAPE)
    shut = np.hypot(rows - 500, columns - 350) > 560
    pixels[shut] = 0.0
    mask = breast_mask(pixels, spacing_mm=SPACING_MM, intent="raw", padding=None)
    assert overlap(mask, half_disc() & ~shut) > 0.95


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_pure_noise_is_refused(intent: Intent) -> None:
    pixels = np.random.default_rng(0).normal(2000.0, 100.0, SHAPE).astype(np.float32)
    with pytest.raises(NoBreastError, match="noise without structure"):
        normalise(mammogram(-pixels if intent == "raw" else pixels, intent=intent), spacing_mm=SPACING_MM)


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_a_negative_is_refused(intent: Intent) -> None:
    pixels = _image(intent)
    with pytest.raises(NoBreastError, match="brighter than what it surrounds"):
        normalise(mammogram(pixels.max() + pixels.min() - pixels, intent=intent), spacing_mm=SPACING_MM)


def test_two_breasts_in_one_picture_are_refused() -> None:
    pixels = np.concatenate([breast_image(), breast_image()[:, ::-1]], axis=1)
    with pytest.raises(NoBreastError, match=r"two areas of 2\d and 2\d cm2 stand out"):
        normalise(mammogram(pixels), spacing_mm=SPACING_MM)


@pytest.mark.parametrize("whole_image", [True, False])
def test_a_picture_that_is_all_padding_is_refused(whole_image: bool) -> None:
    padded = replace(mammogram(raw_image(), intent="raw"), padding=np.ones(SHAPE, dtype=bool))
    with pytest.raises(NoBreastError, match="all pixels are padding"):
        normalise(padded, spacing_mm=SPACING_MM, whole_image=whole_image)
