"""INbreast's quirks, each in a small folder of its format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from tests.datasets.public_sets import run_table, write_view

from microcalc.datasets.inbreast import LICENCE, read_inbreast
from microcalc.datasets.table_files import read_table
from microcalc.dicom.header import AcquisitionHeader
from microcalc.domain import Laterality
from microcalc.errors import InputError, TableError
from microcalc.images.info import ImageInfo

_CSV = (
    "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads\n"
    "removed;removed;R;CC;201001;22670465;4 ;6\n"
    "removed;removed;L;MLO;201001;22670511; ;4a\n"
    "removed;removed;L;CC;201001;22670600;1;1\n"
)
_SQUARE = ["(20.0, 30.0)", "(40.0, 30.0)", "(40.0, 50.0)", "(20.0, 50.0)"]  # x 20 to 40, y 30 to 50


def _roi(name: str, points: list[str], count: int | None = None) -> str:
    texts = "".join(f"<string>{point}</string>" for point in points)
    return (
        f"<dict><key>IndexInImage</key><integer>1</integer><key>Name</key><string>{name}</string>"
        f"<key>NumberOfPoints</key><integer>{len(points) if count is None else count}</integer>"
        f"<key>Point_mm</key><array/><key>Point_px</key><array>{texts}</array></dict>"
    )


def _plist(*rois: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple Computer//DTD PLIST 1.0//EN" '
        '"http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0"><dict><key>Images</key><array><dict>'
        f"<key>ImageIndex</key><integer>0</integer><key>NumberOfROIs</key><integer>{len(rois)}</integer>"
        f"<key>ROIs</key><array>{''.join(rois)}</array></dict></array></dict></plist>"
    )


@pytest.fixture
def folder(tmp_path: Path, processed_header: AcquisitionHeader) -> Path:
    root = tmp_path / "INbreast"
    views: list[tuple[str, Laterality, Literal["CC", "MLO"]]] = [
        ("22670465_aa01_MG_R_CC", "R", "CC"),
        ("22670511_aa01_MG_L_ML", "L", "MLO"),
        ("22670600_bb02_MG_L_CC", "L", "CC"),
    ]
    for n, (name, side, view) in enumerate(views):
        file = root / "AllDICOMs" / f"{name}_ANON.dcm"
        write_view(file, processed_header, laterality=side, view=view, seed=n)
    (root / "AllXML").mkdir()
    (root / "INbreast.csv").write_text(_CSV)
    (root / "AllXML" / "22670465.xml").write_text(
        _plist(
            _roi("Cluster", _SQUARE),
            _roi("Calcification", ["(25.5, 35.0)"]),
            _roi("calcifications", ["(30,40)"]),  # no blank after the comma
            _roi("Calcification", ["(70.0, 90.0)", "(72.0, 92.0)"]),
            _roi("Espiculated Region", _SQUARE),
            _roi("MASS", _SQUARE),
        )
    )
    return root


def test_points_are_microcalcifications_and_those_inside_a_cluster_are_its_members(folder: Path) -> None:
    found = read_inbreast(folder)
    table = found.table
    first, oblique, normal = table.images
    assert [(i.image, i.patient, i.view, i.laterality) for i in table.images] == [
        ("22670465", "inbreast-aa01", "CC", "R"), ("22670511", "inbreast-aa01", "MLO", "L"),
        ("22670600", "inbreast-bb02", "CC", "L"),
    ]  # fmt: skip
    assert [i.tags for i in table.images] == ["density-D birads-6", "birads-4a", "density-A birads-1"]
    assert [(a.row, a.column, a.cluster, a.diameter_mm) for a in table.rows_of(first)] == [
        (35.0, 25.5, "cluster 1", 0.0), (40.0, 30.0, "cluster 1", 0.0), (91.0, 71.0, "", 0.0),
    ]  # fmt: skip
    assert table.rows_of(first)[0].outline == ((30.0, 20.0), (30.0, 40.0), (50.0, 40.0), (50.0, 20.0))
    assert {a.kind for a in table.annotations} == {"microcalcification"}
    assert table.rows_of(oblique) == table.rows_of(normal) == ()  # without XML: nothing is annotated
    assert found.problems == ()
    assert found.notes == ("2 outlines of masses, asymmetries and distortions passed over",)


def test_a_cluster_without_a_point_is_a_region_and_an_outlined_calcification_has_its_size(folder: Path) -> None:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)

    def disc(radius_px: float, row: float) -> list[str]:
        return [f"({60 + radius_px * np.cos(a):.4f}, {row + radius_px * np.sin(a):.4f})" for a in angles]

    (folder / "AllXML" / "22670511.xml").write_text(
        _plist(_roi("Cluster", _SQUARE), _roi("Calcification", disc(4.0, 70)), _roi("Calcification", disc(7.0, 90)))
    )
    found = read_inbreast(folder)
    table = found.table
    assert found.problems == ()
    small, large, cluster = table.rows_of(table.images[1])
    assert (small.kind, large.kind, cluster.kind) == ("microcalcification", "other_calcium", "calcification_region")
    assert small.diameter_mm == pytest.approx(8 * 0.0940909, rel=0.01)
    assert large.diameter_mm == pytest.approx(14 * 0.0940909, rel=0.01)
    assert (cluster.row, cluster.column) == (40.0, 30.0)


def test_points_on_the_border_are_cut_and_those_far_outside_leave_the_image_out(folder: Path) -> None:
    file = folder / "AllXML" / "22670511.xml"
    file.write_text(_plist(_roi("Calcification", ["(96.0, 121.5)"])))
    (row,) = (a for a in read_inbreast(folder).table.annotations if a.image == "22670511")
    assert (row.row, row.column) == (119.5, 95.5)
    file.write_text(_plist(_roi("Calcification", ["(500.0, 20.0)"])))
    found = read_inbreast(folder)
    assert [i.image for i in found.table.images] == ["22670465", "22670600"]
    assert found.problems[0].startswith("22670511_aa01_MG_L_ML_ANON.dcm: 22670511.xml ROI 1: row 20, column 500 lies")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_plist(_roi("Calcification", ["(1, 2)"], count=2)), "ROI 1: 1 points, expected 2 as NumberOfPoints states"),
        (_plist(_roi("Calcification", ["1; 2"])), "ROI 1: point '1; 2', expected '(x, y)'"),
        (_plist(_roi("Calcification", ["(1e, 2)"])), "ROI 1: point '(1e, 2)', expected '(x, y)'"),
        (_plist(_roi("Calcification", [])), "ROI 1: no Point_px, expected a list of points"),
        (_plist(_roi("Blob", ["(1, 2)"])), "ROI 1: Name 'blob', expected Calcification, Cluster or another finding"),
        (_plist(_roi("Cluster", ["(1, 2)"])), "ROI 1: a cluster of 1 points, expected an outline"),
        ("<plist><dict/></plist>", "no Images with ROIs, expected a property list of OsiriX (XML)"),
        ("no XML", "no Images with ROIs, expected a property list of OsiriX (XML)"),
    ],
)
def test_a_damaged_annotation_leaves_out_its_image_and_is_named(folder: Path, content: str, message: str) -> None:
    (folder / "AllXML" / "22670511.xml").write_text(content)
    found = read_inbreast(folder)
    assert [i.image for i in found.table.images] == ["22670465", "22670600"]
    assert f"22670511.xml{' ' if message.startswith('ROI') else ': '}{message}" in found.problems[0]


def test_what_is_listed_and_absent_is_named(folder: Path) -> None:
    (folder / "INbreast.csv").write_text(_CSV + "removed;removed;L;CC;201001;99;1;1\n")
    (folder / "AllXML" / "98.xml").write_text(_plist())
    (folder / "AllDICOMs" / "notes.dcm").write_text("no image")
    assert read_inbreast(folder).problems == (
        "notes.dcm: expected a name such as 20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm",
        "INbreast.csv lists images that are not there: 99",
        "annotations of images that are not there: 98",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_CSV.replace(";", ","), "INbreast.csv: separated by commas, expected a table (CSV) separated by semicolons"),
        (_CSV.replace("File Name", "Datei"), "INbreast.csv: column 'File Name' is missing"),
        (_CSV.replace("22670600", "x"), "INbreast.csv line 4: File Name is 'x', expected the number of an image"),
    ],
)
def test_another_layout_of_the_list_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "INbreast.csv").write_text(text)
    with pytest.raises(TableError) as caught:
        read_inbreast(folder)
    assert str(caught.value).startswith(message)


def test_another_folder_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(TableError, match=r"no INbreast.csv \(found a.txt\), expected one"):
        read_inbreast(tmp_path)


def test_a_stated_pixel_spacing_without_effect_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="--pixel-spacing: the files state it themselves"):
        read_inbreast(folder, ImageInfo(pixel_spacing_mm=(0.07, 0.07)))


def test_the_command_writes_the_table_with_its_terms_and_ends_with_1_where_something_is_missing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_table("inbreast", folder, "--out", tmp_path / "table") == 0
    assert f"INbreast: {LICENCE}" in capsys.readouterr().out.replace("\n", " ")
    table = read_table(tmp_path / "table")
    assert {(i.source, i.licence) for i in table.images} == {("INbreast", LICENCE)}
    (folder / "AllXML" / "98.xml").write_text(_plist())
    assert run_table("inbreast", folder, "--out", tmp_path / "table") == 1
    assert run_table("inbreast", tmp_path / "none", "--out", tmp_path / "other") == 2
    assert not (tmp_path / "other").exists()
    assert "none: no such folder, expected that of the data set" in capsys.readouterr().err
