"""Whether a file is DICOM, told from its first bytes; no DICOM library needed."""

from __future__ import annotations

from pathlib import Path

_PREAMBLE, _MAGIC = 128, b"DICM"


def is_dicom(path: Path) -> bool:
    """Whether the file has the DICOM preamble (PS3.10 7.1); False where it cannot be opened, or is a pipe or device."""
    try:
        if not path.is_file():  # to open a pipe waits for ever
            return False
        with path.open("rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False
