"""From files to reports and back: what was detected is what others read, and what evaluate judges."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from tests.normalise.breasts import breast_image
from tests.reports.exams import ALGORITHM, MADE, of_kinds, result

from microcalc import cli
from microcalc.datasets.table import Table
from microcalc.datasets.table_files import read_table
from microcalc.detection.result import read_result
from microcalc.dicom.header import PROCESSED, AcquisitionHeader, ExposureHeader, ReceptorHeader, View
from microcalc.dicom.write import write_data_set, write_dicom
from microcalc.domain import Window
from microcalc.reports import concepts as c
from microcalc.reports.cad_reader import read_cad_report
from microcalc.reports.cad_report import cad_report
from microcalc.reports.content_items import children, has_name, named, walk
from microcalc.reports.exam import Report, write_report
from microcalc.reports.from_results import reported_image
from microcalc.reports.image_header import read_image_header
from microcalc.reports.to_results import write_results_of_reports

_SPACING_MM: Final = 0.1
_KINDS: Final = ("sr", "tid1500", "gsps", "seg")
_SPECKS: Final[dict[str, NDArray[np.int64]]] = {
    # (row, column) of the middle of bright squares of three pixels: a cluster of five, and none
    "cc": np.array([(420, 150), (430, 160), (436, 147), (445, 156), (425, 171)]),
    "mlo": np.empty((0, 2), dtype=np.int64),
}
_VIEWS: Final[dict[str, View]] = {"cc": "CC", "mlo": "MLO", "air": "ML"}
_HEADER: Final = AcquisitionHeader(
    manufacturer="GE MEDICAL SYSTEMS",
    model="Senographe Essential",
    software="1",
    intent="processed",
    laterality="L",
    view="CC",
    spacing_mm=(_SPACING_MM, _SPACING_MM),
    stored=PROCESSED,
    receptor=ReceptorHeader("SCINTILLATOR", (0.1, 0.1)),
    exposure=ExposureHeader(29, 125, "RHODIUM", "RHODIUM", 0.025, 35, 90),
    patient_id="SECRET-7",
    exam_id="E1",
    patient_name="SECRET^NAME",
    windows=(Window(2048, 4096),),
)


def _stored(specks: NDArray[np.int64]) -> NDArray[np.uint16]:
    image = breast_image()
    for row, column in specks:
        image[row - 1 : row + 2, column - 1 : column + 2] += 400
    return np.clip(image, 0, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exam of three images: a cluster, nothing, and one that is all air; with the table of the first two."""
    folder = tmp_path_factory.mktemp("exam")
    for name, specks in _SPECKS.items():
        write_dicom(folder / f"{name}.dcm", _stored(specks), header=dataclasses.replace(_HEADER, view=_VIEWS[name]))
    write_dicom(
        folder / "air.dcm", np.zeros((1000, 700), np.uint16), header=dataclasses.replace(_HEADER, view=_VIEWS["air"])
    )
    lines = [f"{name},{name}.dcm,p,processed,0.1,0.1" for name in _SPECKS]
    (folder / "images.csv").write_text(
        "image,file,patient,intent,row_spacing_mm,column_spacing_mm\n" + "\n".join(lines)
    )
    marks = [f"cc,{row},{column},microcalcification,1" for row, column in _SPECKS["cc"]]
    (folder / "annotations.csv").write_text("image,row,column,kind,cluster\n" + "\n".join(marks))
    return folder


@pytest.fixture(scope="module")
def reported(exam: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``microcalc detect --report`` writes about it."""
    out = tmp_path_factory.mktemp("out")
    options = [word for kind in _KINDS for word in ("--report", kind)]
    files = [str(exam / f"{name}.dcm") for name in ("cc", "mlo", "air")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries', of headers
        assert cli.run(["detect", *files, "--out", str(out), "--model", "log", "--no-overlay", *options]) == 1
    return out


def _document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _findings(document: dict[str, Any]) -> list[list[tuple[float, float]]]:
    """Of each finding its members, (row, column)."""
    places = [(place["row"], place["column"]) for place in document["candidates"]]
    return [[places[m] for m in cluster["members"]] for cluster in document["clusters"] if cluster["finding"]]


def test_an_exam_gets_one_report_and_each_image_with_findings_its_drawings(reported: Path) -> None:
    assert sorted(file.name for file in reported.iterdir()) == [
        ".microcalc.json",
        "cc.gsps.dcm",
        "cc.json",
        "cc.seg.dcm",
        "cc.sr.dcm",
        "cc.tid1500.dcm",
        "index.json",
        "mlo.json",
        "summary.csv",
    ]


def test_what_was_detected_is_read_back_to_within_half_a_pixel(reported: Path) -> None:
    report = read_cad_report(reported / "cc.sr.dcm")
    written = _findings(_document(reported / "cc.json"))
    assert len(written) == len(report.findings) == 1
    for finding, members in zip(report.findings, written, strict=True):
        assert np.abs(np.array([part.centre for part in finding.parts]) - members).max() < 0.02


def test_outlines_sizes_and_distribution_come_back_as_they_stand_in_the_json(
    exam: Path, reported: Path, tmp_path: Path
) -> None:
    out = write_results_of_reports(reported / "cc.sr.dcm", read_table(exam), tmp_path / "o")
    back = next(found for found in map(read_result, out.glob("*.json")) if found.clusters)
    written = read_result(reported / "cc.json")
    (finding,), (read,) = written.findings, back.findings
    assert read.distribution == finding.distribution is not None
    assert len(read.calcifications) == len(finding.calcifications)
    assert any(mark.outline for mark in finding.calcifications)
    for mark, other in zip(finding.calcifications, read.calcifications, strict=True):
        np.testing.assert_allclose((other.row, other.column), (mark.row, mark.column), atol=0.02)
        assert other.diameter_mm == pytest.approx(mark.diameter_mm, abs=2e-3)
        assert other.area_mm2 == pytest.approx(mark.area_mm2, abs=1e-4)
        np.testing.assert_allclose(np.array(other.outline or ()), np.array(mark.outline), atol=0.02)


def test_the_image_that_failed_is_said_to_have_failed(reported: Path) -> None:
    report = read_cad_report(reported / "cc.sr.dcm")
    assert report.outcome == c.NOT_ALL_SUCCEEDED_WITH.meaning
    assert report.description.startswith("Not analysed: L ML: ")
    assert "air.dcm" not in report.description
    assert len(report.failed) == 1


def test_marks_read_by_dcmtk_fall_on_the_microcalcifications(
    exam: Path, reported: Path, judge: Callable[[str], str]
) -> None:
    done = subprocess.run([judge("dsrdump"), reported / "cc.sr.dcm"], capture_output=True, text=True, check=True)
    found = re.findall(r'"Center"\)=\(POINT,([\d.]+)/([\d.]+)\)', done.stdout)
    marks = np.array([(float(row), float(column)) for column, row in found]) - 0.5
    distance = np.linalg.norm(marks[:, None] - _SPECKS["cc"][None], axis=2).min(axis=0)
    assert distance.max() < 1.0  # a speck is three pixels wide; the mark lies within it
    pixels = pydicom.dcmread(exam / "cc.dcm").pixel_array
    nearest = marks.round().astype(int)
    lit = sum(pixels[row, column] > 1300 for row, column in nearest)
    assert lit >= len(_SPECKS["cc"])


def test_the_segment_read_by_highdicom_holds_the_microcalcifications(reported: Path) -> None:
    import highdicom

    read = highdicom.seg.segread(reported / "cc.seg.dcm")
    cluster, calcifications = read.pixel_array
    assert cluster.shape == (1000, 700)
    rows, columns = _SPECKS["cc"].T
    assert cluster[rows, columns].all()
    assert cluster.sum() * _SPACING_MM**2 < 60  # mm2: the cluster and 1 mm around it
    assert calcifications[rows, columns].all()
    areas = [place["area_mm2"] for place in _document(reported / "cc.json")["candidates"] if place.get("area_mm2")]
    assert calcifications.sum() * _SPACING_MM**2 == pytest.approx(sum(areas), rel=0.25)
    assert [segment.SegmentLabel for segment in read.SegmentSequence] == [
        "L CC cluster 1",
        "L CC cluster 1 calcifications",
    ]


def test_the_drawing_and_the_segment_have_no_fault(reported: Path, judge: Callable[[str], str]) -> None:
    for kind in _KINDS:
        done = subprocess.run(
            [judge("dciodvfy"), reported / f"cc.{kind}.dcm"], capture_output=True, text=True, check=False
        )
        assert "Error" not in done.stdout + done.stderr, kind


@pytest.mark.parametrize("kind", _KINDS)
def test_show_report_says_what_was_found_and_never_who_it_is(
    kind: str, reported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["show-report", str(reported / f"cc.{kind}.dcm")]) == 0
    said = capsys.readouterr().out
    assert "microcalc" in said
    assert re.search("cluster|FINDINGS", said, re.IGNORECASE)
    assert "SECRET" not in said


def test_show_report_refuses_an_image_in_one_line(exam: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["show-report", str(exam / "cc.dcm")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("microcalc: cc.dcm: SOP class 1.2.840.10008.5.1.4.1.1.1.2, expected a structured report")
    assert error.count("\n") == 1


def test_show_report_goes_on_after_a_file_that_is_no_report(
    exam: Path, reported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [reported / "cc.sr.dcm", exam / "cc.dcm", exam / "missing.dcm", reported / "cc.seg.dcm"]
    assert cli.run(["show-report", *map(str, files)]) == 1
    said = capsys.readouterr()
    assert "cc.sr.dcm:\nMammography CAD report" in said.out
    assert "cc.seg.dcm:\nsegmentation" in said.out
    assert [line.split(":")[1].strip() for line in said.err.splitlines()] == [
        "cc.dcm",
        "missing.dcm",
        "2 of 4 files could not be shown",
    ]


def test_show_report_tells_findings_from_optional_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("sr", cad_report([result(clusters=[0.95, 0.85]), result(1, clusters=[0.82])], made=MADE), ())
    write_report(report, tmp_path / "x.dcm")
    assert cli.run(["show-report", str(tmp_path / "x.dcm")]) == 0
    said = capsys.readouterr().out
    assert "cranio-caudal: 1 finding at the default operating point (0), 1 optional at more sensitive points" in said
    assert "cranio-caudal: 0 findings at the default operating point (0), 1 optional at more sensitive points" in said


def test_show_report_states_distribution_and_diameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = result(clusters=[0.95], members=1, singles=1)
    write_report(Report("sr", cad_report([written], made=MADE), ()), tmp_path / "x.dcm")
    assert cli.run(["show-report", str(tmp_path / "x.dcm")]) == 0
    said = capsys.readouterr().out
    assert "1 calcification; grouped distribution; certainty 95.0 %" in said
    assert re.search(r"\n    row [\d.]+, column [\d.]+; diameter 0\.20 mm; certainty", said)
    assert re.search(r"Individual Calcification at row .*; diameter 0\.30 mm; .*showing it is optional", said)


def test_positions_are_counted_in_the_spacing_of_the_detections(exam: Path, reported: Path, tmp_path: Path) -> None:
    """Where a header has no spacing the user says it, and the report's rows are still the rows of the image."""
    dataset = pydicom.dcmread(exam / "cc.dcm")
    del dataset.ImagerPixelSpacing
    dataset.save_as(tmp_path / "cc.dcm")
    found = reported_image(read_image_header(tmp_path / "cc.dcm"), ALGORITHM, read_result(reported / "cc.json"))
    (written,) = _findings(_document(reported / "cc.json"))
    places = [(row - 0.5, column - 0.5) for column, row in found.columns_rows(found.candidates.centres)]
    for member in written:
        assert np.abs(np.array(places) - member).max(axis=1).min() < 0.02


def test_the_same_images_again_give_the_same_report(exam: Path, reported: Path, tmp_path: Path) -> None:
    files = [str(exam / f"{name}.dcm") for name in ("cc", "mlo", "air")]
    options = ["--model", "log", "--no-overlay", "--report", "sr", "--workers", "1"]
    cli.run(["detect", *files, "--out", str(tmp_path), *options])
    first, again = (pydicom.dcmread(folder / "cc.sr.dcm") for folder in (reported, tmp_path))
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.ContentSequence == again.ContentSequence


def test_a_report_for_each_image_if_asked(exam: Path, tmp_path: Path) -> None:
    files = [str(exam / f"{name}.dcm") for name in ("cc", "mlo")]
    options = ["--no-overlay", "--workers", "1", "--report", "sr", "--report-per", "image", "--codes", "srt"]
    assert cli.run(["detect", *files, "--out", str(tmp_path), "--model", "log", *options]) == 0
    reports = [read_cad_report(tmp_path / f"{name}.sr.dcm") for name in ("cc", "mlo")]
    assert [len(report.images) for report in reports] == [1, 1]


def test_an_image_that_fails_alone_is_reported_and_still_an_error(
    exam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["detect", str(exam / "air.dcm"), "--out", str(tmp_path), "--model", "log", "--report", "sr"]
    assert cli.run(arguments) == 2
    assert "SECRET" not in capsys.readouterr().err
    assert read_cad_report(tmp_path / "air.sr.dcm").outcome == c.NONE_SUCCEEDED.meaning


# Judging reports.


def test_findings_reported_as_benign_are_no_marks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = cad_report([result(clusters=[0.95])], made=MADE)
    root.Manufacturer = "ACME"
    cluster = next(i for i in walk(root) if has_name(i, c.SINGLE_IMAGE_FINDING))
    (item,) = named(cluster, c.CALCIFICATION_TYPE)
    code = item.ConceptCodeSequence[0]
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "129759000", "SCT", "Vascular calcification"
    write_data_set(root, tmp_path / "report.dcm")
    write_results_of_reports(tmp_path / "report.dcm", Table(()), tmp_path / "out")
    (document,) = (read_result(file) for file in (tmp_path / "out").glob("*.json"))
    assert not document.clusters
    assert "reported as typically benign calcium, not evaluated: 1" in caplog.text


def test_a_calcification_that_several_findings_of_a_report_list_is_one_candidate(tmp_path: Path) -> None:
    written = result(clusters=[0.95, 0.97])
    first, second = written.clusters
    shared = dataclasses.replace(second, members=np.array([0, 4, 5]))
    root = cad_report([dataclasses.replace(written, clusters=[first, shared])], made=MADE)
    items = [item for item in walk(root) if has_name(item, c.SINGLE_IMAGE_FINDING)]
    again = copy.deepcopy(items[1])  # a member of the first cluster, beside the clusters as well
    again.RelationshipType = "CONTAINS"
    next(item for item in walk(root) if has_name(item, c.INDIVIDUAL_IMPRESSION)).ContentSequence.append(again)
    write_data_set(root, tmp_path / "report.dcm")
    write_results_of_reports(tmp_path / "report.dcm", Table(()), tmp_path / "out")
    (document,) = (read_result(file) for file in (tmp_path / "out").glob("*.json"))
    assert [cluster.members for cluster in document.clusters] == [(0, 1, 2), (0, 3, 4)]
    assert (len(document.candidates), document.single_calcifications) == (5, ())


@pytest.mark.parametrize("apart", [False, True])
def test_our_own_findings_of_another_kind_come_back_as_they_were_detected(apart: bool, tmp_path: Path) -> None:
    """The kind changes nothing but whether a finding is set apart, so the report is judged like the detections."""
    written = of_kinds(result(clusters=[0.95, 0.85], singles=1), "vascular", apart=apart)
    write_data_set(cad_report([written], made=MADE), tmp_path / "report.dcm")
    write_results_of_reports(tmp_path / "report.dcm", Table(()), tmp_path / "out")
    (document,) = (read_result(file) for file in (tmp_path / "out").glob("*.json"))
    np.testing.assert_allclose([k.likelihood for k in document.clusters], [0.95, 0.85])
    assert [(k.finding, k.kind, k.apart) for k in document.clusters] == [
        (True, "vascular", apart),
        (False, "vascular", False),
    ]
    kinds = [kind or "microcalcification" for kind in written.kinds]  # every finding of the report has a type
    assert [candidate.kind for candidate in document.candidates] == kinds


def test_show_report_states_the_kind_of_clusters_and_calcifications(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = of_kinds(result(clusters=[0.95], members=1), "vascular", apart=True)
    write_report(Report("sr", cad_report([written], made=MADE), ()), tmp_path / "x.dcm")
    assert cli.run(["show-report", str(tmp_path / "x.dcm")]) == 0
    said = capsys.readouterr().out
    assert "0 findings at the default operating point (0), 1 optional" in said
    assert re.search(r"1 calcification; .*Vascular calcification; certainty 95.0 %; showing it is optional", said)
    assert re.search(r"\n    row [\d.]+, column [\d.]+; diameter 0\.20 mm; Vascular calcification; certainty", said)


def _summary(path: Path) -> list[str]:
    """The lines about clusters and findings of the images."""
    lines = (path / "summary.md").read_text().splitlines()
    return [line for line in lines if line.startswith(("| all | clusters", "| all | findings"))]


def test_evaluate_judges_a_report_as_it_judges_the_detections(exam: Path, reported: Path, tmp_path: Path) -> None:
    options = ["--truth", str(exam), "--resamples", "20"]
    assert cli.run(["evaluate", str(reported), "--out", str(tmp_path / "a"), *options]) == 0
    assert cli.run(["evaluate", str(reported / "cc.sr.dcm"), "--out", str(tmp_path / "b"), *options]) == 0
    assert _summary(tmp_path / "a") == _summary(tmp_path / "b") != []


def _other_maker(reported: Path, path: Path) -> None:
    """The same report as a maker writes it who names clusters by their centre alone, without certainty."""
    root = pydicom.dcmread(reported / "cc.sr.dcm")
    for item in [i for i in walk(root) if has_name(i, c.SINGLE_IMAGE_FINDING)]:
        item.ContentSequence = [
            i for i in children(item) if i.RelationshipType != "INFERRED FROM" and not has_name(i, c.CERTAINTY)
        ]
    write_data_set(root, path)


def test_evaluate_judges_reports_of_other_makers(exam: Path, reported: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    _other_maker(reported, tmp_path / "theirs" / "x.dcm")
    options = ["--truth", str(exam), "--out", str(tmp_path / "o"), "--resamples", "20", "--hit-mm", "1.5"]
    assert cli.run(["evaluate", str(tmp_path / "theirs"), *options]) == 0
    written = tmp_path / "o" / "from-reports" / "theirs" / f"{read_image_header(exam / 'cc.dcm').uid}.json"
    document = _document(written)
    assert read_result(written).image.file == "cc.dcm"  # by the one reader there is
    (cluster,), (mark,) = document["clusters"], document["candidates"]
    assert (cluster["likelihood"], cluster["finding"], mark["likelihood"]) == (1.0, True, 1.0)
    assert np.linalg.norm(np.array([mark["row"], mark["column"]]) - _SPECKS["cc"].mean(axis=0)) < 5


@pytest.mark.parametrize("kind", ["tid1500", "seg", "gsps"])
def test_evaluate_says_what_a_report_is_that_is_no_cad_report(
    kind: str, exam: Path, reported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--truth", str(exam), "--out", str(tmp_path / "o")]
    assert cli.run(["evaluate", str(reported / f"cc.{kind}.dcm"), *options]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(rf"microcalc: cc\.{kind}\.dcm: SOP class [0-9.]+, expected Mammography CAD SR\n", error)
    shutil.copy(reported / f"cc.{kind}.dcm", tmp_path)
    assert cli.run(["evaluate", str(tmp_path), *options]) == 2
    assert "no Mammography CAD SR, expected at least one" in capsys.readouterr().err


def test_a_damaged_report_among_others_is_named(
    exam: Path, reported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(reported / "cc.sr.dcm", tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes((reported / "cc.sr.dcm").read_bytes()[:-9])
    assert cli.run(["evaluate", str(tmp_path), "--truth", str(exam), "--out", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err.startswith("microcalc: b.dcm: ")
    assert not (tmp_path / "o").exists()


def test_reports_on_files_of_one_name_are_told_by_their_images(exam: Path, reported: Path, tmp_path: Path) -> None:
    """As in TCIA's folders, where every file is called 1-1.dcm."""
    for name in ("cc", "mlo"):
        (tmp_path / name).mkdir()
        shutil.copy(exam / f"{name}.dcm", tmp_path / name / "1-1.dcm")
    rows = [f"{name},{name}/1-1.dcm,p,processed,0.1,0.1" for name in ("cc", "mlo")]
    (tmp_path / "images.csv").write_text(
        "image,file,patient,intent,row_spacing_mm,column_spacing_mm\n" + "\n".join(rows)
    )
    shutil.copy(exam / "annotations.csv", tmp_path)
    out = write_results_of_reports(reported / "cc.sr.dcm", read_table(tmp_path), tmp_path / "o")
    documents = [read_result(file) for file in out.iterdir()]
    uids = {str(pydicom.dcmread(exam / f"{name}.dcm").SOPInstanceUID): name for name in ("cc", "mlo")}
    assert {uids[d.image.sop_instance_uid or ""]: len(d.clusters) for d in documents} == {"cc": 1, "mlo": 0}


def test_what_is_passed_over_in_a_report_is_said(
    exam: Path, reported: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = pydicom.dcmread(reported / "cc.sr.dcm")
    intent = next(i for i in walk(root) if has_name(i, c.RENDERING_INTENT))
    intent.ConceptCodeSequence[0].CodeValue = c.NOT_SHOWN.value
    write_data_set(root, tmp_path / "x.dcm")
    out = write_results_of_reports(tmp_path / "x.dcm", read_table(exam), tmp_path / "o")
    assert not any(_document(file)["clusters"] for file in out.glob("*.json"))
    assert re.fullmatch(r"x\.dcm: \d+ findings not for presentation, ignored", caplog.messages[0])


def test_two_reports_of_one_image_are_refused(exam: Path, reported: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        _other_maker(reported, tmp_path / f"{name}.dcm")
    assert cli.run(["evaluate", str(tmp_path), "--truth", str(exam), "--out", str(tmp_path / "o")]) == 2
