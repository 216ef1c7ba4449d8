"""The compression of grey levels that every network begins with, taken out of its file and done once for an image.

An exported network compresses each patch that it is given. Patches overlap, so where it rates a whole image, the image
is compressed instead, once, and the network runs without its own compression. The logits are the same to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from microcalc.domain import FloatImage

SOFT: Final = 4.0
"""Noise standard deviations up to which asinh is about linear."""

# Numbers of fields in onnx.proto, and the wire types of Protocol Buffers.
_GRAPH_OF_MODEL, _NODE_OF_GRAPH, _OP_TYPE_OF_NODE = 7, 1, 4
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5


def compressed(pixels: FloatImage) -> FloatImage:
    """Return pixels as a network without its compression takes them: about as they are up to ``SOFT``, then less."""
    soft = pixels * np.float32(1.0 / SOFT)
    np.arcsinh(soft, out=soft)
    soft *= np.float32(SOFT)
    return soft


def without_compression(network: bytes) -> bytes:
    """Return an ONNX file in which each asinh leaves its input as it is; the same bytes where there is none."""
    return _changed(network, _GRAPH_OF_MODEL, lambda graph: _changed(graph, _NODE_OF_GRAPH, _without_asinh))


def _without_asinh(node: bytes) -> bytes:
    return _changed(node, _OP_TYPE_OF_NODE, lambda name: b"Identity" if name == b"Asinh" else name)


def _changed(message: bytes, field: int, change: Callable[[bytes], bytes]) -> bytes:
    """Return a message of Protocol Buffers in which ``change`` was applied to each value of one field.

    References
    ----------
    https://protobuf.dev/programming-guides/encoding
    """
    parts, at = [], 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
            if tag >> 3 == field:
                value = change(value)
                parts.append(_as_varint(tag) + _as_varint(len(value)) + value)
                continue
        elif kind == _VARINT:
            _, at = _varint(message, at)
        else:
            at += {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}[kind]
        parts.append(message[start:at])
    return b"".join(parts)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at an offset, and the offset after it."""
    number, shift = 0, 0
    while True:
        byte, at = message[at], at + 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _as_varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
