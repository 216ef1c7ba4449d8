"""Reading follows the tags: both intents, both polarities, spacing, view, window, padding."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from microcalc.dicom.header import AcquisitionHeader, StoredValues
from microcalc.dicom.systems import system_name
from microcalc.domain import Window
from microcalc.images.dicom.read import is_dicom, read_dicom
from microcalc.images.open import is_picture, open_mammogram

Write = Callable[..., Path]


def test_a_real_ge_mammogram_is_read_as_its_header_says(shared_data: Path) -> None:
    mammogram = read_dicom(shared_data / "fo-dicom" / "GH133.dcm")
    assert mammogram.pixels.shape == (3062, 2394)
    assert mammogram.pixels.dtype == np.float32
    assert mammogram.spacing_mm == pytest.approx((0.0940909, 0.0940909), abs=1e-7)
    assert (mammogram.laterality, mammogram.view, mammogram.intent) == ("R", "MLO", "processed")
    assert mammogram.system == "GE Senographe Essential"
    assert mammogram.window == Window(2653, 900, "sigmoid")
    assert mammogram.padding is not None
    assert 0.6 < mammogram.padding.mean() < 0.75
    # The breast, at the right of a right MLO, is brighter than the air beside it.
    assert mammogram.pixels[1500, -200:].mean() > mammogram.pixels[1500, :200].mean() + 1000


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_raw_values_that_grow_with_exposure_are_negated(
    photometric: str, write: Write, stored: NDArray[np.uint16], raw_header: AcquisitionHeader
) -> None:
    values = dataclasses.replace(raw_header.stored, photometric_interpretation=photometric)  # type: ignore[arg-type]
    mammogram = read_dicom(write(dataclasses.replace(raw_header, stored=values)))
    np.testing.assert_array_equal(mammogram.pixels, -stored.astype(np.float32))
    assert mammogram.intent == "raw"


def test_raw_values_that_fall_with_exposure_count_from_the_top(
    write: Write, stored: NDArray[np.uint16], raw_header: AcquisitionHeader
) -> None:
    values = StoredValues(14, "MONOCHROME2", "LIN", -1, "IDENTITY")
    complement = (2**14 - 1 - stored).astype(np.uint16)
    mammogram = read_dicom(write(dataclasses.replace(raw_header, stored=values), values=complement))
    np.testing.assert_array_equal(mammogram.pixels, -stored.astype(np.float32))


@pytest.mark.parametrize(("photometric", "sign"), [("MONOCHROME1", 1), ("MONOCHROME2", -1)])
def test_without_a_sign_the_photometric_interpretation_decides_raw_polarity(
    photometric: str, sign: int, write: Write, raw_header: AcquisitionHeader
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = photometric
        del dataset.PixelIntensityRelationshipSign

    def edit_with_sign(dataset: Dataset) -> None:
        dataset.PixelIntensityRelationshipSign = sign

    without, with_sign = read_dicom(write(edit=edit)), read_dicom(write(edit=edit_with_sign, name="signed.dcm"))
    np.testing.assert_array_equal(without.pixels, with_sign.pixels)


def test_both_polarities_of_a_processed_image_give_the_same_mammogram(
    write: Write, stored: NDArray[np.uint16], processed_header: AcquisitionHeader
) -> None:
    plain = read_dicom(write(processed_header))
    inverse = StoredValues(12, "MONOCHROME1", "LOG", 1, "INVERSE", padding_value=4095, padding_limit=4065)
    windows = (Window(4095 - 2653, 900, "sigmoid"),)
    inverted_header = dataclasses.replace(processed_header, stored=inverse, windows=windows, window_names=())
    inverted = read_dicom(write(inverted_header, values=(4095 - stored).astype(np.uint16)))
    np.testing.assert_array_equal(plain.pixels, stored.astype(np.float32))
    np.testing.assert_array_equal(inverted.pixels, plain.pixels)
    assert plain.padding is not None
    assert inverted.padding is not None
    np.testing.assert_array_equal(plain.padding, stored <= 30)
    np.testing.assert_array_equal(inverted.padding, plain.padding)
    assert inverted.window == plain.window == Window(2653, 900, "sigmoid")


def test_a_linear_window_keeps_its_ramp_when_mirrored(write: Write, processed_header: AcquisitionHeader) -> None:
    inverse = StoredValues(12, "MONOCHROME1", "LOG", 1, "INVERSE")
    header = dataclasses.replace(processed_header, stored=inverse, windows=(Window(1000, 201),), window_names=())
    window = read_dicom(write(header)).window
    assert window is not None
    # The ramp's middle lies at centre - 0.5: at 999.5 stored, so at 4095 - 999.5 in pixels.
    assert window.centre - 0.5 == 4095 - 999.5


def test_rescale_and_window_are_in_modality_values(
    write: Write, stored: NDArray[np.uint16], processed_header: AcquisitionHeader
) -> None:
    values = dataclasses.replace(processed_header.stored, rescale_slope=2.0, rescale_intercept=-100.0)
    mammogram = read_dicom(write(dataclasses.replace(processed_header, stored=values)))
    np.testing.assert_array_equal(mammogram.pixels, 2 * stored.astype(np.float32) - 100)
    assert mammogram.window == Window(2653, 900, "sigmoid")


def test_a_voi_lut_gives_a_window_where_the_header_has_none(write: Write, processed_header: AcquisitionHeader) -> None:
    def edit(dataset: Dataset) -> None:
        lut = Dataset()
        lut.LUTDescriptor = [1001, 500, 12]
        lut.LUTData = np.linspace(0, 4095, 1001).astype("<u2").tobytes()
        lut["LUTData"].VR = "OW"
        dataset.VOILUTSequence = Sequence([lut])
        del dataset.WindowCenter
        del dataset.WindowWidth

    window = read_dicom(write(processed_header, edit=edit)).window
    assert window is not None
    assert window.centre == pytest.approx(1000, abs=2)
    assert window.width == pytest.approx(1000, abs=4)
    assert window.function == "linear_exact"


def test_bits_above_the_stored_ones_are_ignored(
    write: Write, stored: NDArray[np.uint16], raw_header: AcquisitionHeader
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11

    header = dataclasses.replace(raw_header, stored=StoredValues(16))
    overlaid = stored | np.uint16(0x8000)
    mammogram = read_dicom(write(header, values=overlaid, edit=edit))
    np.testing.assert_array_equal(-mammogram.pixels, stored)


def test_signed_values_keep_their_sign(write: Write, stored: NDArray[np.uint16]) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PixelRepresentation = 1
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = (stored.astype(np.int16) - 500).astype("<i2").tobytes()

    mammogram = read_dicom(write(edit=edit))
    np.testing.assert_array_equal(-mammogram.pixels, stored.astype(np.float32) - 500)


def test_the_frame_of_the_stored_pixels_is_kept(write: Write, stored: NDArray[np.uint16]) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.FieldOfViewHorizontalFlip, dataset.FieldOfViewRotation = "YES", "180"
        dataset.PatientOrientation = ["A", "L"]

    np.testing.assert_array_equal(-read_dicom(write(edit=edit)).pixels, stored)


def test_the_view_code_names_the_view_where_no_position_does(write: Write) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.ViewPosition
        del dataset.ImageLaterality
        code = dataset.ViewCodeSequence[0]
        code.CodeValue, code.CodingSchemeDesignator = "R-10226", "SNM3"
        dataset.Laterality = "L"
        dataset.BreastImplantPresent = "YES"

    mammogram = read_dicom(write(edit=edit))
    assert (mammogram.view, mammogram.laterality) == ("MLO", "L")


def test_calibrated_pixel_spacing_goes_before_the_receptors(write: Write) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PixelSpacing, dataset.PixelSpacingCalibrationType = [0.08, 0.081], "GEOMETRY"

    def edit_uncalibrated(dataset: Dataset) -> None:
        dataset.PixelSpacing = [0.08, 0.081]

    assert read_dicom(write(edit=edit)).spacing_mm == (0.08, 0.081)
    assert read_dicom(write(edit=edit_uncalibrated)).spacing_mm == (0.085, 0.085)


def test_without_a_uid_the_files_hash_names_the_image(write: Write) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.SOPInstanceUID

    path = write(edit=edit)
    assert read_dicom(path).uid == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("maker", ["", "HOLOGIC, Inc.", "LORAD", "Acme"])
def test_nothing_but_the_systems_name_depends_on_the_vendor(maker: str, write: Write) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.Manufacturer = maker

    plain, renamed = read_dicom(write(name="plain.dcm")), read_dicom(write(edit=edit))
    np.testing.assert_array_equal(plain.pixels, renamed.pixels)
    assert plain.system == "Siemens Mammomat Inspiration"
    assert renamed.system == system_name(maker, "Mammomat Inspiration")


@pytest.mark.parametrize(
    ("manufacturer", "model", "name"),
    [
        ("HOLOGIC, Inc.", "Selenia Dimensions", "Hologic Selenia Dimensions"),
        ("Hologic, Inc.", "Hologic Selenia", "Hologic Selenia"),
        ("Lorad, A Hologic Company", "Lorad Selenia", "Hologic Lorad Selenia"),
        ("LORAD.", "", "Hologic"),
        ("GE HEALTHCARE", "Senographe Pristina", "GE Senographe Pristina"),
        ("GE MEDICAL SYSTEMS", "Senograph DS ADS_43.10.1", "GE Senograph DS"),
        ("SIEMENS", "Mammomat Inspiration", "Siemens Mammomat Inspiration"),
        ("", "Selenia Dimensions", "Selenia Dimensions"),
        ("", "", None),
    ],
)
def test_one_system_has_one_name(manufacturer: str, model: str, name: str | None) -> None:
    assert system_name(manufacturer, model) == name


def test_dicom_is_told_by_its_preamble(write: Write, tmp_path: Path) -> None:
    path = write()
    (tmp_path / "bare").write_bytes(path.read_bytes()[132:])
    assert is_dicom(path)
    assert not is_dicom(tmp_path / "bare")
    assert not is_dicom(tmp_path / "absent")
    assert not is_dicom(tmp_path)


@pytest.mark.parametrize(("said", "burned_in"), [("YES", True), ("NO", False), (None, None), ("MAYBE", None)])
def test_text_burned_into_the_pixels_is_told_where_the_header_says_so(
    said: str | None, burned_in: bool | None, write: Write
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.BurnedInAnnotation = said
        if said is None:
            del dataset.BurnedInAnnotation

    assert read_dicom(write(edit=edit)).burned_in is burned_in


def test_where_the_chest_wall_is_comes_with_the_mammogram(write: Write) -> None:
    right_cc = read_dicom(write())
    assert right_cc.orientation is not None
    assert right_cc.orientation.chest_wall == "right"


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"\0\0\0\0"])
def test_a_file_that_is_also_a_picture_is_read_as_dicom(start: bytes, write: Write) -> None:
    path = write()
    path.write_bytes(start.ljust(128, b"\x2a") + path.read_bytes()[128:])
    assert not is_picture(path)
    assert open_mammogram(path).view == "CC"


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("value", [-2000, 63536])
def test_a_padding_value_of_the_wrong_sign_is_understood(
    signed: int, value: int, write: Write, stored: NDArray[np.uint16]
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = signed, 16, 15
        dataset.PixelData = np.where(stored == 0, 63536, stored).astype("<u2").tobytes()
        dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)

    padding = read_dicom(write(edit=edit)).padding
    assert padding is not None
    np.testing.assert_array_equal(padding, stored == 0)


def test_padding_that_the_stored_bits_cannot_hold_is_no_white_pixel(write: Write, stored: NDArray[np.uint16]) -> None:
    def edit(dataset: Dataset) -> None:
        values = np.where(stored == 0, 65535, stored)
        values[-1] = (1 << dataset.BitsStored) - 1  # as white as stored bits can be
        dataset.PixelData = values.astype("<u2").tobytes()
        dataset.add_new("PixelPaddingValue", "US", 65535)

    padding = read_dicom(write(edit=edit)).padding
    assert padding is not None
    np.testing.assert_array_equal(padding, stored == 0)


@pytest.mark.parametrize(
    ("centre", "width", "expected"),
    [
        ([2080, 2120], [1500], Window(2080, 1500, "sigmoid")),
        ([2080], [1500, 900], Window(2080, 1500, "sigmoid")),
        ([2080], [0], None),
        ([2080], [-5], None),
        (None, [1500], None),
        ([1e30], [1500], None),
    ],
)
def test_a_window_that_cannot_be_used_ends_no_reading(
    centre: list[float] | None,
    width: list[float],
    expected: Window | None,
    write: Write,
    processed_header: AcquisitionHeader,
) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.WindowCenter, dataset.WindowWidth = centre, width
        dataset.WindowCenterWidthExplanation = ["A", "B", "C"]
        lut = Dataset()
        lut.LUTDescriptor = [3, 0, 16]
        lut.add_new("LUTData", "OW", b"\1\2\3")
        dataset.VOILUTSequence = Sequence([lut])

    assert read_dicom(write(processed_header, edit=edit)).window == expected


def test_a_system_in_an_undeclared_character_set_is_left_out(write: Write) -> None:
    path = write()
    name = "Müller".encode("latin-1").ljust(len("SIEMENS "))
    path.write_bytes(path.read_bytes().replace(b"SIEMENS ", name))  # the header declares UTF-8
    assert read_dicom(path).system == "Mammomat Inspiration"
