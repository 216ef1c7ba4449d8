"""A simulated data set on disc."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microcalc.datasets.table import read_table
from microcalc.errors import InputError
from microcalc.runs import simulated
from microcalc.runs.images import open_row
from microcalc.simulate.systems import SYSTEMS


@pytest.fixture
def small_ge(monkeypatch: pytest.MonkeyPatch) -> None:
    """GE with a receptor of a few centimetres."""
    monkeypatch.setattr(simulated, "system", lambda name: replace(SYSTEMS[name], fields=((560, 420),)))


@pytest.mark.usefixtures("small_ge")
def test_a_data_set_reads_back_as_it_was_made_and_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    made = [
        simulated.simulate_data_set(
            tmp_path / str(n), systems=("ge",), exams=2, seed=7, intents=("raw", "processed"), progress=False
        )
        for n in range(2)
    ]
    table = read_table(tmp_path / "0")
    assert [i.sha256 for i in table.images] == [i.sha256 for i in made[1].images]
    assert len(table.images) == 4
    assert {i.intent for i in table.images} == {"raw", "processed"}
    assert len({i.patient for i in table.images}) == 2
    for row in table.images:
        mammogram = open_row(row)
        assert mammogram.intent == row.intent
        assert mammogram.laterality == row.laterality
        assert mammogram.spacing_mm == pytest.approx(row.spacing_mm)
        inner = mammogram.pixels[200:360, 40:120] if row.laterality == "L" else mammogram.pixels[200:360, -120:-40]
        outer = mammogram.pixels[:, -20:] if row.laterality == "L" else mammogram.pixels[:, :20]
        assert np.median(inner) > np.median(outer)


def test_patients_are_split_60_15_25() -> None:
    splits = [simulated.split_of(f"ge-1-{n:05d}") for n in range(2000)]
    shares = [splits.count(s) / 2000 for s in ("train", "tune", "test")]
    assert shares == pytest.approx([0.60, 0.15, 0.25], abs=0.04)


def test_nothing_to_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 exams of 1 systems"):
        simulated.simulate_data_set(tmp_path, systems=("ge",), exams=0)
