"""Patients are split, never images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.errors import InputError
from microcalc.training.split import (
    folds_of_patients,
    halves_of_split,
    split_by_fold,
    split_by_half,
    split_by_patient,
)


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


def test_an_image_of_no_fold_is_left_out() -> None:
    folds = [frozenset({"p0"}), frozenset({"p1"}), frozenset({"p2"})]
    assert {i.patient for i in split_by_fold(_table(4), folds, test=0).images} == {"p0", "p1", "p2"}


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_that_leave_a_split_without_a_patient_are_refused(folds: int) -> None:
    with pytest.raises(InputError, match=f"{folds} folds of 4 patients, expected 3 folds or more"):
        folds_of_patients(_table(4), folds=folds, seed=0)


def _with_splits(*splits: Split) -> Table:
    """Return a table of two views each of as many patients as there are splits; the last has no patient's name."""
    table = _table(len(splits))
    last = f"p{len(splits) - 1}"
    images = (replace(i, split=splits[int(i.patient[1:])]) for i in table.images)
    return Table(tuple(replace(i, patient="") if i.patient == last else i for i in images), table.annotations)


def test_networks_of_a_half_learn_from_the_other_half_and_from_training_patients_alone() -> None:
    table = _with_splits("train", "validation", "", "test", "test", "test")
    halves = halves_of_split(table, ["p3", "5-cc", "5-mlo"])
    assert halves == (frozenset({"p3", "image:5-cc", "image:5-mlo"}), frozenset({"p4"}))
    for test in (0, 1):
        split = split_by_half(table, halves, test=test)
        of_split = {
            name: {i.patient_or_image for i in split.images if i.split == name}
            for name in ("train", "validation", "test", "")
        }
        assert of_split == {"train": {"p0", *halves[1 - test]}, "validation": {"p1"}, "test": halves[test], "": set()}


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (["p7"], "p7: expected patients of the table"),
        (["p0", "p3"], "of the splits test, train, expected one"),
        (["p2"], "of the splits none, expected one"),
        (["p3", "4-cc", "4-mlo"], "all of the split test, expected some of it"),
    ],
)
def test_a_half_is_some_patients_of_one_split(first: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        halves_of_split(_with_splits("train", "validation", "", "test", "test"), first)
