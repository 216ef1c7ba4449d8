from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microcalc.datasets import columns, read_columns
from microcalc.datasets.columns import AnnotationColumns
from microcalc.datasets.table import AnnotationRow, ImageRow, Table, check_places
from microcalc.datasets.table_files import read_table, write_table
from microcalc.domain import Kind
from microcalc.errors import TableError

_KINDS: tuple[Kind, ...] = ("microcalcification", "coarse", "unsure")
_ROWS = st.lists(
    st.builds(
        AnnotationRow,
        image=st.sampled_from(["a", "b", "c"]),
        row=st.integers(0, 40).map(float),
        column=st.integers(0, 40).map(float),
        diameter_mm=st.sampled_from([0.0, 0.25]),
        kind=st.sampled_from(_KINDS),
        cluster=st.sampled_from(["", "1"]),
        outline=st.sampled_from([(), ((1.0, 2.0), (3.0, 4.5), (5.0, 6.0))]),
        d_prime=st.sampled_from([None, 4.5]),
        judge=st.sampled_from(["", "A", "B"]),
    ),
    max_size=12,
    unique_by=lambda a: (a.image, a.row, a.column, a.judge),
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (columns, read_columns):
        monkeypatch.setattr(module, "BLOCK", 3)


def _images(folder: Path) -> tuple[ImageRow, ...]:
    return tuple(ImageRow(name, folder / f"{name}.dcm", "raw", (0.1, 0.05), rows=50, columns=50) for name in "abcd")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(rows=_ROWS)
def test_columns_answer_as_rows_do(tmp_path: Path, rows: list[AnnotationRow]) -> None:
    table = Table(_images(tmp_path), tuple(rows))
    write_table(table, tmp_path)
    read = read_table(tmp_path)
    assert isinstance(read.annotations, AnnotationColumns)
    assert read == table
    assert table == read
    assert hash(read) == hash(table)
    assert list(read.annotations) == rows
    assert [read.annotations[n] for n in range(len(rows))] == rows
    assert list(read.annotations[1:-1]) == rows[1:-1]
    for image in table.images:
        assert read.rows_of(image) == table.rows_of(image)
        np.testing.assert_equal(read.annotations_of(image).centres, table.annotations_of(image).centres)
    for kind in _KINDS:
        for in_cluster in (False, True):
            assert read.images_with(kind, in_cluster=in_cluster) == table.images_with(kind, in_cluster=in_cluster)
    some = table.images[::-2]
    assert read.of_images(some) == table.of_images(some)
    assert read.of_images(some).of_images(some[:1]).rows_of(some[0]) == table.rows_of(some[0])
    check_places(read)


def test_the_first_place_outside_is_named_with_its_line_and_the_number_of_all(tmp_path: Path) -> None:
    rows = [AnnotationRow("b", 60.0, n) if n in (4, 5, 7) else AnnotationRow("a", 1.0, n) for n in range(9)]
    write_table(Table(_images(tmp_path), tuple(rows)), tmp_path)
    with pytest.raises(TableError, match=r"annotations\.csv line 6: row 60, column 4 .* \(and 2 more such places\)"):
        read_table(tmp_path)


def test_of_several_repeated_places_the_first_is_named(tmp_path: Path) -> None:
    places = [("b", 1), ("a", 1), ("a", 2), ("c", 3), ("c", 4), ("a", 2), ("b", 1), ("b", 1)]
    write_table(Table(_images(tmp_path), tuple(AnnotationRow(image, 1.0, n) for image, n in places)), tmp_path)
    with pytest.raises(TableError, match=r"csv line 7: row 1, column 2 of image 'a' is also on line 4, expected each"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,1_0,1,coarse,,,", "row is '1_0', expected a number"),
        ("a,١,1,coarse,,,", "row is '١', expected a number"),
        ("a,nan,1,coarse,,,", "row is 'nan', expected a number"),
        ("a,1e999,1,coarse,,,", "row is '1e999', expected a number"),
        ('a,"1\n2",1,coarse,,,', "expected a number"),
        ("a,1,,coarse,,,", "column is '', expected a number"),
        ("a,1,1,coarse,-1,,", "diameter_mm is -1, expected 0 or more"),
        ("a,1,1,coarse,,-0.5,", "d_prime is -0.5, expected 0 or more"),
        ("a,1,1,coarse,,,NA", "cluster is 'NA', expected an empty cell where nothing is known"),
        ("x,1,1,coarse,,,", "image 'x' is not in images.csv"),
        ("a,1,1,Coarse,,,", "kind is 'Coarse', expected one of"),
        ("a,1,1,coarse,,", "6 cells, expected 7"),
    ],
)
def test_a_bad_cell_in_a_later_chunk_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    write_table(Table(_images(tmp_path)), tmp_path)
    good = "".join(f"a,{n},1,microcalcification,,,\n" for n in range(10))
    text = f"image,row,column,kind,diameter_mm,d_prime,cluster\n{good}\n{line}\nb,1,1,coarse,,,\n"
    (tmp_path / "annotations.csv").write_text(text)
    with pytest.raises(TableError) as caught:
        read_table(tmp_path)
    assert "annotations.csv line 13: " in str(caught.value)
    assert message in str(caught.value)
