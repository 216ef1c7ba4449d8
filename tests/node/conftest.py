"""An archive, and a node that sends to it."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
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
