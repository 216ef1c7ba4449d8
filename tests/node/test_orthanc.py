"""From Orthanc to the node and back, by C-STORE and by STOW-RS: each exam has one report, also when sent again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from tests.node.mammograms import VENDORS, VIEWS, write_exam
from tests.node.nodes import an_hour_later, free_port, settings
from tests.node.orthanc import Orthanc, running_orthanc
from tests.waiting import wait_until

from microcalc.node.service import Node
from microcalc.reports.cad_reader import parse_cad_report

_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "pacs.md").read_text(encoding="utf-8")
_SYNTAXES = {
    "hologic": "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "ge": "1.2.840.10008.1.2.4.90",  # JPEG 2000
    "siemens": "1.2.840.10008.1.2.4.70",  # JPEG lossless
}

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
def node_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def orthanc(node_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with running_orthanc(tmp_path_factory.mktemp("pacs") / "orthanc", node_port) as running:
        yield running


@pytest.fixture(scope="module")
def exams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Of three vendors, the first image of each compressed."""
    folder = tmp_path_factory.mktemp("exams")
    made = {v: write_exam(folder, f"{v}exam", vendor=v, views=VIEWS[:2], specks=12) for v in VENDORS}
    for vendor, files in made.items():
        _compress(files[0], _SYNTAXES[vendor])
    return made


def _compress(file: Path, syntax: str) -> None:
    if syntax.endswith(".4.70"):
        import gdcm

        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(file))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(str(file))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return
    dataset = pydicom.dcmread(file)
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(file)


def _study(files: list[Path]) -> str:
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def test_each_exam_gets_one_report_in_the_archive_and_none_when_sent_again(
    orthanc: Orthanc, node_port: int, exams: dict[str, list[Path]], tmp_path: Path
) -> None:
    given = settings(
        tmp_path / "node",
        orthanc.dicom_port,
        listen={"port": node_port},
        destination={"ae_title": "ORTHANC"},
        report={"wait_s": 3600.0},
    )
    instances = [name for files in exams.values() for name in orthanc.upload(files)]
    with Node(given) as node:
        assert orthanc.ask("/modalities/node/echo", {}) == {}
        sent = orthanc.send_to_node(instances)
        assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (6, 0)
        node.analysis.clock = an_hour_later
        wait_until(lambda: node.queue.counts().reports_sent == 3)
        reports = {vendor: orthanc.reports(_study(files)) for vendor, files in exams.items()}
        assert [len(found) for found in reports.values()] == [1, 1, 1]
        assert orthanc.send_to_node(instances)["FailedInstancesCount"] == 0
        query = re.search(r"--data '(\{.*\"MG\".*\})'", _PAGE)
        assert query is not None
        series = orthanc.ask("/tools/find", json.loads(query[1]))
        assert orthanc.send_to_node(series)["FailedInstancesCount"] == 0  # though the studies hold reports by now
        counts = node.queue.counts()
        assert (counts.images["done"], counts.images["waiting"], counts.exams_open) == (6, 0, 0)
    assert {vendor: orthanc.reports(_study(files)) for vendor, files in exams.items()} == reports
    for (uid,) in reports.values():
        report = parse_cad_report(orthanc.data_set(uid))
        assert len(report.images) == len(report.findings) == 2


def test_reports_go_by_stow_and_wait_while_the_server_is_away(
    orthanc: Orthanc, exams: dict[str, list[Path]], node_port: int, tmp_path: Path
) -> None:
    (file,) = write_exam(tmp_path, "stow", views=VIEWS[:1], specks=12)
    web = {"protocol": "dicomweb", "url": orthanc.dicomweb, "first_wait_s": 0.2}
    given = settings(tmp_path / "node", 1, listen={"port": node_port}).model_dump() | {"destination": web}
    with Node(settings(tmp_path / "node", 1).model_validate(given)) as node:
        orthanc.send_to_node(orthanc.upload([file]))
        wait_until(lambda: node.queue.counts().reports_sent == 1)
    (uid,) = orthanc.reports(_study([file]))
    assert len(parse_cad_report(orthanc.data_set(uid)).findings) == 1


def test_a_real_mammogram_comes_back_with_its_report(
    orthanc: Orthanc, node_port: int, tmp_path: Path, shared_data: Path
) -> None:
    file = shared_data / "fo-dicom" / "GH133.dcm"
    given = settings(
        tmp_path / "node", orthanc.dicom_port, listen={"port": node_port}, destination={"ae_title": "ORTHANC"}
    )
    instances = orthanc.upload([file])
    with Node(given) as node:
        assert orthanc.send_to_node(instances)["FailedInstancesCount"] == 0
        wait_until(lambda: node.queue.counts().reports_sent == 1)
        orthanc.send_to_node(instances)
        assert node.queue.counts().exams_open == 0
    (uid,) = orthanc.reports(_study([file]))
    report = parse_cad_report(orthanc.data_set(uid))
    assert [image.uid for image in report.images] == [str(pydicom.dcmread(file).SOPInstanceUID)]
    assert not report.failed
