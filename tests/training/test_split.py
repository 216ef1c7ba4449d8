"""Patients are split, never images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.training.split import split_by_patient


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
