from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from tests.datasets.drawn_tables import tables

from microcalc.datasets.table import AnnotationRow, ImageRow, Table, check_places, join_tables
from microcalc.datasets.table_files import is_table, read_table, write_table
from microcalc.errors import OutputError, TableError
from microcalc.storage.ownership import open_output_folder


@given(tables())
@settings(max_examples=40, deadline=None)
def test_a_written_table_is_read_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, table: Table) -> None:
    folder = tmp_path_factory.mktemp("table")
    placed = Table(
        tuple(_at(image, folder) for image in table.images),
        table.annotations,
    )
    write_table(placed, folder)
    assert read_table(folder) == placed
    assert read_table(folder / "images.csv") == placed


def _at(image: ImageRow, folder: Path) -> ImageRow:
    return replace(image, file=folder / image.file)


def test_two_annotations_of_one_id_are_refused_and_those_without_an_id_are_not(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("image,file,intent,row_spacing_mm,column_spacing_mm\na,a.png,raw,0.1,0.1\n")
    lines = ["image,row,column,kind,id", "a,1,1,coarse,", "a,2,2,coarse,", "a,3,3,coarse,x", "a,4,4,coarse,x"]
    (tmp_path / "annotations.csv").write_text("\n".join(lines))
    with pytest.raises(TableError, match=r"annotations.csv line 5: the id of .* line 4, expected every id once"):
        read_table(tmp_path)
    (tmp_path / "annotations.csv").write_text("\n".join(lines[:-1]))
    assert [row.id for row in read_table(tmp_path).annotations] == ["", "", "x"]


def test_annotations_are_given_in_millimetres() -> None:
    image = ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.05))
    table = Table((image,), (AnnotationRow("a", 10.0, 20.5, 0.3, cluster="1"), AnnotationRow("b", 1.0, 1.0)))
    annotations = table.annotations_of(image)
    np.testing.assert_allclose(annotations.centres, [[1.0, 1.025]])
    assert annotations.diameter_mm.tolist() == [0.3]
    assert annotations.kind.tolist() == ["microcalcification"]
    assert annotations.cluster.tolist() == ["1"]


def test_a_region_needs_an_outline_and_gives_it_in_millimetres(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text("image,file,intent,row_spacing_mm,column_spacing_mm\na,a.png,raw,0.1,0.05\n")
    lines = "image,row,column,kind,outline\na,1,1,coarse,1 1; 2 2; 3 1\na,2,2,calcification_region,"
    (tmp_path / "annotations.csv").write_text(lines + "1 2; 3 4")
    with pytest.raises(
        TableError, match=r"line 3: calcification_region with an outline of 2 corners, expected at least"
    ):
        read_table(tmp_path)
    (tmp_path / "annotations.csv").write_text(lines + "10 20; 30 20; 30 40")
    table = read_table(tmp_path)
    (regions,) = [table.annotations_of(image).regions for image in table.images]
    assert list(regions) == [1]
    np.testing.assert_allclose(regions[1], [(1, 1), (3, 1), (3, 2)])


def test_an_image_without_annotations_has_none_of_any_kind() -> None:
    image = ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.1))
    assert Table((image,)).annotations_of(image).centres.shape == (0, 2)


def test_a_split_takes_its_annotations_along() -> None:
    images = (
        ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.1), split="train"),
        ImageRow("b", Path("b.dcm"), "raw", (0.1, 0.1), split="test"),
    )
    table = Table(images, (AnnotationRow("a", 1, 1), AnnotationRow("b", 2, 2)))
    assert table.of_split("test") == Table(images[1:], table.annotations[1:])


def test_files_elsewhere_are_found_again_from_the_table(tmp_path: Path) -> None:
    elsewhere = tmp_path / "images" / "a.dcm"
    write_table(Table((ImageRow("a", elsewhere, "raw", (0.1, 0.1)),)), tmp_path / "table")
    assert "../images/a.dcm" in (tmp_path / "table" / "images.csv").read_text()
    assert read_table(tmp_path / "table").images[0].file == elsewhere


_IMAGES = "image,file,patient,intent,row_spacing_mm,column_spacing_mm,split,laterality\n"
_ANNOTATIONS = "image,row,column,kind,outline,diameter_mm,d_prime\n"
_GOOD = _IMAGES + "a,a.dcm,P1,raw,0.1,0.1,train,L\n"


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        (None, None, "no images.csv, expected a folder with images.csv and annotations.csv (see microcalc table)"),
        ("file,tcia_name\n", None, "the list of CDD-CESM as published, expected a table (microcalc table cdd-cesm"),
        ("image,file\n", None, "images.csv: column 'intent' is missing"),
        (_IMAGES + "a,a.dcm,,raw,x,0.1,,\n", None, "line 2: row_spacing_mm is 'x', expected a number"),
        (_IMAGES + "a,a.dcm,,raw,nan,0.1,,\n", None, "line 2: row_spacing_mm is 'nan'"),
        (_IMAGES + "a,a.dcm,,raw,0.1,1.0,,\n", None, "line 2: spacing 0.1 x 1.0 mm, expected 0.02 to 0.2"),
        (_IMAGES + ",a.dcm,,raw,0.1,0.1,,\n", None, "line 2: image or file is empty"),
        (_IMAGES + "a,a.dcm,,log,0.1,0.1,,\n", None, "line 2: intent is 'log', expected one of 'raw', 'processed'"),
        (_IMAGES + "a,a.dcm,,raw,0.1,0.1,dev,\n", None, "line 2: split is 'dev'"),
        (_IMAGES + "a,a.dcm,,raw,0.1,0.1,,left\n", None, "line 2: laterality is 'left'"),
        (_GOOD + "a,b.dcm,P1,raw,0.1,0.1,train,L\n", None, "image 'a' is listed twice"),
        (_GOOD + "b,b.dcm,P1,raw,0.1,0.1,test,R\n", None, "expected one split per patient"),
        (_GOOD, "image,row,column\n", "annotations.csv: column 'kind' is missing"),
        (_GOOD, _ANNOTATIONS + "b,1,1,coarse,,,\n", "annotations.csv line 2: image 'b' is not in images.csv"),
        (_GOOD, _ANNOTATIONS + "a,1,,coarse,,,\n", "line 2: column is '', expected a number"),
        (_GOOD, _ANNOTATIONS + "a,1,1,crumb,,,\n", "line 2: kind is 'crumb'"),
        (_GOOD, _ANNOTATIONS + "a,1,1,coarse,1 2; 3,,\n", "line 2: outline is '1 2; 3'"),
        (_GOOD, _ANNOTATIONS + "a,1,1,coarse,,wide,\n", "line 2: diameter_mm is 'wide'"),
        (_GOOD, _ANNOTATIONS + "a,1,1,coarse,,,inf\n", "line 2: d_prime is 'inf'"),
    ],
)
def test_a_broken_table_is_refused_by_what_is_wrong_and_where(
    tmp_path: Path, images: str | None, annotations: str | None, message: str
) -> None:
    if images is not None:
        (tmp_path / "images.csv").write_text(images, encoding="utf-8")
    if annotations is not None:
        (tmp_path / "annotations.csv").write_text(annotations, encoding="utf-8")
    with pytest.raises(TableError) as caught:
        read_table(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_bytes(b"\x89PNG\x00\x00binary")
    with pytest.raises(TableError, match="no text"):
        read_table(tmp_path)


def test_images_without_a_patient_are_patients_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(_IMAGES + "a,a.dcm,,raw,0.1,0.1,train,\nb,b.dcm,,raw,0.1,0.1,test,\n")
    assert len({i.patient_or_image for i in read_table(tmp_path).images}) == 2


# What spreadsheets and other programs write.

_CELLS = [
    ["image", "file", "patient", "intent", "row_spacing_mm", "column_spacing_mm", "split"],
    ["007", "007.dcm", "0012", "raw", "0.1", "0.1", "train"],
    ["008", "008.dcm", "0013", "raw", "0.1", "0.1", "test"],
]


def _csv(cells: list[list[str]], *, quoting: int = csv.QUOTE_MINIMAL, delimiter: str = ",", end: str = "\n") -> str:
    text = io.StringIO()
    csv.writer(text, quoting=quoting, delimiter=delimiter, lineterminator=end).writerows(cells)  # type: ignore[arg-type]
    return text.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        _csv(_CELLS).encode(),
        _csv(_CELLS, quoting=csv.QUOTE_ALL).encode(),
        _csv(_CELLS, quoting=csv.QUOTE_NONNUMERIC, end="\r\n").encode(),
        _csv(_CELLS, end="\r").encode(),
        _csv(_CELLS).encode("utf-8-sig"),
        ("\n" + _csv(_CELLS) + "\n\n,,,,,,\n  \n").encode(),
        _csv(_CELLS).replace(",", " , ").encode(),
        _csv(_CELLS, quoting=csv.QUOTE_ALL).replace(",", ", ").encode(),
        _csv([["", *_CELLS[0]], ["1", *_CELLS[1]], ["2", *_CELLS[2]]], quoting=csv.QUOTE_ALL).encode(),
    ],
    ids=["plain", "quoted", "r-crlf", "cr", "bom", "blank-lines", "blanks", "quoted-blanks", "r-row-names"],
)
def test_what_is_unambiguous_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.csv").write_bytes(content)
    assert is_table(tmp_path)
    assert [(i.image, i.patient, i.split) for i in read_table(tmp_path).images] == [
        ("007", "0012", "train"),
        ("008", "0013", "test"),
    ]


def _without_last_cell(cells: list[list[str]]) -> list[list[str]]:
    return [cells[0], cells[1][:-1], *cells[2:]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_csv(_CELLS, delimiter=";").encode(), "images.csv: separated by semicolons"),
        (_csv(_CELLS, delimiter="\t").encode(), "images.csv: separated by tabs"),
        (_csv(_CELLS, quoting=csv.QUOTE_ALL, delimiter=";").encode(), "images.csv: separated by semicolons"),
        (_csv(_CELLS).encode("utf-16"), "images.csv: text in UTF-16"),
        (_csv(_CELLS).encode("utf-16-le"), "images.csv: no text, or text in UTF-16"),
        (_csv(_CELLS).replace("0012", "Bäcker").encode("latin-1"), "images.csv line 2: text that is not in UTF-8"),
        (_csv(_CELLS).replace("split", "Split").encode(), "column 'Split', expected 'split'"),
        (_csv(_CELLS).upper().encode(), "column 'IMAGE', expected 'image'"),
        (_csv(_CELLS).replace("row_spacing_mm", "row spacing mm").encode(), "expected 'row_spacing_mm'"),
        (_csv(_CELLS).replace("patient", "patient_id").encode(), "column 'patient_id', expected 'patient'"),
        (_csv(_CELLS).replace("patient", "split").encode(), "column 'split' occurs 2 times"),
        (_csv(_CELLS).replace("0.1,0.1,train", "0,1,0,1,train").encode(), "line 2: 9 cells, expected 7"),
        (_csv(_CELLS).replace("0.1,0.1,train", '"0,1",0.1,train').encode(), "expected a number with a decimal point"),
        (_csv(_without_last_cell(_CELLS)).encode(), "line 2: 6 cells, expected 7"),
        (_csv(_CELLS).replace("0.1,0.1,train", "1e400,0.1,train").encode(), "row_spacing_mm is '1e400'"),
        (_csv(_CELLS).replace("0.1,0.1,train", "٠.١,0.1,train").encode(), "expected a number"),
        (_csv(_CELLS).replace("0.1,0.1,train", "0_.1,0.1,train").encode(), "expected a number"),
        (_csv(_CELLS).replace("0012", "NA").encode(), "patient is 'NA', expected an empty cell"),
        (_csv(_CELLS).replace("008,", '00"8",', 1).replace('00"8"', '"00"8').encode(), "line 3: "),
        (b"", "images.csv: empty"),
        (b"\n\n", "images.csv: empty"),
    ],
)  # fmt: skip
def test_the_rest_is_refused_with_a_word_on_what_was_found(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "images.csv").write_bytes(content)
    assert is_table(tmp_path)  # a folder with such a file is never taken for a folder of images
    with pytest.raises(TableError) as caught:
        read_table(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_named_in_capitals_is_no_folder_of_images(tmp_path: Path) -> None:
    (tmp_path / "Images.CSV").write_text(_csv(_CELLS))
    assert is_table(tmp_path)
    with pytest.raises(TableError, match=r"Images\.CSV but no images\.csv"):
        read_table(tmp_path)
    assert not is_table(tmp_path / "nothing")


def _folder(file: Path) -> None:
    file.mkdir()


def _link(file: Path) -> None:
    file.symlink_to("moved.csv")


def _loop(file: Path) -> None:
    file.symlink_to(file.name)


@pytest.mark.parametrize("name", ["annotations.csv", "images.csv", "annotations.parquet", "images.parquet"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_folder, "NAME: a folder, expected a file"),
        (_link, "NAME: a link to a missing file, expected a file"),
        (_loop, "NAME: a link to a missing file, expected a file"),
        (os.mkfifo, "NAME: a pipe or device, expected a file"),
    ],
)
def test_what_bears_the_name_of_a_tables_file_and_is_none_is_not_taken_for_nothing(
    tmp_path: Path, name: str, make: Callable[[Path], None], message: str
) -> None:
    """Annotations that are passed over would make normal images of all."""
    (tmp_path / "images.csv").write_text(_csv(_CELLS))
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    with pytest.raises(TableError, match=f"^{tmp_path.name}/{message.replace('NAME', name)}"):
        read_table(tmp_path)


def test_annotations_named_in_capitals_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(_csv(_CELLS))
    (tmp_path / "Annotations.csv").write_text("image,row,column,kind\n")
    with pytest.raises(
        TableError, match=r"Annotations\.csv but no annotations\.csv, expected a folder with images\.csv"
    ):
        read_table(tmp_path)


def test_a_line_is_counted_as_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(
        _IMAGES + "\n\n" + 'a,"a\n.dcm",P1,raw,0.1,0.1,,\n' + "b,b.dcm,P2,log,0.1,0.1,,\n"
    )
    with pytest.raises(TableError, match=r"images\.csv line 6: intent"):
        read_table(tmp_path)


# An image and a place stand there once.

_ONCE = "image,file,intent,row_spacing_mm,column_spacing_mm,sha256,sop_instance_uid\n"


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ("b,a.dcm,raw,0.1,0.1,,", "file"),
        ("b,./x/../a.dcm,raw,0.1,0.1,,", "file"),
        ("b,b.dcm,raw,0.1,0.1,AB,", "content"),
        ("b,b.dcm,raw,0.1,0.1,,1.2.3", "instance"),
    ],
)
def test_one_image_under_two_names_is_refused(tmp_path: Path, second: str, what: str) -> None:
    (tmp_path / "images.csv").write_text(_ONCE + "a,a.dcm,raw,0.1,0.1,ab,1.2.3\n" + second + "\n")
    with pytest.raises(TableError, match=f"images 'a' and 'b' have one {what}"):
        read_table(tmp_path)


def test_tables_are_not_joined_where_both_have_an_image() -> None:
    one = ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.1), sop_instance_uid="1.2.3")
    two = replace(one, image="b", file=Path("b.dcm"))
    with pytest.raises(TableError, match="images 'a' and 'b' have one instance"):
        join_tables([Table((one,)), Table((two,))])
    named_alike = replace(one, file=Path("other/a.dcm"), sop_instance_uid="1.2.4")
    with pytest.raises(
        TableError, match=r"image 'a' is listed twice, as different files \(.*a\.dcm and other/a\.dcm\)"
    ):
        join_tables([Table((one,)), Table((named_alike,))])


def test_a_place_stands_there_once_for_each_judge(tmp_path: Path) -> None:
    (tmp_path / "images.csv").write_text(_GOOD)
    line = "a,1.50,1,coarse,{judge}\n"
    text = "image,row,column,kind,judge\n" + line.format(judge="A") + line.format(judge="B")
    (tmp_path / "annotations.csv").write_text(text)
    assert len(read_table(tmp_path).annotations) == 2
    (tmp_path / "annotations.csv").write_text(text + "a,1.5,1.0,coarse,A\n")
    with pytest.raises(TableError, match=r"line 4: row 1\.5, column 1 of image 'a' is also on line 2"):
        read_table(tmp_path)


@pytest.mark.parametrize("place", [(800, 10), (10, 1000), (-20, 10), (5000, 3000), (-1, 0)])
def test_a_place_outside_its_image_is_refused_with_its_line(tmp_path: Path, place: tuple[float, float]) -> None:
    (tmp_path / "images.csv").write_text(_GOOD.replace("laterality", "rows,columns").replace(",L\n", ",800,1000\n"))
    inside = "image,row,column,kind\na,799.9,999.9,coarse\na,-0.5,-0.5,coarse\n"
    (tmp_path / "annotations.csv").write_text(inside)
    table = read_table(tmp_path)
    assert table.images[0].shape == (800, 1000)
    (tmp_path / "annotations.csv").write_text(inside + f"a,{place[0]},{place[1]},coarse\n")
    with pytest.raises(TableError, match=r"annotations\.csv line 4: .* lies outside image 'a' of 800 x 1000 pixels"):
        read_table(tmp_path)


def test_places_are_checked_once_the_size_is_known() -> None:
    table = Table((ImageRow("a", Path("a.dcm"), "raw", (0.1, 0.1)),), (AnnotationRow("a", 9000, 1),) * 2)
    check_places(table)
    with pytest.raises(TableError, match=r"and 1 more such places"):
        check_places(Table((replace(table.images[0], rows=800, columns=800),), table.annotations))


# A table that a person has edited.


def test_an_edited_table_in_our_folder_is_not_overwritten(tmp_path: Path) -> None:
    table = Table((ImageRow("a", tmp_path / "t" / "a.dcm", "raw", (0.1, 0.1)),))
    open_output_folder(tmp_path / "t", "simulate")
    write_table(table, tmp_path / "t")
    write_table(Table((replace(table.images[0], split="test"),)), tmp_path / "t")
    edited = (tmp_path / "t" / "images.csv").read_text().replace(",test,", ",train,")
    (tmp_path / "t" / "images.csv").write_text(edited)
    with pytest.raises(OutputError, match=r"images\.csv was changed by hand"):
        write_table(table, tmp_path / "t")
    assert (tmp_path / "t" / "images.csv").read_text() == edited
