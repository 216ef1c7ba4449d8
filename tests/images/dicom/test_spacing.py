"""The pixel spacing is one that a mammogram has, from the header or from the caller, or an error says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from microcalc.errors import MissingSpacingError, UnsupportedViewError
from microcalc.images.dicom.read import read_dicom

Write = Callable[..., Path]


def _header(
    imager: list[float] | None, plain: list[float] | None = None, calibration: str | None = None, factor: float = 1.03
) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        del dataset.ImagerPixelSpacing
        for keyword, value in (
            ("ImagerPixelSpacing", imager),
            ("PixelSpacing", plain),
            ("PixelSpacingCalibrationType", calibration),
            ("EstimatedRadiographicMagnificationFactor", factor),
        ):
            if value is not None:
                setattr(dataset, keyword, value)

    return edit


@pytest.mark.parametrize(
    ("imager", "plain", "calibration", "expected"),
    [
        ([0.085, 0.085], [0.085, 0.085], None, 0.085),
        ([0.085, 0.085], [0.083, 0.083], None, 0.085),
        ([0.085, 0.085], [0.083, 0.083], "GEOMETRY", 0.083),
        (None, [0.085, 0.085], None, 0.085),
        ([0, 0], [0.085, 0.085], None, 0.085),
        ([0.085], [0.085, 0.085], None, 0.085),
        ([1, 1], [0.085, 0.085], None, 0.085),
        ([-0.085, -0.085], [0.085, 0.085], None, 0.085),
        ([0.085, 0.085], [1, 1], None, 0.085),
        ([0.085, 0.085], [0], "FIDUCIAL", 0.085),
    ],
)
def test_a_value_that_a_mammogram_has_goes_before_one_that_it_has_not(
    imager: list[float] | None, plain: list[float], calibration: str | None, expected: float, write: Write
) -> None:
    mammogram = read_dicom(write(edit=_header(imager, plain, calibration)), pixel_spacing_mm=(0.05, 0.05))
    assert mammogram.spacing_mm == (expected, expected)
    assert not mammogram.spacing_given


@pytest.mark.parametrize("imager", [None, [0, 0], [0.085], [1, 1], [0.0085, 0.0085]])
def test_the_callers_spacing_is_taken_where_the_header_has_none(imager: list[float] | None, write: Write) -> None:
    path = write(edit=_header(imager))
    with pytest.raises(MissingSpacingError, match="--pixel-spacing MM"):
        read_dicom(path)
    mammogram = read_dicom(path, pixel_spacing_mm=(0.085, 0.085))
    assert (mammogram.spacing_mm, mammogram.spacing_given) == ((0.085, 0.085), True)
    with pytest.raises(MissingSpacingError, match=r"pixel spacing 0\.5 mm, expected"):
        read_dicom(path, pixel_spacing_mm=(0.5, 0.5))


def test_two_spacings_that_cannot_be_of_one_picture_are_refused(write: Write) -> None:
    path = write(edit=_header([0.085, 0.085], [0.17, 0.17]))  # a picture at half its size, of which one was changed
    with pytest.raises(MissingSpacingError, match=r"PixelSpacing 0.17 x 0.17 mm and ImagerPixelSpacing 0.085 x 0.085"):
        read_dicom(path)


def test_a_calibration_that_says_magnified_is_a_magnification_view(write: Write) -> None:
    path = write(edit=_header([0.085, 0.085], [0.0472, 0.0472], "FIDUCIAL"))
    with pytest.raises(UnsupportedViewError, match=r"magnification view \(1.8"):
        read_dicom(path)
    assert read_dicom(path, any_view=True).spacing_mm == (0.0472, 0.0472)


@pytest.mark.parametrize(
    ("factor", "is_magnified"), [(1.03, False), (102.7, False), (0, False), (1.8, True), (180, True)]
)
def test_a_magnification_in_per_cent_is_understood(factor: float, is_magnified: bool, write: Write) -> None:
    path = write(edit=_header([0.085, 0.085], factor=factor))
    if is_magnified:
        with pytest.raises(UnsupportedViewError, match=r"magnification view \(1.8 times\)"):
            read_dicom(path)
    else:
        assert read_dicom(path).spacing_mm == (0.085, 0.085)
