"""Pictures: what is given is taken, what is no grey mammogram is refused by name."""

from __future__ import annotations

import contextlib
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from microcalc.errors import InputError, MissingSpacingError, NotAMammogramError, UnreadableImageError
from microcalc.images.picture import read_picture


@pytest.fixture(scope="module")
def grey() -> NDArray[np.uint16]:
    """(80, 96), all of 16 bits."""
    rows, columns = np.mgrid[:80, :96]
    values: NDArray[np.uint16] = (rows * 700 + columns * 100).astype(np.uint16)
    return values


def _eight(grey: NDArray[np.uint16]) -> NDArray[np.uint8]:
    return (grey >> 8).astype(np.uint8)


@pytest.mark.parametrize("name", ["case.png", "case.tif", "case.pgm"])
@pytest.mark.parametrize("bits", [8, 16])
def test_values_come_back_as_stored(name: str, bits: int, tmp_path: Path, grey: NDArray[np.uint16]) -> None:
    values = _eight(grey) if bits == 8 else grey
    path = tmp_path / name
    Image.fromarray(values).save(path)
    processed = read_picture(path, spacing_mm=(0.07, 0.07), intent="processed")
    raw = read_picture(path, spacing_mm=(0.07, 0.07), intent="raw", system="GE", view="CC", laterality="L")
    np.testing.assert_array_equal(processed.pixels, values.astype(np.float32))
    np.testing.assert_array_equal(raw.pixels, -processed.pixels)
    assert processed.uid == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (raw.intent, raw.system, raw.view, raw.laterality) == ("raw", "GE", "CC", "L")
    assert (raw.spacing_mm, raw.padding, raw.window) == ((0.07, 0.07), None, None)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_colour_that_is_grey_and_transparency_do_not_matter(
    mode: str, tmp_path: Path, grey: NDArray[np.uint16]
) -> None:
    path = tmp_path / "case.png"
    Image.fromarray(_eight(grey)).convert(mode).save(path)
    mammogram = read_picture(path, spacing_mm=(0.07, 0.07), intent="processed")
    np.testing.assert_array_equal(mammogram.pixels, _eight(grey))


def test_a_jpeg_in_colour_of_a_grey_image_is_grey(tmp_path: Path, grey: NDArray[np.uint16]) -> None:
    path = tmp_path / "case.jpg"
    Image.fromarray(_eight(grey)).convert("RGB").save(path, quality=95)
    mammogram = read_picture(path, spacing_mm=(0.07, 0.07), intent="processed")
    assert np.abs(mammogram.pixels - _eight(grey)).max() <= 4


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_zero_is_white_is_turned_over(bits: int, tmp_path: Path, grey: NDArray[np.uint16]) -> None:
    values: NDArray[np.integer] = _eight(grey) if bits == 8 else grey
    path = tmp_path / "case.tif"
    Image.fromarray(values).save(path, tiffinfo={262: 1})
    # The tag alone changes in the file: type SHORT, one value, 1 (black is zero) to 0 (white is zero).
    entry = struct.pack("<HHI", 262, 3, 1)
    content = path.read_bytes()
    assert content.count(entry) == 1
    at = content.index(entry) + len(entry)
    path.write_bytes(content[:at] + b"\0\0" + content[at + 2 :])
    top = 2**bits - 1
    np.testing.assert_array_equal(read_picture(path, spacing_mm=(0.07, 0.07), intent="processed").pixels, top - values)


def test_a_real_picture_is_read_at_its_size(shared_data: Path) -> None:
    mammogram = read_picture(shared_data / "cdd-cesm" / "IM0159.jpg", spacing_mm=(0.094, 0.094), intent="processed")
    assert mammogram.pixels.shape == (2509, 1537)


def _refused(path: Path, error: type[InputError], spacing_mm: float = 0.07) -> str:
    with pytest.raises(error) as caught:
        read_picture(path, spacing_mm=(spacing_mm, spacing_mm), intent="processed")
    message = str(caught.value)
    assert type(caught.value) is error
    assert message.startswith(f"{path.name}: ")
    assert "expected" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("spacing_mm", [0.0, 0.019, 0.21, 70.0, float("nan"), -0.07])
def test_a_spacing_that_no_mammogram_has_is_refused(spacing_mm: float, tmp_path: Path) -> None:
    assert "expected 0.02 to 0.2" in _refused(tmp_path / "case.png", MissingSpacingError, spacing_mm)


def test_colour_is_refused(tmp_path: Path) -> None:
    colour = np.zeros((80, 96, 3), np.uint8)
    colour[10, 10, 0] = 200
    Image.fromarray(colour).save(tmp_path / "case.png")
    assert "a colour picture" in _refused(tmp_path / "case.png", NotAMammogramError)


def test_fractions_and_several_pages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.tif"
    Image.fromarray(np.zeros((80, 96), np.float32)).save(path)
    assert "pixel type F, expected 8- or 16-bit" in _refused(path, NotAMammogramError)
    page = Image.fromarray(np.zeros((80, 96), np.uint8))
    page.save(path, save_all=True, append_images=[page])
    assert "2 pages" in _refused(path, NotAMammogramError)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.png"
    assert "no such file" in _refused(path, UnreadableImageError)
    assert "a folder" in _refused(tmp_path, UnreadableImageError)
    for content in (b"", b"hello", b"GIF89a" + bytes(100)):
        path.write_bytes(content)
        assert "expected DICOM, PNG, TIFF, JPEG or PGM" in _refused(path, UnreadableImageError)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_a_truncated_picture_is_refused(suffix: str, tmp_path: Path, grey: NDArray[np.uint16]) -> None:
    path = tmp_path / f"case.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, grey.shape, dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for length in (len(whole) // 4, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        _refused(path, UnreadableImageError)


def _png_claiming(rows: int, columns: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("rows", "columns"), [(60000, 60000), (16000, 16000), (10000, 9500), (10, 96)])
def test_absurd_sizes_are_refused_before_decoding(rows: int, columns: int, tmp_path: Path) -> None:
    path = tmp_path / "case.png"
    path.write_bytes(_png_claiming(rows, columns))
    _refused(path, UnreadableImageError)


def test_random_damage_gives_only_errors_of_our_own(tmp_path: Path, grey: NDArray[np.uint16]) -> None:
    rng = np.random.default_rng(4)
    for suffix in ("png", "tif", "jpg"):
        path = tmp_path / f"case.{suffix}"
        Image.fromarray(_eight(grey)).save(path)
        whole = path.read_bytes()
        for _ in range(100):
            mutant = bytearray(whole)
            for at in rng.integers(0, len(mutant), size=3):
                mutant[at] = rng.integers(0, 256)
            path.write_bytes(mutant)
            with contextlib.suppress(InputError):
                read_picture(path, spacing_mm=(0.07, 0.07), intent="processed")
