"""The common part of all reports: patient, study, series, equipment and UIDs.

References
----------
DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.5.1, C.17.1, C.17.2 (patient, study, equipment, SR series and document).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from microcalc import __version__
from microcalc.dicom.write import file_meta, hashed_uid
from microcalc.errors import InputError
from microcalc.reports.image_header import ExamHeader, ImageHeader
from microcalc.reports.reported_image import ReportedImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ReportKind = Literal["sr", "tid1500", "gsps", "seg"]

SOP_CLASSES: Final[dict[ReportKind, str]] = {
    "sr": "1.2.840.10008.5.1.4.1.1.88.50",
    "tid1500": "1.2.840.10008.5.1.4.1.1.88.33",
    "gsps": "1.2.840.10008.5.1.4.1.1.11.1",
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
}
"""SOP classes: Mammography CAD SR, Comprehensive SR, Grayscale Softcopy Presentation State, Segmentation."""

SERIES: Final[dict[ReportKind, tuple[int, str]]] = {
    "sr": (9101, "microcalc CAD"),
    "tid1500": (9102, "microcalc measurements"),
    "gsps": (9103, "microcalc marks"),
    "seg": (9104, "microcalc segments"),
}
"""Series Number and Series Description of each kind of report; an exam has one series of each kind."""

MODALITIES: Final[dict[ReportKind, str]] = {"sr": "SR", "tid1500": "SR", "gsps": "PR", "seg": "SEG"}
MANUFACTURER: Final = "microcalc"
RESEARCH_ONLY: Final = "For research use only. Not a medical device."


def report_uid(kind: ReportKind, results: Sequence[ReportedImage], *settings: str) -> str:
    """Return the SOP Instance UID of a report.

    It is hashed from the images, models, settings and operating points, from which images failed, and from our
    version: reporting the same images again gives the same UID, and so no second report in an archive.
    """
    images = sorted(
        f"{r.header.uid} {r.algorithm.sha256} {r.algorithm.parameters} {r.algorithm.operating_points} "
        f"{r.algorithm.single_point} "
        f"{'failed' if r.failure is not None else 'done'}"
        for r in results
    )
    return hashed_uid("report", kind, __version__, *settings, *images)


def series_uid(kind: ReportKind, exam: ExamHeader) -> str:
    """Return the UID of the series that holds an exam's reports of one kind."""
    return hashed_uid("report series", kind, exam.key)


def instance_number(kind: ReportKind, uid: str) -> int:
    """Return the Instance Number of a report in its series.

    A series of presentation states or segmentations has an instance for each image. They may be made at different
    times, so that counting would not give distinct numbers; the number is hashed from the UID instead.
    """
    return 1 if kind in ("sr", "tid1500") else 1 + int(hashlib.sha256(uid.encode()).hexdigest(), 16) % 10**9


def start_instance(kind: ReportKind, header: ImageHeader, uid: str) -> Dataset:
    """Return the attributes that all kinds of reports have: UIDs, patient, study, series and equipment."""
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.file_meta = file_meta(SOP_CLASSES[kind], uid)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SOP_CLASSES[kind], uid
    use_exam(dataset, header)
    dataset.Modality = MODALITIES[kind]
    dataset.SeriesInstanceUID = series_uid(kind, header.exam)
    dataset.SeriesNumber, dataset.SeriesDescription = SERIES[kind]
    dataset.InstanceNumber = instance_number(kind, uid)
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, "0"
    return dataset


def start_report(kind: ReportKind, headers: Sequence[ImageHeader], uid: str, made: datetime) -> Dataset:
    """Return a structured report without its content.

    Parameters
    ----------
    headers
        The images of one exam.
    made
        Time of making, the only part of a report that does not depend on the images.
    """
    dataset = start_instance(kind, headers[0], uid)
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.ContentDate, dataset.ContentTime = made_at(headers[0], made)
    dataset.CompletionFlag, dataset.CompletionFlagDescription = "COMPLETE", RESEARCH_ONLY
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PerformedProcedureCodeSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [_evidence(headers)]
    return dataset


def use_exam(dataset: Dataset, header: ImageHeader) -> None:
    """Copy patient and study of an image's header to a report; invalid values are empty."""
    exam = header.exam
    dataset.StudyInstanceUID = exam.study
    dataset.StudyDate, dataset.StudyTime = exam.study_date, exam.study_time
    dataset.StudyID, dataset.AccessionNumber = exam.study_id, exam.accession_number
    dataset.ReferringPhysicianName = exam.referring_physician
    dataset.PatientName, dataset.PatientID = exam.patient_name, exam.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = exam.patient_birth_date, exam.patient_sex
    if exam.issuer_of_patient_id:
        dataset.IssuerOfPatientID = exam.issuer_of_patient_id
    if exam.time_zone:
        dataset.TimezoneOffsetFromUTC = exam.time_zone


def made_at(header: ImageHeader, made: datetime) -> tuple[str, str]:
    """Return date and time of making, in the time zone that the header states, if any (PS3.3 C.12.1.1.8)."""
    zone = header.exam.time_zone
    if zone and made.tzinfo is not None:
        made = made.astimezone(datetime.strptime(zone, "%z").tzinfo)
    return made.strftime("%Y%m%d"), made.strftime("%H%M%S")


def _evidence(headers: Sequence[ImageHeader]) -> Dataset:
    """Return references to the images, by study and series (PS3.3 C.17.2.2)."""
    from pydicom.dataset import Dataset

    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = headers[0].exam.study, []
    of_series: dict[str, Dataset] = {}
    for header in headers:
        if header.series not in of_series:
            series = of_series[header.series] = Dataset()
            series.SeriesInstanceUID, series.ReferencedSOPSequence = header.series, []
            study.ReferencedSeriesSequence.append(series)
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = header.sop_class, header.uid
        of_series[header.series].ReferencedSOPSequence.append(reference)
    return study


def check_one_exam(results: Sequence[ReportedImage]) -> None:
    """Refuse images that cannot be in one report.

    Raises
    ------
    InputError
        There is no image, an image twice, or images of several studies or patients.
    """
    if not results:
        raise InputError("no image, expected at least one for a report")
    studies = {result.header.exam.study for result in results}
    if len(studies) != 1:
        raise InputError(f"images of {len(studies)} studies, expected those of one for a report")
    exams = {result.header.exam.key for result in results}
    if len(exams) != 1:
        raise InputError(f"images of {len(exams)} patients under one Study Instance UID, expected those of one patient")
    if len({result.header.uid for result in results}) != len(results):
        raise InputError("an image is in the exam twice, expected each SOP Instance UID once")
