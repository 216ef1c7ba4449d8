from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.errors import InputError
from microcalc.execution.executor import Serial
from microcalc.study import exams
from microcalc.study.exams import check_left_out, in_splits, leave_out, make_exams, table_stage, take_table, vendor_of
from microcalc.study.scale import load_scale
from microcalc.study.stage import Stage

_SYSTEMS = ("HOLOGIC, Inc. Selenia Dimensions", "GE MEDICAL SYSTEMS Senographe DS", "SIEMENS Mammomat Inspiration")


def _image(number: int, patient: int, *, split: Split = "") -> ImageRow:
    system = _SYSTEMS[patient % 3]
    return ImageRow(
        f"i{number}",
        Path(f"i{number}.png"),
        "raw",
        (0.1, 0.1),
        f"P{patient}",
        system,
        split=split,
        sha256=f"{number:064d}",
    )


@pytest.mark.parametrize(
    ("system", "vendor"),
    [
        (_SYSTEMS[0], "hologic"),
        ("LORAD Selenia", "hologic"),
        (_SYSTEMS[1], "ge"),
        (_SYSTEMS[2], "siemens"),
        ("Siemens Healthineers Revelation", "siemens"),
        ("FUJIFILM Amulet", "fujifilm"),
        ("Acme Mammo", "acme"),
        ("", "unknown"),
    ],
)
def test_a_vendor_is_one_word_whatever_its_spelling(system: str, vendor: str) -> None:
    assert vendor_of(replace(_image(0, 0), system=system)) == vendor


def test_leaving_a_vendor_out_trains_on_the_others_and_tests_on_it_alone() -> None:
    splits: tuple[Split, ...] = ("train", "validation", "test")
    images = tuple(_image(n, n, split=splits[n // 3]) for n in range(9))
    table = Table(images, tuple(AnnotationRow(i.image, 1.0, 1.0) for i in images))
    left = leave_out(table, "ge")
    assert {(i.split, vendor_of(i)) for i in left.images} == {
        ("train", "hologic"), ("train", "siemens"),
        ("validation", "hologic"), ("validation", "siemens"), ("test", "ge"),
    }  # fmt: skip
    assert len(left.annotations) == len(left.images)
    assert leave_out(table, None) is table
    with pytest.raises(InputError, match="no image of agfa, expected one of ge, hologic, siemens"):
        leave_out(table, "agfa")


def test_a_vendor_that_no_exam_is_of_cannot_be_left_out() -> None:
    given = load_scale("smoke").exams
    for vendor in (None, "hologic", "ge", "siemens"):
        check_left_out(vendor, given)
    with pytest.raises(InputError, match="no image of GE, expected one of ge, hologic, siemens"):
        check_left_out("GE", given)
    with pytest.raises(InputError, match="no image of ge, expected one of hologic"):
        check_left_out("ge", Table((_image(0, 0),)))


def test_a_table_without_splits_is_split_by_patient_with_every_vendor_in_every_split(tmp_path: Path) -> None:
    table = Table(tuple(_image(2 * p + view, p) for p in range(30) for view in range(2)))
    split = in_splits(table, intent="raw", seed=1)
    taken = take_table(table_stage(tmp_path, split, intent="raw", seed=1), split)
    assert [(i.image, i.split) for i in taken.images] == [(i.image, i.split) for i in split.images]
    split_of = {i.patient: i.split for i in taken.images}
    assert all(split_of[i.patient] == i.split for i in taken.images)
    assert Counter(split_of.values()) == {"train": 18, "validation": 3, "test": 9}
    assert len({(i.split, vendor_of(i)) for i in taken.images}) == 9
    with pytest.raises(InputError, match="the table has no processed image"):
        in_splits(table, intent="processed", seed=1)


def test_the_key_of_a_table_follows_its_lines(tmp_path: Path) -> None:
    table = Table((_image(0, 0),), (AnnotationRow("i0", 1.0, 1.0),))
    moved = Table(table.images, (AnnotationRow("i0", 1.0, 2.0),))
    keys = {table_stage(tmp_path, t, intent="raw", seed=1).key for t in (table, table, moved)}
    assert len(keys) == 2


def test_patients_keep_their_split_when_a_study_grows(tmp_path: Path) -> None:
    names = []
    for scale in (load_scale("tenth"), load_scale("paper")):
        _, jobs = exams._jobs(tmp_path, scale.exams, "raw", 1)
        counts = scale.exams
        assert Counter(split for *_, split in jobs) == {
            "train": 3 * counts.train,
            "validation": 3 * counts.validation,
            "test": 3 * (counts.test + counts.test_free),
        }  # fmt: skip
        names.append({(s.name, number): split for s, number, _, split in jobs})
    assert names[0].items() <= names[1].items()


def test_some_test_exams_have_no_microcalcification(tmp_path: Path) -> None:
    _, jobs = exams._jobs(tmp_path, load_scale("paper").exams, "raw", 1)
    free = [(split, settings.rates) for _, _, settings, split in jobs if settings.rates.clusters == 0]
    assert len(free) == 3 * load_scale("paper").exams.test_free
    assert all(split == "test" and rates.singles == 0 and rates.confusers for split, rates in free)


def test_no_exam_is_begun_where_there_is_no_room_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=5_000_000_000))
    stage = Stage(tmp_path / "run", "exams", {})
    with pytest.raises(InputError, match=r"run: 5\.0 GB free, expected \d+\.\d GB for the images"):
        make_exams(stage, load_scale("paper").exams, intent="raw", seed=1, executor=Serial())
    assert not list(stage.run.glob("simulated-*"))
