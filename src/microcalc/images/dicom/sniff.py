"""Recognise DICOM files by their first bytes, without a DICOM library."""

from __future__ import annotations

from pathlib import Path

_PREAMBLE, _MAGIC = 128, b"DICM"


def is_dicom(path: Path) -> bool:
    """Return whether a file has the DICOM preamble (PS3.10 7.1); False if it is unreadable, a pipe or a device."""
    try:
        if not path.is_file():  # opening a pipe would block
            return False
        with path.open("rb") as file:
            return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
    except OSError:
        return False
