"""Read kind, size and end of a compressed codestream before it is decoded.

Two codecs abort the process if the header has more rows than the codestream, and others return an image from a
truncated codestream. Both cases are detected here.

References
----------
ITU-T T.81 B.2.2 (JPEG frame header), T.87 C.2.2 (JPEG-LS), T.800 A.5.1 (JPEG 2000 SIZ).
"""

from __future__ import annotations

# Start-of-frame markers: JPEG SOF0 to SOF15 but DHT (C4), JPG (C8), DAC (CC); JPEG-LS SOF55 (F7).
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_J2K_START, _JP2_START = b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "


# Frame marker → coding; no accepted transfer syntax has arithmetic or hierarchical coding.
_CODINGS = {
    0xC0: "JPEG baseline",
    0xC1: "JPEG extended",
    0xC2: "JPEG progressive",
    0xC3: "JPEG lossless",
    0xF7: "JPEG-LS",
}
ITEM = b"\xfe\xff\x00\xe0"
"""The tag at the start of every fragment of encapsulated pixel data."""


def coding_of(data: bytes) -> str | None:
    """Return the coding of compressed pixel data, such as ``JPEG lossless``; None if they are not compressed.

    In encapsulated pixel data (PS3.5 A.4) the first item is the offset table, which is often empty.
    """
    for _ in range(2):
        if not data.startswith(ITEM):
            break
        length = int.from_bytes(data[4:8], "little")
        coding = coding_of(data[8 : 8 + length])
        if coding is not None:
            return coding
        data = data[8 + length :]
    if data.startswith((_JP2_START, _J2K_START)):
        return "JPEG 2000"
    frame = _frame_at(data)
    return None if frame is None else _CODINGS.get(data[frame + 1], "JPEG")


def codestream_size(data: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) of a JPEG, JPEG-LS or JPEG 2000 codestream; None if its header is unreadable."""
    if data.startswith(_JP2_START):  # a JP2 box file in the pixel data: not allowed, yet seen
        data = data[max(data.find(_J2K_START), 0) :]
    if data.startswith(_J2K_START):
        return _jpeg_2000_size(data)
    return _jpeg_size(data)


def jpeg_precision(data: bytes) -> int | None:
    """Return the bits per sample in the frame header of a JPEG codestream; None if there is no frame header."""
    at = _frame_at(data)
    return None if at is None else data[at + 4]


def _jpeg_2000_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24:
        return None
    columns, rows, column_offset, row_offset = (int.from_bytes(data[at : at + 4], "big") for at in (8, 12, 16, 20))
    return rows - row_offset, columns - column_offset


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = _frame_at(data)
    if at is None:
        return None
    return int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")


def _frame_at(data: bytes) -> int | None:
    """Return the offset of the frame header of a JPEG or JPEG-LS codestream; None if there is none."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _FRAME_MARKERS:
            return at
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def is_complete(data: bytes) -> bool:
    """Return whether the codestream ends with EOI or EOC (both FF D9); padding by 00 or FF is ignored."""
    return data.rstrip(b"\0\xff")[-2:] == b"\xff\xd9"
