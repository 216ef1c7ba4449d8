"""The breast is told from the background, from labels and from the pectoral muscle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from tests.normalise.breasts import SHAPE, SPACING_MM, breast_image, half_disc, overlap, raw_image

from microcalc.domain import BoolImage, FloatImage, Intent, Orientation
from microcalc.errors import NoBreastError
from microcalc.normalise.breast import breast_mask
from microcalc.normalise.pectoral import without_pectoral


def _mask(pixels: FloatImage, *, intent: Intent = "processed", padding: BoolImage | None = None) -> BoolImage:
    return breast_mask(pixels, spacing_mm=SPACING_MM, intent=intent, padding=padding)


@pytest.mark.parametrize(("background", "noise"), [(0.0, 0.0), (37.0, 0.0), (100.0, 8.0), (300.0, 30.0)])
def test_the_background_need_be_neither_zero_nor_quiet(background: float, noise: float) -> None:
    pixels = breast_image(background=background, background_noise=noise)
    assert overlap(_mask(pixels), half_disc()) > 0.97


def test_a_raw_image_gives_the_same_breast() -> None:
    assert overlap(_mask(raw_image(), intent="raw"), half_disc()) > 0.97


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_the_chest_wall_may_be_at_any_border(turn: int) -> None:
    mask = _mask(np.ascontiguousarray(np.rot90(breast_image(), turn)))
    assert overlap(mask, np.rot90(half_disc(), turn)) > 0.97


def test_burnt_in_labels_are_not_breast() -> None:
    pixels = breast_image()
    pixels[40:100, 560:680] = 4000.0
    pixels[60:80, 580:660] = 0.0
    pixels[900:950, 600:640:6] = 4000.0
    mask = _mask(pixels)
    assert not mask[:, 500:].any()
    assert overlap(mask, half_disc()) > 0.97


def test_a_thin_frame_around_the_image_is_not_breast() -> None:
    pixels = breast_image()
    pixels[:8] = pixels[-8:] = 4000.0
    pixels[:, -8:] = 4000.0
    assert overlap(_mask(pixels), half_disc()) > 0.95


def test_padding_is_not_breast_however_bright() -> None:
    pixels, padding = breast_image(), np.zeros(SHAPE, dtype=bool)
    padding[:, 450:] = True
    pixels[padding] = 5000.0
    mask = _mask(pixels, padding=padding)
    assert not mask[:, 455:].any()
    assert overlap(mask, half_disc()) > 0.97


def test_a_crop_with_hardly_any_background_is_nearly_all_breast() -> None:
    crop = breast_image()[250:750, :350]
    assert _mask(crop)[half_disc()[250:750, :350]].mean() > 0.98


def test_a_crop_without_background_is_all_breast() -> None:
    assert _mask(breast_image()[300:700, :250]).all()


def test_fat_as_black_as_the_background_is_inside_the_skin() -> None:
    pixels = breast_image()
    rows, columns = np.indices(SHAPE) * SPACING_MM
    radius = np.hypot(rows - 50.0, columns)
    black = (radius < 40.5) & (rows > 55.0) & ~((columns > 8.0) & (columns < 12.0))
    pixels[black] = 0.0  # a skin line of 1.5 mm is left, and one strand
    assert overlap(_mask(pixels), half_disc()) > 0.97


@pytest.mark.parametrize("level", [0.0, 700.0])
def test_a_blank_image_has_no_breast(level: float) -> None:
    with pytest.raises(NoBreastError, match=r"0\.0 cm2 stand out from the background, expected a breast"):
        _mask(np.full(SHAPE, level, dtype=np.float32))


def test_a_label_alone_is_no_breast() -> None:
    pixels = np.zeros(SHAPE, dtype=np.float32)
    pixels[100:160, 100:260] = 1000.0
    with pytest.raises(NoBreastError, match="expected a breast of at least 5 cm2"):
        _mask(pixels)


def _mlo(*, muscle: float, flip: bool) -> tuple[FloatImage, BoolImage, BoolImage]:
    """A breast of 18 cm height with a muscle that meets the top at 35 mm and the wall at 80 mm."""
    rows, columns = np.indices((1800, 1000)) * SPACING_MM
    breast = columns < 90.0 * np.sqrt(np.clip(1 - ((rows - 60.0) / 115.0) ** 2, 0, None))
    triangle = columns / 35.0 + rows / 80.0 < 1.0
    rng = np.random.default_rng(0)
    texture = ndimage.zoom(ndimage.gaussian_filter(rng.normal(size=(180, 100)), 3.0), 10, order=1)
    tissue = 1000.0 + 40.0 * texture / texture.std() + rng.normal(0, 10, breast.shape)
    pixels = np.where(breast, tissue + muscle * triangle, 0.0).astype(np.float32)
    if flip:
        return pixels[:, ::-1], breast[:, ::-1], triangle[:, ::-1]
    return pixels, breast, triangle


@pytest.mark.parametrize("flip", [False, True])
def test_the_pectoral_muscle_is_taken_out(flip: bool) -> None:
    pixels, breast, triangle = _mlo(muscle=300.0, flip=flip)
    kept = without_pectoral(pixels, breast, spacing_mm=SPACING_MM)
    assert overlap(breast & ~kept, breast & triangle) > 0.85


@pytest.mark.parametrize("flip", [False, True])
def test_where_there_is_no_muscle_nothing_is_taken_out(flip: bool) -> None:
    pixels, breast, _ = _mlo(muscle=0.0, flip=flip)
    np.testing.assert_array_equal(without_pectoral(pixels, breast, spacing_mm=SPACING_MM), breast)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("turn", range(8))
def test_the_muscle_is_taken_out_however_the_picture_is_turned_or_mirrored(turn: int, header: bool) -> None:
    def turned(image: np.ndarray) -> np.ndarray:
        image = image.T if turn & 4 else image
        image = image[::-1] if turn & 2 else image
        return np.ascontiguousarray(image[:, ::-1] if turn & 1 else image)

    right, bottom = ("F", "A") if turn & 4 else ("A", "F")
    opposite = {"A": "P", "F": "H"}
    orientation = Orientation(opposite[right] if turn & 1 else right, opposite[bottom] if turn & 2 else bottom)
    pixels, breast, triangle = _mlo(muscle=300.0, flip=False)
    kept = without_pectoral(
        turned(pixels), turned(breast), spacing_mm=SPACING_MM, orientation=orientation if header else None
    )
    assert overlap(turned(breast) & ~kept, turned(breast & triangle)) > 0.85


def _covered(pixels: FloatImage, value: float) -> FloatImage:
    rows, columns = np.indices(pixels.shape)
    height, width = pixels.shape
    beyond = ((rows - height / 2) / height) ** 2 + ((columns - width / 2) / width) ** 2 > 0.24
    return np.where(beyond, np.float32(value), pixels)


@pytest.mark.parametrize("value", [0.0, 4095.0])
def test_the_negative_of_a_breast_is_refused_in_a_round_shutter_too(value: float) -> None:
    pixels = breast_image(background=100.0, background_noise=1.0)
    with pytest.raises(NoBreastError, match="inverted grey levels"):
        _mask(_covered(1200 - pixels, value))


def test_the_negative_of_a_breast_is_refused_where_the_header_declares_its_round_shutter_as_padding() -> None:
    pixels = _covered(1200 - breast_image(background=100.0, background_noise=1.0), 0.0)
    with pytest.raises(NoBreastError, match="inverted grey levels"):
        _mask(pixels, padding=pixels == 0.0)


@pytest.mark.parametrize("turn", range(4))
def test_an_even_muscle_is_not_taken_for_the_air_of_a_negative_where_the_header_declares_the_air_as_padding(
    turn: int,
) -> None:
    pixels, breast, triangle = _mlo(muscle=0.0, flip=False)
    pixels[breast & triangle] = np.random.default_rng(0).normal(1150.0, 3.0, np.count_nonzero(breast & triangle))
    pixels, breast = np.rot90(pixels, turn).copy(), np.rot90(breast, turn)
    assert overlap(_mask(pixels, padding=~breast), breast) > 0.95


@pytest.mark.parametrize("value", [0.0, 4095.0])
def test_a_breast_in_a_round_shutter_is_found(value: float) -> None:
    pixels = breast_image(background=100.0, background_noise=1.0)
    mask = _mask(_covered(pixels, value))
    shown = half_disc() & (_covered(np.zeros_like(pixels), 1.0) == 0)
    assert overlap(mask, shown) > 0.95


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("wall", [False, True])
def test_a_breast_beside_its_mirror_image_is_refused(turn: int, wall: bool) -> None:
    crop = breast_image()[200:800, :380]  # without air at three borders
    halves = [crop[:, ::-1], crop] if wall else [crop, crop[:, ::-1]]
    pixels = np.ascontiguousarray(np.rot90(np.hstack(halves), turn))
    with pytest.raises(NoBreastError, match="expected one breast"):
        _mask(pixels)
