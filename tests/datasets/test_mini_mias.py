"""mini-MIAS's quirks, in small folders of its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.datasets.public_sets import run_table

from microcalc.datasets.mini_mias import LICENCE, read_mini_mias
from microcalc.datasets.open import open_row
from microcalc.datasets.table_files import read_table
from microcalc.errors import TableError

_INFO = """INFORMATION:

1st column: MIAS database reference number.

mdb001 G CIRC B 535 425 197
mdb002 F CALC M 100 200 30
mdb002 F CALC M 300 1000 0
mdb003 D NORM
mdb004 D CALC B *NOTE 3*
mdb005 F CIRC B *NOTE 3*
"""


def _write_film(folder: Path, name: str, shape: tuple[int, int] = (1024, 1024)) -> None:
    values = np.zeros(shape, dtype=np.uint8)
    values[:, :3] = int(name[3:6])
    Image.fromarray(values).save(folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mias")
    for n in range(1, 6):
        _write_film(root, f"mdb{n:03d}.pgm")
    (root / "Info.txt").write_text(_INFO)
    return root


def test_rows_count_from_the_top_and_columns_of_info_from_the_bottom(folder: Path) -> None:
    found = read_mini_mias(folder)
    assert [(i.image, i.patient, i.laterality, i.tags) for i in found.table.images] == [
        ("mdb001", "mias-001", "R", "film glandular CIRC benign"),
        ("mdb002", "mias-001", "L", "film fatty CALC malignant"),
        ("mdb003", "mias-002", "R", "film dense NORM"),
        ("mdb005", "mias-003", "R", "film fatty CIRC benign"),
    ]
    wide, point = found.table.annotations
    assert (wide.image, wide.kind, wide.judge) == ("mdb002", "calcification_region", "MIAS")
    assert (wide.row, wide.column) == pytest.approx((1023 - 200, 100))
    assert np.allclose(np.hypot(*(np.array(wide.outline) - (823, 100)).T), 30)
    assert (point.row, point.column) == pytest.approx((23, 300))


def test_a_film_with_calcifications_without_a_place_is_left_out_and_named(folder: Path) -> None:
    found = read_mini_mias(folder)
    assert found.problems == ()
    assert found.notes[1] == "calcifications all over, without a place; left out: mdb004"


def test_a_portable_grey_map_is_read_as_a_processed_image_of_film(folder: Path) -> None:
    found = read_mini_mias(folder)
    mammogram = open_row(found.table.images[0])
    assert (mammogram.intent, mammogram.spacing_mm) == ("processed", (0.2, 0.2))
    assert (mammogram.pixels[0, 0], mammogram.pixels[0, 3]) == (1.0, 0.0)
    assert found.notes[0].startswith("digitised film: taken for processed images")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mdb001 X CIRC B 535 425 197", "Info.txt line 1: 'mdb001 X CIRC B 535 425 197', expected 'mdb001 G CIRC"),
        ("mdb001 G CIRC B 535 425", "Info.txt line 1: 'mdb001 G CIRC B 535 425', expected"),
        ("nothing", "Info.txt: no line such as 'mdb001 G CIRC B 535 425 197', expected some"),
    ],
)
def test_another_layout_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "Info.txt").write_text(line)
    with pytest.raises(TableError) as caught:
        read_mini_mias(tmp_path)
    assert str(caught.value).startswith(message)


def test_films_of_another_size_or_not_listed_and_lines_without_a_film_are_named(tmp_path: Path) -> None:
    (tmp_path / "info.txt").write_text("mdb001 G NORM\nmdb002 G NORM\nmdb003 G CALC B 900 3000 5\nmdb009 G NORM\n")
    _write_film(tmp_path, "mdb001.png")
    _write_film(tmp_path, "mdb002.pgm", (1000, 1024))
    _write_film(tmp_path, "mdb003.pgm")
    _write_film(tmp_path, "mdb011.pgm")
    assert read_mini_mias(tmp_path).problems == (
        "mdb002.pgm: 1000 x 1024 pixels, expected 1024 x 1024",
        "mdb003.pgm: info.txt line 3: row -1977, column 905 lies outside the image of 1024 x 1024 pixels",
        "mdb011.pgm: not in info.txt, expected an image that it lists",
        "info.txt lists images that are not there: mdb009",
    )


def test_the_command_writes_the_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table("mini-mias", folder, "--out", tmp_path / "table") == 0
    assert LICENCE in capsys.readouterr().out.replace("\n", " ")
    assert len(read_table(tmp_path / "table").images) == 4
    assert run_table("mini-mias", tmp_path / "table", "--out", tmp_path / "other") == 2
    assert "table: no Info.txt (found annotations.csv, images.csv), expected one" in capsys.readouterr().err
