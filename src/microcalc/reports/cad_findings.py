"""Read the Single Image Findings of a Mammography CAD SR: clusters, calcifications, and whatever else a report finds.

Every coded value that affects a finding is compared with its whole context group:

======================  ====================================================================================
rendering intent        CID 6034: required or optional. A finding that is not for presentation is ignored, also if
                        the impression or feature above it says so. An unknown code is treated as missing.
single image finding    CID 6014. Only calcification clusters and individual calcifications are findings of
                        calcium; the other members (masses, density, nipple ...) keep their name.
type of calcification   CID 6010: whether it is typically benign, and which of our kinds it is. It is shown with the
                        report's own terms.
distribution            CID 6012; whether the calcifications lie within a mass is no distribution, and ignored.
unit of the certainty   Percent, or no units for a fraction; a certainty in other units is ignored.
unit of the size        Millimetres and square millimetres; a diameter or area in other units is ignored.
======================  ====================================================================================

References
----------
DICOM PS3.16 TID 4003, 4004, 4006, 4009, 4010, 4021, CID 6010, 6012, 6014, 6034; PS3.3 C.18.6 (spatial coordinates).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from microcalc.dicom.tags import items, numbers, word
from microcalc.domain import CalcificationKind, Distribution
from microcalc.reports import concepts as c
from microcalc.reports.content_items import children, has_name, has_value, image_uid, meaning, measured, named, target
from microcalc.reports.graphics import Pixels, middle, polygon
from microcalc.wording import quantity

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


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
    calcium_kind
        The kind that all stated types agree on; None if they are no kind of ours.
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
    calcium_kind: CalcificationKind | None
    parts: tuple[ReadFinding, ...]

    @property
    def is_calcium(self) -> bool:
        """Whether the finding is a calcification cluster or an individual calcification."""
        return self.is_cluster or self.is_individual


def read_findings(root: Dataset) -> tuple[list[ReadFinding], tuple[str, ...]]:
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
    below = (target(root, child) for child in children(item) if word(child, "RelationshipType") == "INFERRED FROM")
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
        types=tuple(dict.fromkeys(filter(None, (meaning(child, "ConceptCodeSequence") for child in types)))),
        is_benign=bool(types) and all(any(has_value(child, benign) for benign in c.BENIGN_TYPES) for child in types),
        calcium_kind=_kind(types),
        parts=tuple(part for part in parts if part is not None),
    )


def _kind(types: Sequence[Dataset]) -> CalcificationKind | None:
    """Return the one kind that all types are; None where they disagree or are of no kind of ours."""
    known = {**c.BENIGN_TYPES, c.MICROCALCIFICATIONS: "microcalcification"}
    kinds = {next((kind for concept, kind in known.items() if has_value(child, concept)), None) for child in types}
    return next(iter(kinds)) if len(kinds) == 1 else None


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
        uid = uid or next(iter(filter(None, (image_uid(target(root, child)) for child in children(region)))), "")
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
