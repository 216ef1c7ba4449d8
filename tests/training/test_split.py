"""Patients are split, never images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.errors import InputError
from microcalc.training.split import folds_of_patients, split_by_fold, split_by_patient


def _table(patients: int, *, named: bool = True) -> Table:
    images = tuple(
        ImageRow(f"{p}-{view}", Path(f"{p}-{view}.png"), "raw", (0.1, 0.1), patient=f"p{p}" if named else "")
        for p in range(patients)
        for view in ("cc", "mlo")
    )
    return Table(images, (AnnotationRow("0-cc", 1.0, 2.0),))


def test_no_patient_is_on_both_sides() -> None:
    split = split_by_patient(_table(40), seed=3)
    sides = {name: {i.patient for i in split.images if i.split == name} for name in ("train", "validation")}
    assert not sides["train"] & sides["validation"]
    assert (len(sides["train"]), len(sides["validation"])) == (32, 8)
    assert split.annotations == _table(40).annotations


def test_an_image_without_a_patient_is_one_of_its_own() -> None:
    split = split_by_patient(_table(10, named=False), seed=0)
    assert [i.split for i in split.images].count("validation") == 4


def test_the_seed_decides_and_the_order_of_the_table_does_not() -> None:
    table = _table(20)
    turned = Table(table.images[::-1], table.annotations)
    by_name = [{i.image: i.split for i in split_by_patient(t, seed=1).images} for t in (table, turned)]
    assert by_name[0] == by_name[1]
    assert by_name[0] != {i.image: i.split for i in split_by_patient(table, seed=2).images}


def test_even_two_patients_give_one_to_validation() -> None:
    assert {i.split for i in split_by_patient(_table(2), seed=0).images} == {"train", "validation"}


def test_a_split_that_the_table_gives_is_kept() -> None:
    table = _table(3)
    given = Table(tuple(replace(i, split="test") for i in table.images), table.annotations)
    assert split_by_patient(given, seed=0) == given


@given(st.integers(3, 12), st.integers(0, 20), st.integers(0, 1000))
def test_every_patient_is_tested_once_by_networks_that_never_saw_it(folds: int, more: int, seed: int) -> None:
    table = _table(folds + more)
    of_fold = folds_of_patients(table, folds=folds, seed=seed)
    tested: list[str] = []
    for test in range(folds):
        split = split_by_fold(table, of_fold, test=test)
        patients = {
            name: {i.patient for i in split.images if i.split == name} for name in ("train", "validation", "test")
        }
        assert all(patients.values())
        assert sum(map(len, patients.values())) == folds + more
        tested += patients["test"]
    assert sorted(tested) == sorted({i.patient for i in table.images})
    sizes = [len(fold) for fold in of_fold]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_that_leave_a_split_without_a_patient_are_refused(folds: int) -> None:
    with pytest.raises(InputError, match=f"{folds} folds of 4 patients, expected 3 folds or more"):
        folds_of_patients(_table(4), folds=folds, seed=0)
