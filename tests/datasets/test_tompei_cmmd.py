"""CMMD's and TOMPEI's quirks, each in a small folder of their formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.datasets.public_sets import COLUMNS, ROWS, run_table, write_view

from microcalc.datasets.table_files import read_table
from microcalc.datasets.tompei_cmmd import CLINICAL, LICENCE, read_tompei_cmmd
from microcalc.dicom.header import AcquisitionHeader
from microcalc.domain import Laterality
from microcalc.errors import TableError

_PARTS = "D1-0001_MLO_R", "D1-0001_MLO_L", "D2-0002_MLO_L", "D2-0002_CC_L"


def _edit(patient: str, side: Laterality, breast: Laterality, seed: int) -> Any:
    """Make a header as CMMD has it, and a breast of one half of the image: a left one is in the left half."""

    def edit(dataset: Dataset) -> None:
        dataset.PatientID = patient
        dataset.ImageLaterality = side
        if "ViewPosition" in dataset:
            del dataset.ViewPosition
        values = np.zeros((ROWS, COLUMNS), dtype=np.uint16)
        half = slice(0, COLUMNS // 2) if breast == "L" else slice(COLUMNS // 2, COLUMNS)
        values[:, half] = 500 + np.random.default_rng(seed).integers(0, 99, values[:, half].shape)
        dataset.PixelData = values.tobytes()

    return edit


def _write(root: Path, header: AcquisitionHeader, name: str, seed: int, *, breast: Laterality | None = None) -> Path:
    patient, view, side = name.split("_")
    known: Literal["CC", "MLO"] = "CC" if view == "CC" else "MLO"
    laterality: Laterality = "L" if side == "L" else "R"
    file = root / "CMMD" / patient / "07-18-2010-NA-NA" / f"1.000000-NA-{seed:05d}" / "1-1.dcm"
    edit = _edit(patient, laterality, breast or laterality, seed)
    return write_view(file, header, laterality=laterality, view=known, seed=seed, edit=edit)


def _outline(label: str, left: float, top: float = 30.0, **other: Any) -> dict[str, Any]:
    points = [(left, top), (left + 12, top), (left + 12, top + 9), (left, top + 9)]
    return {"cgPoints": [{"x": x, "y": y} for x, y in points], "label": label, "color": "#ff0000", **other}


def _annotate(root: Path, name: str, *entries: Any) -> Path:
    file = root / "TOMPEI" / f"{name}_AnnotationFile.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(list(entries)))
    return file


@pytest.fixture
def root(tmp_path: Path, processed_header: AcquisitionHeader) -> Path:
    for seed, name in enumerate(_PARTS):
        _write(tmp_path, processed_header, name, seed)
    _annotate(tmp_path, "D1-0001_MLO_R", _outline("calc ", 60), _outline("mass", 70), _outline("dist", 64, type="Draw"))
    _annotate(tmp_path, "D2-0002_MLO_L", _outline("mass", 20))
    junk = tmp_path / "TOMPEI" / "__MACOSX" / "._D1-0001_MLO_R_AnnotationFile.json"
    junk.parent.mkdir()
    junk.write_bytes(b"\x00\x05")
    return tmp_path


def test_outlines_of_calcifications_are_regions_and_views_that_nobody_annotated_are_left_out(root: Path) -> None:
    found = read_tompei_cmmd(root / "CMMD", root / "TOMPEI")
    assert [(i.patient, i.view, i.laterality) for i in found.table.images] == [
        ("D1-0001", "MLO", "R"), ("D2-0002", "MLO", "L"),
    ]  # fmt: skip
    (row,) = found.table.annotations
    assert (row.kind, row.judge) == ("calcification_region", "TOMPEI")
    assert list(row.outline) == [(30, 60), (30, 72), (39, 72), (39, 60)]
    assert not found.problems
    assert found.notes == (
        "2 images without an annotation left out",
        "3 outlines of masses and other lesions passed over",
    )


def test_the_side_of_the_annotation_wins_over_a_wrong_header(
    tmp_path: Path, processed_header: AcquisitionHeader
) -> None:
    right = _write(tmp_path, processed_header, "D1-0999_MLO_L", 1, breast="R")  # both tags are exchanged
    left = _write(tmp_path, processed_header, "D1-0999_MLO_R", 2, breast="L")
    only = _write(tmp_path, processed_header, "D1-0252_MLO_L", 3, breast="R")  # its only view has the wrong side
    _annotate(tmp_path, "D1-0999_MLO_L", _outline("calc", 20))
    _annotate(tmp_path, "D1-0999_MLO_R", _outline("calc", 70))
    _annotate(tmp_path, "D1-0252_MLO_R", _outline("calc", 70))
    found = read_tompei_cmmd(tmp_path)
    assert {i.file: i.laterality for i in found.table.images} == {left: "L", right: "R", only: "R"}
    assert "3 images with the other side in its header; the annotation's side is taken" in found.notes


def test_an_outline_beside_every_breast_is_named(root: Path) -> None:
    _annotate(root, "D2-0002_MLO_L", _outline("calc", 70))
    found = read_tompei_cmmd(root / "CMMD", root / "TOMPEI")
    assert [i.patient for i in found.table.images] == ["D1-0001"]
    assert found.problems == (
        "D2-0002_MLO_L_AnnotationFile.json: its outlines lie beside the breast or the image, expected them on it",
    )


def test_one_image_under_two_patients_is_there_once_and_the_patients_are_one(
    root: Path, processed_header: AcquisitionHeader
) -> None:
    copy = _write(root, processed_header, "D2-0003_MLO_R", 0, breast="R")  # the pixels of D1-0001's
    original = root / "CMMD" / "D1-0001" / "07-18-2010-NA-NA" / "1.000000-NA-00000" / "1-1.dcm"
    assert pydicom.dcmread(copy).PixelData == pydicom.dcmread(original).PixelData
    _annotate(root, "D2-0003_MLO_R", _outline("calc", 60))
    (root / "CMMD" / CLINICAL).write_text(
        "ID1,LeftRight,Age,number,abnormality,classification,subtype\n"
        "D1-0001,R,44,2,calcification,Benign,\nD2-0003,R,44,2,both,Malignant,Luminal A\n"
    )
    found = read_tompei_cmmd(root / "CMMD", root / "TOMPEI")
    assert [i.patient for i in found.table.images] == ["D1-0001", "D2-0002"]
    assert found.table.images[0].tags == "abnormality-calcification benign abnormality-both malignant"
    assert len(found.table.annotations) == 1
    assert found.notes[-2].startswith("1 image left out as copies: ")
    assert found.notes[-1] == "1 patient joined with another who has the same image"


def test_what_is_listed_and_absent_is_named(root: Path) -> None:
    _annotate(root, "D1-0777_MLO_L", _outline("calc", 20))
    (root / "CMMD" / CLINICAL).write_text(
        "ID1,LeftRight,abnormality,classification\nD1-0001,R,mass,Benign\nD1-0555,L,mass,Benign\n"
    )
    assert read_tompei_cmmd(root / "CMMD", root / "TOMPEI").problems == (
        "annotations of images that are not there: D1-0777_MLO_L_AnnotationFile",
        f"{CLINICAL} lists patients without an image: D1-0555",
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"label": "calc"}], "outline 1: cgPoints 'None', expected at least three points with x and y"),
        (
            [_outline("calc", 60) | {"cgPoints": [{"x": 1}]}],
            "outline 1: cgPoints \"[{'x': 1}]\", expected at least three",
        ),
        ([_outline("cyst", 60)], "outline 1: label 'cyst', expected calc, dist,"),
        ([3], "found list, expected a list of outlines with cgPoints and label"),
    ],
)
def test_an_unknown_annotation_leaves_out_its_image(root: Path, entries: list[Any], message: str) -> None:
    _annotate(root, "D1-0001_MLO_R", *entries)
    found = read_tompei_cmmd(root / "CMMD", root / "TOMPEI")
    assert [i.patient for i in found.table.images] == ["D2-0002"]
    assert message in found.problems[0]


def test_the_command_writes_the_table_and_refuses_another_folder(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (root / "CMMD", "--annotations", root / "TOMPEI", "--out", root / "table")
    assert run_table("tompei-cmmd", *arguments) == 0
    assert LICENCE in capsys.readouterr().out.replace("\n", " ")
    assert len(read_table(root / "table").images) == 2
    assert run_table("tompei-cmmd", root / "CMMD", "--out", root / "other") == 2
    assert "CMMD: no file such as D1-0001_MLO_R_AnnotationFile.json" in capsys.readouterr().err
    for file in list((root / "CMMD").rglob("*.dcm")):
        file.unlink()
    with pytest.raises(TableError, match=r"CMMD: no image of CMMD with TOMPEI-CMMD that can be used"):
        read_tompei_cmmd(root / "CMMD", root / "TOMPEI")
