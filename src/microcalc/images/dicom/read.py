"""Read a mammogram from a DICOM file, by its attributes and never by the vendor's name."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom.source_values import long_text
from microcalc.dicom.systems import system_name
from microcalc.dicom.tags import content, integer, is_uid, only_word, quiet, word
from microcalc.domain import Intent, Mammogram
from microcalc.errors import UnreadableImageError
from microcalc.images.dicom.accept import check_kind, check_size, spacing_or_given
from microcalc.images.dicom.codestream import coding_of
from microcalc.images.dicom.decisive import check_decisive
from microcalc.images.dicom.decode import decode_compressed, transfer_syntax
from microcalc.images.dicom.position import laterality_of, orientation_of, view_of
from microcalc.images.dicom.sniff import is_dicom
from microcalc.images.dicom.values import clear_unused_bits, first_window, padding_mask, to_pixels

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["is_dicom", "laterality_of", "read_data_set", "read_dicom", "view_of"]

_LARGEST_FILE = 1024**3
_DEFLATED = "1.2.840.10008.1.2.1.99"
_META_START = 128 + 4 + 12  # preamble, DICM, and the group length element itself (PS3.10 7.1)


def read_dicom(
    path: Path,
    *,
    any_view: bool = False,
    pixel_spacing_mm: tuple[float, float] | None = None,
    intent: Intent | None = None,
) -> Mammogram:
    """Read a full-field digital mammogram, FOR PROCESSING or FOR PRESENTATION.

    Parameters
    ----------
    path
        A DICOM file in any transfer syntax of `microcalc.images.dicom.decode.SYNTAXES`.
    any_view
        Also accept magnification, spot, stereo, specimen and quality control images.
    pixel_spacing_mm
        (row, column), used if the header has no spacing that is plausible for a mammogram.
    intent
        Used for a mammogram in a Secondary Capture Image, such as digitised film, whose header has none.

    Returns
    -------
    Mammogram
        In the frame of the stored pixels, brighter = denser; see
        `microcalc.images.dicom.values` for the meaning of the values.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, truncated, of an implausible size or of an unknown transfer syntax.
    NotAMammogramError
        The file is not a Digital Mammography X-Ray Image, or its values are not valid grey levels.
    UnsupportedViewError
        The image is tomosynthesis or subtraction, or an unusual view without ``any_view``.
    MissingSpacingError
        The pixel spacing is missing or implausible for a mammogram.

    References
    ----------
    DICOM PS3.3 A.27, C.8.11.
    """
    with quiet():
        header = read_data_set(path, stop_before_pixels=True)
        intent, shape, (spacing_mm, spacing_given) = _accepted(header, path.name, any_view, pixel_spacing_mm, intent)
        convert = to_pixels(header, intent, path.name)
        allocated = _stored_values(path, header, shape)
        stored = clear_unused_bits(allocated, header)
        return Mammogram(
            pixels=convert.apply(stored),
            spacing_mm=spacing_mm,
            intent=intent,
            uid=_uid(header, path),
            laterality=laterality_of(header),
            view=view_of(header),
            system=system_name(*(_text(header, keyword) for keyword in ("Manufacturer", "ManufacturerModelName"))),
            padding=padding_mask(stored, allocated, header),
            window=first_window(header, convert),
            orientation=orientation_of(header),
            burned_in=_burned_in(header),
            spacing_given=spacing_given,
        )


def check_dicom_header(
    path: Path,
    *,
    any_view: bool = False,
    pixel_spacing_mm: tuple[float, float] | None = None,
    intent: Intent | None = None,
) -> tuple[Intent, tuple[int, int], tuple[float, float]]:
    """Check the header of a mammogram as ``read_dicom`` does; its pixels are not decoded.

    Returns
    -------
    intent
        ``"raw"`` or ``"processed"``.
    shape
        (rows, columns).
    spacing_mm
        (row, column).

    Raises
    ------
    InputError
        As ``read_dicom``.
    """
    with quiet():
        header = read_data_set(path, stop_before_pixels=True)
        return accept_header(header, path.name, any_view=any_view, pixel_spacing_mm=pixel_spacing_mm, intent=intent)


def accept_header(
    header: Dataset,
    name: str,
    *,
    any_view: bool,
    pixel_spacing_mm: tuple[float, float] | None,
    intent: Intent | None,
) -> tuple[Intent, tuple[int, int], tuple[float, float]]:
    """Return intent, shape and pixel spacing of a header that was read; raise as ``check_dicom_header``."""
    found, shape, (spacing_mm, _) = _accepted(header, name, any_view, pixel_spacing_mm, intent)
    return found, shape, spacing_mm


def _accepted(
    header: Dataset,
    name: str,
    any_view: bool,
    pixel_spacing_mm: tuple[float, float] | None,
    given_intent: Intent | None,
) -> tuple[Intent, tuple[int, int], tuple[tuple[float, float], bool]]:
    """Return intent, shape, and pixel spacing with whether it was given; raise the error of what is not accepted."""
    check_decisive(header, name)
    intent = check_kind(header, name, any_view=any_view, given_intent=given_intent)
    return intent, check_size(header, name), spacing_or_given(header, name, pixel_spacing_mm)


def read_data_set(path: Path, *, stop_before_pixels: bool = False) -> Dataset:
    """Read the data set of a DICOM file.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, too large, or damaged.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # opening a pipe would block
            raise UnreadableImageError(f"{path.name}: a pipe, socket or device, expected a DICOM file")
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise UnreadableImageError(f"{path.name}: {size} bytes, expected at most {_LARGEST_FILE}")
        _check_deflated(path)
        return pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)
    except FileNotFoundError:
        raise UnreadableImageError(f"{path.name}: no such file, expected a DICOM image") from None
    except IsADirectoryError:
        raise UnreadableImageError(f"{path.name}: a folder, expected a DICOM image") from None
    except InvalidDicomError:
        raise UnreadableImageError(f"{path.name}: not a DICOM file, expected one with the DICM preamble") from None
    except UnreadableImageError:
        raise
    except OSError as error:
        raise UnreadableImageError(f"{path.name}: cannot be opened ({error.strerror}), expected an image") from None
    except Exception as error:  # a damaged data set; the library's message would quote its values
        raise UnreadableImageError(
            f"{path.name}: damaged DICOM data set ({type(error).__name__}), expected a whole one"
        ) from None


def _check_deflated(path: Path) -> None:
    """Refuse a deflated data set that would inflate to more than the largest file size."""
    from pydicom.filereader import read_file_meta_info

    meta = read_file_meta_info(path)
    if word(meta, "TransferSyntaxUID") != _DEFLATED:
        return
    length = integer(meta, "FileMetaInformationGroupLength")
    if length is None:
        raise UnreadableImageError(f"{path.name}: file meta information without its group length, expected one")
    data = path.read_bytes()[_META_START + length :]
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while data:
        total += len(inflater.decompress(data, 1 << 24))
        data = inflater.unconsumed_tail
        if total > _LARGEST_FILE:
            raise UnreadableImageError(f"{path.name}: inflates to over {_LARGEST_FILE} bytes, expected a mammogram")


def _stored_values(path: Path, header: Dataset, shape: tuple[int, int]) -> NDArray[np.integer]:
    uid = word(header.file_meta, "TransferSyntaxUID")
    syntax = transfer_syntax(uid, path.name)
    if syntax.plugin:
        decoded = decode_compressed(path, syntax, shape)
        # Codecs return the smallest type for the codestream's values; the header counts bits in the allocated ones.
        return decoded.astype(f"{decoded.dtype.kind}{(integer(header, 'BitsAllocated') or 16) // 8}", copy=False)
    dataset = read_data_set(path)
    if "PixelData" not in dataset:
        raise UnreadableImageError(f"{path.name}: a header without pixel data, expected an image")
    return _unpack(dataset, shape, big_endian=uid.endswith("1.2.2"), name=path.name)


def _unpack(dataset: Dataset, shape: tuple[int, int], *, big_endian: bool, name: str) -> NDArray[np.integer]:
    """Return uncompressed stored values, (rows, columns)."""
    allocated = integer(dataset, "BitsAllocated") or 16
    kind = "i" if integer(dataset, "PixelRepresentation") == 1 else "u"
    data, expected = content(dataset, "PixelData"), shape[0] * shape[1] * allocated // 8
    coding = coding_of(data) if len(data) != expected else None
    if coding is not None:
        raise UnreadableImageError(
            f"{name}: {coding} pixel data, expected uncompressed ones as its transfer syntax says"
        )
    if len(data) - expected >= shape[1] * allocated // 8:  # less than a row is accepted as padding
        raise UnreadableImageError(
            f"{name}: {len(data)} bytes of pixel data, expected {expected} of {shape[0]} x {shape[1]} pixels"
        )
    if len(data) < expected:
        raise UnreadableImageError(f"{name}: truncated pixel data, {len(data)} bytes, expected {expected}")
    if allocated == 8 and big_endian and dataset["PixelData"].VR == "OW":
        words = np.frombuffer(data[: (expected + 1) // 2 * 2], dtype=">u2").astype("<u2")
        return words.view(f"{kind}1")[:expected].reshape(shape)
    order = ">" if big_endian else "<"
    stored = np.frombuffer(data, dtype=f"{order}{kind}{allocated // 8}", count=shape[0] * shape[1])
    return stored.astype(f"{kind}{allocated // 8}", copy=False).reshape(shape)


def _uid(header: Dataset, path: Path) -> str:
    """Return the SOP Instance UID, or the SHA-256 of the file if the UID is missing or invalid."""
    uid = word(header, "SOPInstanceUID")
    return uid if is_uid(uid) else hashlib.sha256(path.read_bytes()).hexdigest()


def _burned_in(header: Dataset) -> bool | None:
    """Return whether text is burned into the pixels (BurnedInAnnotation); None if the header does not state it."""
    return {"YES": True, "NO": False}.get(only_word(header, "BurnedInAnnotation").upper())


def _text(header: Dataset, keyword: str) -> str:
    """Return a text of the header; empty if it is invalid in the declared character set."""
    return long_text(header, keyword, most=1024).value
