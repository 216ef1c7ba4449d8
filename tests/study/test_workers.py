from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from microcalc.study.workers import in_processes


def _square(n: int) -> int:
    return n * n


def _stay(file: Path) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(60)


def _fail() -> None:
    raise ValueError("bad")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_piece_is_done_once(workers: int) -> None:
    assert sorted(in_processes([(_square, (n,)) for n in range(5)], workers=workers)) == [0, 1, 4, 9, 16]


def test_no_piece_is_no_work() -> None:
    assert list(in_processes([], workers=2)) == []


def test_an_error_in_a_piece_is_the_callers() -> None:
    with pytest.raises(ValueError, match="bad"):
        list(in_processes([(_fail, ()), (_fail, ())], workers=2))


def test_a_killed_study_leaves_no_process_behind(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from tests.study.test_workers import _stay
from microcalc.study.workers import in_processes
list(in_processes([(_stay, (Path({str(tmp_path)!r}) / str(n),)) for n in range(2)], workers=2))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    files = [tmp_path / "0", tmp_path / "1"]
    _wait_until(lambda: all(f.is_file() and f.read_text() for f in files), seconds=30)
    children = [int(f.read_text()) for f in files]
    parent.kill()
    parent.wait()
    _wait_until(lambda: not any(_runs(pid) for pid in children), seconds=10)


def _wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
