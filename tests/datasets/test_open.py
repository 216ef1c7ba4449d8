"""Tables are held against the files that they list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microcalc import cli
from microcalc.datasets.open import identified_table, open_table
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import write_table
from microcalc.errors import TableError
from microcalc.storage.key import file_sha256


def _picture(file: Path, *, shape: tuple[int, int] = (80, 100)) -> ImageRow:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, len(file.name), dtype=np.uint8)).save(file)
    return ImageRow(file.stem, file, "processed", (0.1, 0.1))


def _table(folder: Path, *places: tuple[float, float]) -> Path:
    row = _picture(folder / "a.png")
    write_table(Table((row,), tuple(AnnotationRow("a", r, c) for r, c in places)), folder)
    return folder


def test_a_place_outside_its_file_s_image_is_refused_with_its_line(tmp_path: Path) -> None:
    assert len(open_table(_table(tmp_path, (79, 99), (0, 0))).annotations) == 2
    with pytest.raises(TableError, match=r"annotations\.csv line 3: row 80, column 1 lies outside image 'a'"):
        open_table(_table(tmp_path, (79, 99), (80, 1)))


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "D", "--truth", "T"],
        ["roc", "--model", "processed", "--truth", "T"],
        ["insert", "T", "--seed", "1"],
        ["review", "T"],
        ["train", "--recipe", "processed", "--data", "T"],
        ["study", "--scale", "smoke", "--data", "T"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_that_opens_a_table_refuses_a_place_outside(
    tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    table = _table(tmp_path / "t", (5000, 3000))
    (tmp_path / "d").mkdir()
    paths = {"T": str(table), "D": str(tmp_path / "d")}
    assert cli.run([paths.get(word, word) for word in command] + ["--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "t/annotations.csv line 2: row 5000, column 3000 lies outside image 'a' of 80 x 100 pixels" in error
    assert not (tmp_path / "out").exists()


def test_an_image_that_is_not_there_or_no_image_is_left_to_who_opens_it(tmp_path: Path) -> None:
    table = _table(tmp_path, (5000, 3000))
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert open_table(table).images[0].shape is None
    (tmp_path / "a.png").unlink()
    assert open_table(table).images[0].shape is None


def test_pictures_are_identified_by_their_content_and_size(tmp_path: Path) -> None:
    table = identified_table(Table((_picture(tmp_path / "a.png"),)))
    assert table.images[0].shape == (80, 100)
    assert table.images[0].sha256 == file_sha256(tmp_path / "a.png")


def test_a_table_that_says_another_size_than_the_file_is_refused(tmp_path: Path) -> None:
    row = replace(_picture(tmp_path / "a.png"), rows=100, columns=80)
    with pytest.raises(TableError, match=r"a\.png: 80 x 100 pixels, expected 100 x 80 as in the table"):
        identified_table(Table((row,)))


def test_one_file_copied_under_two_names_is_one_image(tmp_path: Path) -> None:
    one, two = _picture(tmp_path / "x" / "a.png"), replace(_picture(tmp_path / "y" / "a.png"), image="b")
    with pytest.raises(TableError, match="images 'a' and 'b' have one content"):
        identified_table(Table((one, two)))
