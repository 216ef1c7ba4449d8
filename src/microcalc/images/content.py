"""Tell whether two files hold the same pixels, whatever their headers and names say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from microcalc.dicom.tags import content, integer, quiet
from microcalc.errors import UnreadableImageError
from microcalc.images.dicom.read import read_data_set
from microcalc.images.open import is_picture
from microcalc.images.picture import picture_values


def pixels_sha256(path: Path) -> str:
    """Return a SHA-256 of the size of an image and its stored pixels, in hexadecimal.

    Compressed pixels of a DICOM file are hashed as they are: the same pixels in two codings differ.

    Raises
    ------
    UnreadableImageError
        The file is missing, no image, or damaged.
    """
    if is_picture(path):
        values = picture_values(path)
        size, data = values.shape, np.ascontiguousarray(values).tobytes()
    else:
        with quiet():
            dataset = read_data_set(path)
            size = tuple(integer(dataset, name) or 0 for name in ("Rows", "Columns", "BitsAllocated"))
            data = content(dataset, "PixelData")
    if not data:
        raise UnreadableImageError(f"{path.name}: a header without pixel data, expected an image")
    return hashlib.sha256(f"{size} ".encode() + data).hexdigest()
