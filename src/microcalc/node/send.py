"""Send reports to their destination, and retry until they have arrived.

A report keeps its SOP Instance UID whenever it is sent again: if it arrived although the answer was lost, the
destination receives the same instance twice, not a second one.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import TYPE_CHECKING, Any, Final

from microcalc.dicom.tags import quiet
from microcalc.errors import MicrocalcError, OutputError
from microcalc.images.dicom.read import read_data_set
from microcalc.node.files import Folder
from microcalc.node.jobs import JobQueue, QueuedReport
from microcalc.node.server import with_files
from microcalc.node.settings import DicomDestination, DicomWebDestination, NodeSettings, Tls
from microcalc.node.settle import lose_report
from microcalc.node.watch import Watch
from microcalc.reports.header import SOP_CLASSES

if TYPE_CHECKING:
    import requests
    from pynetdicom import AE

_LOG = logging.getLogger("microcalc.node")
_SYNTAXES: Final = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
_LOOK_S: Final = 1.0

Outcome = tuple[Path, str | None]
"""A report's file, and why it was not accepted; None if it was."""


@dataclass(eq=False, slots=True)
class Delivery:
    """The thread that sends reports."""

    settings: NodeSettings
    folder: Folder
    queue: JobQueue
    send: Callable[[Sequence[Path]], Iterator[Outcome]]
    watch: Watch
    clock: Callable[[], float] = time.time
    stopping: bool = False
    _wake: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Wake the thread, as there is a report."""
        self._wake.set()

    def alive(self) -> bool:
        """Return whether the thread is running."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, *, wait_s: float) -> None:
        """Wait up to ``wait_s`` seconds for the report that is being sent; the others stay in the queue."""
        self.stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(wait_s)

    def _run(self) -> None:
        while not self.stopping:
            try:
                if not self._send_due():
                    self._wake.wait(_LOOK_S)
                    self._wake.clear()
            except (OSError, sqlite3.Error, OutputError) as error:
                _LOG.error("delivery waits: %s", type(error).__name__)
                time.sleep(_LOOK_S)
            except Exception as error:  # its message could quote a report
                _LOG.error("delivery waits: unexpected %s", type(error).__name__)
                time.sleep(_LOOK_S)

    def _send_due(self) -> bool:
        """Send the reports that are due; return False if there are none."""
        longest_wait_s = self.settings.destination.longest_wait_s
        reports = self.queue.due_reports(now=self.clock(), longest_wait_s=longest_wait_s)
        if not reports:
            if not self.queue.waiting_reports():
                self.watch.idle()
            return False
        due = {self.folder.report(report.uid): report for report in reports if self._is_there(report)}
        for file, fault in self._outcomes(list(due)):
            self._note(file, due[file], fault)
            if self.stopping:
                break
        return True

    def _is_there(self, report: QueuedReport) -> bool:
        """Return whether the report's file can be read; one that cannot is recorded as lost, and quarantined."""
        self.folder.publish(report.uid)
        file = self.folder.report(report.uid)
        try:
            with quiet():
                read_data_set(file)
        except MicrocalcError as error:
            reason = str(error).removeprefix(f"{file.name}: ")
            lose_report(self.queue, report.uid, reason)
            if file.exists():
                self.folder.set_aside(file, reason)
            return False
        return True

    def _outcomes(self, files: Sequence[Path]) -> Iterator[Outcome]:
        left = list(files)
        try:
            for file, fault in self.send(files):
                left.remove(file)
                yield file, fault
        except Exception as error:  # from any of several libraries; its message could quote a report
            yield from ((file, f"unexpected {type(error).__name__}") for file in left)

    def _note(self, file: Path, report: QueuedReport, fault: str | None) -> None:
        if fault is None:
            self.queue.sent(report, now=self.clock())
            self.watch.progress()
            file.unlink(missing_ok=True)
            _LOG.info("report %s: sent", report.uid)
            return
        to = self.settings.destination
        wait_s = min(to.longest_wait_s, to.first_wait_s * 2.0 ** min(report.tries, 30))
        self.queue.send_later(report, fault, due=self.clock() + wait_s)
        _LOG.warning(
            "report %s: not sent, attempt %d: %s; next attempt in %.0f s", report.uid, report.tries + 1, fault, wait_s
        )


def sender(settings: NodeSettings) -> Callable[[Sequence[Path]], Iterator[Outcome]]:
    """Return the function that sends files to the destination.

    Raises
    ------
    InputError
        A certificate or the password file cannot be used.
    """
    destination = settings.destination
    if isinstance(destination, DicomWebDestination):
        return _stow(destination)
    return _c_store(destination, settings.listen.ae_title)


def _c_store(destination: DicomDestination, ae_title: str) -> Callable[[Sequence[Path]], Iterator[Outcome]]:
    """Return a function that sends by C-STORE (PS3.4 B).

    Every kind of report is proposed, as some may have been waiting since before the settings were changed.
    """
    ae = _requestor(destination, ae_title, list(SOP_CLASSES.values()))
    tls_args = None
    if destination.tls is not None:
        tls_args = (client_context(destination.tls), destination.address)

    def send(files: Sequence[Path]) -> Iterator[Outcome]:
        association = ae.associate(
            destination.address, destination.port, ae_title=destination.ae_title, tls_args=tls_args
        )
        if not association.is_established:
            why = "association rejected" if association.is_rejected else "no connection"
            yield from ((file, f"{destination.ae_title}: {why}") for file in files)
            return
        try:
            for file in files:
                yield file, _stored(association, file)
        finally:
            if association.is_established:
                association.release()

    return send


def _stored(association: Any, file: Path) -> str | None:
    if not association.is_established:
        return "association ended"
    try:
        with quiet():
            status = association.send_c_store(read_data_set(file)).get("Status")
    except MicrocalcError as error:
        return str(error)
    except ValueError:
        return "the destination does not accept this kind of report"
    if status is None:
        return "no answer"
    # After a warning (PS3.4 B.2.3) the report is stored.
    return None if status == 0x0000 or 0xB000 <= status <= 0xBFFF else f"status {status:04X}"


def _requestor(destination: DicomDestination, ae_title: str, sop_classes: Sequence[str]) -> AE:
    from pynetdicom import AE

    ae = AE(ae_title=ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = destination.timeout_s
    for sop_class in sop_classes:
        ae.add_requested_context(sop_class, _SYNTAXES)
    return ae


def client_context(tls: Tls) -> SSLContext:
    """Return a TLS context that presents our certificate and verifies the destination's certificate and name."""
    return with_files(SSLContext(PROTOCOL_TLS_CLIENT), tls)


def _stow(destination: DicomWebDestination) -> Callable[[Sequence[Path]], Iterator[Outcome]]:
    """Return a function that sends by STOW-RS (PS3.18 10.5)."""
    from dicomweb_client.web import DICOMwebClient
    from requests import HTTPError, RequestException

    client = DICOMwebClient(destination.url, session=_session(destination))
    client.set_http_retry_params(retry=False)  # the queue retries, with longer waits

    def send(files: Sequence[Path]) -> Iterator[Outcome]:
        for file in files:
            fault: str | None = None
            try:
                with quiet():
                    answer = client.store_instances([read_data_set(file)])
                    fault = "refused" if answer.get("FailedSOPSequence") else None
            except HTTPError as error:
                fault = f"HTTP status {getattr(error.response, 'status_code', 'unknown')}"
            except (RequestException, MicrocalcError) as error:
                fault = f"no answer ({type(error).__name__})"
            yield file, fault

    return send


def _session(destination: DicomWebDestination) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from requests.auth import HTTPBasicAuth

    from microcalc.errors import InputError

    class WithTimeout(HTTPAdapter):
        """Adds a timeout to every request; the library has none by default."""

        def send(self, request: requests.PreparedRequest, **named: Any) -> requests.Response:  # type: ignore[override]
            return super().send(request, **{**named, "timeout": destination.timeout_s})

    session = requests.Session()
    session.trust_env = False  # no proxy between us and the archive
    for scheme in ("http://", "https://"):
        session.mount(scheme, WithTimeout())
    if destination.authorities is not None:
        if not destination.authorities.is_file():
            raise InputError(
                f"{destination.authorities.name}: no such file, expected certificates of the authorities in PEM form"
            )
        session.verify = str(destination.authorities)
    if destination.user is not None and destination.password_file is not None:
        try:
            password = destination.password_file.read_text(encoding="utf-8").splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError):
            raise InputError(
                f"{destination.password_file.name}: not readable, expected the password in the first line"
            ) from None
        session.auth = HTTPBasicAuth(destination.user.encode(), password.encode())  # RFC 7617 2.1: UTF-8
    return session
