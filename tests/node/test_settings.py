"""A node's settings are strict, and closed to the world where they say nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from microcalc.cli import run
from microcalc.errors import InputError
from microcalc.node.settings import DicomDestination, load_settings
from microcalc.node.worker import _Work

LEAST = """
[storage]
folder = "node"
[listen]
calling_ae_titles = ["PACS"]
[destination]
protocol = "dicom"
ae_title = "PACS"
address = "192.0.2.1"
port = 104
"""


def _file(folder: Path, text: str) -> Path:
    file = folder / "node.toml"
    file.write_text(text)
    return file


def test_what_is_left_out_keeps_the_node_to_this_machine(tmp_path: Path) -> None:
    settings = load_settings(_file(tmp_path, LEAST))
    assert settings.listen.address == settings.health.address == "127.0.0.1"
    assert settings.listen.networks == ("127.0.0.0/8", "::1/128")
    assert settings.storage.folder == tmp_path / "node"
    assert isinstance(settings.destination, DicomDestination)


def test_relative_files_are_counted_from_the_settings(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    tls = '[listen.tls]\ncertificate = "a.pem"\nkey = "/k.pem"\nauthorities = "c.pem"\n[detect]\nmodel = "weights"\n'
    settings = load_settings(_file(tmp_path, LEAST + tls))
    assert settings.listen.tls is not None
    assert settings.listen.tls.certificate == tmp_path / "a.pem"
    assert settings.listen.tls.key == Path("/k.pem")
    assert settings.detect.model == str(tmp_path / "weights")


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("[listen]", "[listen]\ncolour = 1", "unknown entry listen.colour"),
        ('calling_ae_titles = ["PACS"]', "", "missing entry listen.calling_ae_titles"),
        ('calling_ae_titles = ["PACS"]', "calling_ae_titles = []", "listen.calling_ae_titles"),
        ('["PACS"]', '["A TITLE TOO LONG BY FAR"]', "listen.calling_ae_titles.0"),
        ('["PACS"]', '["PACS"]\nnetworks = ["everywhere"]', "listen.networks.0"),
        ("port = 104", "port = 0", "destination.dicom.port"),
        ("port = 104", 'port = "104"', "destination.dicom.port"),
        ('protocol = "dicom"', 'protocol = "fax"', "destination"),
        ("[storage]", "[storage", "not TOML"),
    ],
)
def test_a_fault_is_named_in_one_line_with_exit_code_two(
    before: str, after: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["node", "--config", str(_file(tmp_path, LEAST.replace(before, after, 1)))]) == 2
    error = capsys.readouterr().err
    assert error.startswith("microcalc: node.toml: ")
    assert fault in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[listen.tls]\ncertificate = "a.pem"\nkey = "k.pem"\nauthorities = "c.pem"\n', "a.pem: no such file"),
        ('[detect]\nmodel = "nothing-here"\n', "nothing-here: no such model"),
    ],
)
def test_files_that_are_missing_are_named_before_the_node_listens(
    text: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = "[listen]\nport = 0\n" if "[listen.tls]" not in text else "[listen]\n"
    assert run(["node", "--config", str(_file(tmp_path, LEAST.replace("[listen]\n", free) + text))]) == 2
    assert fault in capsys.readouterr().err


def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for name in [name for name in sys.modules if name.startswith("microcalc.node")]:
        monkeypatch.delitem(sys.modules, name)
    assert run(["node", "--config", str(_file(tmp_path, LEAST))]) == 2
    assert "expected microcalc[node]" in capsys.readouterr().err


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"node\.toml: not readable"):
        load_settings(tmp_path / "node.toml")


def test_the_reports_of_a_node_state_that_benign_findings_are_set_apart_as_those_of_the_command_do() -> None:
    given = {"model": "log", "threads": 1, "intents": ["raw"]}
    assert _Work(given | {"benign": "apart"}).algorithm("raw").parameters == ("benign=apart",)
    assert _Work(given | {"benign": "show"}).algorithm("raw").parameters == ()
