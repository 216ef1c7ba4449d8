"""Mammography CAD SR read back, ours or another maker's, as far as findings of calcium go.

Lenient where the standard leaves room: codes of SNOMED CT and RT, images by reference or by value,
microcalcifications inside their cluster, beside it by reference, or not at all.

References
----------
DICOM PS3.16 TID 4000, 4006, 4021; PS3.3 C.18.6 (spatial coordinates).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom import concepts as c
from microcalc.dicom.content_items import at, children, has_name, has_value, meaning, measured, named, walk
from microcalc.dicom.read import read_data_set
from microcalc.dicom.report_header import SOP_CLASSES
from microcalc.dicom.sniff import is_dicom
from microcalc.dicom.tags import items, numbers, quiet, shown_uid, word
from microcalc.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Pixels = NDArray[np.float64]
"""(n, 2) row and column of the original image; 0 is the centre of the first pixel."""

_CORNERS = 24


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """An image of the report: its SOP Instance UID, and breast and view in words."""

    uid: str
    laterality: str
    view: str


@dataclass(frozen=True, eq=False, slots=True)
class ReadFinding:
    """A Single Image Finding.

    Attributes
    ----------
    kind
        The meaning of its code.
    is_cluster, is_individual
        Whether it is a calcification cluster, an individual calcification.
    uid
        SOP Instance UID of its image.
    centre
        (2,) row and column; of a finding without one, the middle of its outline.
    outline
        Its corners, closed; None without one. Circles and ellipses are given as polygons.
    certainty
        In [0, 1]; None where the report says none.
    required
        Presentation Required; ``point`` is the operating point from which an optional one is shown.
    count
        Number of calcifications, as the report says.
    parts
        The individual calcifications of a cluster.
    """

    kind: str
    is_cluster: bool
    is_individual: bool
    uid: str
    centre: Pixels
    outline: Pixels | None
    certainty: float | None
    required: bool
    point: int | None
    count: int | None
    parts: tuple[ReadFinding, ...]


@dataclass(frozen=True, eq=False, slots=True)
class CadReport:
    """What a report says; ``failed`` are the UIDs of images in which every detection failed."""

    outcome: str
    description: str
    algorithms: tuple[str, ...]
    parameters: tuple[str, ...]
    max_point: int | None
    images: tuple[LibraryImage, ...]
    failed: frozenset[str]
    findings: tuple[ReadFinding, ...]


def is_cad_report(file: Path) -> bool:
    """Whether a file is a Mammography CAD SR; False where it cannot be read."""
    if not is_dicom(file):
        return False
    with quiet():
        try:
            return word(read_data_set(file, stop_before_pixels=True), "SOPClassUID") == SOP_CLASSES["sr"]
        except InputError:
            return False


def read_cad_report(file: Path) -> CadReport:
    """Read a Mammography CAD SR.

    Raises
    ------
    UnreadableImageError
        No such file, not DICOM, or damaged.
    InputError
        Another kind of instance, or a report that breaks its form.
    """
    with quiet():
        root = read_data_set(file)
        found = word(root, "SOPClassUID")
        if found != SOP_CLASSES["sr"]:
            raise InputError(f"{file.name}: SOP class {shown_uid(found)}, expected Mammography CAD SR")
        try:
            return parse_cad_report(root)
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from None


def parse_cad_report(root: Dataset) -> CadReport:
    """What a Mammography CAD SR says; see ``read_cad_report``."""
    summary = next(iter(named(root, c.SUMMARY)), None)
    performed = [item for item in walk(root) if has_name(item, c.DETECTION_PERFORMED)]
    maxima = [measured(p) for item in performed for p in named(item, c.MAXIMUM_OPERATING_POINT)]
    tops = [value for value in maxima if value is not None]
    return CadReport(
        outcome="" if summary is None else meaning(summary, "ConceptCodeSequence"),
        description=_text(summary, c.IMPRESSION_DESCRIPTION),
        algorithms=_distinct(
            f"{_text(item, c.ALGORITHM_NAME)} {_text(item, c.ALGORITHM_VERSION)}".strip() for item in performed
        ),
        parameters=_distinct(word(p, "TextValue") for i in performed for p in named(i, c.ALGORITHM_PARAMETERS)),
        max_point=int(max(tops)) if tops else None,
        images=tuple(
            _library_image(item)
            for library in named(root, c.IMAGE_LIBRARY)
            for item in walk(library)
            if word(item, "ValueType") == "IMAGE"
        ),
        failed=_failed(root),
        findings=tuple(_findings(root)),
    )


def _distinct(words: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(said for said in words if said))


def _text(item: Dataset | None, name: c.Concept) -> str:
    return "" if item is None else next((word(child, "TextValue") for child in named(item, name)), "")


def _library_image(item: Dataset) -> LibraryImage:
    def said(name: c.Concept) -> str:
        return next((meaning(child, "ConceptCodeSequence") for child in named(item, name)), "")

    return LibraryImage(_image_uid(item), said(c.IMAGE_LATERALITY), said(c.IMAGE_VIEW))


def _image_uid(item: Dataset) -> str:
    return next((word(reference, "ReferencedSOPInstanceUID") for reference in items(item, "ReferencedSOPSequence")), "")


def _position(item: Dataset) -> tuple[int, ...]:
    return tuple(int(value) for value in numbers(item, "ReferencedContentItemIdentifier"))


def _target(root: Dataset, item: Dataset) -> Dataset:
    """The item itself, or the one that it refers to.

    Raises
    ------
    InputError
        It refers to nothing.
    """
    position = _position(item)
    if not position:
        return item
    found = at(root, position)
    if found is None:
        raise InputError(f"content item {'.'.join(map(str, position))} is referred to but missing, expected it")
    return found


def _failed(root: Dataset) -> frozenset[str]:
    """The images that stand under Failed Detections alone."""

    def images(name: c.Concept) -> set[str]:
        listed = (item for summary in named(root, c.DETECTIONS) for item in named(summary, name))
        below = (_target(root, child) for item in listed for entry in children(item) for child in children(entry))
        return {_image_uid(item) for item in below if word(item, "ValueType") == "IMAGE"}

    return frozenset(images(c.FAILED_DETECTIONS) - images(c.SUCCESSFUL_DETECTIONS))


def _findings(root: Dataset) -> Iterator[ReadFinding]:
    """The findings that are not part of another one."""
    found = [item for item in walk(root) if has_name(item, c.SINGLE_IMAGE_FINDING)]
    inside = {id(part) for item in found if has_value(item, c.CLUSTER) for part in _parts(root, item)}
    for item in found:
        if id(item) not in inside:
            finding = _finding(root, item)
            if finding is not None:
                yield finding


def _parts(root: Dataset, item: Dataset) -> list[Dataset]:
    below = (_target(root, child) for child in children(item) if word(child, "RelationshipType") == "INFERRED FROM")
    return [part for part in below if has_name(part, c.SINGLE_IMAGE_FINDING) and has_value(part, c.INDIVIDUAL)]


def _finding(root: Dataset, item: Dataset) -> ReadFinding | None:
    """A finding; None for one without a place, such as breast density."""
    uid, centre, outline = _place(root, item)
    if centre is None:
        return None
    certainty = next((measured(child) for child in named(item, c.CERTAINTY)), None)
    count = next((measured(child) for child in named(item, c.CALCIFICATION_COUNT)), None)
    intent = next(iter(named(item, c.RENDERING_INTENT)), None)
    points = [] if intent is None else [measured(child) for child in named(intent, c.OPERATING_POINT)]
    point = next(iter(points), None)
    is_cluster = has_value(item, c.CLUSTER)
    parts = (_finding(root, part) for part in (_parts(root, item) if is_cluster else ()))
    return ReadFinding(
        kind=meaning(item, "ConceptCodeSequence"),
        is_cluster=is_cluster,
        is_individual=has_value(item, c.INDIVIDUAL),
        uid=uid,
        centre=centre,
        outline=outline,
        certainty=None if certainty is None else min(max(certainty / 100, 0.0), 1.0),
        required=intent is None or has_value(intent, c.REQUIRED),
        point=None if point is None else int(point),
        count=None if count is None else int(count),
        parts=tuple(part for part in parts if part is not None),
    )


def _place(root: Dataset, item: Dataset) -> tuple[str, Pixels | None, Pixels | None]:
    """(SOP Instance UID, centre, outline) of a finding."""
    uid, centre, outline = "", None, None
    for region in (*named(item, c.CENTER), *named(item, c.OUTLINE)):
        uid = uid or next(iter(filter(None, (_image_uid(_target(root, child)) for child in children(region)))), "")
        data = numbers(region, "GraphicData")
        corners = np.array(data[: len(data) // 2 * 2]).reshape(-1, 2)[:, ::-1] - 0.5
        if not corners.size:
            continue
        if has_name(region, c.CENTER):
            centre = corners[0]
        else:
            outline = _polygon(word(region, "GraphicType"), corners)
    if centre is None and outline is not None:
        centre = (outline.min(axis=0) + outline.max(axis=0)) / 2
    return uid, centre, outline


def _polygon(graphic: str, corners: Pixels) -> Pixels:
    """A polyline as it is, a circle or ellipse as a polygon."""
    angle = np.linspace(0, 2 * np.pi, _CORNERS + 1)[:, None]
    if graphic == "CIRCLE" and len(corners) == 2:
        radius = np.linalg.norm(corners[1] - corners[0])
        return np.asarray(corners[0] + radius * np.hstack([np.sin(angle), np.cos(angle)]))
    if graphic == "ELLIPSE" and len(corners) == 4:
        major, minor = (corners[1] - corners[0]) / 2, (corners[3] - corners[2]) / 2
        return np.asarray((corners[0] + corners[1]) / 2 + np.cos(angle) * major + np.sin(angle) * minor)
    return corners
