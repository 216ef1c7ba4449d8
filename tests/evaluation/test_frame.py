from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from microcalc import cli
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import write_table
from microcalc.evaluation.frame import frame_warnings
from microcalc.evaluation.marks import Marks

SHAPE, SPACING = (800, 600), (0.1, 0.08)
PLACES = np.array([(300.0, 400.0), (310.0, 420.0), (330.0, 415.0), (350.0, 390.0)])


def table(places: NDArray[np.float64] = PLACES) -> Table:
    image = ImageRow("v1", Path("v1.png"), "processed", SPACING, rows=SHAPE[0], columns=SHAPE[1])
    return Table((image,), tuple(AnnotationRow("v1", r, c) for r, c in places))


def marked(places: NDArray[np.float64]) -> dict[str, Marks]:
    """The places, rated highest, among a thousand others."""
    others = np.random.default_rng(3).uniform((0, 0), SHAPE, size=(1000, 2))
    rating = np.concatenate([np.full(len(places), 0.9), np.linspace(0.5, 0.01, 1000)])
    return {"v1": Marks(np.concatenate([places, others]), rating)}


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        (PLACES[:, ::-1], "4 with row and column exchanged"),
        (PLACES * (1, -1) + (0, SHAPE[1] - 1), "4 with columns counted from the right"),
        (PLACES * (-1, 1) + (SHAPE[0] - 1, 0), "4 with rows counted from the bottom"),
        ((PLACES - 0.5) / 2, "4 with places on a copy of half the size"),
        (PLACES * 2 + 0.5, "4 with places on a copy of twice the size"),
        (PLACES * SPACING, "4 with places in mm"),
    ],
)
def test_places_of_another_frame_are_told_by_the_reading_that_fits(moved: NDArray[np.float64], words: str) -> None:
    (remark,) = frame_warnings(marked(moved), table(), hit_mm=0.5)
    assert words in remark
    assert "0 of 4 annotated microcalcifications have a mark" in remark


def test_exchanged_annotations_are_told_as_exchanged_marks_are() -> None:
    (remark,) = frame_warnings(marked(PLACES), table(PLACES[:, ::-1]), hit_mm=0.5)
    assert "row and column exchanged" in remark


@pytest.mark.parametrize("found", [PLACES, PLACES[:1], PLACES[:0], PLACES + 40])
def test_a_detector_that_finds_all_or_one_or_nothing_is_of_the_same_frame(found: NDArray[np.float64]) -> None:
    assert frame_warnings(marked(found), table(), hit_mm=0.5) == ()


def test_one_place_alone_is_no_evidence() -> None:
    assert frame_warnings(marked(PLACES[:1, ::-1]), table(PLACES[:1]), hit_mm=0.5) == ()


@pytest.mark.parametrize(("order", "code"), [(("row", "column"), 0), (("column", "row"), 1)])
def test_evaluate_says_that_rows_and_columns_of_a_table_of_marks_are_exchanged(
    order: tuple[str, str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(table(), tmp_path / "truth")
    lines = [",".join(("image", *order, "likelihood")), *(f"v1,{r:g},{c:g},0.9" for r, c in PLACES)]
    (tmp_path / "marks.csv").write_text("\n".join(lines))
    asked = ["evaluate", str(tmp_path / "marks.csv"), "--truth", str(tmp_path / "truth")]
    assert cli.run([*asked, "--out", str(tmp_path / "out"), "--resamples", "2"]) == code
    said = "do not fit" in capsys.readouterr().err
    written = "do not fit" in (tmp_path / "out/summary.md").read_text()
    assert said == written == (code == 1)
