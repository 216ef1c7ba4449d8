from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from tests.datasets.drawn_tables import tables

from microcalc import extras
from microcalc.cli import run
from microcalc.datasets import columns, parquet, read_columns
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import is_table, read_table, write_table
from microcalc.errors import MissingExtraError, OutputError, TableError
from microcalc.storage.ownership import open_output_folder


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (columns, parquet, read_columns):
        monkeypatch.setattr(module, "BLOCK", 4)


def _image(folder: Path, name: str = "a") -> ImageRow:
    return ImageRow(name, folder / f"{name}.dcm", "raw", (0.1, 0.05), patient=f"00{name}", rows=50, columns=40)


_IMAGES: dict[str, list[Any]] = {
    "image": ["a", "b"],
    "file": ["a.dcm", "b.dcm"],
    "intent": ["raw", "raw"],
    "row_spacing_mm": [0.1, 0.1],
    "column_spacing_mm": [0.1, 0.1],
}
_PLACES: dict[str, list[Any]] = {
    "image": ["a"] * 9,
    "row": [float(n) for n in range(9)],
    "column": [1.0] * 9,
    "kind": ["coarse"] * 9,
}


def _write(folder: Path, images: dict[str, list[Any]] | pa.Table, places: dict[str, list[Any]] | pa.Table) -> None:
    folder.mkdir(exist_ok=True)
    for name, columns_ in (("images", images), ("annotations", places)):
        pq.write_table(columns_ if isinstance(columns_, pa.Table) else pa.table(columns_), folder / f"{name}.parquet")


@given(tables())
@settings(max_examples=30, deadline=None)
def test_a_table_is_the_same_in_csv_and_in_parquet(tmp_path_factory: pytest.TempPathFactory, table: Table) -> None:
    folder = tmp_path_factory.mktemp("forms")
    (folder / "text").mkdir()
    write_table(table, folder / "text")
    read = read_table(folder / "text")
    write_table(read, folder / "columns", form="parquet")
    assert sorted(file.name for file in (folder / "columns").iterdir()) == ["annotations.parquet", "images.parquet"]
    assert is_table(folder / "columns")
    assert is_table(folder / "columns" / "images.parquet")
    again = read_table(folder / "columns")
    assert again == read
    assert read_table(folder / "columns" / "images.parquet") == again
    write_table(again, folder / "back")
    for name in ("images.csv", "annotations.csv"):
        assert (folder / "back" / name).read_bytes() == (folder / "text" / name).read_bytes()
    write_table(table, folder / "direct", form="parquet")
    assert read_table(folder / "direct") == again


def test_what_other_programs_write_is_read(tmp_path: Path) -> None:
    images = pa.table(
        {
            **_IMAGES,
            "image": pa.array(["a ", "b"]).dictionary_encode(),
            "patient": pa.array([7, 8], pa.int64()),
            "split": pa.array(["train", None], pa.large_string()),
            "rows": pa.array([50.0, None]),
            "columns": pa.array([40, None], pa.uint16()),
            "comment": pa.array([datetime.date(2026, 11, 28)] * 2),
        }
    )
    places = pa.table(
        {
            "column": pa.array([1, 2], pa.int16()),
            "row": pa.array(["1.5", " 2"]),
            "image": pa.array(["b", "a"], pa.string_view()),
            "kind": ["coarse", "unsure"],
            "d_prime": pa.array([None, 4.5], pa.float32()),
            "judge": pa.nulls(2),
        }
    )
    _write(tmp_path, images, places)
    table = read_table(tmp_path)
    assert [(i.image, i.patient, i.split, i.shape) for i in table.images] == [
        ("a", "7", "train", (50, 40)),
        ("b", "8", "", None),
    ]
    assert table.annotations == (
        AnnotationRow("b", 1.5, 1.0, kind="coarse"),
        AnnotationRow("a", 2.0, 2.0, kind="unsure", d_prime=4.5),
    )


def _with(columns_: dict[str, list[Any]], **changed: list[Any]) -> dict[str, list[Any]]:
    return {**columns_, **changed}


_NONE: list[Any] = [None] * 9


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (_with(_PLACES, row=[*range(7), None, 8]), "row 8: row is '', expected a number"),
        (_with(_PLACES, row=[*range(7), float("nan"), 8]), "row 8: row is 'nan', expected a number"),
        (_with(_PLACES, column=[*range(7), float("inf"), 8]), "row 8: column is 'inf', expected a number"),
        (_with(_PLACES, row=["1"] * 7 + ["1,5", "2"]), "row 8: row is '1,5', expected a number with a decimal point"),
        (_with(_PLACES, d_prime=[*_NONE[:7], -1.0, None]), "row 8: d_prime is -1, expected 0 or more"),
        (_with(_PLACES, diameter_mm=[*_NONE[:7], float("nan"), None]), "row 8: diameter_mm is 'nan'"),
        (_with(_PLACES, kind=["coarse"] * 7 + ["Coarse"] * 2), "row 8: kind is 'Coarse', expected one of"),
        (_with(_PLACES, cluster=[*_NONE[:7], "NA", None]), "row 8: cluster is 'NA', expected an empty cell"),
        (_with(_PLACES, image=["a"] * 7 + ["x", "a"]), "row 8: image 'x' is not in images.parquet"),
        (_with(_PLACES, outline=[*_NONE[:7], "1 2; 3", None]), "row 8: outline is '1 2; 3'"),
        (_with(_PLACES, row=[*map(float, range(7)), 2.0, 8.0]), "row 8: row 2, column 1 of image 'a' is also on row 3"),
        (_with(_PLACES, id=["x", *_NONE[:6], "x", None]), "row 8: the id of "),
        (_with(_PLACES, row=[*map(float, range(7)), 99.0, 8.0]), "row 8: row 99, column 1 lies outside image 'a'"),
        (_with(_PLACES, when=[datetime.date(2026, 1, 1)] * 9), "column 'when' is of type date32[day], expected text"),
        (_with(_PLACES, cluster=[1.0] * 9), "column 'cluster' is of type double, expected text"),
        (_with(_PLACES, column=[True] * 9), "column 'column' is of type bool, expected numbers"),
        ({k: v for k, v in _PLACES.items() if k != "kind"}, "column 'kind' is missing"),
        (_with(_PLACES, judgee=_NONE), "column 'judgee', expected 'judge'"),
    ],
)
def test_a_bad_cell_is_named_as_in_csv_with_its_row(tmp_path: Path, places: dict[str, list[Any]], message: str) -> None:
    _write(tmp_path / "t", _with(_IMAGES, rows=[50, 50], columns=[50, 50]), places)
    with pytest.raises(TableError) as caught:
        read_table(tmp_path / "t")
    assert str(caught.value).startswith("t/annotations.parquet")
    assert message in str(caught.value)


def test_a_bad_image_is_named_with_its_row(tmp_path: Path) -> None:
    _write(tmp_path / "t", _with(_IMAGES, row_spacing_mm=[0.1, 1.0]), _PLACES)
    with pytest.raises(TableError, match=r"^t/images\.parquet row 2: spacing 1\.0 x 0\.1 mm, expected 0\.02 to 0\.2"):
        read_table(tmp_path / "t")


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    _write(tmp_path / "t", _IMAGES, _PLACES)
    whole = (tmp_path / "t" / "annotations.parquet").read_bytes()
    for content in (b"", whole[:-20], b"image,row\n"):
        (tmp_path / "t" / "annotations.parquet").write_bytes(content)
        with pytest.raises(TableError, match=r"^t/annotations\.parquet: damaged, or no Parquet file") as caught:
            read_table(tmp_path / "t")
        assert "\n" not in str(caught.value)


def test_a_folder_with_both_forms_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "t", _IMAGES, _PLACES)
    (tmp_path / "t" / "annotations.csv").write_text("image,row,column,kind\n")
    with pytest.raises(TableError, match=r"^t: annotations\.csv and images\.parquet, expected .* of one form"):
        read_table(tmp_path / "t")
    with pytest.raises(OutputError, match=r"^t: holds images\.parquet, expected a folder without"):
        write_table(Table((_image(tmp_path),)), tmp_path / "t")


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, _IMAGES, _PLACES)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pyarrow is not installed, expected microcalc\[parquet\]"):
        read_table(tmp_path)
    with pytest.raises(MissingExtraError, match=r"microcalc\[parquet\]"):
        write_table(Table((_image(tmp_path),)), tmp_path / "new", form="parquet")


def test_an_edited_table_in_our_folder_is_not_overwritten(tmp_path: Path) -> None:
    table = Table((_image(tmp_path),), (AnnotationRow("a", 1.0, 2.0),))
    open_output_folder(tmp_path / "t", "simulate")
    write_table(table, tmp_path / "t", form="parquet")
    write_table(Table(table.images), tmp_path / "t", form="parquet")
    assert not read_table(tmp_path / "t").annotations
    pq.write_table(pa.table(_PLACES), tmp_path / "t" / "annotations.parquet")
    with pytest.raises(OutputError, match=r"annotations\.parquet was changed by hand"):
        write_table(table, tmp_path / "t", form="parquet")
    assert len(read_table(tmp_path / "t").annotations) == 9
    assert not list((tmp_path / "t").glob(".*part*"))


def test_the_command_converts_in_both_directions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table((_image(tmp_path), _image(tmp_path, "b")), (AnnotationRow("b", 1.25, 2.0, judge="A. Reader"),))
    write_table(table, tmp_path / "text")
    assert run(["table", "export", str(tmp_path / "text"), "--to", "parquet", "--out", str(tmp_path / "columns")]) == 0
    assert "2 images, 1 annotation" in capsys.readouterr().out
    assert run(["table", "export", str(tmp_path / "columns"), "--to", "csv", "--out", str(tmp_path / "back")]) == 0
    for name in ("images.csv", "annotations.csv"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "text" / name).read_bytes()
    assert run(["table", "export", str(tmp_path / "text"), "--to", "csv", "--out", str(tmp_path / "columns")]) == 2
    assert "columns: holds images.parquet, expected" in capsys.readouterr().err
