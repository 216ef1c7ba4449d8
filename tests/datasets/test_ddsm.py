"""DDSM's quirks, in small folders of its format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.datasets.public_sets import run_table

from microcalc.datasets.ddsm import LICENCE, read_ddsm
from microcalc.datasets.outlines import is_inside
from microcalc.datasets.table_files import read_table
from microcalc.errors import TableError

_ICS = """ics_version 1.0
filename A-0001-1
DATE_OF_STUDY 2 7 1995
PATIENT_AGE 61
FILM
FILM_TYPE REGULAR
DENSITY 2
DATE_DIGITIZED 22 7 1997
DIGITIZER LUMISYS LASER
SEQUENCE
LEFT_CC LINES 120 PIXELS_PER_LINE 96 BITS_PER_PIXEL 12 RESOLUTION 50 OVERLAY
LEFT_MLO LINES 120 PIXELS_PER_LINE 96 BITS_PER_PIXEL 12 RESOLUTION 50 NON_OVERLAY
RIGHT_CC LINES 120 PIXELS_PER_LINE 96 BITS_PER_PIXEL 12 RESOLUTION 50 NON_OVERLAY
RIGHT_MLO LINES 120 PIXELS_PER_LINE 96 BITS_PER_PIXEL 12 RESOLUTION 50 NON_OVERLAY
"""
_SQUARE = "40 30 " + "2 " * 20 + "4 " * 10 + "6 " * 20 + "0 " * 10 + "#"  # right, down, left, up
_OVERLAY = f"""TOTAL_ABNORMALITIES 2
ABNORMALITY 1
LESION_TYPE CALCIFICATION TYPE PLEOMORPHIC DISTRIBUTION CLUSTERED
LESION_TYPE MASS SHAPE IRREGULAR MARGINS SPICULATED
ASSESSMENT 5
SUBTLETY 3
PATHOLOGY MALIGNANT
TOTAL_OUTLINES 3
BOUNDARY
{_SQUARE}
\tCORE
45 33 2 2 4 4 6 6 0 0 #
ABNORMALITY 2
LESION_TYPE MASS SHAPE OVAL MARGINS CIRCUMSCRIBED
ASSESSMENT 2
SUBTLETY 4
PATHOLOGY BENIGN_WITHOUT_CALLBACK
TOTAL_OUTLINES 1
BOUNDARY
10 10 2 2 4 4 6 6 0 0 #
"""
_VIEWS = "LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    case = tmp_path / "DDSM" / "cancer_01" / "case0001"
    case.mkdir(parents=True)
    for n, view in enumerate(_VIEWS):
        values = np.random.default_rng(n).integers(0, 4000, (120, 96)).astype(np.uint16)
        Image.fromarray(values).save(case / f"A_0001_1.{view}.png")
    (case / "A-0001-1.ics").write_text(_ICS)
    (case / "A_0001_1.LEFT_CC.OVERLAY").write_text(_OVERLAY)
    return tmp_path / "DDSM"


def _overlay(folder: Path) -> Path:
    return folder / "cancer_01" / "case0001" / "A_0001_1.LEFT_CC.OVERLAY"


def test_the_boundary_of_calcifications_is_a_region_whatever_number_of_outlines_is_stated(folder: Path) -> None:
    found = read_ddsm(folder)
    assert [(i.image, i.patient, i.view, i.laterality) for i in found.table.images] == [
        (f"A_0001_1.{view}", "ddsm-A-0001-1", view.split("_")[1], view[0]) for view in _VIEWS
    ]
    assert found.table.images[0].tags == "film density-B malignant benign_without_callback"
    assert {(i.spacing_mm, i.intent) for i in found.table.images} == {((0.05, 0.05), "processed")}
    (row,) = found.table.annotations
    assert (row.kind, row.morphology) == ("calcification_region", "type pleomorphic distribution clustered")
    assert set(row.outline) == {(30.0, 40.0), (30.0, 60.0), (40.0, 60.0), (40.0, 40.0)}
    assert found.problems == ()
    assert found.notes[1:] == ("1 mass passed over",)


@pytest.mark.parametrize(
    ("code", "step"),
    [(0, (-1, 0)), (1, (-1, 1)), (2, (0, 1)), (3, (1, 1)), (4, (1, 0)), (5, (1, -1)), (6, (0, -1)), (7, (-1, -1))],
)
def test_code_0_is_up_and_the_others_follow_clockwise(folder: Path, code: int, step: tuple[int, int]) -> None:
    back, aside = (code + 4) % 8, (code + 2) % 8
    chain = f"48 60 {f'{code} ' * 12}{f'{aside} ' * 12}{f'{back} ' * 12}#"
    _overlay(folder).write_text(_OVERLAY.replace(_SQUARE, chain))
    (row,) = read_ddsm(folder).table.annotations
    assert (60.0 + 12 * step[0], 48.0 + 12 * step[1]) in row.outline
    assert not is_inside((60.0 - step[0], 48.0 - step[1]), row.outline)


def test_a_chain_that_leaves_the_image_by_a_pixel_is_cut(folder: Path) -> None:
    chain = "90 30 " + "2 " * 6 + "4 " * 10 + "6 " * 6 + "0 " * 10 + "#"  # column 96 of 96
    _overlay(folder).write_text(_OVERLAY.replace(_SQUARE, chain))
    (row,) = read_ddsm(folder).table.annotations
    assert max(column for _, column in row.outline) == 95.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (_SQUARE, "40 30 2 2 9 #", "LEFT_CC.OVERLAY BOUNDARY: step 9, expected 0 to 7"),
        (_SQUARE, "40 30 2 2 4", "LEFT_CC.OVERLAY BOUNDARY: '40 30 2 2 4', expected 'column row step step ... #'"),
        (_SQUARE, "40 30 0 0 0 #", "LEFT_CC.OVERLAY abnormality 1: an outline without an area"),
        (_SQUARE, "400 30 2 2 4 4 6 6 0 0 #", "abnormality 1: row 30, column 400 lies outside the image of 120 x 96"),
        (
            "TOTAL_ABNORMALITIES 2",
            "TOTAL_ABNORMALITIES 3",
            "LEFT_CC.OVERLAY: 2 abnormalities, expected as many",
        ),
        ("TOTAL_ABNORMALITIES 2", "", "LEFT_CC.OVERLAY: 2 abnormalities, expected as many as TOTAL_ABNORMALITIES"),
    ],
)
def test_a_damaged_overlay_leaves_out_its_image(folder: Path, old: str, new: str, message: str) -> None:
    _overlay(folder).write_text(_OVERLAY.replace(old, new))
    found = read_ddsm(folder)
    assert [i.image for i in found.table.images] == [f"A_0001_1.{view}" for view in _VIEWS[1:]]
    (problem,) = found.problems
    assert message in problem


def test_images_and_overlays_that_are_not_there_are_named(folder: Path) -> None:
    _overlay(folder).unlink()
    case = _overlay(folder).parent
    (case / "A_0001_1.RIGHT_CC.png").rename(case / "A_0001_1.RIGHT_CC.LJPEG")
    Image.fromarray(np.zeros((100, 96), dtype=np.uint8)).save(case / "A_0001_1.LEFT_MLO.png")
    assert read_ddsm(folder).problems == (
        "A_0001_1.LEFT_CC.png: A_0001_1.LEFT_CC.OVERLAY is not there, expected it as A-0001-1.ics says",
        "A_0001_1.LEFT_MLO.png: 100 x 96 pixels, expected 120 x 96 as in A-0001-1.ics",
        "images that are not there, or only as .LJPEG, expected as 16-bit PNG or TIFF: A_0001_1.RIGHT_CC",
    )


def test_another_folder_and_another_description_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no \.ics file, expected the folders of DDSM's cases"):
        read_ddsm(tmp_path)
    (tmp_path / "B-1.ics").write_text("ics_version 9")
    with pytest.raises(TableError, match=r"no image of DDSM that can be used; the first: B-1.ics: no line such"):
        read_ddsm(tmp_path)


def test_the_command_writes_the_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_table("ddsm", folder, "--out", tmp_path / "table") == 0
    assert LICENCE in capsys.readouterr().out.replace("\n", " ")
    assert len(read_table(tmp_path / "table").annotations) == 1
    assert run_table("ddsm", tmp_path / "table", "--out", tmp_path / "other") == 2
