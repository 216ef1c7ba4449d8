"""Read the calcification findings of a Mammography CAD SR, ours or another manufacturer's.

The reader is lenient where the standard leaves room: codes may be of SNOMED CT or RT, images may be given by
reference or by value, and calcifications may be inside their cluster, referred to by it, or missing.

Every coded value that affects the result is compared with its whole context group:

======================  ====================================================================================
rendering intent        CID 6034: required or optional. A finding that is not for presentation is ignored, also if
                        the impression or feature above it says so. An unknown code is treated as missing.
single image finding    CID 6014. Only calcification clusters and individual calcifications are findings of
                        calcium; the other members (masses, density, nipple ...) keep their name.
result of detections    CID 6042, and the kind of detection, CID 6014: only detections of calcifications tell
                        whether an image was searched for them; detections of masses do not.
distribution            CID 6012; whether the calcifications lie within a mass is no distribution, and ignored.
unit of the certainty   Percent, or no units for a fraction; a certainty in other units is ignored.
unit of the size        Millimetres and square millimetres; a diameter or area in other units is ignored.
======================  ====================================================================================

Laterality, view, outcome and type of calcification are shown with the report's own terms and affect nothing else.

References
----------
DICOM PS3.16 TID 4000, 4003, 4004, 4006, 4009, 4010, 4015, 4017, 4021, CID 6012, 6014, 6034, 6042; PS3.3 C.18.6
(spatial coordinates).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from microcalc.dicom.tags import items, numbers, quiet, shown_uid, word
from microcalc.domain import Distribution
from microcalc.errors import InputError
from microcalc.images.dicom.read import read_data_set
from microcalc.images.dicom.sniff import is_dicom
from microcalc.reports import concepts as c
from microcalc.reports.content_items import at, children, has_name, has_value, meaning, measured, named, walk
from microcalc.reports.graphics import Pixels, middle, polygon
from microcalc.reports.header import SOP_CLASSES
from microcalc.reports.whole import read_whole
from microcalc.wording import quantity

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True, slots=True)
class LibraryImage:
    """An image of the report: its SOP Instance UID, and the report's terms for laterality and view."""

    uid: str
    laterality: str
    view: str


@dataclass(frozen=True, eq=False, slots=True)
class ReadFinding:
    """A Single Image Finding.

    Attributes
    ----------
    kind
        Meaning of the finding's code.
    is_cluster, is_individual
        Whether it is a calcification cluster, or an individual calcification.
    uid
        SOP Instance UID of its image.
    centre
        (2,) row and column in pixels; by default the middle of the outline.
    outline
        (n, 2) corners of the closed outline in pixels; None without one. Circles and ellipses become polygons.
    certainty
        Certainty in [0, 1]; None if the report does not state it.
    required
        Whether its presentation is required.
    point
        Operating point from which an optional finding is shown; None if the report does not state it.
    count
        Number of calcifications, as stated in the report.
    distribution
        How the calcifications of a cluster are distributed; None if the report does not state it.
    diameter_mm, area_mm2
        Size of the finding; None if the report does not state it in these units.
    types
        Types of the calcifications, in the report's terms.
    is_benign
        Whether the report states types of calcification, all of them typically benign (vascular, skin, ...).
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
    distribution: Distribution | None
    diameter_mm: float | None
    area_mm2: float | None
    types: tuple[str, ...]
    is_benign: bool
    parts: tuple[ReadFinding, ...]

    @property
    def is_calcium(self) -> bool:
        """Whether the finding is a calcification cluster or an individual calcification."""
        return self.is_cluster or self.is_individual


@dataclass(frozen=True, eq=False, slots=True)
class CadReport:
    """The content of a report.

    Attributes
    ----------
    failed
        UIDs of the images in which all detections of calcifications failed.
    not_searched
        UIDs of the images that were not searched for calcifications.
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
    findings, remarks = _findings(root)
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
        remarks=remarks,
    )


def _images(root: Dataset, findings: Sequence[ReadFinding]) -> tuple[LibraryImage, ...]:
    """Return the images of the library, followed by those to which only findings refer."""
    images: dict[str, LibraryImage] = {}
    for library in named(root, c.IMAGE_LIBRARY):
        for item in walk(library):
            if word(item, "ValueType") == "IMAGE" and _image_uid(item):
                images.setdefault(_image_uid(item), _library_image(item))
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

    return LibraryImage(_image_uid(item), term(c.IMAGE_LATERALITY), term(c.IMAGE_VIEW))


def _image_uid(item: Dataset) -> str:
    return next((word(reference, "ReferencedSOPInstanceUID") for reference in items(item, "ReferencedSOPSequence")), "")


def _position(item: Dataset) -> tuple[int, ...]:
    return tuple(int(value) for value in numbers(item, "ReferencedContentItemIdentifier"))


def _target(root: Dataset, item: Dataset) -> Dataset:
    """Return the item, or the item to which it refers.

    Raises
    ------
    InputError
        It refers to a missing item.
    """
    position = _position(item)
    if not position:
        return item
    target = at(root, position)
    if target is None:
        raise InputError(
            f"content item {'.'.join(map(str, position))} missing, expected it since another item refers to it"
        )
    return target


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
        below = (_target(root, child) for entry in listed if _is_calcium(entry) for child in children(entry))
        return {_image_uid(item) for item in below if word(item, "ValueType") == "IMAGE"} - {""}

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


def _findings(root: Dataset) -> tuple[list[ReadFinding], tuple[str, ...]]:
    """Return the findings that are not part of another one, and remarks about ignored and unusual ones."""
    shown, not_shown = _by_intent(root)
    inside = {id(part) for item, _ in shown if has_value(item, c.CLUSTER) for part in _parts(root, item)}
    separate = [(item, _finding(root, item, intent)) for item, intent in shown if id(item) not in inside]
    findings = [finding for _, finding in separate if finding is not None]
    unknown = sum(intent is None and bool(named(item, c.RENDERING_INTENT)) for item, intent in shown)
    homeless = sum(not finding.uid for finding in findings)
    remarks = (
        (not_shown, "not for presentation, ignored"),
        (unknown, "with an unknown rendering intent, treated as required"),
        (homeless, "without an image, ignored"),
    )
    return [finding for finding in findings if finding.uid], tuple(
        f"{quantity(count, 'finding')} {remark}" for count, remark in remarks if count
    )


def _by_intent(root: Dataset) -> tuple[list[tuple[Dataset, Dataset | None]], int]:
    """Return the single image findings that may be shown, with their rendering intent, and the number of the others.

    The intent is that of the finding, or of the impression or feature above it.
    """
    shown: list[tuple[Dataset, Dataset | None]] = []
    hidden = 0
    waiting: list[tuple[Dataset, Dataset | None, bool]] = [(root, None, False)]
    while waiting:
        item, intent, is_hidden = waiting.pop()
        own = named(item, c.RENDERING_INTENT)
        is_hidden = is_hidden or any(has_value(item, c.NOT_SHOWN) for item in own)
        known = [item for item in own if has_value(item, c.REQUIRED) or has_value(item, c.OPTIONAL)]
        intent = known[0] if known else intent
        if has_name(item, c.SINGLE_IMAGE_FINDING):
            if is_hidden:
                hidden += 1
            else:
                shown.append((item, intent))
        waiting += [(child, intent, is_hidden) for child in reversed(children(item))]
    return shown, hidden


def _parts(root: Dataset, item: Dataset) -> list[Dataset]:
    below = (_target(root, child) for child in children(item) if word(child, "RelationshipType") == "INFERRED FROM")
    return [
        part
        for part in below
        if has_name(part, c.SINGLE_IMAGE_FINDING)
        and has_value(part, c.INDIVIDUAL)
        and not any(has_value(intent, c.NOT_SHOWN) for intent in named(part, c.RENDERING_INTENT))
    ]


def _finding(root: Dataset, item: Dataset, intent: Dataset | None) -> ReadFinding | None:
    """Return a finding; None for one without a position, such as breast density."""
    uid, centre, outline = _place(root, item)
    if centre is None:
        return None
    certainty = next((_fraction(child) for child in named(item, c.CERTAINTY)), None)
    count = next((measured(child) for child in named(item, c.CALCIFICATION_COUNT)), None)
    points = [] if intent is None else [measured(child) for child in named(intent, c.OPERATING_POINT)]
    point = next(iter(points), None)
    is_cluster = has_value(item, c.CLUSTER)
    parts = (_finding(root, part, intent) for part in (_parts(root, item) if is_cluster else ()))
    types = list(named(item, c.CALCIFICATION_TYPE))
    return ReadFinding(
        kind=meaning(item, "ConceptCodeSequence") or _code_in_words(item),
        is_cluster=is_cluster,
        is_individual=has_value(item, c.INDIVIDUAL),
        uid=uid,
        centre=centre,
        outline=outline,
        certainty=certainty,
        required=intent is None or has_value(intent, c.REQUIRED),
        point=None if point is None else int(point),
        count=None if count is None else int(count),
        distribution=_distribution(item),
        diameter_mm=_size(item, c.DIAMETER, c.MILLIMETER),
        area_mm2=_size(item, c.AREA, c.SQUARE_MILLIMETER),
        types=_distinct(meaning(child, "ConceptCodeSequence") for child in types),
        is_benign=bool(types) and all(any(has_value(child, benign) for benign in c.BENIGN_TYPES) for child in types),
        parts=tuple(part for part in parts if part is not None),
    )


def _code_in_words(item: Dataset) -> str:
    """Return a name for a finding whose code has no meaning."""
    for coded in items(item, "ConceptCodeSequence"):
        return f"finding of code {word(coded, 'CodeValue')} ({word(coded, 'CodingSchemeDesignator')})"
    return "finding without a code"


def _distribution(item: Dataset) -> Distribution | None:
    coded = named(item, c.DISTRIBUTION)
    known = (word_ for word_, concept in c.DISTRIBUTIONS.items() if any(has_value(child, concept) for child in coded))
    return next(known, None)


def _size(item: Dataset, name: c.Concept, unit: c.Concept) -> float | None:
    """Return a measurement above 0; None if it is missing or its unit is another."""
    for child in named(item, name):
        for entry in items(child, "MeasuredValueSequence"):
            units = {word(coded, "CodeValue") for coded in items(entry, "MeasurementUnitsCodeSequence")}
            value = measured(child)
            if units == {unit.value} and value is not None and value > 0:
                return value
    return None


def _fraction(item: Dataset) -> float | None:
    """Return a certainty in [0, 1]; None if it is missing or its units are neither percent nor none."""
    value = measured(item)
    for entry in items(item, "MeasuredValueSequence"):
        units = {word(unit, "CodeValue") for unit in items(entry, "MeasurementUnitsCodeSequence")}
        scale = 1.0 if units == {c.NO_UNITS.value} else 100.0 if units <= {c.PERCENT.value} else None
        return None if value is None or scale is None else min(max(value / scale, 0.0), 1.0)
    return None


def _place(root: Dataset, item: Dataset) -> tuple[str, Pixels | None, Pixels | None]:
    """Return SOP Instance UID, centre and outline of a finding."""
    uid, centre, outline = "", None, None
    for region in (*named(item, c.CENTER), *named(item, c.OUTLINE)):
        uid = uid or next(iter(filter(None, (_image_uid(_target(root, child)) for child in children(region)))), "")
        data = numbers(region, "GraphicData")
        corners = np.array(data[: len(data) // 2 * 2]).reshape(-1, 2)[:, ::-1] - 0.5
        if not corners.size:
            continue
        graphic = word(region, "GraphicType").upper()
        if has_name(region, c.CENTER):
            centre = middle(graphic, corners)
        elif graphic in ("POLYLINE", "CIRCLE", "ELLIPSE"):
            outline = polygon(graphic, corners)
        elif centre is None:
            centre = middle(graphic, corners)  # points instead of an outline
    if centre is None and outline is not None:
        centre = (outline.min(axis=0) + outline.max(axis=0)) / 2
    return uid, centre, outline
