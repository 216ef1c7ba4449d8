"""Bad input of a benchmark ends in one line before any work, as that of the command does."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import benchmarks
import pytest
from benchmarks import engines
from benchmarks.__main__ import NAMES

FOLDER = Path(benchmarks.__file__).parent
_FOLDS = ["folds", "TABLE", "--recipe", "processed", "--out", "OUT"]
BAD = {  # what is wrong, by the call
    "folds: table": (_FOLDS, "TABLE"),
    "folds: recipe": ([*_FOLDS, "--recipe", "no-recipe"], "no recipe"),
    "folds: model to go on from": ([*_FOLDS, "--from", "no-model"], "no-model"),
    "folds: model to compare": ([*_FOLDS, "--compare", "no-model"], "no-model"),
    "folds: model of the other intent": ([*_FOLDS, "--compare", "raw"], "raw: a model for raw images"),
    "kinds": (["kinds", "TABLE", "RESULTS"], "TABLE"),
    "near_calcium": (["near_calcium", "TABLE", "--model", "raw"], "TABLE"),
    "peers": (["peers", "TABLE"], "TABLE"),
    "tables": (["tables", "--measure", "TABLE"], "TABLE"),
    "folder": (["folder", "TABLE"], "TABLE"),
    "headers": (["headers", "TABLE"], "TABLE"),
    "cascade: table": (["cascade", "--data", "TABLE"], "TABLE"),
    "cascade: model": (["cascade", "--model", "no-model"], "no-model"),
    "detect: model": (["detect", "--model", "no-model"], "no-model"),
    "node: model": (["node", "throughput", "--model", "no-model"], "no-model"),
    "node: folder": (["node", "disc"], "disc"),
    "cascade: size": (["cascade", "--scale", "nan"], "argument --scale: 'nan', expected a number above 0"),
    "engines: seconds": (["engines", "torture", "--sleep", "-1"], "argument --sleep: '-1', expected a number above 0"),
    "engines: images": (["engines", "disk", "--images", "0"], "argument --images: '0', expected a whole number of 1"),
    "folds: missing option": (["folds", "TABLE"], "the following arguments are required: --out, --recipe"),
    "gpu: device": (["gpu", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    "engines: no measurement": (["engines"], "the following arguments are required: torture . overhead . disk"),
    "engines: one image": (["engines", "torture", "--images", "1"], "argument --images: '1', expected .* of 2 or more"),
    "engines: another's option": (["engines", "overhead", "--kills", "3"], "unrecognized arguments: --kills 3"),
    "node: measurement": (["node", "kill"], "argument what: invalid choice: 'kill'"),
    "view: kills": (["view", "--kills", "1.5"], "argument --kills: '1.5', expected a whole number of 0 or more"),
} | {f"{name}: option": ([name, "--no-such-option"], "(unrecognized arguments|the following)") for name in NAMES}


def ended(arguments: list[str], monkeypatch: pytest.MonkeyPatch, *, module: str) -> object:
    """Return the exit code of ``python -m``."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    loaded = "benchmarks.__main__" if module == "benchmarks" else module
    monkeypatch.delitem(sys.modules, loaded, raising=False)  # runpy warns of it
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module(module, run_name="__main__")
    return exit_.value.code


def test_every_benchmark_has_a_name_and_starts_in_the_same_way() -> None:
    files = {file.stem: file for file in FOLDER.glob("[a-z]*.py")}
    assert sorted(files) == sorted(NAMES)
    start = 'if __name__ == "__main__":\n    sys.exit(run(main))\n'
    assert [name for name, file in files.items() if not file.read_text(encoding="utf-8").endswith(start)] == []
    assert (FOLDER / "__main__.py").read_text(encoding="utf-8").endswith(start)


@pytest.mark.parametrize("by_name", [False, True], ids=["benchmarks.NAME", "benchmarks NAME"])
@pytest.mark.parametrize(("call", "what"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_before_any_work(
    call: list[str],
    what: str,
    by_name: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *arguments = call
    module = "benchmarks" if by_name else f"benchmarks.{name}"
    assert ended(call if by_name else arguments, monkeypatch, module=module) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(rf"microcalc: {what}.*\n", printed.err)
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_small_file_system_is_mounted_by_root_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert ended(["disk"], monkeypatch, module="benchmarks.engines") == 2
    assert capsys.readouterr().err == "microcalc: disk: not root, expected a user who may mount a small file system\n"


def test_the_task_that_does_nothing_is_not_of_the_module_that_is_run() -> None:
    """Workers of a cluster cannot import what is ``__main__`` here."""
    assert vars(engines)["nothing"].__module__ != engines.__name__


def test_an_unknown_benchmark_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["fold"], monkeypatch, module="benchmarks") == 2
    assert capsys.readouterr().err.startswith("microcalc: fold: no such benchmark, expected detect, ")


def test_the_line_of_a_process_that_a_benchmark_started_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    def main(arguments: Sequence[str]) -> int:
        subprocess.run([sys.executable, "-c", "import sys; sys.exit(2)"], check=True)
        return 0

    assert benchmarks.run(main, []) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("module", "expected"),
    [("torch.cuda", "microcalc[train]"), ("skimage", "pip install scikit-image"), ("no_such", "pip install no_such")],
)
def test_a_library_that_is_missing_is_named_with_what_installs_it(
    module: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(arguments: Sequence[str]) -> int:
        raise ModuleNotFoundError(name=module)

    assert benchmarks.run(main, []) == 2
    assert capsys.readouterr().err == f"microcalc: {module} is not installed, expected {expected}\n"


def test_a_module_of_ours_that_is_missing_is_a_fault_of_the_program() -> None:
    def main(arguments: Sequence[str]) -> int:
        raise ModuleNotFoundError(name="microcalc.absent")

    with pytest.raises(ModuleNotFoundError):
        benchmarks.run(main, [])


def test_a_library_that_a_benchmark_imports_first_may_be_missing_too(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu"]
    done = subprocess.run(
        command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert (done.returncode, done.stderr) == (2, "microcalc: torch is not installed, expected microcalc[train]\n")
