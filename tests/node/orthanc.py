"""A real archive: Orthanc with its DICOMweb plugin, on loopback, ended with its context."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from tests.node.nodes import free_port
from tests.waiting import PATIENCE_S, wait_until

USER = "microcalc"
_PLACES = ("/usr/sbin/Orthanc", "/usr/bin/Orthanc", "/usr/local/sbin/Orthanc")
_PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/local/share/orthanc/plugins"))


@dataclass(frozen=True)
class Orthanc:
    """A running one: its ports, and the name under which it knows the node."""

    http_port: int
    dicom_port: int
    password: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def ask(self, path: str, body: object = None, *, raw: bytes | None = None) -> Any:
        """GET, or POST of JSON or bytes; the JSON of the answer."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        return json.loads(self._get(path, data) or b"null")

    def _get(self, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", data=data)
        if self.password is not None:
            word = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {word}")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return bytes(answer.read())

    def upload(self, files: Sequence[Path]) -> list[str]:
        """Its names of the instances."""
        return [self.ask("/instances", raw=file.read_bytes())["ID"] for file in files]

    def send_to_node(self, instances: Sequence[str]) -> Any:
        return self.ask("/modalities/node/store", {"Resources": list(instances), "Synchronous": True})

    def reports(self, study: str) -> list[str]:
        """SOP Instance UIDs of a study's structured reports, by QIDO-RS."""
        found = self.ask(f"/dicom-web/studies/{study}/instances?Modality=SR") or []
        return [str(instance["00080018"]["Value"][0]) for instance in found]

    def data_set(self, uid: str) -> Dataset:
        """An instance, by its SOP Instance UID."""
        (found,) = self.ask("/tools/lookup", raw=uid.encode())
        return dcmread(BytesIO(self._get(f"/instances/{found['ID']}/file")))


def _missing(reason: str) -> None:
    if os.environ.get("MICROCALC_JUDGES") == "required":
        pytest.fail(f"{reason}, and MICROCALC_JUDGES=required")
    pytest.skip(reason)


@contextmanager
def running_orthanc(folder: Path, node_port: int, *, password: str | None = None) -> Iterator[Orthanc]:
    """Skips where Orthanc or its plugin is not installed, as the judges of ``tests/conftest.py`` do.

    With a password it asks for it.
    """
    binary = shutil.which("Orthanc") or next((place for place in _PLACES if Path(place).is_file()), None)
    plugin = next((f for p in _PLUGINS if p.is_dir() for f in sorted(p.glob("libOrthancDicomWeb.so*"))), None)
    if binary is None or plugin is None:
        _missing("Orthanc with its DICOMweb plugin is not installed")
    folder.mkdir()
    orthanc = Orthanc(free_port(), free_port(), password)
    closed: dict[str, object] = {"AuthenticationEnabled": password is not None}
    if password is not None:
        closed["RegisteredUsers"] = {USER: password}
    config = folder / "orthanc.json"
    config.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "Plugins": [str(plugin)],
                "HttpPort": orthanc.http_port,
                "DicomPort": orthanc.dicom_port,
                "DicomAet": "ORTHANC",
                "DicomScuTimeout": int(PATIENCE_S),
                "DicomScpTimeout": int(PATIENCE_S),
                "RemoteAccessAllowed": False,
                "DicomModalities": {"node": ["MICROCALC", "127.0.0.1", node_port]},
                "DicomWeb": {"Enable": True},
                **closed,
            }
        )
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(binary), str(config)], stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(orthanc))
        yield orthanc
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _answers(orthanc: Orthanc) -> bool:
    try:
        return bool(orthanc.ask("/system"))
    except OSError:
        return False


@contextmanager
def https_before(port: int, certificates: Path) -> Iterator[int]:
    """A proxy that speaks HTTPS before a server's HTTP, as archives are run; its port.

    (Orthanc 1.10.1 of Debian 12 ends with a segmentation fault at the first HTTPS request that it gets itself.)
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "archive.pem", certificates / "archive.key")
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, to = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, to), pump(behind, writer))

    server = loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
