"""The house keeps its shape: imports run one way, and heavy libraries stay where they belong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_HEAVY = ("torch", "onnx", "onnxruntime", "pydicom", "scipy", "matplotlib", "PIL", "joblib", "numpy")
_DETECTING = ("scipy", "contourpy", "onnxruntime", "PIL.ImageDraw")
_TRAINING = ("torch", "onnx", "matplotlib")
_NEED_AN_EXTRA = ("cascade", "cnn", "node", "reports", "study", "training", "validation", "viewer")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_imports_run_one_way() -> None:
    # In a process of its own: import-linter's logging settings would disable every logger that there is.
    code = "from importlinter import cli; raise SystemExit(cli.lint_imports('pyproject.toml', no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_command_loads_nothing_heavy_before_it_is_needed() -> None:
    code = f"import sys, microcalc.cli; print([m for m in {_HEAVY!r} if m in sys.modules])"
    assert _python(code).stdout.strip() == "[]"


def test_workers_find_the_command_without_its_command_line() -> None:
    code = "import sys, microcalc.__main__; print([m for m in ('cyclopts', 'microcalc.cli') if m in sys.modules])"
    assert _python(code).stdout.strip() == "[]"


def test_the_process_that_starts_workers_does_not_load_what_they_need() -> None:
    code = f"import sys, microcalc.batch.run; print([m for m in {_DETECTING!r} if m in sys.modules])"
    assert _python(code).stdout.strip() == "[]"


def test_help_answers_without_loading_anything_heavy() -> None:
    done = _python(
        f"""
import sys
from microcalc.cli import run
code = run(["--help"])
print(*[m for m in {_HEAVY!r} if m in sys.modules], file=sys.stderr)
raise SystemExit(code)
"""
    )
    assert done.returncode == 0, done.stderr
    assert "detect" in done.stdout
    assert done.stderr.split() == []


def test_everything_but_training_works_without_the_extras() -> None:
    package = _ROOT / "src" / "microcalc"
    modules = [
        ".".join(f.relative_to(_ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for f in sorted(package.rglob("*.py"))
        if f.relative_to(package).parts[0] not in (*_NEED_AN_EXTRA, "__main__.py")
    ]
    assert len(modules) > 100
    code = f"""
import importlib, sys
for name in {_TRAINING!r}:
    sys.modules[name] = None
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = _python(code)
    assert done.returncode == 0, done.stderr


def test_the_package_carries_its_recipes_and_tables() -> None:
    package = _ROOT / "src" / "microcalc"
    assert {f.stem for f in (package / "recipes").glob("*.toml")} >= {"raw", "processed"}
    assert (package / "datasets" / "cdd_cesm_splits.csv").is_file()
    assert (package / "py.typed").is_file()
