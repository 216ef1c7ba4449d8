"""The process that decodes compressed pixels: ``python -m microcalc.images.dicom.worker``.

One JSON line in per file, one JSON line out, followed by the pixels' bytes. It ends
with its input.
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
# libjpeg inside gdcm fills what is missing with grey and says so on stderr only.
_LOST_PIXELS = (b"premature end", b"bad Huffman code")


class DamagedPixelsError(Exception):
    """What is wrong with the pixel data, in words without any header value."""


def decode_file(path: str, syntax: Syntax, shape: tuple[int, int]) -> NDArray[np.generic]:
    """The stored values of one compressed file, (rows, columns).

    Raises
    ------
    DamagedPixelsError
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
            # The codec's own words could quote the header; its class says enough.
            raise DamagedPixelsError(
                f"damaged or truncated {syntax.name} pixel data ({type(error).__name__}), expected a whole frame"
            ) from None
    if pixels.shape != shape:
        raise DamagedPixelsError(f"decoded pixels of shape {pixels.shape}, expected {shape} as in the header")
    return pixels


def _take_precision(dataset: Dataset, frame: bytes) -> None:
    """Let the codestream say how many bits it has: gdcm aborts the process where the header says fewer."""
    precision = jpeg_precision(frame)
    if precision is not None and 2 <= precision <= 16:
        dataset.BitsStored, dataset.HighBit = precision, precision - 1
        dataset.BitsAllocated = 8 if precision <= 8 else 16


def _decoded(path: str, dataset: Dataset, syntax: Syntax) -> NDArray[np.generic]:
    """The codec's answer, (rows, columns)."""
    uid = dataset.file_meta.TransferSyntaxUID
    if uid == JPEGExtended12Bit and dataset.BitsStored > 8:
        return _twelve_bits(path, dataset)
    pixels: NDArray[np.generic]
    # The unused bits are ours to clear: the library takes them to lie above the stored ones, whatever HighBit says.
    as_stored: Any = {"raw": True, "correct_unused_bits": False}
    pixels, _ = get_decoder(uid).as_array(dataset, decoding_plugin=syntax.plugin, **as_stored)
    return pixels


def _twelve_bits(path: str, dataset: Dataset) -> NDArray[np.generic]:
    """JPEG extended of more than 8 bits: gdcm decodes it, but pydicom does not ask it to."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(path)
    if not reader.Read():
        raise DamagedPixelsError
    image = reader.GetImage()
    # SWIG gives the bytes as text with surrogates for what is no UTF-8.
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
    """Whether a codestream belongs to a transfer syntax; a decoder of extended JPEG takes the baseline."""
    return syntax.name.startswith(coding) or (coding, syntax.name) == ("JPEG baseline", "JPEG extended")


def _limit_memory() -> None:
    """A lying codestream must not take the machine's memory."""
    try:
        import resource
    except ImportError:  # not on Windows; the sizes are checked before decoding anyway
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))


def _private_output() -> IO[bytes]:
    """The pipe to the caller; whatever a codec prints goes to nowhere instead."""
    output = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    return output


def _answer(line: bytes, complaints: IO[bytes]) -> tuple[dict[str, object], bytes]:
    """The reply to one request, and the pixels' bytes."""
    request = json.loads(line)
    rows, columns = request["shape"]
    complaints.seek(0)
    complaints.truncate()
    try:
        pixels = decode_file(request["path"], Syntax(*request["syntax"]), (rows, columns))
        complaints.seek(0)
        said = complaints.read()
        if any(words in said for words in _LOST_PIXELS):
            raise DamagedPixelsError("damaged or truncated pixel data, as its codec says, expected a whole frame")
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
