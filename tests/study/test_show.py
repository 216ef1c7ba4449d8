"""Results are shown where a user looks for them, and nothing of the user's is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from microcalc.errors import InputError
from microcalc.storage.write import write_whole
from microcalc.study import show as show_module
from microcalc.study.show import check_shown, show


def _results(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "model.json").write_text(text)
    return folder


def _shown(target: Path) -> dict[str, str]:
    return {f.relative_to(target).as_posix(): f.read_text() for f in target.rglob("[!.]*") if f.is_file()}


def test_what_is_shown_takes_the_place_of_what_was_shown_before(tmp_path: Path) -> None:
    first = _results(tmp_path / "a", pair="1", cascade="2")
    second = _results(tmp_path / "b", pair="3")
    target = tmp_path / "models"
    show(first, target, only=("pair", "cascade"))
    assert _shown(target) == {"pair/model.json": "1", "cascade/model.json": "2"}
    show(second, target, only=("pair", "cascade"))
    assert _shown(target) == {"pair/model.json": "3"}
    assert not (target / "cascade").exists()


@pytest.mark.parametrize("name", ["my_thesis.bin", "pair/notes.txt", "pair/model.json", "new/deep/file.txt"])
def test_a_file_of_the_users_is_never_lost(tmp_path: Path, name: str) -> None:
    target = tmp_path / "models"
    show(_results(tmp_path / "a", pair="1"), target)
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).write_text("precious")
    with pytest.raises(InputError, match=r"^models: .* was not made by microcalc study"):
        show(_results(tmp_path / "b", pair="2"), target)
    assert (target / name).read_text() == "precious"
    (target / name).unlink()
    if name == "pair/model.json":
        check_shown(target)  # removed by the user: nothing to lose


def test_a_folder_of_the_users_is_never_written_to(tmp_path: Path) -> None:
    target = tmp_path / "models"
    target.mkdir()
    (target / "my_thesis.bin").write_text("precious")
    with pytest.raises(InputError, match=r"^models: holds files that microcalc study did not make"):
        show(_results(tmp_path / "a", pair="1"), target)
    assert [f.name for f in target.iterdir()] == ["my_thesis.bin"]


def test_a_kill_while_results_are_shown_leaves_only_files_that_the_next_start_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "models"
    show(_results(tmp_path / "a", pair="1", cascade="2"), target)
    second = _results(tmp_path / "b", pair="3", no_mining="4")
    written = list[Path]()

    def killed(path: Path, content: bytes) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write_whole(path, content)

    monkeypatch.setattr(show_module, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        show(second, target)
    monkeypatch.undo()
    show(second, target)
    assert _shown(target) == {"pair/model.json": "3", "no_mining/model.json": "4"}
