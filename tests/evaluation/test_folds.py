"""Figures by fold, and the warning where a patient is in several."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.evaluation.reporting.test_report import perfect, table

from microcalc.datasets.table import Table
from microcalc.errors import TableError
from microcalc.evaluation.folds import with_folds
from microcalc.evaluation.reporting.report import evaluate_detections


def _write(folder: Path, text: str) -> Path:
    (folder / "folds.csv").write_text(text)
    return folder / "folds.csv"


def _two_of_a_patient() -> Table:
    first, second, *others = table().images
    return Table((first, replace(second, patient=first.patient), *others), table().annotations)


def test_the_figures_of_each_fold_are_stated_with_the_number_of_patients_in_several(tmp_path: Path) -> None:
    of_image = "image,fold\nim0,1\nim1,2\nim2,1\nim3,2\nnot_evaluated,3\n"
    folded = with_folds(_two_of_a_patient(), _write(tmp_path, of_image))
    summary = evaluate_detections([perfect(tmp_path / "d")], folded, out=tmp_path / "out", resamples=9)
    images = {m.group: m.images for m in summary.metrics}
    assert (images["fold 1"], images["fold 2"], images["all"]) == (2, 2, 4)
    warning = "1 of 3 patients have images in several folds: the figures of a detector that was trained on the other"
    assert summary.remarks[-1].startswith(warning)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["remarks"] == [summary.remarks[-1]]


def test_folds_by_patient_are_no_reason_for_a_warning(tmp_path: Path) -> None:
    folded = with_folds(_two_of_a_patient(), _write(tmp_path, "image,fold\nim0,a\nim1,a\nim2,b\nim3,b\n"))
    assert evaluate_detections([perfect(tmp_path / "d")], folded, out=tmp_path / "out", resamples=9).remarks == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\nim0\n", r"folds\.csv: column 'fold' is missing"),
        ("image,fold\nim0,1\nim0,2\n", r"folds\.csv line 3: image 'im0' is listed twice"),
        ("image,fold\nim0,\n", r"folds\.csv line 2: fold is '', expected a number or a word"),
        ("image,fold\nim0,1\n", r"folds\.csv: no fold of image 'im1', expected one of every image"),
    ],
)
def test_a_file_without_one_fold_of_every_image_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        with_folds(table(), _write(tmp_path, text))
