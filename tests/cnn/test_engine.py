"""The run-time engine keeps to itself: it neither reports its use nor leaves anything in the user's home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SILENT_ANYWAY = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY")


def test_loading_a_model_leaves_nothing_in_the_users_home_and_says_nothing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _SILENT_ANYWAY}
    environment = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    environment |= {"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    code = "import microcalc; microcalc.load_model('processed')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not list(tmp_path.rglob("*"))
