"""A node takes images in, reports each exam once, and says what went wrong without naming anybody."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID
from tests.node.mammograms import ID, NAME, VENDORS, VIEWS, write_exam
from tests.node.nodes import Archive, LogLines, an_hour_later, images_of, page, send, settings, uids_of
from tests.waiting import wait_until

from microcalc.dicom.tags import quiet
from microcalc.node.files import image_name
from microcalc.node.service import Node
from microcalc.node.watch import Watch
from microcalc.reports.cad_reader import parse_cad_report

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def log() -> Iterator[LogLines]:
    """The log of each test; none names a patient."""
    handler = LogLines()
    for name in ("microcalc.node", "pynetdicom", "pydicom"):
        logging.getLogger(name).addHandler(handler)
    logging.getLogger("microcalc.node").setLevel(logging.DEBUG)
    yield handler
    for name in ("microcalc.node", "pynetdicom", "pydicom"):
        logging.getLogger(name).removeHandler(handler)
    text = "\n".join(handler.lines)
    assert "GEHEIM" in NAME
    assert "GEHEIM" in ID
    assert "GEHEIM" not in text


def test_an_exam_of_four_views_is_reported_at_once_and_once(archive: Archive, tmp_path: Path) -> None:
    files = write_exam(tmp_path / "exam", "whole", specks=12)
    before = len(archive.reports)
    patient = settings(tmp_path / "node", archive.port, report={"wait_s": 3600.0})
    with Node(patient) as node:
        assert send(node.server.port, files) == [0x0000] * 4
        wait_until(lambda: len(archive.reports) > before)
        assert set(images_of(archive.reports[-1])) == uids_of(files)
        image = pydicom.dcmread(files[0], stop_before_pixels=True)
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
            assert archive.reports[-1][keyword].value == image[keyword].value
        report = parse_cad_report(archive.reports[-1])
        assert len(report.findings) >= 1
        assert not report.failed
        assert send(node.server.port, files) == [0x0000] * 4
    with Node(patient) as node:  # after a restart it still knows
        assert send(node.server.port, files) == [0x0000] * 4
        counts = node.queue.counts()
        assert (counts.images["done"], counts.images["waiting"], counts.reports_sent) == (4, 0, 1)
        for folder in (node.folder.images, node.folder.found, node.folder.reports, node.folder.quarantine):
            assert list(folder.iterdir()) == []
    assert len(archive.reports) == before + 1


def test_an_incomplete_exam_waits_for_its_other_images(archive: Archive, tmp_path: Path) -> None:
    files = write_exam(tmp_path / "exam", "waits")
    before = len(archive.reports)
    with Node(settings(tmp_path / "node", archive.port, report={"wait_s": 3600.0})) as node:
        send(node.server.port, files[:3])
        wait_until(lambda: node.queue.counts().images["done"] == 3)
        assert node.queue.counts().exams_open == 1
    with Node(settings(tmp_path / "node", archive.port, report={"wait_s": 3600.0})) as node:
        assert len(archive.reports) == before
        send(node.server.port, files[3:])
        wait_until(lambda: len(archive.reports) > before)
    assert set(images_of(archive.reports[-1])) == uids_of(files)
    assert len(archive.reports) == before + 1


def test_an_exam_without_end_gets_reports_of_bounded_size(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("microcalc.node.analyse.MOST_IMAGES", 3)
    files = write_exam(tmp_path / "exam", "endless")
    before = len(archive.reports)
    with Node(settings(tmp_path / "node", archive.port, report={"wait_s": 3600.0})) as node:
        send(node.server.port, files)
        wait_until(lambda: node.queue.counts().reports_sent >= 1)
    with Node(settings(tmp_path / "node", archive.port, report={"wait_s": 0.0})):  # what is left of it waits for more
        wait_until(lambda: len(archive.reports) == before + 2)
    named = [images_of(report) for report in archive.reports[before:]]
    assert [len(images) for images in named] == [3, 1]
    assert set().union(*named) == uids_of(files)


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_vendor_is_analysed(vendor: str, node: Node, archive: Archive, tmp_path: Path) -> None:
    files = write_exam(tmp_path, vendor, vendor=vendor, views=VIEWS[:1], specks=12)
    send(node.server.port, files)
    (uid,) = uids_of(files)
    wait_until(lambda: uid in archive.images())
    report = parse_cad_report(archive.reports[-1])
    assert len(report.findings) == 1
    assert report.findings[0].is_cluster


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5",
                                    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"])  # fmt: skip
def test_transfer_syntaxes_are_taken_as_they_are(syntax: str, node: Node, archive: Archive, tmp_path: Path) -> None:
    (file,) = write_exam(tmp_path, f"syntax{syntax[-4:]}", views=VIEWS[:1])
    dataset = pydicom.dcmread(file)
    if syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"):
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    else:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(file)
    assert send(node.server.port, [file]) == [0x0000]
    wait_until(lambda: dataset.SOPInstanceUID in archive.images())
    assert not parse_cad_report(archive.reports[-1]).failed


def test_a_mammogram_that_cannot_be_analysed_is_reported_as_failed(
    node: Node, archive: Archive, tmp_path: Path, log: LogLines
) -> None:
    (file,) = write_exam(tmp_path, "air", views=VIEWS[:1])
    dataset = pydicom.dcmread(file)
    dataset.PixelData = np.full((640, 440), 7000, np.uint16).tobytes()
    dataset.save_as(file)
    send(node.server.port, [file])
    wait_until(lambda: dataset.SOPInstanceUID in archive.images())
    assert parse_cad_report(archive.reports[-1]).failed == {dataset.SOPInstanceUID}
    wait_until(lambda: any("failed" in line and "breast" in line for line in log.lines))


def test_two_patients_under_one_study_get_a_report_each_in_a_series_each(
    node: Node, archive: Archive, tmp_path: Path
) -> None:
    files = [*write_exam(tmp_path, "first", views=VIEWS[:1]), *write_exam(tmp_path, "second", views=VIEWS[:1])]
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.StudyInstanceUID = "1.2.3.4.5"
        dataset.save_as(file)
    before = len(archive.reports)
    assert send(node.server.port, files) == [0x0000] * 2
    wait_until(lambda: uids_of(files) <= set(archive.images()))
    reports = archive.reports[before:]
    assert [len(images_of(report)) for report in reports] == [1, 1]
    assert {report.StudyInstanceUID for report in reports} == {"1.2.3.4.5"}
    assert len({report.PatientID for report in reports}) == len({report.SeriesInstanceUID for report in reports}) == 2


def test_header_values_that_a_report_leaves_out_are_logged_by_name_without_the_value(
    node: Node, archive: Archive, tmp_path: Path, log: LogLines
) -> None:
    (file,) = write_exam(tmp_path, "long", views=VIEWS[:1])
    dataset = pydicom.dcmread(file)
    with quiet():
        dataset.AccessionNumber = "GEHEIM" * 20
        dataset.save_as(file)
    assert send(node.server.port, [file]) == [0x0000]
    wait_until(lambda: dataset.SOPInstanceUID in archive.images())
    lines = [line for line in log.lines if "AccessionNumber" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"image {image_name(dataset.SOPInstanceUID)}")


def test_what_is_no_mammogram_is_quarantined_with_its_reason_and_once(node: Node, tmp_path: Path) -> None:
    (file,) = write_exam(tmp_path, "broken", views=VIEWS[:1])
    dataset = pydicom.dcmread(file)
    del dataset.StudyInstanceUID
    dataset.save_as(file)
    before = node.queue.counts().quarantined_files
    for _ in range(2):
        assert send(node.server.port, [file]) == [0x0000]
    assert node.queue.counts().quarantined_files == before + 1
    (reason,) = [f.read_text() for f in node.folder.quarantine.glob("*.txt") if "StudyInstanceUID" in f.read_text()]
    assert reason == "StudyInstanceUID missing, expected one for a report\n"


def test_one_image_that_no_report_can_speak_of_does_not_take_its_exam_with_it(archive: Archive, tmp_path: Path) -> None:
    files = write_exam(tmp_path / "exam", "spoilt")
    with Node(settings(tmp_path / "node", archive.port, report={"wait_s": 3600.0})) as node:
        send(node.server.port, files[:3])
        wait_until(lambda: node.queue.counts().images["done"] == 3)
        next(node.folder.images.iterdir()).write_bytes(b"no mammogram any more")
        send(node.server.port, files[3:])
        wait_until(lambda: node.queue.counts().images["quarantined"] == 1)
        wait_until(lambda: node.queue.counts().reports_sent == 3)
        (kept,) = node.folder.quarantine.glob("*.dcm")
        assert kept.read_bytes() == b"no mammogram any more"
        assert "not a DICOM file" in kept.with_suffix(".txt").read_text()
        assert list(node.folder.images.iterdir()) == list(node.folder.found.iterdir()) == []
    assert len(uids_of(files) & set(archive.images())) == 3


def test_detections_that_nobody_can_read_are_made_anew(archive: Archive, tmp_path: Path) -> None:
    files = write_exam(tmp_path / "exam", "unreadable", views=VIEWS[:2])
    with Node(settings(tmp_path / "node", archive.port, report={"wait_s": 3600.0})) as node:
        send(node.server.port, files)
        wait_until(lambda: node.queue.counts().images["done"] == 2)
        next(node.folder.found.iterdir()).write_text("{}")
        node.analysis.clock = an_hour_later
        wait_until(lambda: node.queue.counts().reports_sent == 1)
    assert set(images_of(archive.reports[-1])) == uids_of(files)
    assert not parse_cad_report(archive.reports[-1]).failed


def test_health_and_metrics_are_told(node: Node) -> None:
    wait_until(lambda: node.queue.counts().reports_waiting == 0)
    assert page(node.health.port, "/health") == (200, "ok\n")
    code, text = page(node.health.port, "/metrics")
    assert code == 200
    from prometheus_client.parser import text_string_to_metric_families

    samples = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    counts = node.queue.counts()
    assert samples["microcalc_images", "done"] == counts.images["done"]
    assert samples["microcalc_reports_sent_total",] == counts.reports_sent
    assert samples["microcalc_image_seconds_count",] >= counts.images["done"]
    assert page(node.health.port, "/")[1].startswith("ok\n")
    lines = page(node.health.port, "/")[1].splitlines()
    assert "Images, waiting: 0" in lines
    assert f"Images analysed since the start: {samples['microcalc_image_seconds_count',]:.0f}" in lines
    assert any(re.fullmatch(r"Free on the disk: \d+\.\d GiB", line) for line in lines)
    assert all(re.fullmatch(r"[A-Z][a-z A-Z,_]+: \d+(\.\d (s|GiB))?", line) for line in lines[1:])
    assert page(node.health.port, "/elsewhere")[0] == 404


def test_a_node_whose_thread_ended_says_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(node.delivery), "alive", lambda _: False)
    assert page(node.health.port, "/health") == (503, "the delivery has ended\n")


def test_health_fails_when_work_waits_and_nothing_is_done_or_the_same_fault_repeats(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(node.analysis_watch), "stalled", lambda watch, _: watch is node.analysis_watch)
        assert page(node.health.port, "/health") == (
            503,
            "images wait, and nothing was analysed or reported for 1200 s\n",
        )
    with monkeypatch.context() as patch:
        patch.setattr(type(node.queue), "most_repeats", lambda _: (10, 12))
        code, text = page(node.health.port, "/health")
        assert (code, text.count("10 times in a row"), text.count("12 times in a row")) == (503, 1, 1)
    assert page(node.health.port, "/health") == (200, "ok\n")


def test_a_part_of_the_node_has_stalled_when_it_neither_worked_nor_rested_for_long() -> None:
    now = [0.0]
    watch = Watch(lambda: now[0])
    for note in (watch.progress, watch.idle):
        now[0] += 11
        assert watch.stalled(10)
        note()
        now[0] += 9
        assert not watch.stalled(10)
