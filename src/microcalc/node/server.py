"""The DICOM server: who may associate, what it accepts, and its limits.

A connection from an address that is not allowed is closed before a byte is read; after that TLS and then the AE
titles are checked. The library limits the size of neither PDUs nor messages; the socket here does.

References
----------
DICOM PS3.4 B (Storage service, statuses in B.2.3), PS3.7 9.1.1 (C-STORE), PS3.8 9.3 (PDUs), PS3.15 B (TLS).
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Sequence
from threading import Lock
from typing import Any, Final, cast

from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from microcalc.domain import Intent
from microcalc.errors import InputError
from microcalc.images.dicom.accept import INTENTS
from microcalc.images.dicom.decode import SYNTAXES
from microcalc.node.receive import Intake
from microcalc.node.settings import MEBIBYTE, Listen, Tls

_LOG = logging.getLogger("microcalc.node")
SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
CANNOT_UNDERSTAND: Final = 0xC000
_LARGEST_OTHER_PDU: Final = MEBIBYTE  # an association request with every context there is


def quiet_libraries() -> None:
    """Disable the logs of the DICOM libraries, as they quote data sets."""
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pydicom", "pynetdicom", "highdicom", "dicomweb_client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class Refusals:
    """Counts refused connections and images by reason."""

    REASONS: Final = ("address", "tls", "ae_title", "size", "full")

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts = Counter(dict.fromkeys(self.REASONS, 0))

    def add(self, reason: str) -> None:
        """Count one refusal."""
        with self._lock:
            self._counts[reason] += 1

    def counts(self) -> dict[str, int]:
        """Return the number of refusals for each reason."""
        with self._lock:
            return dict(self._counts)


class DicomServer:
    """The listening server, which accepts associations and files."""

    def __init__(self, listen: Listen, intake: Intake, refusals: Refusals, *, intents: Sequence[Intent]) -> None:
        self._intake, self._refusals, self._storing = intake, refusals, Counter[str]()
        self._lock, self.stopping = Lock(), False
        self._ae = entity(listen, intents)
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REJECTED, self._rejected),
        ]
        try:
            self._server = _Server(
                self._ae, listen, refusals, None if listen.tls is None else server_context(listen.tls), handlers
            )
        except OSError as error:
            where = f"{listen.address}:{listen.port}"
            raise InputError(f"{where}: cannot listen ({error.strerror}), expected a free port here") from error

    @property
    def port(self) -> int:
        """TCP port the server listens on."""
        return int(self._server.server_address[1])

    def serve(self) -> None:
        """Serve until ``stop`` is called."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self, *, wait_s: float) -> None:
        """Refuse new images, wait up to ``wait_s`` seconds for those being stored, and close all connections."""
        self.stopping = True
        until = time.monotonic() + wait_s
        while time.monotonic() < until and self._storing["now"]:
            time.sleep(0.05)
        for association in self._server.active_associations:
            association.abort()
        _close(self._server)

    def _echo(self, event: evt.Event) -> int:
        _socket_of(event).message_ends()
        return SUCCESS

    def _store(self, event: evt.Event) -> int:
        with self._lock:
            self._storing["now"] += 1
        try:
            return self._stored(event)
        except Exception as error:  # its message could quote the data set
            _LOG.error("image refused: unexpected %s", type(error).__name__)
            return CANNOT_UNDERSTAND
        finally:
            _socket_of(event).message_ends()
            with self._lock:
                self._storing["now"] -= 1

    def _stored(self, event: evt.Event) -> int:
        if self.stopping:
            return OUT_OF_RESOURCES
        uid = str(event.request.AffectedSOPInstanceUID)  # type: ignore[union-attr]
        outcome = self._intake.take(uid, event.encoded_dataset(), sender=_sender(event))
        if outcome == "full":
            self._refusals.add("full")
            return OUT_OF_RESOURCES
        return SUCCESS

    def _rejected(self, event: evt.Event) -> None:
        self._refusals.add("ae_title")
        _LOG.warning("association of %s rejected: AE title not allowed, or too many associations", _sender(event))


def entity(listen: Listen, intents: Sequence[Intent]) -> AE:
    """Return the application entity with its presentation contexts, allowed AE titles and limits."""
    ae = AE(ae_title=listen.ae_title)
    ae.require_called_aet = True
    ae.require_calling_aet = list(listen.calling_ae_titles)
    ae.maximum_associations = listen.max_associations
    ae.maximum_pdu_size = listen.max_pdu_bytes
    ae.network_timeout = ae.dimse_timeout = ae.acse_timeout = listen.idle_s
    ae.add_supported_context(Verification)
    for sop_class, intent in INTENTS.items():
        if intent in intents:
            ae.add_supported_context(sop_class, list(SYNTAXES))
    return ae


def _sender(event: evt.Event) -> str:
    """Return AE title and address of the sender for the log, without unprintable characters."""
    requestor = event.assoc.requestor
    title = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(requestor.ae_title)[:16])
    return f"{title or '(no title)'} at {requestor.address}"


def _socket_of(event: evt.Event) -> _LimitedSocket:
    return cast(_LimitedSocket, event.assoc.dul.socket)


def _close(server: _Server) -> None:
    server.ae._servers.append(server)  # it removes itself from this list, but never adds itself
    server.shutdown()


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return a TLS context that requires a certificate of the sender.

    Raises
    ------
    InputError
        A file is missing or does not have the expected content.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return with_files(context, tls)


def with_files(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    """Load our certificate and the accepted authorities into a context; raise as ``server_context`` does."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for file in (tls.certificate, tls.key, tls.authorities):
        if not file.is_file():
            raise InputError(f"{file.name}: no such file, expected one in PEM form")
    try:
        context.load_verify_locations(tls.authorities)
        context.load_cert_chain(
            tls.certificate, tls.key, password=""
        )  # an encrypted key would otherwise prompt for its password
    except (ssl.SSLError, OSError):
        raise InputError(
            f"{tls.certificate.name}, {tls.key.name}, {tls.authorities.name}: not usable, "
            "expected a certificate, its key, and authorities in PEM form"
        ) from None
    return context


class _Server(ThreadedAssociationServer):
    """The library's server, extended by TLS and a check of addresses."""

    daemon_threads = True

    def __init__(
        self,
        ae: AE,
        listen: Listen,
        refusals: Refusals,
        tls: ssl.SSLContext | None,
        handlers: list[evt.EventHandlerType],
    ) -> None:
        self.listen, self.refusals, self._tls = listen, refusals, tls
        self._networks = [ipaddress.ip_network(network) for network in listen.networks]
        super().__init__(
            ae,
            (listen.address, listen.port),
            listen.ae_title,
            ae.supported_contexts,
            evt_handlers=handlers,
            request_handler=_Request,
        )

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Return a connection before its TLS handshake, which would let one client block all others here."""
        connection, address = cast(socket.socket, self.socket).accept()
        connection.settimeout(self.listen.idle_s)
        return connection, address

    def verify_request(self, request: object, client_address: Any) -> bool:
        """Return whether the client's address is allowed."""
        address = ipaddress.ip_address(client_address[0].partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if any(mapped in network for network in self._networks):
            return True
        self.refusals.add("address")
        _LOG.warning("connection from %s closed: address not allowed", mapped)
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake and start the association."""
        try:
            if self._tls is not None:
                request = self._tls.wrap_socket(request, server_side=True)
        except OSError as error:
            self.refusals.add("tls")
            _LOG.warning("connection from %s closed: no TLS as expected (%s)", client_address[0], type(error).__name__)
            self.shutdown_request(request)
            return
        super().process_request_thread(request, client_address)

    def handle_error(self, request: object, client_address: Any) -> None:
        """Log the class of an error, without the library's traceback."""
        error = type(sys.exc_info()[1]).__name__
        _LOG.error("connection from %s closed: unexpected %s", client_address[0], error)


class _Request(RequestHandler):
    """The library's connection handler, with a socket that has limits."""

    def handle(self) -> None:
        server = cast(_Server, self.server)
        association = self._create_association()
        association.dul.event_queue.get_nowait()  # the event that the library's own socket queued
        limited = _LimitedSocket(association, client_socket=cast(socket.socket, self.request))
        limited.set_limits(server.listen, server.refusals)
        association.dul.socket = limited
        association.start()


class _LimitedSocket(AssociationSocket):
    """A socket that ends the association when a PDU or a message is too large or too slow."""

    def set_limits(self, listen: Listen, refusals: Refusals) -> None:
        """Set the limits; to be called once, before the association starts."""
        self._largest_pdu = max(listen.max_pdu_bytes, _LARGEST_OTHER_PDU)
        self._largest_message = listen.max_file_mib * MEBIBYTE + MEBIBYTE
        self._idle_s, self._refusals, self._message = listen.idle_s, refusals, 0

    def message_ends(self) -> None:
        """Record that a message was answered, and count the next from zero."""
        self._message = 0

    def recv(self, nr_bytes: int) -> bytearray:
        """Receive ``nr_bytes`` bytes, or fewer if the connection ends.

        Raises
        ------
        OSError
            A PDU or message is too large; the library ends the association.
        """
        self._message += nr_bytes
        if nr_bytes > self._largest_pdu or self._message > self._largest_message:
            self._refusals.add("size")
            _LOG.warning("association ended: a PDU or an image over the limit")
            self._shutdown_socket()
            raise OSError("over the limit")
        connection, until = cast(socket.socket, self.socket), time.monotonic() + self._idle_s
        data = bytearray(nr_bytes)
        view, done = memoryview(data), 0
        while done < nr_bytes:
            count = connection.recv_into(view[done:])
            if count == 0 or time.monotonic() > until:
                break
            done += count
        view.release()
        del data[done:]
        return data
