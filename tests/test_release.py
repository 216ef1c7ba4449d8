"""What a release consists of: one version, a changelog and a citation that follow it, and packages without surplus."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

import microcalc

_ROOT: Final = Path(__file__).resolve().parents[1]


def _text(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_in_one_place_and_the_project_reads_it_there() -> None:
    project = tomllib.loads(_text("pyproject.toml"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/microcalc/__init__.py"
    files = [f for f in (_ROOT / "src").rglob("*.py") if re.search(r"^__version__ = ", f.read_text(), re.MULTILINE)]
    assert [f.relative_to(_ROOT).as_posix() for f in files] == ["src/microcalc/__init__.py"]


def test_the_bill_of_materials_states_this_version() -> None:
    done = subprocess.run(["make", "--dry-run", "sbom"], cwd=_ROOT, capture_output=True, text=True, check=True)
    script = re.search(r"sed '(.+)' pyproject.toml > build/pyproject.toml", done.stdout)
    assert script is not None
    made = subprocess.run(["sed", script[1], "pyproject.toml"], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert tomllib.loads(made.stdout)["project"]["version"] == microcalc.__version__
    assert "--pyproject build/pyproject.toml" in done.stdout


def test_the_citation_is_of_this_version_and_has_the_entries_that_the_format_requires() -> None:
    citation = dict(re.findall(r"^([a-z-]+):[ \n]*(.*)$", _text("CITATION.cff"), re.MULTILINE))
    assert citation["version"] == microcalc.__version__
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()
    assert citation["license"] == "Apache-2.0"


def test_the_changelog_names_this_version_or_what_is_to_be_released() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", _text("CHANGELOG.md"), re.MULTILINE)
    versions = [name for name, _ in headings]
    assert versions[0] in ("Unreleased", microcalc.__version__)
    released = [(name, date) for name, date in headings if name != "Unreleased"]
    assert all(date for _, date in released), "a released version has its date"
    if released:  # the newest release, or the one that is being prepared, is the version of the code
        assert released[0][0] == microcalc.__version__


def test_the_changelog_uses_the_sections_of_its_format() -> None:
    sections = set(re.findall(r"^### (.+)$", _text("CHANGELOG.md"), re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_wheel_holds_nothing_large_but_the_weights() -> None:
    package = _ROOT / "src" / "microcalc"
    large = [
        f for f in package.rglob("*") if f.is_file() and f.stat().st_size > 300_000 and "__pycache__" not in f.parts
    ]
    assert {f.parent.parent.name for f in large if f.name != "openseadragon.min.js"} <= {"models"}, large


def test_every_extra_is_named_in_the_readme() -> None:
    extras = tomllib.loads(_text("pyproject.toml"))["project"]["optional-dependencies"]
    for extra in extras.keys() - {"dev"}:
        assert f"| `{extra}` |" in _text("README.md"), extra


def test_the_wheel_holds_the_bill_of_materials_that_the_makefile_writes() -> None:
    hook = re.search(r'^SBOM = "(.+)"$', _text("hatch_build.py"), re.MULTILINE)
    assert hook is not None
    done = subprocess.run(["make", "--dry-run", "dist"], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.index(f"--output-file {hook[1]}") < done.stdout.index("-m build ")


def test_the_release_is_published_by_trusted_publishing_and_from_what_was_tested() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(_text(".github/workflows/release.yml"))["jobs"]
    assert any(".ci/run" in step.get("run", "") for step in jobs["build"]["steps"])
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert not re.search(r"secrets\.|password", _text(".github/workflows/release.yml").split("jobs:")[1])


def test_the_makefile_knows_every_extra_that_users_install() -> None:
    listed = re.search(r"^EVERY_EXTRA := (\S+)$", _text("Makefile"), re.MULTILINE)
    assert listed is not None
    extras = tomllib.loads(_text("pyproject.toml"))["project"]["optional-dependencies"].keys()
    assert set(listed[1].split(",")) == extras - {"dev", "docs"}
