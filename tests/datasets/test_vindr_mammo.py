"""VinDr-Mammo's quirks, in small folders of its format."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.datasets.public_sets import COLUMNS, ROWS, run_table, write_view

from microcalc.datasets.table_files import read_table
from microcalc.datasets.vindr_mammo import LICENCE, LIST, read_vindr_mammo
from microcalc.dicom.header import RAW, AcquisitionHeader
from microcalc.errors import TableError

_HEADER = (
    "study_id", "series_id", "image_id", "laterality", "view_position", "height", "width", "breast_birads",
    "breast_density", "finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax", "split",
)  # fmt: skip


def _line(image: str, categories: str = "['No Finding']", box: str = "   ", **other: str) -> dict[str, str]:
    """Return a line; ``box``: xmin ymin xmax ymax."""
    edges = dict(zip(("xmin", "ymin", "xmax", "ymax"), box.split(" "), strict=True))
    return {
        "study_id": "s1", "series_id": "e1", "image_id": image, "laterality": "L", "view_position": "CC",
        "height": str(ROWS), "width": str(COLUMNS), "breast_birads": "BI-RADS 4", "breast_density": "DENSITY C",
        "finding_categories": categories, "finding_birads": "", **edges, "split": "training", **other,
    }  # fmt: skip


def _list(folder: Path, *lines: Mapping[str, str]) -> None:
    with (folder / LIST).open("w", newline="") as handle:
        writer = csv.DictWriter(handle, _HEADER)
        writer.writeheader()
        writer.writerows(lines)


@pytest.fixture
def folder(tmp_path: Path, processed_header: AcquisitionHeader) -> Path:
    root = tmp_path / "VinDr"
    raw = dataclasses.replace(processed_header, intent="raw", stored=RAW)  # of MONOCHROME1
    write_view(root / "images" / "s1" / "a.dicom", processed_header, view="CC", seed=1)
    write_view(root / "images" / "s2" / "b.dicom", raw, view="CC", seed=2)
    _list(
        root,
        _line("a", "['Suspicious Calcification', 'Mass']", "20.5 30 40 60.25"),
        _line("a", "['Mass']", "1 2 3 4"),
        _line("a", "['Suspicious Calcification']", "-1.5 70 40 80"),
        _line("b", study_id="s2", split="test", breast_birads="BI-RADS 1", breast_density=""),
    )
    return root


def test_boxes_of_calcifications_are_regions_and_a_study_is_a_patient(folder: Path) -> None:
    found = read_vindr_mammo(folder)
    assert [(i.image, i.patient, i.split, i.tags, i.intent) for i in found.table.images] == [
        ("a", "vindr-s1", "train", "density-C birads-4", "processed"),
        ("b", "vindr-s2", "test", "birads-1", "raw"),  # a file for processing is what its header says
    ]
    assert [(a.image, a.kind, a.outline) for a in found.table.annotations] == [
        ("a", "calcification_region", ((30, 20.5), (30, 40), (60.25, 40), (60.25, 20.5))),
        ("a", "calcification_region", ((70, -0.5), (70, 40), (80, 40), (80, -0.5))),
    ]
    assert (found.problems, found.notes) == ((), ("1 box of masses and other findings passed over",))


_BOX = "20 30 40 60"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (_line("a", "['Suspicious Calcification']"), "line 2: ymin is '', expected a number"),
        (
            _line("a", "['Suspicious Calcification']", "40 30 20 60"),
            "line 2: a box of rows 30 to 60 and columns 40 to 20, expected the smaller",
        ),
        (_line("a", "['Suspicious Calcification']", "20 30 20 60"), "line 2: an outline without an area"),
        (_line("a", "['Suspicious Calcification']", "20 30 400 60"), "line 2: row 30, column 400 lies outside"),
        (_line("a", "Mass", _BOX), "line 2: finding_categories is 'Mass', expected a list such as ['Mass']"),
        (_line("a", "[", _BOX), "line 2: finding_categories is '[', expected a list such as"),
        (_line("a", "[]"), "line 2: finding_categories is '[]', expected a list such as"),
        (_line("a", "[3]"), "line 2: finding_categories is '[3]', expected a list such as"),
        (_line("a", width="97"), "a.dicom: 120 x 96 pixels, expected 120 x 97 as in finding_annotations.csv line 2"),
        (_line("a", laterality="B"), "line 2: laterality is 'B', expected one of 'L', 'R'"),
        (_line("a", split="val"), "line 2: split is 'val', expected one of 'training', 'test'"),
        (_line("a", study_id=""), "line 2: no study_id"),
    ],
)
def test_a_line_that_cannot_be_used_leaves_out_its_image(folder: Path, line: dict[str, str], message: str) -> None:
    _list(folder, line, _line("b", study_id="s2"))
    found = read_vindr_mammo(folder)
    assert [i.image for i in found.table.images] == ["b"]
    (problem,) = found.problems
    assert message in problem


def test_what_is_listed_or_there_alone_is_named_and_other_layouts_are_refused(folder: Path) -> None:
    _list(folder, _line("a"), _line("c"))
    assert read_vindr_mammo(folder).problems == (
        f"{LIST} lists images that are not there: c",
        f"images that {LIST} does not list: b",
    )
    (folder / LIST).write_text("study_id,image_id\n")
    with pytest.raises(TableError, match=rf"{LIST}: column 'laterality' is missing \(found 'study_id', 'image_id'\)"):
        read_vindr_mammo(folder)
    with pytest.raises(TableError, match=rf"images: no {LIST} \(found s1, s2\), expected one"):
        read_vindr_mammo(folder / "images")


def test_the_command_writes_the_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table("vindr-mammo", folder, "--out", tmp_path / "table") == 0
    assert LICENCE in capsys.readouterr().out.replace("\n", " ")
    assert len(read_table(tmp_path / "table").annotations) == 2
