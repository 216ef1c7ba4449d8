"""Read annotations from measurement reports (TID 1500): ours, exactly, and those of other programs, leniently.

Points, polylines, polygons, circles and ellipses of measurement groups are read. A group's tracking identifier is the
``id`` of the annotation, its person observer the ``judge``. Groups whose finding is no calcification are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from microcalc.datasets.outlines import Corners, Outline, check_rows, with_outlines
from microcalc.datasets.table import AnnotationRow, ImageRow, Table, check_places
from microcalc.dicom.tags import items, numbers, quiet, word
from microcalc.domain import Kind
from microcalc.errors import InputError, TableError
from microcalc.reports import concepts as c
from microcalc.reports.annotation_report import FINDINGS, KIND, OF_OUTLINE, TEXTS
from microcalc.reports.content_items import children, has_name, has_value, measured, named, walk
from microcalc.reports.whole import read_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SR: Final = "1.2.840.10008.5.1.4.1.1.88."
_ROUND: Final = ("CIRCLE", "ELLIPSE")
_RIM_CORNERS: Final = 48
_GRAPHICS: Final = ("POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "CIRCLE", "ELLIPSE")


@dataclass(frozen=True, slots=True)
class ReadAnnotations:
    """The images with the annotations read, and how many groups were passed over as no calcifications."""

    table: Table
    passed_over: int


def read_annotation_reports(files: Sequence[Path], images: Table) -> ReadAnnotations:
    """Return the images with the annotations of reports.

    Parameters
    ----------
    images
        The images, with their SOP Instance UIDs; their own annotations are left out.

    Raises
    ------
    UnreadableImageError
        A file is missing, not DICOM, or damaged.
    InputError
        A file is no measurement report, a group refers to an image that is not among ``images``, or is of a
        graphic type that is not read.
    TableError
        A place is outside its image, or two annotations have one ``id``.
    """
    of_uid = {image.sop_instance_uid: image for image in images.images if image.sop_instance_uid}
    rows: list[AnnotationRow] = []
    outlines: list[Outline] = []
    passed_over = 0
    with quiet():
        for file in files:
            for group in _groups(file, of_uid):
                if group.kind is None:
                    passed_over += 1
                else:
                    rows += group.rows()
                    outlines += group.outlines()
    table = Table(images.images, with_outlines(rows, outlines))
    check_rows(table.annotations)
    check_places(table)
    return ReadAnnotations(table, passed_over)


@dataclass(frozen=True, slots=True)
class _Group:
    """One measurement group: its item, its region and what it refers to."""

    item: Dataset
    graphic: str
    places: Corners
    image: ImageRow
    id: str
    kind: Kind | None
    judge: str
    where: str

    def rows(self) -> Iterator[AnnotationRow]:
        """Yield its annotations, unless it is an outline."""
        assert self.kind is not None
        points = self.places if self.graphic in ("POINT", "MULTIPOINT") else ()
        diameter_mm = self._diameter_mm()
        if self.graphic in _ROUND and not self.is_cluster:
            (row, column), size_mm = self._centre_and_size()
            points, diameter_mm = ((row, column),), diameter_mm or size_mm
        for number, (row, column) in enumerate(points, 1):
            name = self.id if len(points) == 1 or not self.id else f"{self.id}-{number}"
            yield AnnotationRow(
                image=self.image.image,
                row=row,
                column=column,
                diameter_mm=diameter_mm,
                kind="unsure" if self.is_cluster else self.kind,  # the middle of a cluster need not be calcium
                cluster=self._text(TEXTS["cluster"]),
                judge=self.judge,
                morphology=self._text(TEXTS["morphology"]),
                id=name,
                when=self._text(TEXTS["when"]),
                where=self.where,
            )

    def outlines(self) -> Iterator[Outline]:
        """Yield its outline, if it is one; a circle or an ellipse is one around a cluster."""
        if self.graphic in _ROUND and self.is_cluster:
            cluster = self._text(TEXTS["cluster"])
            yield Outline(self.image.image, self._rim(), cluster, "", self.id, self.judge, self.where)
        if self.graphic in ("POLYLINE", "POLYGON"):
            of = self.id.removesuffix(OF_OUTLINE) if self.id.endswith(OF_OUTLINE) else ""
            corners = self.places[:-1] if self.places[0] == self.places[-1] else self.places
            cluster = self._text(TEXTS["cluster"])
            yield Outline(self.image.image, corners, cluster, of, self.id, self.judge, self.where)

    def _text(self, concept: c.Concept) -> str:
        return next((word(item, "TextValue") for item in named(self.item, concept)), "")

    def _diameter_mm(self) -> float:
        value = next((measured(item) for item in walk(self.item) if has_name(item, c.DIAMETER)), None)
        return 0.0 if value is None or value < 0 else value

    @property
    def is_cluster(self) -> bool:
        """Whether another program means a cluster, and not a single calcification."""
        return not named(self.item, KIND) and any(has_value(f, c.CLUSTER) for f in named(self.item, c.FINDING))

    def _rim(self) -> Corners:
        """Return places on a circle or an ellipse, in pixels."""
        places = np.asarray(self.places)
        if self.graphic == "CIRCLE":
            centre, spacing = places[0], np.asarray(self.image.spacing_mm)
            reach = np.hypot(*((places[1] - centre) * spacing)) / spacing
            one, other = np.array([reach[0], 0.0]), np.array([0.0, reach[1]])
        else:
            centre, one, other = places.mean(axis=0), (places[1] - places[0]) / 2, (places[3] - places[2]) / 2
        turns = np.linspace(0, 2 * np.pi, _RIM_CORNERS, endpoint=False)
        rim = centre + np.outer(np.cos(turns), one) + np.outer(np.sin(turns), other)
        return tuple((float(row), float(column)) for row, column in rim)

    def _centre_and_size(self) -> tuple[tuple[float, float], float]:
        """Return the centre of a circle or ellipse in pixels, and its mean diameter in mm."""
        places, spacing = np.asarray(self.places), np.asarray(self.image.spacing_mm)
        if self.graphic == "CIRCLE":
            row, column = places[0]
            return (float(row), float(column)), 2 * float(np.hypot(*((places[1] - places[0]) * spacing)))
        row, column = places.mean(axis=0)
        axes = [np.hypot(*((end - begin) * spacing)) for begin, end in (places[:2], places[2:4])]
        return (float(row), float(column)), float(np.mean(axes))


_LENGTHS: Final[Mapping[str, tuple[int, int]]] = {"POINT": (1, 1), "CIRCLE": (2, 2), "ELLIPSE": (4, 4)}


def _groups(file: Path, of_uid: Mapping[str, ImageRow]) -> Iterator[_Group]:
    root = read_whole(file)
    if not word(root, "SOPClassUID").startswith(_SR):
        raise InputError(f"{file.name}: no structured report, expected a measurement report (TID 1500)")
    groups = [item for item in walk(root) if has_name(item, c.MEASUREMENT_GROUP)]
    if not groups:
        raise InputError(f"{file.name}: no measurement group, expected a measurement report (TID 1500)")
    judge = " ".join(_reader(root).replace("^", " ").split())
    for number, item in enumerate(groups, 1):
        where = f"{file.name} group {number}"
        name = next((word(i, "TextValue") for i in named(item, c.TRACKING_IDENTIFIER)), "")
        kind = _kind(item)
        for region in (i for i in walk(item) if word(i, "ValueType").startswith("SCOORD")):
            graphic, places = _places(region, where)
            yield _Group(item, graphic, places, _image(region, of_uid, where), name, kind, judge, where)


def _reader(root: Dataset) -> str:
    return next((word(item, "PersonName") for item in walk(root) if has_name(item, c.PERSON_NAME)), "")


def _kind(group: Dataset) -> Kind | None:
    """Return the kind of an annotation; None if the finding is no calcification."""
    for item in named(group, KIND):
        coded = next(iter(items(item, "ConceptCodeSequence")), None)
        value = "" if coded is None else word(coded, "CodeValue") or word(coded, "LongCodeValue")
        if value in get_args(Kind):
            return value  # type: ignore[return-value]  # checked above
    findings = named(group, c.FINDING)
    if not findings or any(has_value(f, v) for f in findings for v in (c.CLUSTER, c.MICROCALCIFICATIONS)):
        return "microcalcification"
    return next((kind for kind, concept in FINDINGS.items() if any(has_value(f, concept) for f in findings)), None)


def _places(region: Dataset, where: str) -> tuple[str, Corners]:
    """Return the graphic type and the places in pixels, 0 at the centre of the first."""
    graphic = word(region, "GraphicType").upper()
    if word(region, "ValueType") != "SCOORD" or graphic not in _GRAPHICS:
        found = f"{word(region, 'ValueType')} {graphic}"[:40]
        raise InputError(f"{where}: {found}, expected SCOORD of {', '.join(_GRAPHICS)}")
    values = numbers(region, "GraphicData")
    low, high = _LENGTHS.get(graphic, (1, 10**6) if graphic == "MULTIPOINT" else (3, 10**6))
    if len(values) % 2 or not low <= len(values) // 2 <= high:
        raise InputError(f"{where}: {graphic} of {len(values)} numbers, expected pairs of column and row")
    return graphic, tuple((row - 0.5, column - 0.5) for column, row in zip(values[::2], values[1::2], strict=True))


def _image(region: Dataset, of_uid: Mapping[str, ImageRow], where: str) -> ImageRow:
    uids = [word(r, "ReferencedSOPInstanceUID") for i in children(region) for r in items(i, "ReferencedSOPSequence")]
    for uid in uids:
        if uid in of_uid:
            return of_uid[uid]
    found = "refers to an image that is not given" if uids else "refers to no image"
    raise TableError(f"{where}: {found}, expected one of the images")
