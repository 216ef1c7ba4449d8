"""What every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("microcalc", deadline=None)  # no test asserts a time
settings.load_profile("microcalc")

pytest_plugins = ["tests.dicom.fixtures"]

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


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
