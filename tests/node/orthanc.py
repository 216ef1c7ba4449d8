"""A real archive: Orthanc with its DICOMweb plugin, on loopback, ended with its context."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from tests.node.nodes import free_port, wait_until

_PLACES = ("/usr/sbin/Orthanc", "/usr/bin/Orthanc", "/usr/local/sbin/Orthanc")
_PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/local/share/orthanc/plugins"))


@dataclass(frozen=True)
class Orthanc:
    """A running one: its ports, and the name under which it knows the node."""

    http_port: int
    dicom_port: int

    @property
    def dicomweb(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def ask(self, path: str, body: object = None, *, raw: bytes | None = None) -> Any:
        """GET, or POST of JSON or bytes; the JSON of the answer."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}", data=data)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

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
        url = f"http://127.0.0.1:{self.http_port}/instances/{found['ID']}/file"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return dcmread(BytesIO(answer.read()))


def _missing(reason: str) -> None:
    if os.environ.get("MICROCALC_JUDGES") == "required":
        pytest.fail(f"{reason}, and MICROCALC_JUDGES=required")
    pytest.skip(reason)


@contextmanager
def running_orthanc(folder: Path, node_port: int) -> Iterator[Orthanc]:
    """Skips where Orthanc or its plugin is not installed, as the judges of ``tests/conftest.py`` do."""
    binary = shutil.which("Orthanc") or next((place for place in _PLACES if Path(place).is_file()), None)
    plugin = next((f for p in _PLUGINS if p.is_dir() for f in sorted(p.glob("libOrthancDicomWeb.so*"))), None)
    if binary is None or plugin is None:
        _missing("Orthanc with its DICOMweb plugin is not installed")
    folder.mkdir()
    orthanc = Orthanc(free_port(), free_port())
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
                "AuthenticationEnabled": False,
                "RemoteAccessAllowed": False,
                "DicomModalities": {"node": ["MICROCALC", "127.0.0.1", node_port]},
                "DicomWeb": {"Enable": True},
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
        process.wait(30)


def _answers(orthanc: Orthanc) -> bool:
    try:
        return bool(orthanc.ask("/system"))
    except OSError:
        return False
