"""Whatever a command writes to: a folder of the input, of another command or of a user's own stays as it is."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microcalc import cli
from microcalc.storage.ownership import open_output_folder

_TABLE = "image,file,patient,intent,row_spacing_mm,column_spacing_mm,split\na,a.png,P,processed,0.1,0.1,test\n"
_TRUTH = "image,row,column,kind\na,250,100,microcalcification\n"
_MARKS = "image,row,column,likelihood\na,250,100,0.5\n"

_COMMANDS: dict[str, list[str]] = {
    "detect": ["detect", "IN", "--model", "log"],
    "detect a file": ["detect", "IN/a.png", "--model", "log", "--pixel-spacing", "0.1", "--intent", "processed"],
    "review": ["review", "IN", "--model", "log"],
    "review --take": ["review", "IN", "--take", "IN/images.csv"],
    "evaluate": ["evaluate", "IN/marks.csv", "--truth", "IN", "--resamples", "2"],
    "roc": ["roc", "--model", "processed", "--truth", "IN", "--resamples", "2"],
    "demo": ["demo"],
    "simulate": ["simulate", "--system", "siemens", "--view", "CC", "--laterality", "L", "--workers", "1"],
    "simulate --verify": ["simulate", "--verify", "--quick", "--system", "siemens"],
    "insert": ["insert", "IN", "--clusters", "1"],
    "train": ["train", "--recipe", "processed", "--data", "IN"],
    "operating-points": ["operating-points", "processed", "--data", "IN"],
    "study": ["study", "--scale", "smoke", "--data", "IN", "--intent", "processed"],
    "view": ["view", "IN", "--judge", "A. Reader"],
    "table cdd-cesm": ["table", "cdd-cesm", "IN"],
    "table points": ["table", "points", "IN/annotations.csv", "--images", "IN"],
    "table coco": ["table", "coco", "IN/a.json", "--images", "IN"],
    "table sr": ["table", "sr", "IN/a.dcm", "--images", "IN"],
    "table export": ["table", "export", "IN", "--to", "coco"],
}
"""Every command with --out, as it is given; IN is the folder of the input."""


def _input(folder: Path) -> Path:
    """A table with a picture, its truth and a detector's marks: an input of every command that has one."""
    folder.mkdir()
    (folder / "a.png").write_bytes(_png())
    for name, text in (("images.csv", _TABLE), ("annotations.csv", _TRUTH), ("marks.csv", _MARKS)):
        (folder / name).write_text(text)
    return folder


@functools.cache
def _png() -> bytes:
    rows, columns = np.mgrid[:500, :400]
    pixels = np.where(np.hypot(rows - 250, columns) < 220, 140 - columns / 10, 0).astype(np.uint8)
    content = BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def _of_the_input(folder: Path) -> Path:
    return folder / "IN"


def _of_a_user(folder: Path) -> Path:
    (folder / "mine" / "report").mkdir(parents=True)
    (folder / "mine" / "models").mkdir()
    for name in ("letter.txt", "images.csv", "a.json", "a.png", "report/index.md", "models/model.json"):
        (folder / "mine" / name).write_text("mine")
    return folder / "mine"


def _of_another_command(folder: Path) -> Path:
    open_output_folder(folder / "other", "some other command")
    (folder / "other" / "a.json").write_text("{}")
    return folder / "other"


@pytest.mark.parametrize("owner", [_of_the_input, _of_a_user, _of_another_command])
@pytest.mark.parametrize("command", _COMMANDS)
def test_a_folder_that_is_not_the_commands_own_stays_as_it_is(
    tmp_path: Path, command: str, owner: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = _input(tmp_path / "IN")
    out = owner(tmp_path)
    before = _tree(tmp_path)
    words = [word.replace("IN", str(source)) if word.startswith("IN") else word for word in _COMMANDS[command]]
    assert cli.run([*words, "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.out == ""  # before any work
    assert said.err.startswith(f"microcalc: {out.name}: ")
    assert said.err.count("\n") == 1
    assert _tree(tmp_path) == before


def test_a_card_is_written_into_a_run_of_ours_alone_and_never_over_what_it_is_made_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "run" / "model" / "MODEL_CARD.md"
    card.parent.mkdir(parents=True)
    card.write_text("mine")
    assert cli.run(["card", "--run", str(tmp_path / "run"), "--figures", str(card)]) == 2
    assert "run: not a folder made by microcalc train" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    open_output_folder(tmp_path / "other" / "run", "train")
    (tmp_path / "run" / "model").rename(tmp_path / "other" / "run" / "model")
    card = tmp_path / "other" / "run" / "model" / "MODEL_CARD.md"
    assert cli.run(["card", "--run", str(card.parent.parent), "--figures", str(card)]) == 2
    assert "MODEL_CARD.md: is an input and would be overwritten" in capsys.readouterr().err
    assert card.read_text() == "mine"


def test_every_command_with_an_output_folder_is_asked() -> None:
    with_out = {name for name in cli.app if not name.startswith("-") and name != "table" and "out" in _parameters(name)}
    assert with_out == {words.split()[0] for words in _COMMANDS} - {"table"}


def _parameters(name: str) -> set[str]:
    import inspect

    command = cli.app[name].default_command
    return set(inspect.signature(command).parameters) if command is not None else set()


def _tree(folder: Path) -> dict[str, str]:
    """Every file and folder, hidden ones too, with the SHA-256 of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
    }
