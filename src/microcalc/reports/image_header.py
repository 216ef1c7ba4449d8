"""The header of an image as its reports need it: patient and study, UIDs, geometry, breast and view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.dicom import source_values
from microcalc.dicom.source_values import raw_text
from microcalc.dicom.tags import integer, is_uid, items, quiet, shown_uid, word, words
from microcalc.domain import Intent, Laterality
from microcalc.errors import InputError, MissingSpacingError, NotAMammogramError
from microcalc.images.dicom.accept import INTENTS, check_spacing
from microcalc.images.dicom.read import laterality_of, read_data_set, view_of
from microcalc.reports.concepts import VIEW_MODIFIERS, Concept
from microcalc.storage.key import key_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_DIRECTION = re.compile(r"[APRLHF]{1,3}")
_NOT_LETTERS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class ExamHeader:
    """The patient and the study as named in the header of an image; never part of a message.

    Every value is valid in a report. It is empty if the header has no valid value.

    Attributes
    ----------
    study_date, study_time
        Date as YYYYMMDD, time as HHMMSS.ffffff, in ``time_zone``.
    time_zone
        Offset of the header's times from UTC, as ``+0100``; empty if the header does not state it.
    unusable_identity
        Hash of a patient ID that cannot be written to a report or, without an ID, of such a name; empty otherwise.
    omissions
        Attributes that were omitted or corrected, with the reason but without the value.
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
    time_zone: str = ""
    unusable_identity: str = field(default="", repr=False)
    omissions: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return a key that all images of one exam share, hashed so that it identifies nobody.

        An exam is a study of a patient: two patients under one Study Instance UID are two exams. A patient
        is identified by the ID and its issuer, whatever the spelling of the name. Without an ID, the name
        (regardless of case and punctuation) and the date of birth are used: an image with an ID and one without
        are never in the same exam.
        """
        patient = (self.patient_id, self.issuer_of_patient_id, self.unusable_identity)
        if not self.patient_id and not self.unusable_identity:
            name = _NOT_LETTERS.sub(" ", self.patient_name.casefold()).strip()
            patient = (name, self.patient_birth_date, "")
        return key_of([self.study, bool(self.patient_id), *patient])


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The header of one image of an exam.

    Attributes
    ----------
    file
        The file that was read; presentation states are made from it.
    sop_class, uid, series
        SOP Class UID, SOP Instance UID and Series Instance UID.
    spacing_mm
        Pixel spacing (row, column); None if the header has none that is plausible for a mammogram.
    orientation
        (row direction, column direction) of PatientOrientation; None if the header has none.
    source
        SOP Instance UID of the raw image from which it was processed, and whether positions were preserved; None if
        the header does not refer to one.
    burned_in
        Whether text is burned into the pixels according to the header.
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
    burned_in: bool = False

    @property
    def intent(self) -> Intent:
        """Intent of the image, as given by its SOP class."""
        return INTENTS[self.sop_class]

    @property
    def label(self) -> str:
        """Laterality and view, such as ``L MLO``; unknown ones are ``?``."""
        return f"{self.laterality or '?'} {self.view or '?'}"


def read_image_header(file: Path) -> ImageHeader:
    """Read the header of a mammogram as far as its reports need it.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, or damaged.
    NotAMammogramError
        The file is not a Digital Mammography X-Ray Image.
    InputError
        A UID that reports need to refer to the image is missing or damaged.
    """
    with quiet():
        dataset = read_data_set(file, stop_before_pixels=True)
        return parse_image_header(dataset, file)


def parse_image_header(dataset: Dataset, file: Path) -> ImageHeader:
    """Return the header of a mammogram that is read already; raise as ``read_image_header`` does."""
    sop_class = word(dataset, "SOPClassUID")
    if sop_class not in INTENTS:
        raise NotAMammogramError(
            f"{file.name}: SOP class {shown_uid(sop_class)}, expected Digital Mammography X-Ray Image for a report"
        )
    uids = {key: "\\".join(words(dataset, f"{key}InstanceUID")) for key in ("SOP", "Series", "Study")}
    for key, uid in uids.items():
        if not _is_well_formed(uid):
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
        content_date=source_values.date(dataset, "ContentDate").value,
        content_time=source_values.time(dataset, "ContentTime").value,
        source=_source(dataset),
        burned_in=word(dataset, "BurnedInAnnotation").upper() == "YES",
    )


def _exam_header(dataset: Dataset, study: str) -> ExamHeader:
    taken = {
        "study_date": ("StudyDate", source_values.date(dataset, "StudyDate")),
        "study_time": ("StudyTime", source_values.time(dataset, "StudyTime")),
        "study_id": ("StudyID", source_values.long_text(dataset, "StudyID", most=16)),
        "accession_number": ("AccessionNumber", source_values.long_text(dataset, "AccessionNumber", most=16)),
        "referring_physician": (
            "ReferringPhysicianName",
            source_values.person_name(dataset, "ReferringPhysicianName"),
        ),
        "patient_name": ("PatientName", source_values.person_name(dataset, "PatientName")),
        "patient_id": ("PatientID", source_values.long_text(dataset, "PatientID")),
        "patient_birth_date": ("PatientBirthDate", source_values.date(dataset, "PatientBirthDate")),
        "patient_sex": ("PatientSex", source_values.sex(dataset)),
        "issuer_of_patient_id": ("IssuerOfPatientID", source_values.long_text(dataset, "IssuerOfPatientID")),
        "time_zone": ("TimezoneOffsetFromUTC", source_values.time_zone(dataset)),
    }
    values = {name: value.value for name, (_, value) in taken.items()}
    return ExamHeader(
        study,
        **values,
        unusable_identity=_unusable_identity(dataset, values),
        omissions=tuple(f"{keyword} ({value.fault})" for keyword, value in taken.values() if value.fault),
    )


def _unusable_identity(dataset: Dataset, values: dict[str, str]) -> str:
    """Return a hash of the identifying bytes that cannot be written to a report; empty if all of them can."""
    identifying = ["PatientID", "IssuerOfPatientID"] if raw_text(dataset, "PatientID") else ["PatientName"]
    fields = {"PatientID": "patient_id", "IssuerOfPatientID": "issuer_of_patient_id", "PatientName": "patient_name"}
    lost = [raw_text(dataset, keyword).hex() for keyword in identifying if not values[fields[keyword]]]
    return key_of(lost) if any(lost) else ""


def _is_well_formed(uid: str) -> bool:
    """Return whether a UID consists of numbers separated by dots; leading zeros, which are common, are allowed."""
    return is_uid(uid) and _UID.fullmatch(uid) is not None


def _spacing(dataset: Dataset, name: str) -> tuple[float, float] | None:
    try:
        return check_spacing(dataset, name)
    except MissingSpacingError:
        return None


def _view_modifiers(dataset: Dataset) -> tuple[Concept, ...]:
    codes = {
        word(modifier, "CodeValue")
        for view in items(dataset, "ViewCodeSequence")
        for modifier in items(view, "ViewModifierCodeSequence")
    }
    return tuple(concept for concept in VIEW_MODIFIERS if codes & {concept.value, concept.srt})


def _orientation(dataset: Dataset) -> tuple[str, str] | None:
    directions = [direction.upper() for direction in words(dataset, "PatientOrientation")]
    if len(directions) != 2 or not all(map(_DIRECTION.fullmatch, directions)):
        return None
    return directions[0], directions[1]


def _source(dataset: Dataset) -> tuple[str, bool] | None:
    for item in items(dataset, "SourceImageSequence"):
        uid = word(item, "ReferencedSOPInstanceUID")
        if _is_well_formed(uid):
            return uid, word(item, "SpatialLocationsPreserved").upper() == "YES"
    return None


def displaced(headers: Sequence[ImageHeader]) -> list[ImageHeader]:
    """Return the processed images on which the marks of their raw image may be displaced.

    A workstation shows the marks of a raw image on the image that was processed from it, at the same rows and
    columns. The headers of the returned images do not state that positions were preserved.
    """
    raw = {header.uid for header in headers if header.intent == "raw"}
    return [h for h in headers if h.source is not None and h.source[0] in raw and not h.source[1]]
