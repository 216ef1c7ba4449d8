"""Stored values are the same whatever the transfer syntax, and wherever they lie in the allocated bits."""

from __future__ import annotations

import logging
import threading
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import UID
from tests.images.dicom.test_decode import _ROOT, Write, _save_as

from microcalc.dicom.header import AcquisitionHeader
from microcalc.dicom.tags import quiet
from microcalc.dicom.write import write_dicom
from microcalc.errors import UnreadableImageError
from microcalc.images.dicom.read import read_dicom

_LOSSLESS = [f"{_ROOT}.1", f"{_ROOT}", f"{_ROOT}.1.99", f"{_ROOT}.2"] + [
    f"{_ROOT}.{end}" for end in ("5", "4.57", "4.70", "4.80", "4.90")
]


@st.composite
def _layouts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """(bits allocated, bits stored, high bit, pixel representation), every one that a header may have."""
    allocated = draw(st.sampled_from((8, 16)))
    stored = draw(st.integers(6 if allocated == 8 else 8, allocated))
    return allocated, stored, draw(st.integers(stored - 1, allocated - 1)), draw(st.sampled_from((0, 1)))


def _values(stored: int, signed: int) -> NDArray[np.int64]:
    """(64, 72) values over the whole range of the stored bits."""
    rows, columns = np.mgrid[:64, :72]
    values = (37 * rows + 11 * columns + np.random.default_rng(5).integers(0, 9, (64, 72))) % (1 << stored)
    return np.asarray(values - (1 << (stored - 1) if signed else 0), dtype=np.int64)


@settings(max_examples=60, deadline=None)
@given(
    layout=_layouts(),
    uid=st.sampled_from(_LOSSLESS),
    photometric=st.sampled_from(("MONOCHROME1", "MONOCHROME2")),
)
def test_every_lossless_syntax_gives_the_values_wherever_their_bits_lie(
    layout: tuple[int, int, int, int],
    uid: str,
    photometric: str,
    tmp_path_factory: pytest.TempPathFactory,
    processed_header: AcquisitionHeader,
) -> None:
    allocated, stored, high, signed = layout
    values = _values(stored, signed)
    shift = high + 1 - stored
    allocated_values = (values << shift).astype(f"<{'iu'[1 - signed]}{allocated // 8}")
    path = tmp_path_factory.mktemp("bits") / "case.dcm"
    write_dicom(path, np.zeros((64, 72), dtype=np.uint16), header=processed_header)
    dataset = pydicom.dcmread(path)
    del dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit
    dataset.PhotometricInterpretation = photometric
    dataset.PixelRepresentation, dataset.BitsAllocated = signed, allocated
    dataset.BitsStored, dataset.HighBit = allocated, allocated - 1
    dataset.PixelData = allocated_values.tobytes()
    dataset["PixelData"].VR = "OB" if allocated == 8 and uid != f"{_ROOT}" else "OW"
    dataset.save_as(path)
    if not (uid == f"{_ROOT}.2" and allocated == 8):  # words are swapped there, which another test looks at
        _save_as(path, uid)
    with quiet():
        dataset = pydicom.dcmread(path)
        dataset.BitsStored, dataset.HighBit = stored, high
        dataset.save_as(path)
    found = read_dicom(path).pixels
    low = -(1 << (stored - 1)) if signed else 0
    expected = values if photometric == "MONOCHROME2" else 2 * low + (1 << stored) - 1 - values
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("uid", [f"{_ROOT}.4.70", f"{_ROOT}.4.80", f"{_ROOT}.4.90"])
def test_eight_bits_in_the_codestream_are_read_where_the_header_allocates_sixteen(
    uid: str, write: Write, processed_header: AcquisitionHeader
) -> None:
    def edit(dataset: pydicom.Dataset) -> None:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = values.astype(np.uint8).tobytes()
        dataset["PixelData"].VR = "OB"

    values = _values(8, 0)
    path = write(processed_header, values=values.astype(np.uint16), edit=edit)
    _save_as(path, uid)
    dataset = pydicom.dcmread(path)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.save_as(path)
    np.testing.assert_array_equal(read_dicom(path).pixels, values.astype(np.float32))


@pytest.mark.parametrize(("uid", "coding"), [(f"{_ROOT}.4.90", "JPEG 2000"), (f"{_ROOT}.4.80", "JPEG-LS")])
@pytest.mark.parametrize("bare", [True, False])
def test_a_codestream_under_an_uncompressed_syntax_is_said_to_be_one(
    uid: str, coding: str, bare: bool, write: Write
) -> None:
    path = write()
    _save_as(path, uid)
    dataset = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.file_meta.TransferSyntaxUID = UID(f"{_ROOT}.1")
    dataset.PixelData = frame if bare else encapsulate([frame])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OW", False
    dataset.save_as(path)
    with pytest.raises(UnreadableImageError, match=f"{coding} pixel data, expected uncompressed ones"):
        read_dicom(path)


def _renamed(path: Path, uid: str) -> None:
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = UID(uid)
    dataset.save_as(path)


def test_a_codestream_of_another_kind_is_said_to_be_one(write: Write) -> None:
    path = write()
    _save_as(path, f"{_ROOT}.4.80")
    _renamed(path, f"{_ROOT}.4.90")
    with pytest.raises(UnreadableImageError, match="JPEG-LS pixel data, expected JPEG 2000 lossless"):
        read_dicom(path)


@pytest.mark.parametrize("uid", [f"{_ROOT}.5", f"{_ROOT}.4.90"])
def test_uncompressed_pixels_under_a_compressed_syntax_are_said_to_be_so(uid: str, write: Write) -> None:
    path = write()
    data = path.read_bytes()
    old = b"1.2.840.10008.1.2.1\0"
    new = uid.encode() + b"\0" * (len(uid) % 2)
    at = data.index(old)
    grown = len(new) - len(old)
    length = int.from_bytes(data[140:144], "little") + grown
    data = (
        data[:140]
        + length.to_bytes(4, "little")
        + data[144 : at - 2]
        + len(new).to_bytes(2, "little")
        + new
        + data[at + len(old) :]
    )
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match="uncompressed pixel data, expected"):
        read_dicom(path)


def test_silence_of_several_threads_ends_with_the_last() -> None:
    before = list(warnings.filters)
    one, other = quiet(), quiet()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert logging.getLogger("pydicom").disabled
    other.__exit__(None, None, None)
    assert not logging.getLogger("pydicom").disabled
    assert warnings.filters == before


def test_silence_of_many_threads_leaves_nothing_behind() -> None:
    logger, before = logging.getLogger("pydicom"), list(warnings.filters)

    def work() -> None:
        for _ in range(200):
            with quiet():
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not logger.disabled
    assert warnings.filters == before
