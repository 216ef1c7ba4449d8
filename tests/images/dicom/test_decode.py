"""Every transfer syntax gives the stored values; a bad stream or a dead codec costs one file."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID

from microcalc.dicom.header import AcquisitionHeader
from microcalc.errors import UnreadableImageError
from microcalc.images.dicom import decode
from microcalc.images.dicom.codestream import codestream_size, is_complete
from microcalc.images.dicom.decode import SYNTAXES
from microcalc.images.dicom.read import read_dicom

Write = Callable[..., Path]

_ROOT = "1.2.840.10008.1.2"
_PYDICOM_OPTIONS: dict[str, dict[str, Any]] = {
    f"{_ROOT}.5": {},
    f"{_ROOT}.4.80": {},
    f"{_ROOT}.4.81": {"jls_error": 2},
    f"{_ROOT}.4.90": {},
    f"{_ROOT}.4.91": {"j2k_psnr": [80]},
}
_GDCM_SYNTAXES = {
    f"{_ROOT}.4.51": gdcm.TransferSyntax.JPEGExtendedProcess2_4,
    f"{_ROOT}.4.57": gdcm.TransferSyntax.JPEGLosslessProcess14,
    f"{_ROOT}.4.70": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
}
_LARGEST_LOSS = {f"{_ROOT}.4.81": 2, f"{_ROOT}.4.91": 8, f"{_ROOT}.4.51": 4, f"{_ROOT}.4.50": 12}
_COMPRESSED = [uid for uid, syntax in SYNTAXES.items() if syntax.plugin]
_CODESTREAMS = [uid for uid, syntax in SYNTAXES.items() if syntax.has_codestream]


def _gdcm_compress(path: Path, syntax: int) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def _baseline_compress(dataset: Dataset) -> None:
    """Eight bits, by Pillow."""
    eight = (dataset.pixel_array >> 4).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(eight).save(stream, "JPEG", quality=95)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = UID(f"{_ROOT}.4.50")


def _save_as(path: Path, uid: str) -> None:
    """Change a file's transfer syntax."""
    if uid in _GDCM_SYNTAXES:
        return _gdcm_compress(path, _GDCM_SYNTAXES[uid])
    dataset = pydicom.dcmread(path)
    if uid in _PYDICOM_OPTIONS:
        dataset.compress(uid, generate_instance_uid=False, **_PYDICOM_OPTIONS[uid])
    elif uid == f"{_ROOT}.4.50":
        _baseline_compress(dataset)
    elif uid == f"{_ROOT}.2":
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = UID(uid)
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
        return None
    else:
        dataset.file_meta.TransferSyntaxUID = UID(uid)
    dataset.save_as(path)
    return None


@pytest.mark.parametrize("uid", SYNTAXES, ids=[syntax.name for syntax in SYNTAXES.values()])
def test_every_transfer_syntax_gives_the_stored_values(
    uid: str, write: Write, stored: NDArray[np.uint16], processed_header: AcquisitionHeader
) -> None:
    path = write(processed_header)
    _save_as(path, uid)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == uid
    mammogram = read_dicom(path)
    expected = stored >> 4 if uid == f"{_ROOT}.4.50" else stored
    error = np.abs(mammogram.pixels - expected.astype(np.float32))
    # The padded corner's edge rings in lossy streams; the rest is where it belongs.
    assert error[16:].max() <= _LARGEST_LOSS.get(uid, 0)
    assert mammogram.view == "MLO"


@pytest.mark.parametrize("uid", [f"{_ROOT}.5", f"{_ROOT}.4.70", f"{_ROOT}.4.80", f"{_ROOT}.4.90"])
def test_fourteen_bit_raw_images_survive_lossless_compression(
    uid: str, write: Write, stored: NDArray[np.uint16]
) -> None:
    values = (stored * 5).astype(np.uint16)
    path = write(values=values)
    _save_as(path, uid)
    np.testing.assert_array_equal(-read_dicom(path).pixels, values)


def _frame(path: Path) -> bytes:
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def _replace_frame(path: Path, frame: bytes) -> None:
    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([frame])
    dataset.save_as(path)


@pytest.mark.parametrize("uid", _COMPRESSED, ids=[SYNTAXES[uid].name for uid in _COMPRESSED])
def test_a_truncated_stream_is_refused_and_the_next_file_is_read(uid: str, write: Write) -> None:
    path, good = write(), write(name="good.dcm")
    if uid == f"{_ROOT}.4.51":  # twelve bits at most
        path = write(edit=lambda dataset: dataset.update({"BitsStored": 12, "HighBit": 11}))
    _save_as(path, uid)
    _save_as(good, f"{_ROOT}.5")
    whole, frame = path.read_bytes(), _frame(path)
    for length in (len(whole) - len(frame) // 2, len(whole) - 12):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableImageError, match=r"case.dcm: .*(truncated|damaged)"):
            read_dicom(path)
    for length in (20, len(frame) // 3, len(frame) * 3 // 4):
        path.write_bytes(whole)
        _replace_frame(path, frame[:length])
        with pytest.raises(UnreadableImageError, match=r"case.dcm: "):
            read_dicom(path)
    assert read_dicom(good).pixels.shape == (80, 96)


@pytest.mark.parametrize("uid", _CODESTREAMS, ids=[SYNTAXES[uid].name for uid in _CODESTREAMS])
def test_a_stream_that_is_cut_and_closed_again_is_refused(
    uid: str, write: Write, processed_header: AcquisitionHeader
) -> None:
    path = write(processed_header)
    _save_as(path, uid)
    frame = _frame(path)
    _replace_frame(path, frame[: len(frame) * 3 // 4] + b"\xff\xd9")
    with pytest.raises(UnreadableImageError, match=r"case.dcm: damaged or truncated"):
        read_dicom(path)


@pytest.mark.parametrize("uid", _CODESTREAMS, ids=[SYNTAXES[uid].name for uid in _CODESTREAMS])
def test_a_header_that_lies_about_the_codestream_is_refused(
    uid: str, write: Write, processed_header: AcquisitionHeader
) -> None:
    path = write(processed_header)
    _save_as(path, uid)
    assert codestream_size(_frame(path)) == (80, 96)
    assert is_complete(_frame(path))
    dataset = pydicom.dcmread(path)
    dataset.Rows = 8000
    dataset.save_as(path)
    with pytest.raises(UnreadableImageError, match=r"codestream of 80 x 96 pixels, expected 8000 x 96"):
        read_dicom(path)


def test_pixel_data_without_a_codestream_is_refused(write: Write) -> None:
    path = write()
    _save_as(path, f"{_ROOT}.4.80")
    _replace_frame(path, b"no picture at all " * 10)
    with pytest.raises(UnreadableImageError, match="no JPEG-LS lossless codestream"):
        read_dicom(path)


@pytest.mark.parametrize("uid", _CODESTREAMS, ids=[SYNTAXES[uid].name for uid in _CODESTREAMS])
def test_a_damaged_stream_never_ends_the_program(uid: str, write: Write, processed_header: AcquisitionHeader) -> None:
    path = write(processed_header)
    _save_as(path, uid)
    whole, frame = path.read_bytes(), bytearray(_frame(path))
    rng = np.random.default_rng(7)
    for _ in range(15):
        mutant = bytearray(frame)
        for at in rng.integers(2, len(mutant) - 2, size=4):
            mutant[at] = rng.integers(0, 256)
        path.write_bytes(whole)
        _replace_frame(path, bytes(mutant))
        with contextlib.suppress(UnreadableImageError):
            assert read_dicom(path).pixels.shape == (80, 96)


@pytest.fixture
def fresh_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run a worker whose decoding is replaced by a line of Python."""

    def use(line: str) -> None:
        code = (
            "import os, time, microcalc.images.dicom.worker as worker\n"
            "real = worker.decode_file\n"
            f"def decode_file(path, *rest):\n    {line}\n    return real(path, *rest)\n"
            "worker.decode_file = decode_file\nworker.main()"
        )
        decode._stop_worker()
        monkeypatch.setattr(decode, "_WORKER_COMMAND", [sys.executable, "-P", "-c", code])

    return use


def test_a_codec_that_kills_its_process_costs_one_file(
    fresh_worker: Callable[[str], None], write: Write, stored: NDArray[np.uint16]
) -> None:
    bad, good = write(name="bad.dcm"), write(name="good.dcm")
    for path in (bad, good):
        _save_as(path, f"{_ROOT}.4.80")
    fresh_worker("if 'bad' in path: os._exit(139)")
    np.testing.assert_array_equal(-read_dicom(good).pixels, stored)
    with pytest.raises(UnreadableImageError, match=r"bad.dcm: the JPEG-LS lossless decoder crashed"):
        read_dicom(bad)
    np.testing.assert_array_equal(-read_dicom(good).pixels, stored)
    decode._stop_worker()


def test_a_codec_that_hangs_costs_one_file(
    fresh_worker: Callable[[str], None], write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write()
    _save_as(path, f"{_ROOT}.5")
    fresh_worker("time.sleep(60)")
    monkeypatch.setattr(decode, "_TIMEOUT_S", 0.5)
    with pytest.raises(UnreadableImageError, match=r"took over 0.5 s"):
        read_dicom(path)
    decode._stop_worker()


def test_what_a_codec_prints_is_not_taken_for_pixels(
    fresh_worker: Callable[[str], None], write: Write, stored: NDArray[np.uint16]
) -> None:
    path = write()
    _save_as(path, f"{_ROOT}.5")
    fresh_worker("os.write(1, b'noise'); print('more noise', flush=True)")
    np.testing.assert_array_equal(-read_dicom(path).pixels, stored)
    decode._stop_worker()


def test_the_worker_is_started_once(write: Write) -> None:
    path = write()
    _save_as(path, f"{_ROOT}.5")
    read_dicom(path)
    first = decode._worker
    read_dicom(path)
    assert decode._worker is first


def _mean(path: Path) -> float:
    return float(read_dicom(path).pixels.mean())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_processes_decode_side_by_side(write: Write) -> None:
    path = write()
    _save_as(path, f"{_ROOT}.5")
    expected = _mean(path)  # the worker runs before the fork
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_mean, [path] * 6) == [expected] * 6
    assert _mean(path) == expected


def test_a_deflated_bomb_is_refused_before_it_inflates(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    _save_as(path, f"{_ROOT}.1.99")
    whole = path.read_bytes()
    length = int.from_bytes(whole[140:144], "little")
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(whole[: 144 + length] + deflate.compress(bytes(64 << 20)) + deflate.flush())
    monkeypatch.setattr("microcalc.images.dicom.read._LARGEST_FILE", 32 << 20)
    with pytest.raises(UnreadableImageError, match="inflates to over"):
        read_dicom(path)
