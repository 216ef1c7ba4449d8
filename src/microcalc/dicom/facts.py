"""What a DICOM file says of itself, from its header alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from microcalc.dicom.accept import check_spacing
from microcalc.dicom.read import laterality_of, read_data_set, view_of
from microcalc.dicom.systems import system_name
from microcalc.dicom.tags import is_uid, quiet, word
from microcalc.errors import MissingSpacingError


def read_facts(path: Path) -> tuple[str, list[Literal["pixel_spacing", "intent", "system", "view", "laterality"]]]:
    """Return the SOP Instance UID (empty without one), and what the header says; the SOP class says the intent.

    Raises
    ------
    UnreadableImageError
        No such file, not DICOM, or damaged.
    """
    with quiet():
        header = read_data_set(path, stop_before_pixels=True)
        uid = word(header, "SOPInstanceUID")
        said: list[Literal["pixel_spacing", "intent", "system", "view", "laterality"]] = ["intent"]
        try:
            check_spacing(header, path.name)
            said.append("pixel_spacing")
        except MissingSpacingError:
            pass
        if system_name(word(header, "Manufacturer"), word(header, "ManufacturerModelName")):
            said.append("system")
        if view_of(header):
            said.append("view")
        if laterality_of(header):
            said.append("laterality")
    return (uid if is_uid(uid) else ""), said
