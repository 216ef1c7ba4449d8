"""Annotations that stay in their Parquet file answer as those that are held."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from microcalc.cli import run
from microcalc.datasets import columns, parquet, read_columns, stored, table_files
from microcalc.datasets.columns import AnnotationColumns
from microcalc.datasets.stored import StoredAnnotations
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.domain import Kind
from microcalc.errors import TableError

_KINDS: tuple[Kind, ...] = ("microcalcification", "coarse", "unsure")
_NAMES = "dacb"
_ROWS = st.lists(
    st.builds(
        AnnotationRow,
        image=st.sampled_from("dab"),  # of c there are none
        row=st.integers(0, 40).map(float),
        column=st.integers(0, 40).map(float),
        diameter_mm=st.sampled_from([0.0, 0.25]),
        kind=st.sampled_from(_KINDS),
        cluster=st.sampled_from(["", "1"]),
        outline=st.sampled_from([(), ((1.0, 2.0), (3.0, 4.5), (5.0, 6.0))]),
        d_prime=st.sampled_from([None, 4.5]),
        judge=st.sampled_from(["", "A", "B"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda a: (a.image, a.row, a.column, a.judge),
)


def _hold(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    for module in (stored, table_files):
        monkeypatch.setattr(module, "HELD", n)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (columns, parquet, read_columns):
        monkeypatch.setattr(module, "BLOCK", 3)
    _hold(monkeypatch, 0)


def _table(folder: Path, rows: Sequence[AnnotationRow]) -> Table:
    images = (ImageRow(n, folder / f"{n}.dcm", "raw", (0.1, 0.05), rows=50, columns=50) for n in _NAMES)
    return Table(tuple(images), tuple(rows))


def _in_order(rows: Sequence[AnnotationRow]) -> list[AnnotationRow]:
    return sorted(rows, key=lambda a: _NAMES.index(a.image))


def _regroup(folder: Path, rows: int) -> None:
    """Write the annotations in row groups of so many rows, as another program might."""
    whole = pq.read_table(folder / "annotations.parquet")
    pq.write_table(whole, folder / "annotations.parquet", row_group_size=rows)


def _written(folder: Path, rows: Sequence[AnnotationRow], group: int = 4) -> Table:
    write_table(_table(folder, rows), folder, form="parquet")
    _regroup(folder, group)
    return read_table(folder)


@given(rows=_ROWS, group=st.integers(2, 12), held=st.integers(0, 8))
@settings(max_examples=12, deadline=None)
def test_what_stays_in_its_file_answers_as_rows_do(
    tmp_path_factory: pytest.TempPathFactory, rows: list[AnnotationRow], group: int, held: int
) -> None:
    folder = tmp_path_factory.mktemp("t")
    table = _table(folder, _in_order(rows))
    read = _written(folder, rows, group)
    assert isinstance(read.annotations, StoredAnnotations)
    with pytest.MonkeyPatch.context() as patch:
        _hold(patch, held)
        _check_equal(read, table)
        some, other = table.images[::-2], table.images[1:]
        assert isinstance(read.of_images(some).annotations, StoredAnnotations) == (
            len(table.of_images(some).annotations) > held
        )
        _check_equal(read.of_images(some), table.of_images(some))
        _check_equal(read.of_images(other).of_images(some[:1]), table.of_images(other).of_images(some[:1]))
    _check_equal(pickle.loads(pickle.dumps(read)), table)


def _check_equal(read: Table, table: Table) -> None:
    n = len(table.annotations)
    assert read == table
    assert table == read
    assert hash(read) == hash(table)
    assert [read.annotations[i] for i in range(n)] == list(table.annotations)
    assert read.annotations[1:-1] == tuple(table.annotations[1:-1])
    assert n == 0 or read.annotations[-1] == table.annotations[-1]
    with pytest.raises(IndexError):
        read.annotations[n]
    for image in read.images[::-1]:
        assert read.rows_of(image) == table.rows_of(image)
    for kind in _KINDS:
        for in_cluster in (False, True):
            assert read.images_with(kind, in_cluster=in_cluster) == table.images_with(kind, in_cluster=in_cluster)


@given(rows=_ROWS, group=st.integers(2, 12))
@settings(max_examples=12, deadline=None)
def test_places_outside_are_found_and_counted_without_reading_the_others(
    tmp_path_factory: pytest.TempPathFactory, rows: list[AnnotationRow], group: int
) -> None:
    folder = tmp_path_factory.mktemp("t")
    kept = _written(folder, rows, group).annotations
    with pytest.MonkeyPatch.context() as patch:
        _hold(patch, 99)
        held = read_table(folder).annotations
    assert isinstance(kept, StoredAnnotations)
    assert isinstance(held, AnnotationColumns)
    for sizes in ({}, {"a": (20, 20), "x": (1, 1)}, {"d": (41, 20), "a": (50, 50), "b": (30, 41), "c": (9, 9)}):
        assert kept.outside(sizes) == held.outside(sizes)


def _places(n: int, image: str = "a", judge: str = "") -> list[AnnotationRow]:
    return [AnnotationRow(image, float(i), 1.0, judge=judge) for i in range(n)]


def test_an_image_that_lies_in_many_row_groups_is_whole(tmp_path: Path) -> None:
    rows = [*_places(2, "d"), *_places(11), *_places(1, "b")]
    read = _written(tmp_path, rows, group=2)
    assert isinstance(read.annotations, StoredAnnotations)
    assert [len(read.rows_of(image)) for image in read.images] == [2, 11, 0, 1]
    assert read.rows_of(read.images[1]) == tuple(rows[2:13])
    assert read.rows_of(read.images[1])[-1].where == f"{tmp_path.name}/annotations.parquet row 13"
    assert read.annotations_of(read.images[2]).centres.shape == (0, 2)


def test_images_in_turn_read_each_row_group_once(tmp_path: Path) -> None:
    read = _written(tmp_path, [*_places(3, "d"), *_places(6), *_places(3, "b")], group=2)
    assert isinstance(read.annotations, StoredAnnotations)
    parts: list[list[list[int]]] = []
    of_parts = read.annotations._read

    def noted(part: NDArray[np.int64]) -> AnnotationColumns:
        parts.append(part.tolist())
        return of_parts(part)

    read.annotations._read = noted
    assert sum(len(read.rows_of(image)) for image in read.images) == 12
    assert parts == [[[n, n + 2]] for n in range(0, 12, 2)]


def test_annotations_in_another_order_are_held_and_a_line_says_how_to_mend_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*_places(3, "b"), *_places(3, "d"), *_places(2, "b", judge="A")]
    _hold(monkeypatch, 99)
    write_table(_table(tmp_path, rows), tmp_path / "t", form="parquet")
    _hold(monkeypatch, 0)
    read = read_table(tmp_path / "t")
    assert isinstance(read.annotations, AnnotationColumns)
    assert list(read.annotations) == rows
    (line,) = caplog.messages
    assert line.startswith("t/annotations.parquet: all of 8 annotations are held in memory, as they are not in the")
    assert "microcalc table export TABLE --to parquet --out COLUMNS" in line
    caplog.clear()
    command = ["table", "export", str(tmp_path / "t"), "--to", "parquet", "--out", str(tmp_path / "u")]
    assert run(command) == 0
    caplog.clear()
    mended = read_table(tmp_path / "u")
    assert not caplog.messages
    assert isinstance(mended.annotations, StoredAnnotations)
    assert list(mended.annotations) == _in_order(rows)
    for image in read.images:
        assert mended.rows_of(image) == read.rows_of(image)


def test_a_row_group_too_large_to_be_read_for_one_image_is_held(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "LARGEST_GROUP", 3)
    assert isinstance(_written(tmp_path, _places(8), group=3).annotations, StoredAnnotations)
    _regroup(tmp_path, 4)
    assert isinstance(read_table(tmp_path).annotations, AnnotationColumns)
    assert "in row groups of over" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("number", "changed", "message"),
    [
        (7, {"kind": "Coarse"}, "row 8: kind is 'Coarse', expected one of"),
        (7, {"image": "x"}, "row 8: image 'x' is not in images.parquet"),
        (7, {"row": None}, "row 8: row is '', expected a number"),
        (7, {"row": 3.0}, "row 8: row 3, column 1 of image 'a' is also on row 4, expected each place once"),
        (7, {"row": 99.0}, "row 8: row 99, column 1 lies outside image 'a'"),
        (7, {"id": "1"}, "row 8: the id of t/annotations.parquet row 2, expected every id once"),
    ],
)
def test_a_bad_cell_is_named_at_once_with_its_row(
    tmp_path: Path, number: int, changed: dict[str, object], message: str
) -> None:
    folder = tmp_path / "t"
    _written(folder, [AnnotationRow("a", float(n), 1.0, id=str(n)) for n in range(9)], group=2)
    lines = pq.read_table(folder / "annotations.parquet").to_pylist()
    lines[number] |= changed
    pq.write_table(pa.Table.from_pylist(lines), folder / "annotations.parquet", row_group_size=2)
    with pytest.raises(TableError) as caught:
        read_table(folder)
    assert str(caught.value).startswith("t/annotations.parquet ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("row", True, "column 'row' is of type bool, expected numbers"),
        ("cluster", 1.5, "column 'cluster' is of type double, expected text"),
        ("image", b"a", "column 'image' is of type binary, expected text"),
    ],
)
def test_a_column_of_another_type_is_named_in_one_line(tmp_path: Path, name: str, value: object, message: str) -> None:
    _written(tmp_path / "t", _places(9))
    file = tmp_path / "t" / "annotations.parquet"
    whole = pq.read_table(file)
    changed = whole.set_column(whole.schema.names.index(name), name, pa.array([value] * 9))
    pq.write_table(changed, file)
    with pytest.raises(TableError) as caught:
        read_table(tmp_path / "t")
    assert str(caught.value) == f"t/annotations.parquet: {message}"


def test_dictionaries_and_blanks_of_other_programs_are_read_by_parts(tmp_path: Path) -> None:
    _written(tmp_path, _places(9))
    names = pa.array(["d ", "a", "a ", " a", "a", "a", "a", "b", "b"])
    places = {"image": names.dictionary_encode(), "row": range(9), "column": [1] * 9, "kind": ["coarse"] * 9}
    for encoded in (places, {**places, "image": names.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))}):
        pq.write_table(pa.table(encoded), tmp_path / "annotations.parquet", row_group_size=2)
        read = read_table(tmp_path)
        assert isinstance(read.annotations, StoredAnnotations)
        assert [len(read.rows_of(image)) for image in read.images] == [1, 6, 0, 2]


def test_a_file_that_changes_meanwhile_is_named(tmp_path: Path) -> None:
    read = _written(tmp_path / "t", _places(9))
    _regroup(tmp_path / "t", 3)
    with pytest.raises(TableError, match=r"^t/annotations\.parquet: gone or changed since it was opened, expected"):
        read.rows_of(read.images[1])
    (tmp_path / "t" / "annotations.parquet").unlink()
    with pytest.raises(TableError, match="gone or changed"):
        list(read.annotations)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5])
def test_equal_places_have_one_hash(value: float) -> None:
    keys = [np.array([1, 1], dtype=np.uint8), np.array([value, value + 0.0])]
    first, second = columns._hashed(keys).tolist()
    assert first == second
