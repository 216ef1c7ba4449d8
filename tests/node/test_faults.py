"""Nothing that ends, fails or attacks costs an image or doubles a report."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pydicom
import pytest
from tests.node.histories import MODELS, Life
from tests.node.histories import Archive as HistoryArchive
from tests.node.mammograms import ID, VIEWS, write_exam
from tests.node.mutants import mutate
from tests.node.nodes import (
    SENDER,
    Archive,
    NodeProcess,
    children,
    free_port,
    page,
    send,
    settings,
    uids_of,
)
from tests.waiting import PATIENCE_S, wait_until

from microcalc.errors import InputError
from microcalc.node import analyse, receive, worker
from microcalc.node.service import Node
from microcalc.node.settings import NodeSettings

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def test_kill_nine_of_worker_and_node_loses_and_doubles_nothing(archive: Archive, tmp_path: Path) -> None:
    files = [f for n in range(2) for f in write_exam(tmp_path / "exam", f"killed{n}")]
    node = NodeProcess(tmp_path, archive.port, tries=10)
    node.start()
    assert send(node.port, files[:4]) == [0x0000] * 4
    wait_until(node.worker_ids)
    os.kill(node.worker_ids()[0], signal.SIGKILL)
    time.sleep(0.5)
    orphans = node.worker_ids()
    node.end()  # SIGKILL
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans))
    node.start()
    assert set(send(node.port, files)) == {0x0000}  # all again, as a sender without an answer would
    wait_until(lambda: set(archive.images()) >= uids_of(files))
    wait_until(lambda: page(node.health_port, "/metrics")[1].count("microcalc_reports_waiting 0.0"))
    assert node.end(signal.SIGTERM) == 0
    assert {count for uid, count in archive.images().items() if uid in uids_of(files)} == {1}
    log = node.log.read_text()
    assert log.rstrip().endswith("INFO stopped")
    assert ID not in log
    assert "Traceback" not in log


# However late it is killed, it has not answered a job.
_NEVER_ANSWERS = """
import time
from microcalc.node import worker
worker.answer = lambda work, job: time.sleep(3600)
worker.main()
"""


def test_an_image_whose_workers_always_end_is_reported_as_failed(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_exam(tmp_path / "exam", "hangs", views=VIEWS[:1])
    monkeypatch.setattr(analyse, "_COMMAND", [sys.executable, "-c", _NEVER_ANSWERS])
    with Node(settings(tmp_path / "node", archive.port, detect={"image_s": 0.01, "tries": 2})) as node:
        send(node.server.port, files)
        wait_until(lambda: node.queue.counts().images["failed"] == 1)
        (uid,) = uids_of(files)
        image = node.queue.image(uid)
        assert image is not None
        assert image.reason == "the analysis ended without an answer, 2 times"
        assert node.analysis.restarts >= 2


def test_an_image_that_memory_never_suffices_for_is_failed_after_its_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    (file,) = write_exam(tmp_path / "exam", "memory", views=VIEWS[:1])
    life = Life(tmp_path / "node", MODELS[0], HistoryArchive(), lambda: 0.0)
    (uid,) = uids_of([file])
    assert life.intake.take(uid, file.read_bytes(), sender="t") == "taken"
    monkeypatch.setattr(worker, "detect_file", exhausted)
    work = cast(worker._Work, SimpleNamespace(models=None, options=None))
    monkeypatch.setattr(life.worker, "ask", lambda job, *, limit_s: worker.answer(work, job))
    for _ in range(2):
        image = life.queue.next_image()
        assert image is not None
        life.analysis._analyse(life.worker, image)  # type: ignore[arg-type]
    image = life.queue.image(uid)
    assert image is not None
    assert (image.state, image.reason) == ("analysed", "not enough memory in the analysis, 2 times")
    life.queue.close()


def test_reports_wait_for_a_destination_that_is_away_or_full(tmp_path: Path) -> None:
    files, port = write_exam(tmp_path / "exam", "away", views=VIEWS[:2]), free_port()
    with Node(settings(tmp_path / "node", port)) as node:
        send(node.server.port, files[:1])
        wait_until(lambda: node.queue.most_repeats()[1] >= 1)  # tries to send it
        with Archive(port) as archive:
            archive.answer = 0xA700
            send(node.server.port, files[1:])
            wait_until(lambda: archive.refused)
            archive.answer = 0x0000
            wait_until(lambda: node.queue.counts().reports_sent == 2)
            assert set(archive.images().values()) == {1}
            assert set(archive.images()) == uids_of(files)


def test_a_full_disc_refuses_images_and_takes_them_later(
    node: Node, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_exam(tmp_path, "full", views=VIEWS[:2])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(receive, "write_whole", full)
        assert send(node.server.port, files) == [0xA700] * 2
    with monkeypatch.context() as patch:
        patch.setattr(type(node.folder), "free_bytes", lambda _: -1)
        assert send(node.server.port, files) == [0xA700] * 2
        assert page(node.health.port, "/health")[0] == 503
    assert list(node.folder.temporary.iterdir()) == []
    assert send(node.server.port, files) == [0x0000] * 2
    wait_until(lambda: uids_of(files) <= set(archive.images()))


def test_mutated_files_end_in_quarantine_or_in_a_report(node: Node, archive: Archive, tmp_path: Path) -> None:
    """The long form is ``python -m benchmarks.node mutants``."""
    (file,) = write_exam(tmp_path, "mutant", views=VIEWS[:1])
    rng, sent = random.Random(5), 0
    before = node.queue.counts()
    for number in range(24):
        mutant = mutate(file, tmp_path / f"{number}.dcm", rng)
        sent += send(node.server.port, [mutant]) == [0x0000]
    assert sent == 24
    wait_until(lambda: node.queue.counts().exams_open == 0)
    after = node.queue.counts()
    taken = sum(after.images.values()) - sum(before.images.values())
    assert after.quarantined_files - before.quarantined_files + taken == 24
    assert after.images["quarantined"] == before.images["quarantined"]
    assert node.faults() == []


# Who is refused.


def test_an_unknown_ae_title_is_rejected(node: Node, tmp_path: Path) -> None:
    files = write_exam(tmp_path, "stranger", views=VIEWS[:1])
    assert send(node.server.port, files, ae_title="STRANGER") == [None]
    assert send(node.server.port, files, called="OTHER") == [None]
    wait_until(lambda: node.refusals.counts()["ae_title"] >= 2)


def test_another_address_is_closed_before_a_byte_is_read(archive: Archive, tmp_path: Path) -> None:
    with Node(settings(tmp_path, archive.port, listen={"networks": ("192.0.2.0/24",)})) as node:
        with socket.create_connection(("127.0.0.1", node.server.port), timeout=PATIENCE_S) as connection:
            assert connection.recv(1) == b""
        assert node.refusals.counts()["address"] == 1


def test_oversized_pdus_and_images_end_the_association(archive: Archive, tmp_path: Path) -> None:
    large = write_exam(tmp_path / "exam", "large", views=VIEWS[:1], shape=(1400, 1000))
    small = write_exam(tmp_path / "exam", "small", views=VIEWS[:1])
    with Node(settings(tmp_path / "node", archive.port, listen={"max_file_mib": 1})) as node:
        with socket.create_connection(("127.0.0.1", node.server.port), timeout=PATIENCE_S) as connection:
            connection.sendall(b"\x01\x00\xff\xff\xff\xff" + bytes(1000))
            wait_until(lambda: node.refusals.counts()["size"] == 1)
            assert connection.recv(1) == b""
        assert send(node.server.port, large) == [None]
        assert node.refusals.counts()["size"] == 2
        assert send(node.server.port, small) == [0x0000]


def _client(certificates: Path, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context


def test_tls_takes_known_certificates_alone_and_no_plaintext(
    archive: Archive, tmp_path: Path, certificates: Path, judge: Callable[[str], str]
) -> None:
    files = write_exam(tmp_path / "exam", "tls", views=VIEWS[:1])
    tls = {"certificate": certificates / "node.pem", "key": certificates / "node.key",
           "authorities": certificates / "ca.pem"}  # fmt: skip
    with Node(settings(tmp_path / "node", archive.port, listen={"tls": tls, "idle_s": 3600.0})) as node:
        port = node.server.port
        assert send(port, files) == [None]  # plaintext
        stranger = _client(certificates, "stranger")
        assert send(port, files, tls=(stranger, "127.0.0.1")) == [None]
        wait_until(lambda: node.refusals.counts()["tls"] >= 2)
        assert send(port, files, tls=(_client(certificates, "sender"), "127.0.0.1")) == [0x0000]
        echo = [judge("echoscu"), "-aet", SENDER, "-aec", "MICROCALC", "127.0.0.1", str(port)]
        assert subprocess.run(echo, capture_output=True, check=False).returncode != 0
        with socket.create_connection(("127.0.0.1", port)):  # one that says nothing holds up nobody
            assert send(port, files, tls=(_client(certificates, "sender"), "127.0.0.1")) == [0x0000]


def test_two_nodes_do_not_share_a_folder(node: Node, archive: Archive) -> None:
    with pytest.raises(Exception, match="another node runs in this folder"):
        Node(settings(node.folder.root, archive.port))


def test_a_worker_that_refuses_its_model_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_to_end = 'import time; input(); print(\'{"error": "no such model"}\', flush=True); time.sleep(3600)'
    monkeypatch.setattr(analyse, "_COMMAND", [sys.executable, "-c", slow_to_end])
    before = set(children(os.getpid()))
    with pytest.raises(InputError, match="no such model"):
        Node(settings(tmp_path / "node", 1))
    assert set(children(os.getpid())) <= before


@pytest.mark.parametrize("table", ["listen", "health"])
def test_a_node_without_its_port_leaves_no_worker_and_no_lock(table: str, tmp_path: Path) -> None:
    before = set(children(os.getpid()))
    with socket.create_server(("127.0.0.1", 0)) as other:
        given = settings(tmp_path / "node", 1).model_dump()
        given[table] |= {"address": "127.0.0.1", "port": other.getsockname()[1]}
        for _ in range(2):  # the second finds the folder free
            with pytest.raises(InputError, match=r"cannot listen .* expected a free port"):
                Node(NodeSettings.model_validate(given))
    assert set(children(os.getpid())) <= before


def test_outside_tools_are_answered(node: Node, tmp_path: Path, judge: Callable[[str], str], archive: Archive) -> None:
    (file,) = write_exam(tmp_path, "outside", views=VIEWS[:1])
    to = ["-aet", SENDER, "-aec", "MICROCALC", "127.0.0.1", str(node.server.port)]
    subprocess.run([judge("echoscu"), *to], check=True)
    subprocess.run([judge("storescu"), *to, str(file)], check=True)
    wait_until(lambda: pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID in archive.images())
    assert children(os.getpid())
