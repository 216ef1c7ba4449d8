"""What every test may use."""

from __future__ import annotations

import gc
import math
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from microcalc.execution.cores import core_count
from microcalc.execution.memory import keep_what_is_loaded
from microcalc.storage.lock import locked

settings.register_profile(  # no test asserts a time
    "microcalc", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("microcalc")

pytest_plugins = ["tests.dicom.fixtures"]

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_MEMORY = Path("/dev/shm")
_LEAST_MEMORY = 2 << 30  # bytes; the whole suite writes 0.3 GB


def _holds_the_folders_of_tests(folder: Path) -> bool:
    """Return whether programs can be run in a folder, and whether it has room."""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC and shutil.disk_usage(folder).free > _LEAST_MEMORY


# In memory no write waits for the disk, as the package's own do. Workers and other processes inherit it.
if "TMPDIR" not in os.environ and _holds_the_folders_of_tests(_MEMORY):
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None  # what was found before is forgotten


def pytest_configure() -> None:
    """Take interrupts, which a shell has its background jobs ignore; the processes that tests start inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect garbage neither while tests are collected nor later among what is loaded then: all of it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        keep_what_is_loaded()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Start half as many workers again as there are cores: tests wait for processes, sockets and clocks."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else core_count() + core_count() // 2


@pytest.fixture(autouse=True, scope="session")
def one_worker_unless_told() -> Iterator[None]:
    """Commands run in the process of the test unless ``--workers`` says otherwise: each worker imports for a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("microcalc.cli.options.core_count", lambda: 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_lines_of_progress_of_a_slow_machine() -> Iterator[None]:
    """Standard error holds what a command says of its input, however long the command takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("microcalc.cli.log.LINE_INTERVAL_S", math.inf)
        yield


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The cascade's code, compiled for this machine: one process of the tests does it, and the others wait and load it.

    In a fresh checkout each would spend nine seconds on it.
    """
    from tests.cascade.cascades import compile_all

    with locked(tmp_path_factory.getbasetemp().parent / "compiling"):
        compile_all(tmp_path_factory.mktemp("compiling"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real mammograms beside the checkout; skips where it is absent."""
    if not _SHARED.is_dir():
        pytest.skip("the real mammograms (../shared/data) are not on this machine")
    return _SHARED


@pytest.fixture(scope="session")
def judge() -> Callable[[str], str]:
    """``judge("dciodvfy")``: the path of an outside judge; skips where it is not installed.

    With MICROCALC_JUDGES=required a missing judge fails instead.
    """

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None:
            reason = f"{name} is not installed"
            if os.environ.get("MICROCALC_JUDGES") == "required":
                pytest.fail(f"{reason}, and MICROCALC_JUDGES=required")
            pytest.skip(reason)
        return found

    return find
