"""A simulated data set on disc."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from microcalc import cli
from microcalc.datasets import simulated
from microcalc.datasets.open import open_row
from microcalc.datasets.simulated import Settings
from microcalc.datasets.table import Table
from microcalc.datasets.table_files import read_table
from microcalc.errors import InputError
from microcalc.execution.executor import executor_of
from microcalc.simulate.systems import SYSTEMS


@pytest.fixture(autouse=True)
def small_receptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems with a receptor of a few centimetres."""
    monkeypatch.setattr(simulated, "system", lambda name: replace(SYSTEMS[name], fields=((560, 420),)))


def made(out: Path, *, exams: int = 1, seed: int = 7, workers: int = 1) -> Table:
    settings = Settings(seed=seed, views=("CC",), lateralities=("L",))
    return simulated.simulate_data_set(out, settings, systems=("ge",), exams=exams, executor=executor_of(workers))


def test_a_data_set_reads_back_as_it_was_made(tmp_path: Path) -> None:
    simulated.simulate_data_set(tmp_path, Settings(seed=7), systems=("ge",), exams=1)
    table = read_table(tmp_path)
    assert len(table.images) == 8
    assert Counter((i.laterality, i.view, i.intent) for i in table.images) == Counter(
        (side, view, intent) for side in "LR" for view in ("CC", "MLO") for intent in ("raw", "processed")
    )
    assert len({i.patient for i in table.images}) == len({i.split for i in table.images}) == 1
    for row in table.images:
        mammogram = open_row(row)
        assert mammogram.intent == row.intent
        assert mammogram.laterality == row.laterality
        assert mammogram.spacing_mm == pytest.approx(row.spacing_mm)
        assert {"simulated", "density-"} <= {t[:9].rstrip("ABCD") for t in row.tags.split()}
        inner = mammogram.pixels[200:360, 40:120] if row.laterality == "L" else mammogram.pixels[200:360, -120:-40]
        outer = mammogram.pixels[:, -20:] if row.laterality == "L" else mammogram.pixels[:, :20]
        assert np.median(inner) > np.median(outer)
    headers = [pydicom.dcmread(i.file, stop_before_pixels=True) for i in table.images]
    assert len({h.StudyInstanceUID for h in headers}) == 1
    assert len({h.SOPInstanceUID for h in headers}) == 8
    assert {float(h.FieldOfViewRotation) for h in headers} == {180.0}
    raw, processed = (
        next(a for a in headers if a.PresentationIntentType == i) for i in ("FOR PROCESSING", "FOR PRESENTATION")
    )
    assert processed.SourceImageSequence[0].ReferencedSOPInstanceUID in {h.SOPInstanceUID for h in headers}
    assert "PixelPaddingValue" in processed
    assert "PixelPaddingValue" not in raw


def test_the_same_seed_gives_the_same_files_whatever_the_number_of_workers(tmp_path: Path) -> None:
    one, two = (made(tmp_path / str(workers), exams=2, workers=workers) for workers in (1, 2))
    assert [i.sha256 for i in one.images] == [i.sha256 for i in two.images]
    assert one.annotations == two.annotations


def test_an_exam_that_is_there_is_not_made_again_unless_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(simulated, "simulate_exam", None)  # not called
        again = made(tmp_path)
    assert [i.sha256 for i in again.images] == [i.sha256 for i in first.images]
    first.images[0].file.unlink()
    remade = made(tmp_path, exams=1)
    assert remade.images[0].file.is_file()
    half = Settings(seed=7, dose=0.5, views=("CC",), lateralities=("L",))
    other = simulated.simulate_data_set(tmp_path, half, systems=("ge",), exams=1)
    assert other.images[0].sha256 != first.images[0].sha256
    assert "dose-" in other.images[0].tags


def test_patients_are_split_60_15_25() -> None:
    splits = [simulated.split_of(f"ge-1-{n:05d}") for n in range(2000)]
    shares = [splits.count(s) / 2000 for s in ("train", "validation", "test")]
    assert shares == pytest.approx([0.60, 0.15, 0.25], abs=0.04)


def test_nothing_to_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 exams of 1 systems"):
        simulated.simulate_data_set(tmp_path, systems=("ge",), exams=0)


def test_the_order_in_which_views_sides_and_intents_are_named_has_no_effect() -> None:
    named = Settings(intents=("processed", "raw"), views=("MLO", "CC"), lateralities=("R", "L"))
    assert named == Settings()


def test_an_exam_that_other_code_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    assert "code" in json.loads(next(tmp_path.glob("*/settings.json")).read_text())
    monkeypatch.setattr(simulated, "code_version", lambda *_modules: "changed")
    monkeypatch.setattr(simulated, "simulate_exam", _remade)
    with pytest.raises(_RemadeError):
        made(tmp_path)


class _RemadeError(Exception):
    pass


def _remade(*_arguments: object, **_options: object) -> None:
    raise _RemadeError


def test_a_folder_that_simulate_did_not_make_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that microcalc simulate did not make"):
        made(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("writes", [1, 4, 8])
def test_a_full_disk_is_said_in_one_line_that_names_the_folder_and_the_next_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], writes: int
) -> None:
    fsync, left = os.fsync, [writes]

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    command = ["simulate", "--system", "ge", "--view", "CC", "--laterality", "L", "--workers", "1"]
    out = tmp_path / "sim"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert cli.run([*command, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("microcalc: ")
    assert error.count("\n") == 1
    assert "the disk is full" in error
    assert any(name in error for name in ("sim: ", "ge-1-00000: "))
    assert not list(out.rglob("*.part*"))
    assert cli.run([*command, "--out", str(out)]) == 0
    assert len(read_table(out).images) == 2
