"""Whatever an image's header says of patient, study and view, its reports are valid."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.dicom.fixtures import Write
from tests.reports.exams import ALGORITHM, MADE

from microcalc.dicom.tags import quiet
from microcalc.domain import Candidates, Cluster
from microcalc.errors import InputError
from microcalc.reports.exam import exam_reports, write_report
from microcalc.reports.header import ReportKind
from microcalc.reports.image_header import read_image_header
from microcalc.reports.reported_image import BURNED_IN, ReportedImage

_KINDS: Final[tuple[ReportKind, ...]] = ("sr", "tid1500", "gsps", "seg")
_TAKEN_OVER: Final = (
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "IssuerOfPatientID", "TimezoneOffsetFromUTC", "ContentDate", "ContentTime",
    "PatientOrientation", "ImageLaterality", "ViewPosition", "RescaleType", "BurnedInAnnotation",
)  # fmt: skip
_NOT_TAKEN_OVER: Final = (
    "PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "PatientComments", "OtherPatientIDs",
    "PhysiciansOfRecord", "AdmittingDiagnosesDescription", "Occupation", "ClinicalTrialSponsorName",
    "Manufacturer", "InstitutionName", "DeviceSerialNumber", "SoftwareVersions", "FrameOfReferenceUID",
)  # fmt: skip
_VALUES: Final[dict[str, object]] = {
    "absent": None,
    "empty": "",
    "too long": "9" * 200,
    "several": ["1", "2", "3"],
    "no such value": "54",
    "letters": "Ä ö^ü=ß",
    "control characters": "a\x07b\x1bc",
    "backslash": "a\\b",
}


def _set(dataset: Dataset, keyword: str, value: object) -> None:
    if value is None:
        if keyword in dataset:
            del dataset[keyword]
        return
    try:
        setattr(dataset, keyword, value)
    except (TypeError, ValueError):  # the library does not let everything be written
        _set(dataset, keyword, None)


def _result(path: Path) -> ReportedImage:
    header = read_image_header(path)
    corners = np.array([[2.0, 2.0], [2.0, 5.0], [5.0, 5.0], [2.0, 2.0]])
    clusters = [Cluster(np.arange(3), corners, 0.95)]
    return ReportedImage(header, ALGORITHM, Candidates(corners[:3], np.full(3, 0.9)), clusters)


def _hostile(write: Write, value: object) -> Path:
    def edit(dataset: Dataset) -> None:
        for keyword in (*_TAKEN_OVER, *_NOT_TAKEN_OVER):
            _set(dataset, keyword, value)

    with quiet():
        return write(edit=edit)


@pytest.mark.parametrize("name", _VALUES)
def test_every_report_is_valid_whatever_the_header_says(
    name: str, write: Write, judge: Callable[[str], str], tmp_path: Path
) -> None:
    tool, reports = judge("dciodvfy"), exam_reports([_result(_hostile(write, _VALUES[name]))], _KINDS, made=MADE)
    assert [report.kind for report in reports] == list(_KINDS)
    for report in reports:
        write_report(report, tmp_path / "report.dcm")
        done = subprocess.run([tool, tmp_path / "report.dcm"], capture_output=True, check=False)
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert [line for line in said.splitlines() if line.startswith("Error")] == [], report.kind


@pytest.mark.parametrize("keyword", _NOT_TAKEN_OVER)
def test_nothing_else_of_the_header_is_taken_over(keyword: str, write: Write) -> None:
    with quiet():
        path = write(edit=lambda dataset: _set(dataset, keyword, "1.2.3"))
    for report in exam_reports([_result(path)], _KINDS, made=MADE):
        assert report.dataset.get(keyword) != "1.2.3"
        assert "ContributingEquipmentSequence" not in report.dataset


def test_all_kinds_name_patient_study_and_zone_alike(write: Write) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID, dataset.IssuerOfPatientID = "Müller^Änne", "P1", "HOSPITAL"
        dataset.PatientBirthDate, dataset.PatientSex, dataset.AccessionNumber = "19600101", "F", "ACC1"
        dataset.TimezoneOffsetFromUTC, dataset.SpecificCharacterSet = "-0500", "ISO_IR 100"

    reports = exam_reports([_result(write(edit=edit))], _KINDS, made=MADE)
    for report in reports:
        found = report.dataset
        assert (found.SpecificCharacterSet, found.PatientName) == ("ISO_IR 192", "Müller^Änne")
        assert (found.PatientID, found.IssuerOfPatientID, found.AccessionNumber) == ("P1", "HOSPITAL", "ACC1")
        assert (found.PatientBirthDate, found.PatientSex, found.TimezoneOffsetFromUTC) == ("19600101", "F", "-0500")
        assert found.StudyInstanceUID == reports[0].dataset.StudyInstanceUID


@pytest.mark.parametrize(
    ("orientation", "written"),
    [(["P", "FL"], ["P", "FL"]), ("", []), (["P"], []), (["X1", "?"], []), (["p", "l"], ["P", "L"])],
)
def test_a_segmentation_says_the_orientation_or_leaves_it_empty(
    orientation: list[str] | str, written: list[str], write: Write
) -> None:
    with quiet():
        path = write(edit=lambda dataset: _set(dataset, "PatientOrientation", orientation))
    (segmentation,) = exam_reports([_result(path)], ["seg"], made=MADE)
    assert "PatientOrientation" in segmentation.dataset
    assert list(segmentation.dataset.PatientOrientation or []) == written


@pytest.mark.parametrize("kind", _KINDS)
def test_the_same_image_gives_the_same_bytes(kind: ReportKind, write: Write, tmp_path: Path) -> None:
    found = _result(write())
    for name in ("a", "b"):
        (report,) = exam_reports([found], [kind], made=MADE)
        write_report(report, tmp_path / f"{name}.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    assert pydicom.dcmread(tmp_path / "a.dcm").file_meta.ImplementationVersionName == "MICROCALC"


def test_a_segmentation_says_that_text_is_burned_into_the_pixels(write: Write) -> None:
    path = write(edit=lambda dataset: setattr(dataset, "BurnedInAnnotation", "YES"))
    (burned,) = exam_reports([_result(path)], ["seg"], made=MADE)
    (plain,) = exam_reports([_result(write())], ["seg"], made=MADE)
    assert burned.dataset.SegmentSequence[0].SegmentDescription == BURNED_IN
    assert "SegmentDescription" not in plain.dataset.SegmentSequence[0]


@pytest.mark.parametrize("kind", ["gsps", "seg"])
def test_the_instances_of_one_series_have_distinct_numbers(kind: ReportKind, write: Write) -> None:
    def image(n: int) -> Path:
        return write(edit=lambda dataset: _set(dataset, "SOPInstanceUID", f"1.2.3.{n}"), name=f"{n}.dcm")

    results = [_result(image(n)) for n in range(3)]
    reports = [report.dataset for result in results for report in exam_reports([result], [kind], made=MADE)]
    assert len({report.SeriesInstanceUID for report in reports}) == 1
    numbers = [int(report.InstanceNumber) for report in reports]
    assert len(set(numbers)) == 3
    assert all(0 < number < 2**31 for number in numbers)  # an IS value (PS3.5 6.2)
    again = [report.dataset for report in exam_reports(results, [kind], made=MADE)]
    assert [int(report.InstanceNumber) for report in again] == numbers


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize("uid", ["", "1..2", ".1", "1.", "12", "1.2.x", "1.2" * 30, ["1.2.3", "1.2.4"]])
def test_an_image_that_nothing_can_refer_to_is_refused(keyword: str, uid: object, write: Write) -> None:
    with quiet():
        path = write(edit=lambda dataset: _set(dataset, keyword, uid))
    with pytest.raises(InputError, match=rf"^case\.dcm: {keyword} .*, expected one for a report$"):
        read_image_header(path)


def test_leading_zeros_in_a_uid_stay_since_the_reference_must_fit(write: Write) -> None:
    with quiet():
        path = write(edit=lambda dataset: _set(dataset, "SeriesInstanceUID", "1.2.003.4"))
        assert read_image_header(path).series == "1.2.003.4"


def test_an_image_without_findings_has_no_drawing(write: Write) -> None:
    nothing = dataclasses.replace(_result(write()), clusters=[])
    assert exam_reports([nothing], ["gsps", "seg"], made=MADE) == []
