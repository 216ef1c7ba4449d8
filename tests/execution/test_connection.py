"""What a user gets who names a Dask scheduler: with certificates, with wrong ones, and where there is none."""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
from distributed import LocalCluster, Security
from PIL import Image

from microcalc import cli
from microcalc.errors import ClusterError, InputError
from microcalc.execution import connection
from microcalc.execution.connection import connected, scheduler_address

_LOCAL = {"n_workers": 0, "processes": False, "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
_NAMES = ("ca-file", "client.cert", "client.key")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory, judge: Callable[[str], str]) -> Path:
    """Folder of two certificates that sign themselves, with their keys, and of a file that is none."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ours", "other"):
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([judge("openssl"), "req", "-x509", *kind, *files], cwd=folder, check=True, capture_output=True)
    (folder / "notes.pem").write_text("not a certificate")
    return folder


@pytest.fixture(scope="module")
def with_tls(certificates: Path) -> Iterator[str]:
    """Address of a scheduler that speaks TLS."""
    files = {"ca_file": "ours.pem", "scheduler_cert": "ours.pem", "scheduler_key": "ours.key"}
    files |= {"client_cert": "ours.pem", "client_key": "ours.key"}  # of the cluster's own connection
    security = Security(**{f"tls_{name}": str(certificates / file) for name, file in files.items()})
    with LocalCluster(protocol="tls", security=security, **_LOCAL) as made:
        yield made.scheduler_address


@pytest.fixture(scope="module")
def without_tls() -> Iterator[str]:
    """Address of a scheduler that does not."""
    with LocalCluster(protocol="tcp://", host="127.0.0.1", **_LOCAL) as made:
        yield made.scheduler_address


def _configured(folder: Path, *names: str) -> Any:
    """Set the certificates of Dask's configuration for a block."""
    entries = zip(_NAMES, names, strict=True)
    return dask.config.set({f"distributed.comm.tls.{entry}": str(folder / name) for entry, name in entries})


def _try(address: str) -> None:
    with connected(address, deaths=7) as client:
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 7


def test_a_scheduler_is_reached_with_the_certificates_of_dasks_configuration(with_tls: str, certificates: Path) -> None:
    with _configured(certificates, "ours.pem", "ours.pem", "ours.key"):
        _try(with_tls)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("absent.pem", "ours.pem", "ours.key"), r"^absent\.pem: no such file, expected the ca-file of"),
        (("ours.pem", "ours.pem", "absent.key"), r"^absent\.key: no such file, expected the client\.key of"),
        (("notes.pem", "ours.pem", "ours.key"), "certificates cannot be used"),
        (("ours.pem", "notes.pem", "ours.key"), "certificates cannot be used"),
        (("ours.pem", "ours.pem", "other.key"), "certificates cannot be used.*key values mismatch"),
        (("other.pem", "ours.pem", "ours.key"), "no connection.*certificate verify failed.*the same certificates"),
        (("ours.pem", "other.pem", "other.key"), "no connection.*expected one that runs and trusts"),
    ],
)
def test_certificates_that_do_not_fit_are_one_error_in_words(
    names: tuple[str, ...], found: str, with_tls: str, certificates: Path
) -> None:
    with _configured(certificates, *names), pytest.raises((InputError, ClusterError), match=found) as error:
        _try(with_tls)
    assert str(certificates) not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_scheduler_is_not_reached_in_the_other_way(with_tls: str, without_tls: str) -> None:
    _try(without_tls)
    with pytest.raises(ClusterError, match="no connection to a Dask scheduler"):
        _try(with_tls.replace("tls://", "tcp://"))
    with pytest.raises(InputError, match=r"no certificates, expected ca-file, client\.cert and client\.key of"):
        _try(with_tls)
    required = dask.config.set({"distributed.comm.require-encryption": True})
    with required, pytest.raises(ClusterError, match="encryption required"):
        _try(without_tls)


def test_a_command_that_finds_no_scheduler_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_CONNECT_S", 0.2)
    Image.fromarray(np.zeros((260, 200), dtype=np.uint8)).save(tmp_path / "i.png")
    detect = ["detect", str(tmp_path / "i.png"), "--intent", "processed", "--pixel-spacing", "0.2", "--model", "log"]
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        for scheme, found in (("tcp", "(nothing listens there), expected one that runs"), ("tls", "no certificates")):
            assert cli.run([*detect, "--out", str(tmp_path / "out"), "--cluster", f"{scheme}://{address}"]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert found in line
            assert not (tmp_path / "out").exists()


def test_a_refused_connection_is_told_from_silence_though_the_last_try_ran_out_of_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def late(*_: object) -> None:
        raise OSError("timed out") from TimeoutError()

    monkeypatch.setattr(connection, "_versions_at", late)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ClusterError, match=r"\(nothing listens there\)"):
            _try(f"tcp://127.0.0.1:{bound.getsockname()[1]}")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ClusterError, match=r"\(no answer\)"):
        _try(f"tcp://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", None], ids=["a web server", "silence"])
def test_what_listens_and_is_no_scheduler_is_one_error(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_CONNECT_S", 0.3)
    monkeypatch.setattr(connection, "_CLOSE_S", 0.3)

    def serve() -> None:
        with listening.accept()[0] as caller:
            if answer is not None:
                caller.sendall(answer)
            ended.wait(20)

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ClusterError, match="no connection to a Dask scheduler"):
            _try(f"tcp://127.0.0.1:{listening.getsockname()[1]}")
        ended.set()


@pytest.mark.parametrize(
    ("package", "python", "expected"),
    [("2020.1", "", r"Dask 2020\.1 in Python .* as here"), ("", "4.7.1.final.0", r"Dask .* in Python 4\.7 as here")],
)
def test_a_scheduler_with_another_dask_or_python_is_refused_before_it_is_sent_anything(
    package: str, python: str, expected: str, without_tls: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = distributed.versions.get_versions()
    here["packages"]["distributed"] = package or here["packages"]["distributed"]
    here["host"]["python"] = python or here["host"]["python"]
    monkeypatch.setattr("distributed.versions.get_versions", lambda: here)
    monkeypatch.setattr(connection, "_client", lambda _: pytest.fail("a client was made"))
    with pytest.raises(
        ClusterError, match=rf"^{without_tls}: the scheduler has Dask .* in Python .*, expected {expected}"
    ):
        _try(without_tls)


@pytest.mark.parametrize("given", ["tcp://host", "tcp://host:", "tcp://host:x", "tcp://host:0", "tcp://host:65536",
                                   "tcp://:8786", "tcp://a b:1", "http://host:8787", "tls://host:1/path"])  # fmt: skip
def test_an_address_has_a_host_and_a_port(given: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no address of a scheduler, expected tcp://HOST:PORT"):
        scheduler_address(given)
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"address": "{given}"}}')
    with pytest.raises(InputError, match=r"scheduler\.json: states no address of a scheduler"):
        scheduler_address(str(file))


@pytest.mark.parametrize("given", ["tcp://host:8786", "tls://10.0.0.1:1", "tcp://[fe80::1%eth0]:65535"])
def test_an_address_is_returned_as_it_is(given: str, tmp_path: Path) -> None:
    assert scheduler_address(given) == given
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"address": "{given}"}}')
    assert scheduler_address(str(file)) == given
