"""CAD reports beside images are shown as the findings of their program; other reports are named."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from tests.dicom.fixtures import Write
from tests.reports.exams import MADE, header, result
from tests.viewer.tables import client_of, viewer_of

from microcalc.errors import InputError
from microcalc.images.info import NO_INFO
from microcalc.reports.cad_report import cad_report
from microcalc.reports.header import SOP_CLASSES
from microcalc.viewer.sources import open_catalogue


def _write_report(file: Path, *, maker: str = "ACME", seed: int = 1) -> Path:
    root = cad_report([result(clusters=[0.97, 0.85], seed=seed)], made=MADE)
    root.Manufacturer = maker
    root.save_as(file, enforce_file_format=True)
    return file


@pytest.fixture
def exam(write: Write, tmp_path: Path) -> Path:
    """A folder with an image and the report of another manufacturer on it."""

    def edit(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = UID(header().uid)

    write(edit=edit, name="a.dcm")
    _write_report(tmp_path / "report.dcm")
    return tmp_path


def test_a_report_in_the_folder_of_its_images_shows_what_it_asks_to_show(exam: Path) -> None:
    viewer = viewer_of(exam)
    assert viewer.catalogue.problems == ()
    (detector,) = client_of(viewer).get("api/images/i0/marks").json()["detectors"]
    assert [cluster["likelihood"] for cluster in detector["clusters"]] == pytest.approx([0.97, 0.85])
    assert 0.85 < detector["threshold"] <= 0.97  # the second one is optional
    assert detector["name"] == "microcalc raw 0.1.0 (CAD SR)"


@pytest.mark.parametrize("maker", ["ACME", "MICROCALC"])
def test_a_report_is_shown_where_it_is_given_by_itself(exam: Path, maker: str) -> None:
    report = _write_report(exam / "given.dcm", maker=maker)
    detectors = open_catalogue([exam / "a.dcm", report], NO_INFO).detectors
    assert [sorted(d.files) for d in detectors] == [["a.dcm"]]


def test_two_reports_of_one_program_on_one_image_are_two_detectors(exam: Path) -> None:
    _write_report(exam / "second.dcm", seed=2)
    assert len(open_catalogue([exam], NO_INFO).detectors) == 2


def test_a_report_on_other_images_is_named(exam: Path, write: Write) -> None:
    other = write(edit=lambda d: setattr(d, "SOPInstanceUID", UID("1.2.3")), name="b.dcm")
    catalogue = open_catalogue([other, exam / "report.dcm"], NO_INFO)
    assert (catalogue.detectors, len(catalogue.problems)) == ((), 1)
    assert catalogue.problems[0].startswith("report.dcm: a CAD report on none of the images given")


def test_a_report_without_images_is_refused(exam: Path) -> None:
    with pytest.raises(InputError, match=r"report.dcm: a CAD report without its images, expected these, too"):
        open_catalogue([exam / "report.dcm"], NO_INFO)


@pytest.mark.parametrize(
    ("sop_class", "message"),
    [
        (SOP_CLASSES["tid1500"], "a structured report other than"),
        (SOP_CLASSES["gsps"], "a presentation state"),
        (SOP_CLASSES["seg"], "a segmentation"),
    ],
)
@pytest.mark.parametrize("maker", ["ACME", "MICROCALC"])
def test_another_report_is_refused_in_one_line(exam: Path, sop_class: str, message: str, maker: str) -> None:
    dataset = pydicom.dcmread(exam / "report.dcm")
    dataset.Manufacturer = dataset.ManufacturerModelName = maker
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    dataset.save_as(exam / "other.dcm")
    problems = open_catalogue([exam / "a.dcm", exam / "other.dcm"], NO_INFO).problems
    assert len(problems) == 1
    assert problems[0].startswith(f"other.dcm: {message}")
    assert problems[0].count("expected images or a Mammography CAD SR") == 1
