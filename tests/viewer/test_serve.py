"""The running server: what it prints, what it survives, and TLS."""

from __future__ import annotations

import queue
import re
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.viewer.tables import viewer_of, write_images
from tests.waiting import PATIENCE_S

from microcalc import cli
from microcalc.errors import InputError
from microcalc.viewer.serve import Address, serve
from microcalc.viewer.server import Viewer

Start = Callable[..., str]


@pytest.fixture
def viewer(tmp_path: Path) -> Viewer:
    return viewer_of(write_images(tmp_path / "t"))


def _start(viewer: Viewer, address: Address) -> str:
    printed: queue.Queue[str] = queue.Queue()
    options = {"browser": False, "ready": printed.put}
    threading.Thread(target=serve, args=(viewer, address), kwargs=options, daemon=True).start()
    return printed.get(timeout=PATIENCE_S)


def _raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        try:
            connection.sendall(request)
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while data := connection.recv(65536):
                received += data
        except ConnectionError:  # closed in the midst of what we send
            return b""
        return received


def test_the_server_survives_hostile_requests_and_prints_nothing_of_them(
    viewer: Viewer, capfd: pytest.CaptureFixture[str]
) -> None:
    address = _start(viewer, Address())
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{43})/", address)
    assert found is not None
    port, token = int(found[1]), found[2].encode()
    host = b"Host: 127.0.0.1:%d\r\n" % port
    start = b"GET /%s/api/catalogue HTTP/1.1\r\n" % token
    post = b"POST /%s/api/undo HTTP/1.1\r\n" % token + host + b"Content-Type: application/json\r\n"
    hostile = [
        start + host + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
        start + host + b"".join(b"X%d: y\r\n" % n for n in range(5_000)) + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        start + b"\r\n",
        start + host + b"Host: evil\r\n\r\n",
        b"GET /%s/../../etc/passwd HTTP/1.1\r\n" % token + host + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 1000,
        post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        post + b"Content-Length: 99999999999\r\n\r\n{}",
        post + b"Content-Length: 5\r\n\r\n{}",
    ]
    for request in hostile:
        answer = _raw(port, request)
        assert re.match(rb"$|HTTP/1\.1 4\d\d ", answer), (request[:80], answer[:80])
        assert b"root:" not in answer
    with urllib.request.urlopen(f"{address}api/catalogue") as answer:
        assert answer.status == 200
        assert "server" not in answer.headers
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--judge", "A. Reader"], "--judge: has no effect beside a view without --out"),
        (["--out", "OUT"], "--out: annotations need the name of their reader, expected --judge NAME"),
        (["--out", "OUT", "--judge", "a,b"], "--judge 'a,b', expected a name"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0: others could read along"),
        (["--insecure"], "--insecure: has no effect here"),
        (["--port", "70000"], "--port"),
        (["nowhere.dcm", "--intent", "log"], "'log', expected raw"),
    ],
)
def test_a_call_that_cannot_be_carried_out_is_one_line_and_leaves_nothing(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_images(tmp_path / "t")
    assert cli.run(["view", str(table), *(o.replace("OUT", str(tmp_path / "o")) for o in options), "--no-browser"]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert [f.name for f in tmp_path.iterdir()] == ["t"]


def test_a_port_that_is_taken_is_named(viewer: Viewer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127.0.0.1 port {port}: Address already in use"):
            serve(viewer, Address(port=port), browser=False, ready=print)
    with pytest.raises(InputError, match=r"not.a.host port 0: .*expected an address to listen at"):
        serve(viewer, Address("not.a.host"), browser=False, ready=print)


def test_a_certificate_that_is_none_is_named(viewer: Viewer, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    address = Address(certificate=tmp_path / "c.pem", key=tmp_path / "c.pem")
    with pytest.raises(InputError, match="--certificate: cannot be used"):
        serve(viewer, address, browser=False, ready=print)


def test_with_a_certificate_the_server_speaks_tls(viewer: Viewer, tmp_path: Path, judge: Callable[[str], str]) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        judge("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    address = _start(viewer, Address(certificate=certificate, key=key))
    assert address.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(f"{address}api/catalogue", context=context) as answer:
        assert answer.status == 200
