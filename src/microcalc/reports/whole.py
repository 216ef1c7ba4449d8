"""Read a report and refuse a truncated file, which the library would read as a shorter report.

The library reads a data set as far as it goes, without an error. The missing part could hold the findings. So an
element is appended to the bytes of the file: it is read back at the root only if every element and sequence
before it has its full length.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from microcalc.dicom.tags import word
from microcalc.errors import UnreadableImageError
from microcalc.images.dicom.read import read_data_set

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_END: Final = (0xFFFB, 0x1001)
_MARK: Final = b"whole\0"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"


def read_whole(path: Path) -> Dataset:
    """Return the data set of a DICOM file that is complete.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, too large, damaged or truncated.
    """
    dataset = read_data_set(path)
    if word(dataset.file_meta, "TransferSyntaxUID") != _DEFLATED and not _is_whole(path.read_bytes(), dataset):
        raise UnreadableImageError(f"{path.name}: truncated DICOM data set, expected a complete one")
    return dataset


def _is_whole(data: bytes, dataset: Dataset) -> bool:
    import pydicom

    implicit, little = dataset.original_encoding
    order = "<" if little else ">"
    head = struct.pack(f"{order}HH", *_END)
    head += struct.pack(f"{order}I", len(_MARK)) if implicit else b"UN\0\0" + struct.pack(f"{order}I", len(_MARK))
    try:
        read = pydicom.dcmread(io.BytesIO(data + head + _MARK))
        return _END in read and read.get_item(_END).value == _MARK
    except Exception:  # any error of the library at the truncated end
        return False
