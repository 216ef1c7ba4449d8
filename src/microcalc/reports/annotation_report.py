"""Write the annotations of an exam as a measurement report (TID 1500), for archives and other viewers.

Each annotation is a planar region of interest (TID 1410): a POINT with its diameter, whose tracking identifier is the
annotation's ``id``. Its outline is another region, a closed POLYLINE, whose tracking identifier ends in ``outline``.
The reader who annotated is the person observer, so that an exam has one report for each reader. Columns of the table
that have no place in the template are items of our own coding scheme in the group; ``d_prime`` is left out.

References
----------
DICOM PS3.16 TID 1500, 1410, 1501, 1003; PS3.3 A.35.3 (Comprehensive SR IOD).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.dicom.tags import quiet
from microcalc.dicom.write import hashed_uid
from microcalc.domain import REGION, Kind
from microcalc.errors import InputError
from microcalc.images.open import is_picture
from microcalc.reports import concepts as c
from microcalc.reports.content_items import coded_concept, take_content
from microcalc.reports.header import MANUFACTURER, start_report
from microcalc.reports.image_header import ImageHeader, read_image_header

if TYPE_CHECKING:
    import highdicom
    from highdicom.sr import PlanarROIMeasurementsAndQualitativeEvaluations
    from pydicom.dataset import Dataset

SCHEME: Final = "99MICROCALC"
KIND: Final = c.Concept("kind", SCHEME, "Kind of annotation")
TEXTS: Final = {
    name: c.Concept(name, SCHEME, meaning)
    for name, meaning in (("cluster", "Name of cluster"), ("morphology", "Morphology"), ("when", "Time of last change"))
}
"""Column of the table → the concept of its text in a group."""
OF_OUTLINE: Final = " outline"
_BENIGN: Final[Mapping[Kind, str]] = {
    "skin": "129757003",
    "suture": "129758008",
    "popcorn": "129749001",
    "dystrophic": "129750001",
    "rim": "129751002",
    "rod_like": "129752009",
    "rim_or_skin": "129754005",
    "milk_of_calcium": "129753004",
    "round": "129756007",
    "vascular": "129759000",
    "coarse": "111345",
}
"""Kind → value of its code in CID 6010."""
FINDINGS: Final[Mapping[Kind, c.Concept]] = {
    "microcalcification": c.INDIVIDUAL,
    REGION: c.CLUSTER,
    **{kind: next(concept for concept in c.BENIGN_TYPES if concept.value == v) for kind, v in _BENIGN.items()},
}
"""Kind of annotation → its finding; the kinds without a code of DICOM's are of our own scheme."""
_SERIES_NUMBER: Final = 9105
_DESCRIPTION: Final = "microcalc annotations"
_NOT_IN_NAMES: Final = re.compile(r"[\\^=\x00-\x1f]")


@dataclass(frozen=True, slots=True)
class AnnotationReport:
    """A report of the annotations of one reader in one exam, and the images that it refers to."""

    dataset: Dataset
    images: tuple[str, ...]


def annotation_reports(table: Table, *, made: datetime) -> Iterator[AnnotationReport]:
    """Yield the reports of a table, exam by exam and reader by reader; images without annotations are in none.

    Raises
    ------
    InputError
        An annotated image is a picture, is no mammogram, or has a header without the UIDs that a report needs.
    """
    annotated = [(image, _header(image)) for image in table.images if table.rows_of(image)]
    exams: dict[str, list[tuple[ImageRow, ImageHeader]]] = {}
    for image, header in annotated:
        exams.setdefault(header.exam.key, []).append((image, header))
    for images in exams.values():
        for judge in sorted({row.judge for image, _ in images for row in table.rows_of(image)}):
            places = [(h, i, [r for r in table.rows_of(i) if r.judge == judge]) for i, h in images]
            places = [(h, i, rows) for h, i, rows in places if rows]
            yield AnnotationReport(_report(places, judge, made), tuple(i.image for _, i, _ in places))


def _header(image: ImageRow) -> ImageHeader:
    if is_picture(image.file):
        raise InputError(f"{image.file.name}: a picture without a patient and study, expected a DICOM image for SR")
    header = read_image_header(image.file)
    if image.sop_instance_uid and image.sop_instance_uid != header.uid:
        raise InputError(f"{image.file.name}: another SOP Instance UID than in the table, expected the same image")
    return header


def _report(
    places: Sequence[tuple[ImageHeader, ImageRow, Sequence[AnnotationRow]]], judge: str, made: datetime
) -> Dataset:
    from highdicom.sr import MeasurementReport

    with quiet():
        headers = [header for header, _, _ in places]
        uid = hashed_uid("annotation report", judge, *(f"{h.uid} {rows!r}" for h, _, rows in places))
        regions = [region for header, _, rows in places for region in _regions(header, rows)]
        content = MeasurementReport(
            observation_context=_observer(judge),
            procedure_reported=coded_concept(c.MAMMOGRAPHY),
            imaging_measurements=regions,
        )
        root = start_report("tid1500", headers, uid, made)
        root.SeriesInstanceUID = hashed_uid("annotation series", headers[0].exam.key, judge)
        root.SeriesNumber, root.SeriesDescription = _SERIES_NUMBER, _DESCRIPTION
        take_content(root, content[0])
    return root


def _add_columns(group: PlanarROIMeasurementsAndQualitativeEvaluations, row: AnnotationRow) -> None:
    """Add the columns that the template has no place for; PS3.16 lets groups be extended."""
    from highdicom.sr import CodeContentItem, TextContentItem

    below = group[0].ContentSequence
    kind = coded_concept(c.Concept(row.kind, SCHEME, row.kind.replace("_", " ")))
    below.append(CodeContentItem(coded_concept(KIND), kind, "CONTAINS"))
    for name, concept in TEXTS.items():
        value = getattr(row, name)
        if value:
            below.append(TextContentItem(coded_concept(concept), value, "CONTAINS"))


def _observer(judge: str) -> highdicom.sr.ObservationContext:
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
        PersonObserverIdentifyingAttributes,
    )

    name = _NOT_IN_NAMES.sub(" ", judge).strip()[:64].strip()
    if name:
        person = PersonObserverIdentifyingAttributes(name=name)
        return ObservationContext(observer_person_context=ObserverContext(coded_concept(c.PERSON), person))
    device = DeviceObserverIdentifyingAttributes(
        uid=hashed_uid("device"), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=MANUFACTURER
    )
    kind = coded_concept(c.Concept("121007", "DCM", "Device"))
    return ObservationContext(observer_device_context=ObserverContext(kind, device))


def _regions(
    header: ImageHeader, rows: Iterable[AnnotationRow]
) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Yield the regions of an image: of each annotation its place, and its outline if it has one."""
    for number, row in enumerate(rows, 1):
        name = row.id or f"{hashed_uid('annotation', header.uid, row.judge)[-12:]}.{number}"
        finding = FINDINGS.get(row.kind) or c.Concept(row.kind, SCHEME, row.kind.replace("_", " "))
        own = [_region(header, [(row.row, row.column)], name, finding, row.diameter_mm)]
        if row.outline:
            corners = [*row.outline, row.outline[0]] if row.outline[0] != row.outline[-1] else list(row.outline)
            own.append(_region(header, corners, f"{name}{OF_OUTLINE}", c.CLUSTER if row.cluster else finding))
        for region in own:
            _add_columns(region, row)
            yield region


def _region(
    header: ImageHeader, places: Sequence[tuple[float, float]], name: str, finding: c.Concept, diameter_mm: float = 0.0
) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return a region (TID 1410) at places (row, column) in pixels, a point or a closed outline."""
    from highdicom.sr import (
        ImageRegion,
        Measurement,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    corner = np.clip(np.asarray(places, dtype=np.float64) + 0.5, 0.0, (header.rows, header.columns))
    diameter = Measurement(coded_concept(c.DIAMETER), diameter_mm or 1.0, coded_concept(c.MILLIMETER))
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(hashed_uid("annotation", name), name),
        referenced_region=ImageRegion(
            "POINT" if len(places) == 1 else "POLYLINE",
            corner[:, ::-1],
            SourceImageForRegion(header.sop_class, header.uid),
        ),
        finding_type=coded_concept(finding),
        measurements=[diameter] if diameter_mm else None,
    )
