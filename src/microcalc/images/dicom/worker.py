"""The process that decodes compressed pixels: ``python -m microcalc.images.dicom.worker``.

It reads one JSON line per file and answers with one JSON line, followed by the bytes of the pixels. It ends when its
input ends.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import IO, Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEGExtended12Bit

from microcalc.dicom.tags import quiet
from microcalc.images.dicom.codestream import ITEM, codestream_size, coding_of, is_complete, jpeg_precision
from microcalc.images.dicom.decode import Syntax

_MEMORY_LIMIT = 6 * 1024**3
# libjpeg inside gdcm fills missing parts with grey and reports this on standard error only.
_LOST_PIXELS = (b"premature end", b"bad Huffman code")


class DamagedPixelsError(Exception):
    """The pixel data are damaged; the message contains no header value."""


def decode_file(path: str, syntax: Syntax, shape: tuple[int, int]) -> NDArray[np.generic]:
    """Return the stored values of a compressed file, (rows, columns).

    Raises
    ------
    DamagedPixelsError
        The pixel data are truncated, damaged, or contradict the header.
    """
    with quiet():
        try:
            dataset = pydicom.dcmread(path)
            data, expected = dataset.PixelData, shape[0] * shape[1] * int(dataset.BitsAllocated) // 8
        except Exception:
            raise DamagedPixelsError("truncated pixel data, expected a whole frame") from None
        if not data.startswith(ITEM) and 0 <= len(data) - expected <= 1:
            raise DamagedPixelsError(f"uncompressed pixel data, expected {syntax.name} as its transfer syntax says")
        try:
            frame = next(generate_frames(data, number_of_frames=1))
        except Exception:
            raise DamagedPixelsError("truncated pixel data, expected a whole frame") from None
        if syntax.has_codestream:
            _check_codestream(frame, syntax, shape)
        try:
            if syntax.plugin == "gdcm":
                _take_precision(dataset, frame)
            pixels = _decoded(path, dataset, syntax)
        except Exception as error:
            # The codec's message could quote the header; the class of the error is sufficient.
            raise DamagedPixelsError(
                f"damaged or truncated {syntax.name} pixel data ({type(error).__name__}), expected a whole frame"
            ) from None
    if pixels.shape != shape:
        raise DamagedPixelsError(f"decoded pixels of shape {pixels.shape}, expected {shape} as in the header")
    return pixels


def _take_precision(dataset: Dataset, frame: bytes) -> None:
    """Use the number of bits of the codestream: gdcm aborts the process if the header states fewer."""
    precision = jpeg_precision(frame)
    if precision is not None and 2 <= precision <= 16:
        dataset.BitsStored, dataset.HighBit = precision, precision - 1
        dataset.BitsAllocated = 8 if precision <= 8 else 16


def _decoded(path: str, dataset: Dataset, syntax: Syntax) -> NDArray[np.generic]:
    """Return the pixels that the codec decodes, (rows, columns)."""
    uid = dataset.file_meta.TransferSyntaxUID
    if uid == JPEGExtended12Bit and dataset.BitsStored > 8:
        return _twelve_bits(path, dataset)
    pixels: NDArray[np.generic]
    # We clear unused bits ourselves: the library assumes them above the stored ones, whatever HighBit is.
    as_stored: Any = {"raw": True, "correct_unused_bits": False}
    pixels, _ = get_decoder(uid).as_array(dataset, decoding_plugin=syntax.plugin, **as_stored)
    return pixels


def _twelve_bits(path: str, dataset: Dataset) -> NDArray[np.generic]:
    """Decode JPEG extended with more than 8 bits by gdcm, which pydicom does not support."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(path)
    if not reader.Read():
        raise DamagedPixelsError
    image = reader.GetImage()
    # SWIG returns the bytes as text, with surrogates for bytes that are not UTF-8.
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    signed = dataset.PixelRepresentation == 1
    return np.frombuffer(buffer, dtype="<i2" if signed else "<u2").reshape(dataset.Rows, dataset.Columns)


def _check_codestream(frame: bytes, syntax: Syntax, shape: tuple[int, int]) -> None:
    coding = coding_of(frame)
    if coding is not None and not _fits(coding, syntax):
        raise DamagedPixelsError(f"{coding} pixel data, expected {syntax.name} as its transfer syntax says")
    size = codestream_size(frame)
    if size is None:
        raise DamagedPixelsError(f"no {syntax.name} codestream in the pixel data, expected one")
    if size != shape:
        raise DamagedPixelsError(
            f"codestream of {size[0]} x {size[1]} pixels, expected {shape[0]} x {shape[1]} as in the header"
        )
    if not is_complete(frame):
        raise DamagedPixelsError(
            f"truncated pixel data: {syntax.name} codestream without its end, expected a whole frame"
        )


def _fits(coding: str, syntax: Syntax) -> bool:
    """Return whether a codestream matches a transfer syntax; extended JPEG includes the baseline."""
    return syntax.name.startswith(coding) or (coding, syntax.name) == ("JPEG baseline", "JPEG extended")


def _limit_memory() -> None:
    """Limit the memory of the process, as a damaged codestream could claim any size."""
    try:
        import resource
    except ImportError:  # missing on Windows; sizes are also checked before decoding
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))


def _private_output() -> IO[bytes]:
    """Return the pipe to the caller; discard what codecs print to standard output."""
    output = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return output


def _answer(line: bytes, complaints: IO[bytes]) -> tuple[dict[str, object], bytes]:
    """Return the reply to a request, and the bytes of the pixels."""
    request = json.loads(line)
    rows, columns = request["shape"]
    complaints.seek(0)
    complaints.truncate()
    try:
        pixels = decode_file(request["path"], Syntax(*request["syntax"]), (rows, columns))
        complaints.seek(0)
        output = complaints.read()
        if any(words in output for words in _LOST_PIXELS):
            raise DamagedPixelsError("damaged or truncated pixel data according to the codec, expected a whole frame")
    except DamagedPixelsError as error:
        return {"error": str(error)}, b""
    payload = np.ascontiguousarray(pixels).tobytes()
    return {"dtype": pixels.dtype.str, "bytes": len(payload)}, payload


def main() -> None:
    """Answer requests until the input ends."""
    _limit_memory()
    output = _private_output()
    with tempfile.TemporaryFile(buffering=0) as complaints:
        os.dup2(complaints.fileno(), 2)
        for line in sys.stdin.buffer:
            reply, payload = _answer(line, complaints)
            output.write(json.dumps(reply).encode() + b"\n")
            output.write(payload)
            output.flush()


if __name__ == "__main__":
    main()
