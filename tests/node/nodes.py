"""The neighbours of a node: a sender of images, and the archive to which the node sends reports."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from ssl import SSLContext
from threading import Lock
from typing import Self

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import MammographyCADSRStorage  # type: ignore[attr-defined]
from tests.waiting import PATIENCE_S, wait_until

from microcalc.node.settings import NodeSettings

_config.STORE_SEND_CHUNKED_DATASET = True  # the bytes of the file as they are, damaged ones too
RAW = "1.2.840.10008.5.1.4.1.1.1.2.1"
SENDER = "SENDER"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def settings(folder: Path, archive_port: int, **parts: object) -> NodeSettings:
    """Return settings of a node on free ports with the LoG filter, which needs no networks; ``parts`` replace some."""
    given: dict[str, object] = {
        "storage": {"folder": folder, "free_mib": 0},
        "listen": {"port": 0, "calling_ae_titles": (SENDER, "ORTHANC")},
        "detect": {"model": "log", "workers": 1},
        "report": {"wait_s": 0.0},
        "destination": {
            "protocol": "dicom", "ae_title": "ARCHIVE", "address": "127.0.0.1", "port": archive_port,
            "first_wait_s": 0.2, "longest_wait_s": 1.0, "timeout_s": PATIENCE_S,
        },
        "health": {"port": 0},
    }  # fmt: skip
    for name, part in parts.items():
        before = given.get(name, {})
        given[name] = {**before, **part} if isinstance(part, dict) and isinstance(before, dict) else part
    return NodeSettings.model_validate(given)


class Archive:
    """A server that keeps the reports that it receives; ``answer`` is the status of its answers, 0: it takes them."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.reports: list[Dataset] = []
        self.answer = 0x0000
        self.refused = 0
        self._lock = Lock()
        self._ae = AE(ae_title="ARCHIVE")
        self._ae.add_supported_context(MammographyCADSRStorage)

    def __enter__(self) -> Self:
        self._ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        return self

    def __exit__(self, *_: object) -> None:
        self._ae.shutdown()

    def _store(self, event: evt.Event) -> int:
        report = dcmread(BytesIO(event.encoded_dataset()))
        with self._lock:
            if self.answer == 0x0000:
                self.reports.append(report)
            else:
                self.refused += 1
            return self.answer

    def images(self) -> Counter[str]:
        """Return the number of different reports that include each image."""
        with self._lock:
            different = {str(report.SOPInstanceUID): report for report in self.reports}
        return Counter(uid for report in different.values() for uid in images_of(report))


def images_of(report: Dataset) -> list[str]:
    return [
        str(image.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    ]


def uids_of(files: Iterable[Path]) -> set[str]:
    return {str(dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files}


def send(
    port: int,
    files: Iterable[Path],
    *,
    ae_title: str = SENDER,
    called: str = "MICROCALC",
    tls: tuple[SSLContext, str] | None = None,
) -> list[int | None]:
    """Send files unchanged; return the status of each, None without an answer."""
    files = list(files)
    ae = AE(ae_title=ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = PATIENCE_S
    for syntax in {transfer_syntax(file) for file in files}:
        ae.add_requested_context(RAW, syntax)
    association = ae.associate("127.0.0.1", port, ae_title=called, tls_args=tls)
    statuses: list[int | None] = []
    for file in files:
        if not association.is_established:
            statuses.append(None)
            continue
        try:
            statuses.append(association.send_c_store(file).get("Status"))
        except (ValueError, RuntimeError):
            statuses.append(None)
    if association.is_established:
        association.release()
    return statuses


def transfer_syntax(file: Path) -> str:
    return str(read_file_meta_info(file).TransferSyntaxUID)


def page(port: int, path: str) -> tuple[int, str]:
    """Return status and text of a page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class NodeProcess:
    """``microcalc node`` as a separate process, with its log in a file."""

    def __init__(
        self,
        folder: Path,
        archive_port: int,
        *,
        storage: Path = Path("node"),
        free_mib: int = 0,
        model: str = "log",
        workers: int = 1,
        tries: int = 3,
        wait_s: float = 0.0,
    ) -> None:
        self.port, self.health_port, self.log = free_port(), free_port(), folder / "node.log"
        self.config = folder / "node.toml"
        self.config.write_text(
            f"""
[storage]
folder = "{storage}"
free_mib = {free_mib}
[listen]
port = {self.port}
calling_ae_titles = ["{SENDER}"]
max_associations = 16
[detect]
model = "{model}"
intents = ["raw"]
workers = {workers}
tries = {tries}
[report]
wait_s = {wait_s}
[destination]
protocol = "dicom"
ae_title = "ARCHIVE"
address = "127.0.0.1"
port = {archive_port}
first_wait_s = 0.2
longest_wait_s = 1.0
[health]
port = {self.health_port}
"""
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "microcalc", "node", "--config", str(self.config)], stderr=log, stdout=log
            )
        if wait:
            wait_until(self.answers)

    def answers(self) -> bool:
        try:
            return page(self.health_port, "/health")[0] == 200
        except OSError:
            return False

    def end(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the process; return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def worker_ids(self) -> list[int]:
        """Return the process ids of the workers (Linux)."""
        assert self.process is not None
        return children(self.process.pid)


def children(pid: int) -> list[int]:
    """Return the ids of the children of a process; none if it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # a thread may end meanwhile
                found += map(int, (task / "children").read_text().split())
    return found


def an_hour_later() -> float:
    """Return the time in an hour: for a node whose exams are to wait no longer, however slowly their images came."""
    return time.time() + 3600.0


class LogLines(logging.Handler):
    """Collects all messages of the node's log."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
