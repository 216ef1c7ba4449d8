"""What a report is made of: the images as their headers name them, and what was found in each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from microcalc.dicom.accept import INTENTS, check_spacing
from microcalc.dicom.concepts import VIEW_MODIFIERS, Concept
from microcalc.dicom.read import laterality_of, read_data_set, view_of
from microcalc.dicom.tags import integer, is_uid, items, quiet, shown_uid, word, words
from microcalc.domain import Candidates, Cluster, Intent, Laterality, OperatingPoint
from microcalc.errors import InputError, MissingSpacingError, NotAMammogramError
from microcalc.geometry import Grid, Points
from microcalc.storage.key import key_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DATE = re.compile(r"[12]\d{3}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")


@dataclass(frozen=True, slots=True)
class ExamHeader:
    """The patient and the study, as the images name them; never part of a message.

    Dates are YYYYMMDD and times HHMMSS.ffffff, empty where the header has none. A patient ID of several
    values keeps all of them, with backslashes between.
    """

    study: str
    study_date: str = ""
    study_time: str = ""
    study_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    referring_physician: str = field(default="", repr=False)
    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)
    issuer_of_patient_id: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """Return what images of one exam of one patient have in common, hashed so that it names nobody.

        An exam is a study of a patient: two patients under one Study Instance UID are two exams. A patient
        is known by the ID and its issuer; how the name is spelled does not matter. Where there is no ID,
        the name (without regard to case) and the date of birth have to do.
        """
        patient = (self.patient_id, self.issuer_of_patient_id)
        if not self.patient_id:
            patient = (self.patient_name.casefold(), self.patient_birth_date)
        return key_of([self.study, bool(self.patient_id), *patient])


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """One image of an exam.

    Attributes
    ----------
    file
        Where it was read from; presentation states and segmentations are made from it.
    sop_class, uid, series
        UIDs of class, instance and series.
    spacing_mm
        (row, column); None where the header has none that a mammogram has.
    orientation
        (row direction, column direction) of PatientOrientation; None where the header has none.
    source
        SOP Instance UID of the raw image that it was made of, and whether positions are the same.
    """

    file: Path
    sop_class: str
    uid: str
    series: str
    exam: ExamHeader
    rows: int
    columns: int
    spacing_mm: tuple[float, float] | None
    laterality: Laterality | None = None
    view: str | None = None
    view_modifiers: tuple[Concept, ...] = ()
    orientation: tuple[str, str] | None = None
    content_date: str = ""
    content_time: str = ""
    source: tuple[str, bool] | None = None

    @property
    def intent(self) -> Intent:
        """Raw or processed, as the SOP class says."""
        return INTENTS[self.sop_class]

    @property
    def label(self) -> str:
        """Breast and view in words: ``L MLO``."""
        return f"{self.laterality or '?'} {self.view or '?'}"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What looked at an image.

    Attributes
    ----------
    sha256
        Of the model; reports of another model get other UIDs.
    parameters
        Settings of the call that change what is found, as ``name=value``.
    operating_points
        From the default one on, each with a lower threshold than the one before. A cluster that
        reaches the first is to be shown, one that reaches another may be; the others are left out.
    """

    name: str
    version: str
    sha256: str
    operating_points: tuple[OperatingPoint, ...]
    parameters: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether every operating point says what it gave where it was measured."""
        return all(point.llf is not None and point.nlf is not None for point in self.operating_points)

    def described(self) -> tuple[str, ...]:
        """The settings and the model, as a report states them."""
        return (*self.parameters, f"model={self.sha256}")

    def points_in_words(self) -> list[str]:
        """What each operating point means."""
        words = []
        for k, point in enumerate(self.operating_points):
            said = f"operating_point_{k}: clusters of certainty {100 * point.threshold:.6g} % or more"
            if point.llf is not None and point.nlf is not None:
                said += f"; where measured, {point.nlf:.3g} false clusters per image, sensitivity {point.llf:.3g}"
            words.append(said)
        return words

    def point_of(self, likelihood: float) -> int | None:
        """The first operating point that a cluster reaches; None where it reaches none."""
        return next((k for k, p in enumerate(self.operating_points) if likelihood >= p.threshold), None)


@dataclass(frozen=True, eq=False, slots=True)
class ImageResult:
    """What was found in one image, or why nothing could be.

    Attributes
    ----------
    candidates, clusters
        Positions in mm; members of clusters are indices into ``candidates``.
    failure
        Why the image could not be analysed, in words without the file's name; None where it was.
    """

    header: ImageHeader
    algorithm: Algorithm
    candidates: Candidates = field(default_factory=lambda: Candidates(np.empty((0, 2)), np.empty(0)))
    clusters: Sequence[Cluster] = ()
    failure: str | None = None

    def reported(self) -> list[tuple[Cluster, int]]:
        """The clusters that a CAD report tells of, with the operating point that each reaches."""
        points = [(cluster, self.algorithm.point_of(cluster.likelihood)) for cluster in self.clusters]
        return [(cluster, point) for cluster, point in points if point is not None]

    def findings(self) -> list[Cluster]:
        """The clusters that are to be shown: those of operating point 0, the default one."""
        return [cluster for cluster, point in self.reported() if point == 0]

    def columns_rows(self, positions_mm: Points) -> list[tuple[float, float]]:
        """Positions as DICOM wants them: (column, row) from the corner of the first pixel, inside the image."""
        if self.header.spacing_mm is None:
            raise ValueError("positions in an image without pixel spacing")
        limits = (self.header.rows, self.header.columns)
        corner = np.clip(Grid(self.header.spacing_mm).to_pixels(positions_mm) + 0.5, 0.0, limits)
        return [(float(column), float(row)) for row, column in corner]


def read_image_header(file: Path) -> ImageHeader:
    """The header of a mammogram, as far as a report needs it.

    Raises
    ------
    UnreadableImageError
        No such file, not DICOM, or damaged.
    NotAMammogramError
        Not a Digital Mammography X-Ray Image.
    InputError
        No UIDs to refer to the image by.
    """
    with quiet():
        dataset = read_data_set(file, stop_before_pixels=True)
        return image_header(dataset, file)


def image_header(dataset: Dataset, file: Path) -> ImageHeader:
    """The header of a mammogram from its elements; see ``read_image_header``."""
    sop_class = word(dataset, "SOPClassUID")
    if sop_class not in INTENTS:
        raise NotAMammogramError(
            f"{file.name}: SOP class {shown_uid(sop_class)}, expected Digital Mammography X-Ray Image for a report"
        )
    uids = {key: word(dataset, f"{key}InstanceUID") for key in ("SOP", "Series", "Study")}
    for key, uid in uids.items():
        if not is_uid(uid):
            raise InputError(f"{file.name}: {key}InstanceUID {shown_uid(uid)}, expected one for a report")
    return ImageHeader(
        file=file,
        sop_class=sop_class,
        uid=uids["SOP"],
        series=uids["Series"],
        exam=_exam_header(dataset, uids["Study"]),
        rows=integer(dataset, "Rows") or 0,
        columns=integer(dataset, "Columns") or 0,
        spacing_mm=_spacing(dataset, file.name),
        laterality=laterality_of(dataset),
        view=view_of(dataset),
        view_modifiers=_view_modifiers(dataset),
        orientation=_orientation(dataset),
        content_date=_date(dataset, "ContentDate"),
        content_time=_time(dataset, "ContentTime"),
        source=_source(dataset),
    )


def _exam_header(dataset: Dataset, study: str) -> ExamHeader:
    sex = word(dataset, "PatientSex")
    return ExamHeader(
        study=study,
        study_date=_date(dataset, "StudyDate"),
        study_time=_time(dataset, "StudyTime"),
        study_id=word(dataset, "StudyID"),
        accession_number=word(dataset, "AccessionNumber"),
        referring_physician=word(dataset, "ReferringPhysicianName"),
        patient_name=word(dataset, "PatientName"),
        patient_id="\\".join(words(dataset, "PatientID")),
        patient_birth_date=_date(dataset, "PatientBirthDate"),
        patient_sex=sex if sex in ("F", "M", "O") else "",
        issuer_of_patient_id=word(dataset, "IssuerOfPatientID"),
    )


def _date(dataset: Dataset, keyword: str) -> str:
    found = word(dataset, keyword)
    return found if _DATE.fullmatch(found) else ""


def _time(dataset: Dataset, keyword: str) -> str:
    found = word(dataset, keyword)
    return found if _TIME.fullmatch(found) else ""


def _spacing(dataset: Dataset, name: str) -> tuple[float, float] | None:
    try:
        return check_spacing(dataset, name)
    except MissingSpacingError:
        return None


def _view_modifiers(dataset: Dataset) -> tuple[Concept, ...]:
    found = {
        word(modifier, "CodeValue")
        for view in items(dataset, "ViewCodeSequence")
        for modifier in items(view, "ViewModifierCodeSequence")
    }
    return tuple(concept for concept in VIEW_MODIFIERS if found & {concept.value, concept.srt})


def _orientation(dataset: Dataset) -> tuple[str, str] | None:
    found = words(dataset, "PatientOrientation")
    return (found[0], found[1]) if len(found) == 2 and all(found) else None


def _source(dataset: Dataset) -> tuple[str, bool] | None:
    for item in items(dataset, "SourceImageSequence"):
        uid = word(item, "ReferencedSOPInstanceUID")
        if is_uid(uid):
            return uid, word(item, "SpatialLocationsPreserved").upper() == "YES"
    return None


def by_study(results: Sequence[ImageResult]) -> list[list[ImageResult]]:
    """The results of each exam together, exams and images in the order given."""
    exams: dict[str, list[ImageResult]] = {}
    for result in results:
        exams.setdefault(result.header.exam.study, []).append(result)
    return list(exams.values())


def displaced(headers: Sequence[ImageHeader]) -> list[ImageHeader]:
    """The processed images on which marks of their raw image may lie beside the place.

    A workstation shows the marks of a raw image on the processed one that was made of it, at
    the same rows and columns. These images do not say that positions were preserved.
    """
    raw = {header.uid for header in headers if header.intent == "raw"}
    return [h for h in headers if h.source is not None and h.source[0] in raw and not h.source[1]]
