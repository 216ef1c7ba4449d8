"""Read the calcification findings of a Mammography CAD SR, ours or another manufacturer's.

The reader is lenient where the standard leaves room: codes may be of SNOMED CT or RT, images may be given by
reference or by value, and calcifications may be inside their cluster, referred to by it, or missing.

The findings are read in ``cad_findings``. Of the detections, their result (CID 6042) and their kind (CID 6014) are
read: only detections of calcifications tell whether an image was searched for them; detections of masses do not.
Laterality, view and outcome are shown with the report's own terms and affect nothing else.

References
----------
DICOM PS3.16 TID 4000, 4015, 4017, 4020, CID 6014, 6042.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.dicom.tags import quiet, shown_uid, word
from microcalc.errors import InputError
from microcalc.images.dicom.read import read_data_set
from microcalc.images.dicom.sniff import is_dicom
from microcalc.reports import concepts as c
from microcalc.reports.cad_findings import ReadFinding, read_findings
from microcalc.reports.content_items import (
    children,
    has_name,
    has_value,
    image_uid,
    meaning,
    measured,
    named,
    target,
    walk,
)
from microcalc.reports.header import MANUFACTURER, SOP_CLASSES
from microcalc.reports.whole import read_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """An image of the report: its SOP Instance UID, and the report's terms for laterality and view."""

    uid: str
    laterality: str
    view: str


@dataclass(frozen=True, eq=False, slots=True)
class CadReport:
    """The content of a report.

    Attributes
    ----------
    failed
        UIDs of the images in which all detections of calcifications failed.
    not_searched
        UIDs of the images that were not searched for calcifications.
    is_ours
        Whether microcalc made the report.
    remarks
        Messages about findings that were ignored or interpreted beyond what the report states.
    """

    outcome: str
    description: str
    algorithms: tuple[str, ...]
    parameters: tuple[str, ...]
    max_point: int | None
    images: tuple[LibraryImage, ...]
    failed: frozenset[str]
    not_searched: frozenset[str]
    findings: tuple[ReadFinding, ...]
    is_ours: bool = False
    remarks: tuple[str, ...] = ()


def is_cad_report(file: Path) -> bool:
    """Return whether a file is a Mammography CAD SR; raise ``UnreadableImageError`` for damaged DICOM."""
    if not is_dicom(file):
        return False
    with quiet():
        return word(read_data_set(file, stop_before_pixels=True), "SOPClassUID") == SOP_CLASSES["sr"]


def read_cad_report(file: Path) -> CadReport:
    """Read a Mammography CAD SR.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, or damaged.
    InputError
        The file is another kind of instance, or the report violates its template.
    """
    with quiet():
        root = read_whole(file)
        sop_class = word(root, "SOPClassUID")
        if sop_class != SOP_CLASSES["sr"]:
            raise InputError(f"{file.name}: SOP class {shown_uid(sop_class)}, expected Mammography CAD SR")
        try:
            return parse_cad_report(root)
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from None


def parse_cad_report(root: Dataset) -> CadReport:
    """Return the content of a Mammography CAD SR; see ``read_cad_report``."""
    summary = next(iter(named(root, c.SUMMARY)), None)
    performed = [item for item in walk(root) if has_name(item, c.DETECTION_PERFORMED)]
    maxima = [measured(p) for item in performed for p in named(item, c.MAXIMUM_OPERATING_POINT)]
    tops = [value for value in maxima if value is not None]
    findings, remarks = read_findings(root)
    images = _images(root, findings)
    failed, not_searched = _without_search(
        root, {image.uid for image in images}, {f.uid for f in findings if f.is_calcium}
    )
    return CadReport(
        outcome="" if summary is None else meaning(summary, "ConceptCodeSequence"),
        description=_text(summary, c.IMPRESSION_DESCRIPTION),
        algorithms=_distinct(
            f"{_text(item, c.ALGORITHM_NAME)} {_text(item, c.ALGORITHM_VERSION)}".strip() for item in performed
        ),
        parameters=_distinct(word(p, "TextValue") for i in performed for p in named(i, c.ALGORITHM_PARAMETERS)),
        max_point=int(max(tops)) if tops else None,
        images=images,
        failed=failed,
        not_searched=not_searched,
        findings=tuple(findings),
        is_ours=word(root, "Manufacturer") == MANUFACTURER,
        remarks=remarks,
    )


def _images(root: Dataset, findings: Sequence[ReadFinding]) -> tuple[LibraryImage, ...]:
    """Return the images of the library, followed by those to which only findings refer."""
    images: dict[str, LibraryImage] = {}
    for library in named(root, c.IMAGE_LIBRARY):
        for item in walk(library):
            if word(item, "ValueType") == "IMAGE" and image_uid(item):
                images.setdefault(image_uid(item), _library_image(item))
    for finding in findings:
        images.setdefault(finding.uid, LibraryImage(finding.uid, "", ""))
    return tuple(images.values())


def _distinct(words: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in words if text))


def _text(item: Dataset | None, name: c.Concept) -> str:
    return "" if item is None else next((word(child, "TextValue") for child in named(item, name)), "")


def _library_image(item: Dataset) -> LibraryImage:
    def term(name: c.Concept) -> str:
        return next((meaning(child, "ConceptCodeSequence") for child in named(item, name)), "")

    return LibraryImage(image_uid(item), term(c.IMAGE_LATERALITY), term(c.IMAGE_VIEW))


def _without_search(root: Dataset, images: set[str], with_findings: set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the images in which the detection of calcifications failed, and those in which it was not attempted.

    A report that lists no detections at all is assumed to have searched every image.

    Parameters
    ----------
    images, with_findings
        UIDs of the images of the report, and of those with findings of calcium.
    """

    def entries(name: c.Concept) -> list[Dataset]:
        lists = (item for summary in named(root, c.DETECTIONS) for item in named(summary, name))
        return [entry for listed in lists for entry in children(listed)]

    def of_calcium(listed: list[Dataset]) -> set[str]:
        below = (target(root, child) for entry in listed if _is_calcium(entry) for child in children(entry))
        return {image_uid(item) for item in below if word(item, "ValueType") == "IMAGE"} - {""}

    succeeded, failed = entries(c.SUCCESSFUL_DETECTIONS), entries(c.FAILED_DETECTIONS)
    done = of_calcium(succeeded) | with_findings
    lost = of_calcium(failed) - done
    summaries = named(root, c.DETECTIONS)
    if any(has_value(summary, c.FAILED) for summary in summaries) and not (succeeded or failed):
        return frozenset(images - with_findings), frozenset()
    if succeeded or failed or any(has_value(summary, c.NOT_ATTEMPTED) for summary in summaries):
        return frozenset(lost), frozenset(images - done - lost)
    return frozenset(), frozenset()


def _is_calcium(item: Dataset) -> bool:
    return has_value(item, c.CLUSTER) or has_value(item, c.INDIVIDUAL)
