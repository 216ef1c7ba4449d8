"""Points in CSV files become annotations of the images that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from microcalc.datasets.points import read_points
from microcalc.datasets.table import ImageRow, Table
from microcalc.errors import TableError

_IMAGES = Table(
    (
        ImageRow("a", Path("here/a.dcm"), "raw", (0.07, 0.08), rows=200, columns=100),
        ImageRow("sub/b.png", Path("here/sub/b.png"), "processed", (0.1, 0.1), rows=200, columns=100),
    )
)


def _read(tmp_path: Path, text: str) -> Table:
    file = tmp_path / "points.csv"
    file.write_text(text)
    return read_points(file, _IMAGES)


@pytest.mark.parametrize("name", ["image", "file", "file_name", "filename"])
@pytest.mark.parametrize("header", ["row,column", "y,x"])
def test_rows_and_columns_are_y_and_x_and_a_file_is_named_as_it_was_there(
    name: str, header: str, tmp_path: Path
) -> None:
    rows = _read(tmp_path, f"{name},{header},note\nC:\\else\\a.DCM,150.25,20.5,?\nb,3,4,\n").annotations
    assert [(r.image, r.row, r.column, r.kind, r.diameter_mm) for r in rows] == [
        ("a", 150.25, 20.5, "microcalcification", 0.0),
        ("sub/b.png", 3.0, 4.0, "microcalcification", 0.0),
    ]


def test_columns_of_the_table_are_read_where_they_are_there(tmp_path: Path) -> None:
    (row,) = _read(
        tmp_path, "x,y,image,kind,diameter_mm,cluster,judge,id\n4,3,a,vascular,0.3,c 1,A. Reader,n-7\n"
    ).annotations
    assert (row.kind, row.diameter_mm, row.cluster, row.judge, row.id) == ("vascular", 0.3, "c 1", "A. Reader", "n-7")


def test_other_words_for_kinds_are_what_is_said_of_them(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("image,x,y,kind\na,1,2,MC\na,3,4,mass\na,5,6,\n")
    rows = read_points(file, _IMAGES, categories=["mc=microcalcification", "mass=skip"]).annotations
    assert [(row.column, row.kind) for row in rows] == [(1, "microcalcification"), (5, "microcalcification")]


def test_boxes_are_regions_or_places_of_their_size_and_lines_without_one_are_passed_over(tmp_path: Path) -> None:
    region, place = _read(
        tmp_path, "image,xmin,ymin,xmax,ymax,kind\na,10,20,30,60,\nb,,,,,\na,40,50,44,52,microcalcification\n"
    ).annotations
    assert (region.kind, region.row, region.column, region.diameter_mm) == ("calcification_region", 40.0, 20.0, 0.0)
    assert set(region.outline) == {(20.0, 10.0), (20.0, 30.0), (60.0, 30.0), (60.0, 10.0)}
    assert (place.kind, place.row, place.column, place.outline) == ("microcalcification", 51.0, 42.0, ())
    assert place.diameter_mm == pytest.approx((2 * 0.07 + 4 * 0.08) / 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "points.csv: empty, expected a header line"),
        ("image,row,column\n", "points.csv: no point, expected a header line and at least one line"),
        ("image,a,b\na,1,2\n", "columns 'image', 'a', 'b', expected row and column or y and x or ymin"),
        ("image,x,y,row,column\na,1,2,1,2\n", "expected one of row and column or y and x"),
        ("x,y\n1,2\n", "expected image or file or file_name or filename"),
        ("image,x,y\na,1,2\nc,1,2\n", "points.csv line 3: no image given of the name 'c', expected one"),
        ("image,x,y\na,1,n\n", "points.csv line 2: y is 'n', expected a number"),
        ("image,x,y\na,1,2\na,100,2\n", "points.csv line 3: row 2, column 100 lies outside image 'a'"),
        ("image,x,y,kind\na,1,2,mass\n", "points.csv line 2: category 'mass', expected one of"),
        ("image,x,y,id\na,1,2,k\na,3,4,k\n", "points.csv line 3: the id 'k' a second time"),
        ("image,x,y\na,1,2\na.dcm,1,2\n", "points.csv line 3: row 2, column 1 of image 'a' a second time"),
        ("image,x,y,cluster\na,1,2,NA\n", "points.csv line 2: cluster is 'NA', expected an empty cell"),
        ("image,x,y,diameter_mm\na,1,2,-1\n", "points.csv line 2: diameter_mm is -1, expected 0 or more"),
        ("image;x;y\na;1;2\n", "separated by semicolons"),
        ("image,x,y,kind\na,1,2,calcification_region\n", "line 2: calcification_region with an outline of 0 corners"),
        (
            "image,xmin,ymin,xmax,ymax\na,4,2,3,9\n",
            "line 2: a box of rows 2 to 9 and columns 4 to 3, expected min",
        ),
        ("image,xmin,ymin,xmax,ymax\na,1,2,3,\n", "points.csv line 2: ymax is '', expected a number"),
    ],
)
def test_what_is_no_point_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as caught:
        _read(tmp_path, text)
    assert message in str(caught.value)
    assert not str(caught.value).endswith("with ")


def test_a_name_that_two_images_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("image,x,y\na.dcm,1,2\n")
    twice = Table(tuple(ImageRow(f"{n}/a.dcm", Path(f"{n}/a.dcm"), "raw", (0.1, 0.1)) for n in "12"))
    with pytest.raises(TableError, match=r"line 2: 2 of the images given of the name 'a.dcm', expected one"):
        read_points(file, twice)
