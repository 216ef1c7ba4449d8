"""Facts that the header of a DICOM file states, so that the user need not give them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.dicom.systems import system_name
from microcalc.dicom.tags import integer, is_uid, items, quiet, word
from microcalc.errors import MissingSpacingError
from microcalc.images.dicom.accept import check_spacing, is_captured
from microcalc.images.dicom.read import accept_header, laterality_of, read_data_set, view_of
from microcalc.images.info import NO_INFO, Described, Fact, Facts, ImageInfo

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def read_facts(path: Path) -> Facts:
    """Read the facts that the header of a DICOM file states; the SOP class of a mammogram always states the intent.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, or damaged.
    """
    with quiet():
        return _facts_in(read_data_set(path, stop_before_pixels=True), path.name)


def describe_dicom(path: Path, info: ImageInfo = NO_INFO, *, any_view: bool = False) -> Described:
    """Return the facts that a header states and what ``read_dicom`` accepts of it, from one reading.

    Raises
    ------
    InputError
        As ``read_dicom``.
    """
    with quiet():
        header = read_data_set(path, stop_before_pixels=True)
        facts = _facts_in(header, path.name)
        intent, shape, spacing_mm = accept_header(
            header, path.name, any_view=any_view, pixel_spacing_mm=info.pixel_spacing_mm, intent=info.intent
        )
    return Described(facts, intent, shape, spacing_mm)


def _facts_in(header: Dataset, name: str) -> Facts:
    uid = word(header, "SOPInstanceUID")
    rows, columns = integer(header, "Rows") or 0, integer(header, "Columns") or 0
    stated: set[Fact] = set() if is_captured(header) else {"intent"}
    try:
        spacing = check_spacing(header, name)
        stated.add("pixel_spacing")
    except MissingSpacingError:
        spacing = None
    system = system_name(word(header, "Manufacturer"), word(header, "ManufacturerModelName"))
    view, laterality = view_of(header), laterality_of(header)
    if system:
        stated.add("system")
    if view:
        stated.add("view")
    if laterality:
        stated.add("laterality")
    return Facts(
        uid=uid if is_uid(uid) else "",
        stated=frozenset(stated),
        shape=(rows, columns) if rows > 0 and columns > 0 else None,
        spacing_mm=spacing,
        system=system,
        view=view,
        laterality=laterality,
        patient=word(header, "PatientID"),
        sources=frozenset(word(item, "ReferencedSOPInstanceUID") for item in items(header, "SourceImageSequence")),
        series=word(header, "SeriesInstanceUID"),
        series_description=word(header, "SeriesDescription"),
    )
