"""What every report begins with: patient and study of the images, series, equipment, and its UIDs.

References
----------
DICOM PS3.3 C.7.1.1, C.7.2.1, C.7.5.1, C.17.1, C.17.2 (patient, study, equipment, SR series and document).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from microcalc import __version__
from microcalc.dicom.results import ImageHeader, ImageResult
from microcalc.dicom.write import file_meta, hashed_uid
from microcalc.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ReportKind = Literal["sr", "tid1500", "gsps", "seg"]

SOP_CLASSES: Final[dict[ReportKind, str]] = {
    "sr": "1.2.840.10008.5.1.4.1.1.88.50",
    "tid1500": "1.2.840.10008.5.1.4.1.1.88.33",
    "gsps": "1.2.840.10008.5.1.4.1.1.11.1",
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
}
"""What is written: Mammography CAD SR, Comprehensive SR, Grayscale Softcopy Presentation State, Segmentation."""

SERIES: Final[dict[ReportKind, tuple[int, str]]] = {
    "sr": (9101, "microcalc CAD"),
    "tid1500": (9102, "microcalc measurements"),
    "gsps": (9103, "microcalc marks"),
    "seg": (9104, "microcalc segments"),
}
"""Number and description of the one series that a study gets for each kind of report."""

MANUFACTURER: Final = "microcalc"
RESEARCH_ONLY: Final = "For research use only. Not a medical device."


def report_uid(kind: ReportKind, results: Sequence[ImageResult], *settings: str) -> str:
    """The SOP Instance UID of a report.

    Hashed from the images, the models, their settings and operating points, which images failed,
    and our version: the same images again give the same UID, and so no second report in an archive.
    """
    images = sorted(
        f"{r.header.uid} {r.algorithm.sha256} {r.algorithm.parameters} {r.algorithm.operating_points} "
        f"{'failed' if r.failure is not None else 'done'}"
        for r in results
    )
    return hashed_uid("report", kind, __version__, *settings, *images)


def series_uid(kind: ReportKind, study: str) -> str:
    """The UID of the series that holds a study's reports of one kind."""
    return hashed_uid("report series", kind, study)


def start_report(kind: ReportKind, results: Sequence[ImageResult], uid: str, made: datetime) -> Dataset:
    """A structured report with all but its content.

    Parameters
    ----------
    results
        Of one exam.
    made
        When; the only thing in a report that the images do not decide.
    """
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.file_meta = file_meta(SOP_CLASSES[kind], uid)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SOP_CLASSES[kind], uid
    use_exam(dataset, results[0].header)
    dataset.Modality = "SR"
    dataset.SeriesInstanceUID = series_uid(kind, results[0].header.exam.study)
    dataset.SeriesNumber, dataset.SeriesDescription = SERIES[kind]
    dataset.InstanceNumber = 1
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, "0"
    dataset.ContentDate, dataset.ContentTime = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    dataset.CompletionFlag, dataset.CompletionFlagDescription = "COMPLETE", RESEARCH_ONLY
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.PerformedProcedureCodeSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = [_evidence([r.header for r in results])]
    return dataset


def use_exam(dataset: Dataset, header: ImageHeader) -> None:
    """Name patient and study as the image's header does, as far as its values are valid."""
    exam = header.exam
    dataset.StudyInstanceUID = exam.study
    dataset.StudyDate, dataset.StudyTime = exam.study_date, exam.study_time
    dataset.StudyID, dataset.AccessionNumber = exam.study_id, exam.accession_number
    dataset.ReferringPhysicianName = exam.referring_physician
    dataset.PatientName, dataset.PatientID = exam.patient_name, exam.patient_id
    dataset.PatientBirthDate, dataset.PatientSex = exam.patient_birth_date, exam.patient_sex


def _evidence(headers: Sequence[ImageHeader]) -> Dataset:
    """The images by study and series (PS3.3 C.17.2.2)."""
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


def check_one_exam(results: Sequence[ImageResult]) -> None:
    """Refuse results that cannot stand in one report.

    Raises
    ------
    InputError
        None, of several studies, or an image twice.
    """
    if not results:
        raise InputError("no image, expected some for a report")
    studies = {result.header.exam.study for result in results}
    if len(studies) != 1:
        raise InputError(f"images of {len(studies)} studies, expected those of one for a report")
    if len({result.header.uid for result in results}) != len(results):
        raise InputError("an image stands in the exam twice, expected every SOP Instance UID once")
