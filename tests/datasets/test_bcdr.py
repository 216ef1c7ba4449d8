"""BCDR's quirks, in small folders of its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.datasets.public_sets import run_table

from microcalc.datasets.bcdr import LICENCE, read_bcdr
from microcalc.datasets.table_files import read_table
from microcalc.errors import InputError, TableError
from microcalc.images.info import ImageInfo

_HEADER = (
    "patient_id,study_id,series,lesion_id,segmentation_id,image_view,image_filename,lw_x_points,lw_y_points,"
    "mammography_type,mammography_nodule,mammography_calcification,mammography_microcalcification,"
    "mammography_axillary_adenopathy,mammography_architectural_distortion,mammography_stroma_distortion,age,density,"
    "classification\n"
)
_X, _Y = " 20 40 40 20", " 30 30 50 50"
_SAID = ImageInfo((0.07, 0.07))


def _line(name: str, view: int, *, nodule: int = 0, micro: int = 0, x: str = _X, density: str = " NaN") -> str:
    return f"3,4,1,1,1,{view}, {name},{x},{_Y},1,{nodule},0,{micro},0,0,0,60,{density}, Benign \n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "BCDR"
    for n, name in enumerate(("d01/p3/a_RCC.tif", "d01/p3/a_LO.tif", "f01/p5/b_LCC.tif", "dn01/p9/c_RO.tif")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(n).integers(0, 255, (100, 90)).astype(np.uint8)
        Image.fromarray(values).save(root / name)
    lines = (
        _line("./p3/a_RCC.tif", 1, micro=1) + _line("./p3/a_RCC.tif", 1, nodule=1) + _line("p3/a_LO.tif", 4, nodule=1)
    )
    (root / "d01" / "bcdr_d01_outlines.csv").write_text(_HEADER + lines)
    (root / "f01" / "bcdr_f01_outlines.csv").write_text(_HEADER + _line("p5/b_LCC.tif", 2, micro=1, density=" 3"))
    (root / "dn01" / "bcdr_dn01_img.csv").write_text(
        "patient_id,study_id,series,image_filename,image_type_name,image_type_id,age,density\n"
        "9,1,1, p9/c_RO.tif, RO,2,50, 2\n"
    )
    return root


def test_outlines_with_calcifications_are_regions_and_views_count_from_1_or_from_0(folder: Path) -> None:
    found = read_bcdr(folder, _SAID)
    assert [(i.image, i.laterality, i.view, i.patient, i.tags) for i in found.table.images] == [
        ("d01/p3/a_RCC", "R", "CC", "bcdr-3", "benign"),
        ("d01/p3/a_LO", "L", "MLO", "bcdr-3", "benign"),
        ("dn01/p9/c_RO", "R", "MLO", "bcdr-9", "density-B"),
        ("f01/p5/b_LCC", "L", "CC", "bcdr-3", "film density-C benign"),
    ]
    assert [(a.image, a.kind, a.row, a.column) for a in found.table.annotations] == [
        ("d01/p3/a_RCC", "calcification_region", 40.0, 30.0), ("f01/p5/b_LCC", "calcification_region", 40.0, 30.0),
    ]  # fmt: skip
    assert found.problems == ()
    assert found.notes[0].startswith("digitised film")
    assert found.notes[1] == "2 outlines of other lesions passed over"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (_line(__file__, 4), "line 2: image_filename is a path outside BCDR, expected one below it"),
        (_line("p3/a_LO.tif", 5), "bcdr_d01_outlines.csv line 2: view '5', expected 1 to 4"),
        (_line("p3/a_LO.tif", 4, micro=2), "line 2: mammography_microcalcification is '2', expected 0 or 1"),
        (_line("p3/a_LO.tif", 4, micro=1, x=" 1 2"), "line 2: lw_x_points and lw_y_points, expected as many numbers"),
        (_line("p3/a_LO.tif", 4, micro=1, x=" 1 2 x 4"), "line 2: lw_x_points and lw_y_points, expected as many"),
        (_line("p3/a_LO.tif", 4, micro=1, x=" 1 999 1 1"), "line 2: row 30, column 999 lies outside the image of"),
    ],
)
def test_a_line_that_cannot_be_read_leaves_out_its_image(folder: Path, line: str, message: str) -> None:
    (folder / "d01" / "bcdr_d01_outlines.csv").write_text(_HEADER + line)
    found = read_bcdr(folder, _SAID)
    assert [i.image for i in found.table.images] == ["dn01/p9/c_RO", "f01/p5/b_LCC"]
    assert message in found.problems[0]


def test_images_that_are_not_there_and_other_layouts_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "f01" / "p5" / "b_LCC.tif").unlink()
    assert read_bcdr(folder, _SAID).problems == ("the lists name images that are not there: b_LCC.tif",)
    with pytest.raises(InputError, match="no pixel spacing, expected --pixel-spacing"):
        read_bcdr(folder, ImageInfo())
    (folder / "d01" / "bcdr_d01_outlines.csv").write_text(_HEADER.replace("lw_x_points", "points"))
    with pytest.raises(TableError, match=r"bcdr_d01_outlines.csv: column 'lw_x_points' is missing"):
        read_bcdr(folder, _SAID)
    with pytest.raises(TableError, match=r"no list such as bcdr_d01_outlines.csv, expected the folder of BCDR"):
        read_bcdr(tmp_path / "BCDR" / "d01" / "p3", _SAID)


def test_the_command_writes_the_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table("bcdr", folder, "--pixel-spacing", 0.07, "--out", tmp_path / "table") == 0
    assert LICENCE in capsys.readouterr().out.replace("\n", " ")
    assert len(read_table(tmp_path / "table").images) == 4
