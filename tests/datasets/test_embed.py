"""EMBED's quirks, in small folders of its format."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.datasets.public_sets import run_table, write_view

from microcalc.datasets.embed import LICENCE, read_embed
from microcalc.datasets.table_files import read_table
from microcalc.dicom.header import AcquisitionHeader
from microcalc.errors import TableError

_METADATA, _CLINICAL = "EMBED_OpenData_metadata.csv", "EMBED_OpenData_clinical.csv"
_UNCLEAR = "1 image left out: boxes of calcifications or of other findings"
_DERIVED = "1 image left out: calcifications with a box derived from another image"
_BOX = "[[30, 20, 60, 40]]"


def _image(number: int, boxes: str = "", levels: str = "", **other: str) -> dict[str, str]:
    """Return the line of a file of patient 7, exam 70."""
    return {
        "": "0", "empi_anon": "7", "acc_anon": "70.0", "SeriesDescription": "L, CC",
        "anon_dicom_path": f"/mnt/NAS2/mammo/anon_dicom/cohort_1/7/70/1.2.{number}.dcm", "FinalImageType": "2D",
        "ImageLateralityFinal": "L", "ViewPosition": "CC", "spot_mag": "", "num_roi": str(boxes.count(", ") // 3),
        "ROI_coords": boxes, "match_level": levels, "SRC_DST": "[]", **other,
    }  # fmt: skip


def _finding(codes: str = "", side: str = "L", asses: str = "S", layout: str = "", **other: str) -> dict[str, str]:
    return {
        "empi_anon": "7", "acc_anon": "70", "numfind": "1", "side": side, "asses": asses, "massshape": "",
        "calcfind": codes, "calcdistri": layout, "path_severity": "", **other,
    }  # fmt: skip


def _write(file: Path, *lines: Mapping[str, str]) -> None:
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


@pytest.fixture
def folder(tmp_path: Path, processed_header: AcquisitionHeader) -> Path:
    root = tmp_path / "EMBED"
    for number in (1, 2):
        write_view(root / "images" / "cohort_1" / "7" / "70" / f"1.2.{number}.dcm", processed_header, seed=number)
    (root / "tables").mkdir()
    _write(root / "tables" / _METADATA, _image(1, _BOX, "[1]"), _image(2, ImageLateralityFinal="R"))
    _write(root / "tables" / _CLINICAL, _finding("I", layout="G"), _finding(side="R", asses="N"))
    (root / "tables" / "AWS_Open_Data_Clinical_Legend.csv").write_text("Header in export,Meaning\n")
    return root


def _clinical(folder: Path, *lines: Mapping[str, str]) -> None:
    _write(folder / "tables" / _CLINICAL, *lines)


def test_boxes_are_regions_with_y_first_and_files_are_found_by_their_names(folder: Path) -> None:
    found = read_embed(folder)
    assert [(i.image, i.patient, i.tags) for i in found.table.images] == [
        ("images/cohort_1/7/70/1.2.1", "embed-7", "birads-4"), ("images/cohort_1/7/70/1.2.2", "embed-7", "birads-1"),
    ]  # fmt: skip
    (row,) = found.table.annotations
    assert (row.kind, row.morphology) == ("calcification_region", "fine-pleomorphic grouped")
    assert list(row.outline) == [(30, 20), (30, 40), (60, 40), (60, 20)]
    assert (found.problems, found.notes) == ((), ())


@pytest.mark.parametrize(
    ("findings", "box", "regions", "note"),
    [
        ([_finding("9,V")], (_BOX, "[1]"), ["benign vascular"], ""),
        ([_finding("A", side="B")], (_BOX, "[1]"), ["amorphous"], ""),
        ([_finding("A", side="NaN")], (_BOX, "1"), ["amorphous"], ""),
        ([_finding("A"), _finding("P", layout="S")], (_BOX, "[1]"), ["amorphous punctate segmental"], ""),
        ([_finding("A"), _finding("", side="R")], (_BOX, "[1]"), ["amorphous"], ""),
        ([_finding("A"), _finding("", asses="N")], (_BOX, "[1]"), ["amorphous"], ""),
        ([_finding(side="NaN")], (_BOX, "[2]"), [], "1 box of masses and other findings passed over"),
        ([_finding("A"), _finding()], (_BOX, "[1]"), None, _UNCLEAR),
        ([_finding("A")], ("", ""), None, "1 image left out: calcifications without a box"),
        ([_finding("A")], (_BOX, "[2]"), None, _DERIVED),
    ],
)  # fmt: skip
def test_a_box_is_of_calcifications_where_all_findings_of_the_breast_are(
    folder: Path, findings: list[dict[str, str]], box: tuple[str, str], regions: list[str] | None, note: str
) -> None:
    _write(folder / "tables" / _METADATA, _image(1, *box), _image(2, empi_anon="8"))
    _clinical(folder, *findings, _finding(asses="N", empi_anon="8"))
    found = read_embed(folder)
    assert [i.patient for i in found.table.images] == (["embed-8"] if regions is None else ["embed-7", "embed-8"])
    assert [a.morphology for a in found.table.annotations] == (regions or [])
    assert "".join(found.notes) == note
    assert found.problems == ()


def test_other_images_than_digital_mammograms_are_left_out(folder: Path) -> None:
    others = [_image(n, FinalImageType=kind) for n, kind in enumerate(("3D", "C-view", "ROI_SSC", "ROI_SS"), 3)]
    _write(folder / "tables" / _METADATA, _image(1, spot_mag="1.0"), _image(2, ImageLateralityFinal="R"), *others)
    found = read_embed(folder)
    assert [i.laterality for i in found.table.images] == ["R"]  # which the list has corrected
    assert found.notes == (
        "1 image left out: spot compression or magnification",
        *(f"1 image left out: {kind}, no digital mammogram" for kind in ("3D", "C-view", "ROI_SSC", "ROI_SS")),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (_image(1, "[[30, 20, 60]]", "[1]", num_roi="1"), "ROI_coords [30, 20, 60], expected [ymin, xmin, ymax, xmax]"),
        (_image(1, "[[60, 20, 30, 40]]", "[1]"), "line 2: a box of rows 60 to 30 and columns 20 to 40, expected the"),
        (_image(1, "[[30, 20, 60, 400]]", "[1]"), "line 2: row 30, column 400 lies outside the image of"),
        (_image(1, "[[30,", "[1]"), "line 2: ROI_coords is '[[30,', expected a list"),
        (_image(1, _BOX, "[1, 1]"), "line 2: 1 ROI_coords, 2 match_level and num_roi '1', expected as many of each"),
        (_image(1, _BOX, "[1]", num_roi="2"), "line 2: 1 ROI_coords, 1 match_level and num_roi '2', expected as many"),
        (_image(1, FinalImageType="4D"), "line 2: FinalImageType is '4D', expected one of '2D', '3D',"),
        (_image(1, spot_mag="yes"), "line 2: spot_mag is 'yes', expected one of '', '0', '1'"),
        (_image(1, ImageLateralityFinal="B"), "line 2: ImageLateralityFinal is 'B', expected one of 'L', 'R'"),
        (_image(1, acc_anon="71"), "line 2: no line of its patient and exam in the clinical list, expected one"),
        (_image(3, _BOX, "[1]"), f"{_METADATA} lists images that are not there: 1.2.3.dcm"),
    ],
)
def test_a_line_that_cannot_be_used_leaves_out_its_image(folder: Path, line: dict[str, str], message: str) -> None:
    _write(folder / "tables" / _METADATA, line, _image(2, ImageLateralityFinal="R"))
    found = read_embed(folder)
    assert len(found.table.images) == 1
    assert message in found.problems[0]


def test_unknown_codes_leave_out_the_images_of_the_breast(folder: Path) -> None:
    _clinical(folder, _finding("AZ"), _finding(side="R", asses="N"))
    assert "line 2: calcfind is 'AZ', expected letters of ABCDEFGHIJKLMOPQRSUV9" in read_embed(folder).problems[0]


def test_of_files_of_one_name_the_one_with_the_path_of_the_list_is_taken(
    folder: Path, processed_header: AcquisitionHeader
) -> None:
    copy = folder / "images" / "cohort_1" / "8" / "80" / "1.2.1.dcm"
    write_view(copy, processed_header, seed=9)
    assert read_embed(folder).table.images[0].image == "images/cohort_1/7/70/1.2.1"
    write_view(folder / "images" / "cohort_2" / "7" / "71" / "1.2.1.dcm", processed_header, seed=9)
    _write(folder / "tables" / _METADATA, _image(1, anon_dicom_path="1.2.1.dcm"), _image(2))
    _clinical(folder, _finding(asses="N"))
    assert f"{_METADATA} line 2: 3 files of the name 1.2.1.dcm, expected one" in read_embed(folder).problems[0]


def test_lists_may_be_reduced_and_others_are_refused(folder: Path) -> None:
    (folder / "tables" / _METADATA).rename(folder / "tables" / "EMBED_OpenData_metadata_reduced.csv")
    assert len(read_embed(folder).table.images) == 2
    (folder / "tables" / _CLINICAL).write_text("empi_anon,acc_anon,side,asses,calcfind\n")
    with pytest.raises(TableError, match=rf"{_CLINICAL}: column 'calcdistri' is missing"):
        read_embed(folder)
    with pytest.raises(TableError, match=r"images: no EMBED_OpenData_metadata\*.csv \(found cohort_1\), expected one"):
        read_embed(folder / "images")


def test_the_command_says_that_weights_must_not_be_published_and_so_does_each_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_table("embed", folder, "--out", tmp_path / "table") == 0
    assert "weights of models trained on it must not be published" in capsys.readouterr().out.replace("\n", " ")
    assert {i.licence for i in read_table(tmp_path / "table").images} == {LICENCE}
