"""Reports go by TLS, with a certificate or a password, to archives of other makers, and to nobody else."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from tests.node.mammograms import VIEWS, write_exam
from tests.node.nodes import free_port, send, settings, uids_of
from tests.node.orthanc import USER, https_before, running_orthanc
from tests.waiting import PATIENCE_S, wait_until

from microcalc.errors import InputError
from microcalc.node.send import sender
from microcalc.node.service import Node
from microcalc.node.settings import NodeSettings
from microcalc.reports.cad_reader import parse_cad_report

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
PASSWORD = "grün & geheim"


def _tls(certificates: Path, name: str) -> dict[str, Path]:
    return {
        "certificate": certificates / f"{name}.pem",
        "key": certificates / f"{name}.key",
        "authorities": certificates / "ca.pem",
    }


def _faults(node: Node) -> set[str]:
    """Why reports were not sent, as the queue has it."""
    return {str(reason) for (reason,) in node.queue._rows("SELECT reason FROM report WHERE state = 'waiting'")}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def _dcmtk(folder: Path, certificates: Path, storescp: str) -> Iterator[int]:
    """An archive that takes only TLS with a certificate of our authority; its port."""
    port = free_port()
    folder.mkdir()
    tls = ["+tls", str(certificates / "archive.key"), str(certificates / "archive.pem")]
    command = [storescp, *tls, "+cf", str(certificates / "ca.pem"), "-rc", "-aet", "ARCHIVE", "-od", str(folder)]
    with (folder.parent / "storescp.log").open("wb") as log:
        process = subprocess.Popen([*command, str(port)], stdout=log, stderr=log)
    try:
        wait_until(lambda: _listens(port))  # else a sender is refused, whatever its certificate
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.mark.parametrize("name", ["node", "stranger"])
def test_dcmtk_takes_reports_by_tls_from_a_known_certificate_alone(
    name: str, tmp_path: Path, certificates: Path, judge: Callable[[str], str]
) -> None:
    files = write_exam(tmp_path / "exam", "tls", views=VIEWS[:1])
    with _dcmtk(tmp_path / "archive", certificates, judge("storescp")) as port:
        to = {"tls": _tls(certificates, name)}
        with Node(settings(tmp_path / "node", port, destination=to)) as node:
            assert send(node.server.port, files) == [0x0000]
            if name == "node":
                wait_until(lambda: node.queue.counts().reports_sent == 1)
            else:
                wait_until(lambda: node.queue.most_repeats()[1] >= 2)
                assert node.queue.counts().reports_sent == 0
    arrived = list((tmp_path / "archive").iterdir())
    assert len(arrived) == (name == "node")
    for file in arrived:
        assert {image.uid for image in parse_cad_report(dcmread(file)).images} == uids_of(files)


def test_orthanc_takes_reports_by_https_with_the_password_alone(tmp_path: Path, certificates: Path) -> None:
    files = write_exam(tmp_path / "exam", "https", views=VIEWS[:1], specks=12)
    password = tmp_path / "password"
    with (
        running_orthanc(tmp_path / "orthanc", 1, password=PASSWORD) as orthanc,
        https_before(orthanc.http_port, certificates) as port,
    ):
        web = {
            "protocol": "dicomweb", "url": f"https://127.0.0.1:{port}/dicom-web", "user": USER,
            "password_file": password, "authorities": certificates / "ca.pem",
            "first_wait_s": 0.2, "longest_wait_s": 0.5,
        }  # fmt: skip

        def given(**changed: object) -> NodeSettings:
            plain = settings(tmp_path / "node", 1).model_dump()
            return NodeSettings.model_validate(plain | {"destination": web | changed})

        password.write_text("wrong\n")
        with Node(given()) as node:
            assert send(node.server.port, files) == [0x0000]
            wait_until(lambda: _faults(node) == {"HTTP status 401"})
        password.write_text(f"{PASSWORD}\n", encoding="utf-8")
        with Node(given(authorities=certificates / "stranger.pem")) as node:
            wait_until(lambda: _faults(node) == {"no answer (SSLError)"})
        with Node(given()) as node:
            wait_until(lambda: node.queue.counts().reports_sent == 1)
        study = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        (uid,) = orthanc.reports(study)
        assert {image.uid for image in parse_cad_report(orthanc.data_set(uid)).images} == uids_of(files)


def test_a_key_with_a_password_is_refused_and_not_asked_for(
    tmp_path: Path, certificates: Path, judge: Callable[[str], str]
) -> None:
    locked = tmp_path / "locked.key"
    command = ["ec", "-in", str(certificates / "node.key"), "-aes256", "-passout", "pass:x1y2z3", "-out", str(locked)]
    subprocess.run([judge("openssl"), *command], check=True, capture_output=True)
    to = {"tls": {**_tls(certificates, "node"), "key": locked}}
    with pytest.raises(InputError, match=r"locked\.key.*not usable"):
        sender(settings(tmp_path / "node", 1, destination=to))
