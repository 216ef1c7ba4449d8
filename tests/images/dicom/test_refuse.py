"""What is no plain mammogram is refused by name, in one line, without the patient's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from microcalc.dicom.codes import MAGNIFICATION, SPECIMEN, SPOT_COMPRESSION, Code
from microcalc.dicom.header import AcquisitionHeader
from microcalc.errors import (
    InputError,
    MicrocalcError,
    MissingSpacingError,
    NotAMammogramError,
    UnreadableImageError,
    UnsupportedViewError,
)
from microcalc.images.dicom.read import read_dicom

Write = Callable[..., Path]
Edit = Callable[[Dataset], object]


def _set(**values: object) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return edit


def _delete(*keywords: str) -> Edit:
    def edit(dataset: Dataset) -> None:
        for keyword in keywords:
            delattr(dataset, keyword)

    return edit


def _item(code: Code, *, old: bool = False) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = (code.srt, "SRT") if old else (code.sct, "SCT")
    item.CodeMeaning = code.meaning
    return item


def _modifier(code: Code, *, old: bool = False) -> Edit:
    def edit(dataset: Dataset) -> None:
        dataset.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence([_item(code, old=old)])

    return edit


def _specimen(dataset: Dataset) -> None:
    dataset.ViewCodeSequence = Sequence([_item(SPECIMEN)])


_CLASS = "1.2.840.10008.5.1.4.1.1."
_UNUSUAL: list[tuple[Edit, str]] = [
    (_modifier(MAGNIFICATION), "magnification view"),
    (_modifier(MAGNIFICATION, old=True), "magnification view"),
    (_modifier(SPOT_COMPRESSION), "spot compression view"),
    (_specimen, "specimen"),
    (_set(SpecimenDescriptionSequence=Sequence([Dataset()])), "specimen"),
    (_set(EstimatedRadiographicMagnificationFactor="1.8"), "magnification view (1.8 times)"),
    (_set(ImageType=["ORIGINAL", "PRIMARY", "STEREO_PLUS"]), "stereo or biopsy view"),
    (_set(QualityControlImage="YES"), "quality control image"),
]
_REFUSED: list[tuple[Edit, type[InputError], str]] = [
    (_set(SOPClassUID=f"{_CLASS}13.1.3"), UnsupportedViewError, "tomosynthesis (Breast Tomosynthesis Image)"),
    (_set(SOPClassUID=f"{_CLASS}13.1.4"), UnsupportedViewError, "tomosynthesis"),
    (_set(NumberOfFrames=49), UnsupportedViewError, "49 frames, expected one"),
    (_set(ImageType=["DERIVED", "PRIMARY", "TOMO", "GENERATED_2D"]), UnsupportedViewError, "made from tomosynthesis"),
    (_set(ImageType=["DERIVED", "PRIMARY", "", "RECOMBINED"]), UnsupportedViewError, "contrast subtraction"),
    (_set(SOPClassUID=f"{_CLASS}7"), NotAMammogramError, "Secondary Capture Image, expected Digital Mammography"),
    (_set(SOPClassUID=f"{_CLASS}2"), NotAMammogramError, "CT Image"),
    (_delete("SOPClassUID"), NotAMammogramError, "SOP class missing"),
    (_set(PhotometricInterpretation="SECRET NAME"), NotAMammogramError, "PhotometricInterpretation damaged"),
    (_set(PhotometricInterpretation="RGB"), NotAMammogramError, "PhotometricInterpretation RGB"),
    (_set(SamplesPerPixel=3), NotAMammogramError, "3 samples per pixel"),
    (_set(PixelIntensityRelationship="LOG"), NotAMammogramError, "LOG in a FOR PROCESSING image, expected LIN"),
    (_set(ModalityLUTSequence=Sequence([Dataset()])), NotAMammogramError, "a modality LUT"),
    (_set(RescaleSlope="0"), NotAMammogramError, "RescaleSlope 0"),
    (_delete("ImagerPixelSpacing"), MissingSpacingError, "no pixel spacing"),
    (_set(ImagerPixelSpacing=["0.085"]), MissingSpacingError, "no pixel spacing"),
    (_set(ImagerPixelSpacing=["0.0085", "0.085"]), MissingSpacingError, "0.0085 x 0.085 mm, expected 0.02 to 0.2"),
    (_set(ImagerPixelSpacing=["1", "1"]), MissingSpacingError, "ImagerPixelSpacing 1 x 1 mm"),
    (_delete("Rows"), UnreadableImageError, "no Rows or Columns"),
    (_set(Rows=60000, Columns=60000), UnreadableImageError, "60000 x 60000 pixels"),
    (_set(Rows=16000, Columns=16000), UnreadableImageError, "16000 x 16000 pixels"),
    (_set(Rows=10), UnreadableImageError, "10 x 96 pixels"),
    (_set(Rows=81), UnreadableImageError, "truncated pixel data, 15360 bytes, expected 15552"),
    (_set(BitsAllocated=32), UnreadableImageError, "of 32 bits stored"),
    (_delete("PixelData"), UnreadableImageError, "a header without pixel data"),
]


def _message(path: Path, error: type[MicrocalcError], any_view: bool = False) -> str:
    with pytest.raises(error) as caught:
        read_dicom(path, any_view=any_view)
    assert type(caught.value) is error
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ")
    assert "\n" not in message
    assert "expected" in message
    assert "SECRET" not in message
    assert "SIM0001" not in message
    assert str(path.parent) not in message
    return message


@pytest.mark.parametrize(("edit", "error", "words"), _REFUSED, ids=[words for _, _, words in _REFUSED])
def test_what_is_no_mammogram_is_refused_by_name(edit: Edit, error: type[InputError], words: str, write: Write) -> None:
    assert words in _message(write(edit=edit), error)


@pytest.mark.parametrize(("edit", "words"), _UNUSUAL, ids=[f"{i}-{words}" for i, (_, words) in enumerate(_UNUSUAL)])
def test_an_unusual_view_is_refused_and_taken_on_request(edit: Edit, words: str, write: Write) -> None:
    path = write(edit=edit)
    assert words in _message(path, UnsupportedViewError)
    assert read_dicom(path, any_view=True).pixels.shape == (80, 96)


def test_tomosynthesis_is_refused_even_on_request(write: Write) -> None:
    path = write(edit=_set(NumberOfFrames=49))
    _message(path, UnsupportedViewError, any_view=True)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no such file" in _message(tmp_path / "absent.dcm", UnreadableImageError)
    assert "a folder" in _message(tmp_path, UnreadableImageError)


def test_a_file_of_another_kind_is_no_dicom(tmp_path: Path) -> None:
    for content in (b"", b"hello", b"\0" * 1000):
        (tmp_path / "case.dcm").write_bytes(content)
        assert "not a DICOM file" in _message(tmp_path / "case.dcm", UnreadableImageError)


def test_a_truncated_file_never_gives_an_image(write: Write) -> None:
    path = write()
    whole = path.read_bytes()
    for length in (*range(133, 3000, 97), len(whole) - 5000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(MicrocalcError):
            read_dicom(path)


def test_an_unknown_transfer_syntax_is_named(write: Write) -> None:
    path = write()
    changed = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    path.write_bytes(changed)
    assert "transfer syntax 1.2.840.10008.1.2.9" in _message(path, UnreadableImageError)


def test_a_damaged_uid_is_not_quoted(write: Write) -> None:
    path = write()
    uid = b"1.2.840.10008.5.1.4.1.1.1.2.1"
    path.write_bytes(path.read_bytes().replace(uid, b"SECRET^NAME".ljust(len(uid))))
    assert "SOP class damaged" in _message(path, NotAMammogramError)


def test_random_damage_gives_only_errors_of_our_own(
    write: Write, raw_header: AcquisitionHeader, processed_header: AcquisitionHeader
) -> None:
    rng = np.random.default_rng(20)
    messages, n_read = [], 0
    for header in (raw_header, processed_header):
        path = write(header)
        whole = path.read_bytes()
        end_of_header = len(whole) - 80 * 96 * 2
        for _ in range(300):
            mutant = bytearray(whole)
            for at in rng.integers(128, end_of_header, size=rng.integers(1, 6)):
                mutant[at] = rng.integers(0, 256)
            path.write_bytes(mutant)
            try:
                mammogram = read_dicom(path, any_view=bool(rng.integers(0, 2)))
            except MicrocalcError as error:
                messages.append(str(error))
            else:
                n_read += 1
                assert np.isfinite(mammogram.pixels).all()
    assert min(n_read, len(messages)) > 50
    assert not [message for message in messages if "SECRET" in message or "\n" in message]
