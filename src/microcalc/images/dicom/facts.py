"""Facts that the header of a DICOM file states, so that the user need not give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from microcalc.dicom.systems import system_name
from microcalc.dicom.tags import integer, is_uid, quiet, word
from microcalc.errors import MissingSpacingError
from microcalc.images.dicom.accept import check_spacing
from microcalc.images.dicom.read import laterality_of, read_data_set, view_of

Said = Literal["pixel_spacing", "intent", "system", "view", "laterality"]


@dataclass(frozen=True, slots=True)
class DicomFacts:
    """Facts that a header states.

    Attributes
    ----------
    uid
        SOP Instance UID; empty if it is missing or invalid.
    said
        Names of the facts that the header states; the SOP class always states the intent.
    shape, spacing_mm
        Rows and columns, and the pixel spacing (row, column); None if the header does not state them.
    """

    uid: str
    said: frozenset[Said]
    shape: tuple[int, int] | None
    spacing_mm: tuple[float, float] | None


def read_facts(path: Path) -> DicomFacts:
    """Read the facts that the header of a DICOM file states.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, or damaged.
    """
    with quiet():
        header = read_data_set(path, stop_before_pixels=True)
        uid = word(header, "SOPInstanceUID")
        rows, columns = integer(header, "Rows") or 0, integer(header, "Columns") or 0
        said: set[Said] = {"intent"}
        try:
            spacing = check_spacing(header, path.name)
            said.add("pixel_spacing")
        except MissingSpacingError:
            spacing = None
        if system_name(word(header, "Manufacturer"), word(header, "ManufacturerModelName")):
            said.add("system")
        if view_of(header):
            said.add("view")
        if laterality_of(header):
            said.add("laterality")
    return DicomFacts(
        uid=uid if is_uid(uid) else "",
        said=frozenset(said),
        shape=(rows, columns) if rows > 0 and columns > 0 else None,
        spacing_mm=spacing,
    )
