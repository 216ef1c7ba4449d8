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
    with pytest.raises(NoBreastError, match="expected air darker than the breast"):
        normalise(mammogram(pixels.max() + pixels.min() - pixels, intent=intent), spacing_mm=SPACING_MM)


def _negative(pixels: FloatImage) -> FloatImage:
    return np.asarray(pixels.max() + pixels.min() - pixels)


def _surrounded(pixels: FloatImage, level: float, width: int = 30) -> FloatImage:
    framed = pixels.copy()
    framed[:width] = framed[-width:] = level
    framed[:, :width] = framed[:, -width:] = level
    return framed


@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_a_negative_of_a_crop_is_refused_inside_a_frame_too(intent: Intent, white: bool) -> None:
    crop = _negative(_image(intent)[250:750, :520])
    framed = _surrounded(crop, {"raw": 0.0, "processed": 4095.0}[intent] if white else float(crop.min()) - 500.0)
    for pixels in (crop, framed, framed[:, ::-1].copy()):
        with pytest.raises(NoBreastError, match="expected air darker than the breast"):
            normalise(mammogram(pixels, intent=intent), spacing_mm=SPACING_MM)


@pytest.mark.parametrize("side", _SIDES)
@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_a_black_strip_beside_the_negative_of_a_crop_is_not_taken_for_air(intent: Intent, side: str) -> None:
    crop = _negative(_image(intent)[150:850, :600])
    strips: dict[str, tuple[slice, slice]] = {
        "left": np.s_[:, :20], "right": np.s_[:, -20:], "top": np.s_[:20, :], "bottom": np.s_[-20:, :],
    }  # fmt: skip
    crop[strips[side]] = crop.min()
    with pytest.raises(NoBreastError, match="expected air darker than the breast"):
        breast_mask(crop, spacing_mm=SPACING_MM, intent=intent, padding=None)


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_a_negative_is_refused_whatever_the_header_declares_as_padding(intent: Intent) -> None:
    padding = np.zeros(SHAPE, dtype=bool)
    padding[:, -70:] = True
    pixels = _negative(_image(intent))
    pixels[padding] = pixels.min()
    with pytest.raises(NoBreastError, match="expected air darker than the breast"):
        normalise(replace(mammogram(pixels, intent=intent), padding=padding), spacing_mm=SPACING_MM)


def test_in_a_crop_of_a_raw_image_a_black_strip_is_not_taken_for_air() -> None:
    crop = raw_image()[250:750, :520]
    expected = half_disc()[250:750, :520]
    crop[:, -60:] = -16383.0
    assert overlap(breast_mask(crop, spacing_mm=SPACING_MM, intent="raw", padding=None), expected) > 0.95


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
def test_a_black_shutter_that_cuts_the_corners_of_a_raw_image_is_left_out(share: float) -> None:
    pixels = raw_image()[250:750, :520]
    rows, columns = (np.abs(2 * i / (n - 1) - 1) for i, n in zip(np.indices(pixels.shape), pixels.shape, strict=True))
    shut = rows + columns > 2 * (1 - np.sqrt(share / 2))
    pixels[shut] = -16383.0
    mask = breast_mask(pixels, spacing_mm=SPACING_MM, intent="raw", padding=None)
    assert overlap(mask, half_disc()[250:750, :520] & ~shut) > 0.93


@pytest.mark.parametrize("saturated", [0.3, 0.6, 0.9])
def test_raw_air_that_is_partly_saturated_is_still_air(saturated: float) -> None:
    pixels = raw_image()
    pixels = np.maximum(pixels, np.quantile(pixels[:, -50:], saturated)).astype(np.float32)
    assert overlap(breast_mask(pixels, spacing_mm=SPACING_MM, intent="raw", padding=None), half_disc()) > 0.95


@pytest.mark.parametrize("intent", ["raw", "processed"])
@pytest.mark.parametrize("width", [8, 60, 200])
def test_a_frame_of_noise_is_left_out_however_structured_the_tissue(intent: Intent, width: int) -> None:
    rng = np.random.default_rng(1)
    pixels = _image(intent)
    rows, columns = np.indices(SHAPE)
    pixels += 0.2 * np.ptp(pixels) * half_disc() * np.sin(rows / 9) * np.sin(columns / 11) * (intent == "processed")
    low, high = np.percentile(pixels, [1, 99])
    picture = np.zeros(SHAPE, dtype=bool)
    picture[width:-width, width:-width] = True
    noise = rng.normal((low + high) / 2, (high - low) / 6, SHAPE).astype(np.float32)
    mask = breast_mask(np.where(picture, pixels, noise), spacing_mm=SPACING_MM, intent=intent, padding=None)
    assert overlap(mask, half_disc() & picture) > 0.93


@pytest.mark.parametrize("at", [(450, 0), (450, 150), (300, 330)])
@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_a_label_on_the_breast_is_no_breast(intent: Intent, at: tuple[int, int]) -> None:
    pixels = _image(intent)
    label = np.zeros(SHAPE, dtype=bool)
    label[at[0] : at[0] + 60, at[1] : at[1] + 120] = True
    pixels[label] = _WHITE[intent]
    pixels[at[0] + 20 : at[0] + 30, at[1] + 20 : at[1] + 100] = pixels.min()
    mask = breast_mask(pixels, spacing_mm=SPACING_MM, intent=intent, padding=None)
    assert not mask[label].any()
    assert overlap(mask, half_disc() & ~label) > 0.95


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_two_breasts_that_meet_in_one_narrow_crop_are_refused(intent: Intent, turn: int) -> None:
    half = _image(intent)[150:850, :400]  # the radius is 42 mm
    pixels = np.rot90(np.concatenate([half, half[:, ::-1]], axis=1), turn)
    with pytest.raises(NoBreastError, match="wide at two borders and narrow between them, expected one breast"):
        normalise(mammogram(np.ascontiguousarray(pixels), intent=intent), spacing_mm=SPACING_MM)


def test_two_breasts_in_one_picture_are_refused() -> None:
    pixels = np.concatenate([breast_image(), breast_image()[:, ::-1]], axis=1)
    with pytest.raises(NoBreastError, match=r"two areas of 2\d and 2\d cm2 stand out"):
        normalise(mammogram(pixels), spacing_mm=SPACING_MM)


@pytest.mark.parametrize("whole_image", [True, False])
def test_a_picture_that_is_all_padding_is_refused(whole_image: bool) -> None:
    padded = replace(mammogram(raw_image(), intent="raw"), padding=np.ones(SHAPE, dtype=bool))
    with pytest.raises(NoBreastError, match="all pixels are padding"):
        normalise(padded, spacing_mm=SPACING_MM, whole_image=whole_image)


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_a_mirrored_picture_has_mirrored_borders(intent: Intent) -> None:
    pixels = _image(intent)
    for part, width in (("left", 30), ("right", 50), ("top", 40), ("bottom", 60)):
        line = slice(None, width) if part in ("left", "top") else slice(-width, None)
        pixels[(slice(None), line) if part in ("left", "right") else (line, slice(None))] = _WHITE[intent]
    rows, columns = picture_box(pixels, spacing_mm=SPACING_MM, intent=intent)
    mirrored = picture_box(np.ascontiguousarray(pixels[::-1, ::-1]), spacing_mm=SPACING_MM, intent=intent)
    assert (rows.start, columns.start) >= (40, 30)
    assert mirrored == tuple(slice(n - s.stop, n - s.start) for s, n in zip((rows, columns), SHAPE, strict=True))
