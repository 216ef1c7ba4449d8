"""Run the viewer's server until it is stopped."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from microcalc.errors import InputError, MicrocalcError
from microcalc.viewer.guard import Guard
from microcalc.viewer.server import Viewer

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_LARGEST_HEADER_BYTES: Final = 16 * 1024
_FOLD_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens.

    Attributes
    ----------
    port
        0: any that is free.
    certificate, key
        PEM files for TLS; None: none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None


def check_address(address: Address, *, insecure: bool) -> None:
    """Refuse an address that others could reach without TLS.

    Raises
    ------
    InputError
        The host is not this machine alone, and there is neither TLS nor ``insecure``; or half of TLS is given.
    """
    if (address.certificate is None) != (address.key is None):
        raise InputError("--certificate and --key: one without the other, expected both")
    for file in (address.certificate, address.key):
        if file is not None and not file.is_file():
            raise InputError(f"{file.name}: no such file, expected a PEM file")
    is_open = address.host not in LOOPBACK
    if is_open and address.certificate is None and not insecure:
        raise InputError(
            f"--host {address.host}: others could read along, expected --certificate and --key, or --insecure"
        )
    if insecure and not (is_open and address.certificate is None):
        raise InputError("--insecure: has no effect here, expected no --insecure")


def guarded(app: ASGIApp, *, token: str, scheme: str, host: str, port: int) -> Guard:
    """Return the application behind its guard, for a server at an address."""
    names = {*LOOPBACK[:2], "[::1]"} if host in LOOPBACK else {f"[{host}]" if ":" in host else host}
    return Guard(app, token=token, origins=frozenset(f"{scheme}://{name}:{port}".lower() for name in names))


def serve(viewer: Viewer, address: Address, *, browser: bool, ready: Callable[[str], None]) -> None:
    """Listen until interrupted.

    Parameters
    ----------
    browser
        Whether to open the start address in the user's browser.
    ready
        Called with the start address once the server listens.

    Raises
    ------
    InputError
        The address cannot be listened at, or the certificate cannot be used.
    """
    listening = _listen(address)
    port, token = listening.getsockname()[1], secrets.token_urlsafe(32)
    scheme = "http" if address.certificate is None else "https"
    shown_host = f"[{address.host}]" if ":" in address.host else address.host
    app = guarded(viewer.app(), token=token, scheme=scheme, host=address.host, port=port)
    config = uvicorn.Config(
        app, log_config=None, log_level="critical", access_log=False, server_header=False, date_header=False,
        ws="none", lifespan="off", timeout_graceful_shutdown=2, h11_max_incomplete_event_size=_LARGEST_HEADER_BYTES,
        http="h11", limit_concurrency=256,
        ssl_certfile=address.certificate, ssl_keyfile=address.key,
    )  # fmt: skip
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    try:
        config.load()
    except (OSError, ValueError) as error:
        listening.close()
        raise InputError(f"--certificate: cannot be used ({type(error).__name__}), expected PEM files") from None
    start = f"{scheme}://{shown_host}:{port}/{token}/"
    ready(start)
    stop = threading.Event()
    folding = threading.Thread(target=_fold, args=(viewer, stop), daemon=True)
    folding.start()
    threading.Thread(target=_open_first, args=(viewer,), daemon=True).start()
    if browser:
        threading.Thread(target=webbrowser.open, args=(start,), daemon=True).start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        stop.set()
        if viewer.annotations is not None:
            viewer.annotations.fold()


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or "not possible"
        raise InputError(f"{address.host} port {address.port}: {reason}, expected an address to listen at") from None
    return listening


def _open_first(viewer: Viewer) -> None:
    """Decode the image that the page asks for first while the browser starts; the page says what is wrong with it."""
    with suppress(MicrocalcError):
        viewer.images.describe(next(iter(viewer.catalogue.images)))


def _fold(viewer: Viewer, stop: threading.Event) -> None:
    """Write the table soon after each change."""
    while viewer.annotations is not None and not stop.wait(_FOLD_S):
        viewer.annotations.fold()
