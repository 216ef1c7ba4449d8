"""The files for a service and the page about the node say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from microcalc.node.settings import DicomDestination, DicomWebDestination, NodeSettings, Tls, load_settings

_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = _ROOT / "deploy" / "node.toml"
_PAGE = (_ROOT / "docs" / "how-to" / "pacs.md").read_text(encoding="utf-8")


def test_the_example_is_valid_as_it_stands() -> None:
    assert load_settings(_EXAMPLE).listen.calling_ae_titles == ("ORTHANC",)


def test_what_the_example_comments_out_is_what_counts_without_it(tmp_path: Path) -> None:
    text = _EXAMPLE.read_text(encoding="utf-8")
    text = re.sub(r"^# \[.*?\n\n", "", text, flags=re.MULTILINE | re.DOTALL)  # whole tables: TLS, STOW-RS
    (tmp_path / "node.toml").write_text(re.sub(r"^# (?=\w+ = (?!\"raw\"))", "", text, flags=re.MULTILINE))
    assert load_settings(tmp_path / "node.toml") == load_settings(_EXAMPLE)
    assert "\nmax_associations = 8" in (tmp_path / "node.toml").read_text()


def test_the_example_names_every_setting() -> None:
    text = _EXAMPLE.read_text(encoding="utf-8")
    parts: list[type[BaseModel]] = [Tls, DicomDestination, DicomWebDestination]
    parts += [f.annotation for f in NodeSettings.model_fields.values() if isinstance(f.annotation, type)]
    assert len(parts) == 8
    for name in {name for part in parts for name in part.model_fields}:
        assert re.search(rf"^(# )?({name} = |\[\w+\.{name}\])", text, re.MULTILINE), name


def test_the_pages_settings_are_valid(tmp_path: Path) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", _PAGE, re.DOTALL)
    (tmp_path / "node.toml").write_text(toml)
    assert load_settings(tmp_path / "node.toml").report.wait_s == 5.0


def test_the_page_names_every_metric(tmp_path: Path) -> None:
    from microcalc.node.files import Folder
    from microcalc.node.health import Metrics
    from microcalc.node.jobs import JobQueue
    from microcalc.node.server import Refusals

    queue = JobQueue(tmp_path / "queue.sqlite")
    metrics = Metrics(queue, Folder(tmp_path), refusals=Refusals().counts, restarts=lambda: 0)
    made = {f.name + "_total" * (f.type == "counter") for f in metrics.registry.collect()}
    queue.close()
    assert set(re.findall(r"`(microcalc_\w+?)(?:\{\w+\})?`", _PAGE)) == made
    for reason in Refusals.REASONS:
        assert reason in _PAGE


@pytest.mark.parametrize("name", ["node.toml", "microcalc-node.service", "Dockerfile"])
def test_the_page_links_what_is_shipped(name: str) -> None:
    assert f"](../../deploy/{name})" in _PAGE
    assert (_ROOT / "deploy" / name).is_file()
