"""The connection to the Dask scheduler that a user has started.

What answers at the address is asked for its versions first, in plain messages of Dask: a function that is sent to
another version of Python may crash the process that unpickles it.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from asyncio import wait_for
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from microcalc.errors import ClusterError, InputError
from microcalc.execution.task import build

if TYPE_CHECKING:
    from distributed import Client

_ADDRESS: Final = re.compile(r"(tcp|tls)://(\[[^]\s]+\]|[^\s/:\[\]]+):([0-9]{1,5})")
_EXPECTED: Final = "expected tcp://HOST:PORT, tls://HOST:PORT or the scheduler file of a Dask cluster"
_CONNECT_S: Final = 15.0
_CLOSE_S: Final = 2.0
_LIBRARY_LOGGERS: Final = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")
_TLS_FAULT: Final = re.compile(r"\[(?:SSL|X509|PEM)[^]]*\] (.+) \(_ssl")
_REASONS: Final[Mapping[type[BaseException], str]] = {
    ConnectionRefusedError: "nothing listens there",
    socket.gaierror: "the host is unknown",
    TimeoutError: "no answer",
}
_TLS: Final = "distributed.comm.tls in Dask's configuration"
_TLS_ENTRIES: Final = f"ca-file, client.cert and client.key of {_TLS}"
_CERTIFICATES: Final = {
    "ca-file": "tls_ca_file",
    "client.cert": "tls_client_cert",
    "client.key": "tls_client_key",
}


def scheduler_address(given: str) -> str:
    """Return the address of a scheduler, read from its scheduler file where that is given.

    Raises
    ------
    InputError
        It is neither an address nor a scheduler file.
    """
    if "://" in given:
        return _checked_address(given, f"--cluster {given}: no address of a scheduler")
    file = Path(given)
    try:
        document = json.loads(file.read_bytes())
    except OSError:
        raise InputError(f"--cluster {file.name}: neither an address nor a file, {_EXPECTED}") from None
    except ValueError:
        document = None
    address = document.get("address") if isinstance(document, dict) else None
    found = f"--cluster {file.name}: states no address of a scheduler"
    if not isinstance(address, str):
        raise InputError(f"{found}, {_EXPECTED}")
    return _checked_address(address, found)


def _checked_address(address: str, found: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[3]) < 1 << 16:
        raise InputError(f"{found}, {_EXPECTED}")
    return address


@contextmanager
def connected(address: str, deaths: int) -> Iterator[Client]:
    """Connect to a scheduler for the block, refuse other versions of anything, and set what ``cluster`` needs there.

    Dask logs nothing meanwhile: a lost connection is reported once, in words.

    Parameters
    ----------
    address
        See ``scheduler_address``.
    deaths
        Number of workers that may die while they have a task in hand.

    Raises
    ------
    InputError
        The address is none, or a certificate of Dask's configuration is missing.
    ClusterError
        There is no such connection, or the scheduler or a worker has another version.
    """
    address = scheduler_address(address)
    import distributed  # noqa: F401  (it sets the levels of its loggers when it is imported)

    loggers = [logging.getLogger(name) for name in _LIBRARY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        _refuse_other_versions(address, _connection_arguments(address))
        with _client(address) as client:
            try:
                builds = client.run(_local_copy_of_build(), on_error="return")
                client.run_on_scheduler(_local_copy_of_settings(), deaths=deaths)
            except OSError as error:
                raise lost() from error
            _refuse_other_builds(builds)
            yield client
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def lost() -> ClusterError:
    """Return the error of a scheduler that was there and is no more."""
    return ClusterError(
        "the connection to the Dask scheduler was lost, expected it to stay; what is done stays done, and the same "
        "command continues"
    )


def _connection_arguments(address: str) -> dict[str, Any]:
    """Return what Dask needs to connect; the certificates of its configuration are loaded."""
    from distributed import Security

    security = Security()
    for entry, name in _CERTIFICATES.items():
        file = getattr(security, name)
        if file and "\n" not in file and not Path(file).is_file():  # it may be the certificate itself
            raise InputError(f"{Path(file).name}: no such file, expected the {entry} of {_TLS}")
    try:
        arguments: dict[str, Any] = security.get_connection_args("client")
    except (OSError, ValueError) as error:
        raise InputError(
            f"--cluster {address}: the certificates cannot be used ({_reason(error)}), expected PEM files that belong "
            f"together as {_TLS_ENTRIES}"
        ) from error
    if address.startswith("tls://") and arguments["ssl_context"] is None:
        raise InputError(f"--cluster {address}: no certificates, expected {_TLS_ENTRIES}")
    return arguments


def _refuse_other_versions(address: str, arguments: dict[str, Any]) -> None:
    """Refuse a scheduler, or one of its workers, with another version of Dask or Python."""
    from distributed.utils import LoopRunner
    from distributed.versions import get_versions

    try:
        found = LoopRunner().run_sync(_versions_at, address, arguments)
    except Exception as error:  # whatever a server that is none may answer
        expected = "one that runs" + " and trusts the same certificates" * address.startswith("tls://")
        raise ClusterError(
            f"{address}: no connection to a Dask scheduler ({_reason(_refusal(address) or error)}), expected {expected}"
        ) from error
    here = _libraries(get_versions())
    for who, versions in found:
        there = _libraries(versions)
        if there != here:
            raise ClusterError(f"{who} has {there}, expected {here} as here")


async def _versions_at(address: str, arguments: dict[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the versions of the scheduler and of those workers that answer."""
    from distributed.core import rpc

    async with rpc(address, timeout=_CONNECT_S, connection_args=arguments) as scheduler:
        own = await wait_for(scheduler.versions(), _CONNECT_S + _CLOSE_S)
        of_workers = await wait_for(scheduler.broadcast(msg={"op": "versions"}, on_error="ignore"), _CONNECT_S)
    workers = [(f"{worker}: the worker", versions) for worker, versions in sorted(of_workers.items())]
    return [(f"{address}: the scheduler", own), *workers]


def _libraries(versions: Mapping[str, Any]) -> str:
    python = ".".join(versions["host"]["python"].split(".")[:2])
    return f"Dask {versions['packages']['distributed']} in Python {python}"


def _reason(error: BaseException) -> str:
    """Return in words why a connection failed: the first cause, which the library wraps."""
    while True:
        for kind, words in _REASONS.items():
            if isinstance(error, kind):
                return words
        if error.__cause__ is None:
            break
        error = error.__cause__
    if (match := _TLS_FAULT.search(str(error))) is not None:
        return f"TLS: {match[1]}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _refusal(address: str) -> OSError | None:
    """Return the error of a plain connection to an address, if any.

    Dask tries again until its time is up, and reports the last try alone, which may have had no time left.
    """
    match = _ADDRESS.fullmatch(address)
    assert match is not None  # it was checked
    try:
        socket.create_connection((match[2].strip("[]"), int(match[3])), timeout=_CLOSE_S).close()
    except OSError as error:
        return error
    return None


@contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:  # it was there a moment ago
        raise lost() from error
    try:
        yield client
    finally:
        with suppress(Exception):  # such as a scheduler that is gone
            client.close(timeout=_CLOSE_S)


def _local_copy_of_build() -> Callable[[], str]:
    """Return a function that states a worker's version of the package, and that needs no module there to be sent."""

    def build_there() -> str:
        try:
            from microcalc.execution.task import build
        except Exception:
            return "no microcalc, or an earlier one"
        return build()

    return build_there


def _local_copy_of_settings() -> Callable[..., None]:
    """Return a function for the scheduler: items wait there and not at busy workers, and deaths blame none early."""

    def settings_there(dask_scheduler: Any, *, deaths: int) -> None:
        dask_scheduler.WORKER_SATURATION = 1.0
        dask_scheduler.allowed_failures = deaths

    return settings_there


def _refuse_other_builds(builds: Mapping[str, object]) -> None:
    for worker, there in sorted(builds.items()):
        if isinstance(there, str) and there != build():  # an error: it died just now
            raise ClusterError(f"{worker}: the worker has {there}, expected {build()} as here")
