"""An archive, and a node that sends to it."""

from __future__ import annotations

import gc
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.node.nodes import Archive, settings

from microcalc.node.service import Node


@pytest.fixture(autouse=True, scope="session")
def one_thread_a_worker() -> Iterator[None]:
    """Tests run beside each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with Archive() as running:
        yield running


@pytest.fixture(scope="module")
def node(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Reports an exam as soon as its images are analysed."""
    folder: Path = tmp_path_factory.mktemp("node")
    with Node(settings(folder, archive.port)) as running:
        yield running


@pytest.fixture(autouse=True)
def sockets_of_the_library() -> Iterator[None]:
    """pynetdicom leaves the sockets of connections that failed to the garbage collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory, judge: Callable[[str], str]) -> Path:
    """ca.pem, and node, sender, archive and stranger with keys; only the stranger's is its own."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words: str) -> None:
        subprocess.run([judge("openssl"), *words], cwd=folder, check=True, capture_output=True)

    def own(name: str) -> None:
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip

    own("ca")
    own("stranger")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("node", "sender", "archive"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder
