"""The exams of the study, simulated or from the user's table, in splits by patient.

Simulated exams lie in ``RUN/simulated-KEY/``, each in a folder of its own. The key does not depend on the number of
exams: a larger study makes only the exams that are not there yet.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from microcalc.datasets.simulated import SETTINGS, Settings, make_exam
from microcalc.datasets.table import ImageRow, Split, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.dicom.systems import system_name
from microcalc.domain import Intent
from microcalc.errors import InputError
from microcalc.execution.executor import Executor, run_in_order
from microcalc.execution.shard import Shard
from microcalc.simulate.lesions import usual_rates
from microcalc.simulate.systems import System, system
from microcalc.storage.key import code_version, key_of
from microcalc.storage.write import saying_where
from microcalc.study.scale import Exams
from microcalc.study.stage import Stage, run_stage
from microcalc.training.annotated import key_of_table

_FIRST: dict[str, int] = {"train": 0, "validation": 10_000, "test": 20_000, "test_free": 30_000}
_SHARES: tuple[tuple[Split, float], ...] = (("train", 0.6), ("validation", 0.7), ("test", 1.0))
_BYTES = 2
_MODULES = ("microcalc.study.exams",)


def exams_stage(run: Path, exams: Exams, *, intent: Intent, seed: int) -> Stage:
    """Return the stage that simulates exams."""
    settings = {"exams": exams.model_dump(mode="json"), "intent": intent, "seed": seed}
    return Stage(run, "exams", settings, modules=_MODULES)


def table_stage(run: Path, table: Table, *, intent: Intent, seed: int) -> Stage:
    """Return the stage of the user's table, from ``with_hashes``; its key follows from the files and the lines."""
    return Stage(run, "exams", {"table": key_of_table(table), "intent": intent, "seed": seed}, modules=_MODULES)


def make_exams(stage: Stage, exams: Exams, *, intent: Intent, seed: int, executor: Executor) -> Table:
    """Simulate the exams that are not there yet, and return the table of all exams with their splits.

    The split follows from the number of an exam. So each system has the same number of patients in each split, and
    no patient changes its split when a study grows.

    Raises
    ------
    InputError
        The disk has too little room for the images.
    """

    def work() -> None:
        pool, jobs = _jobs(stage.run, exams, intent, seed)
        write_table(_made(stage.run, pool, jobs, executor), stage.folder / "table")

    run_stage(stage, work)
    return read_table(stage.folder / "table")


def make_shard_of_exams(
    stage: Stage, exams: Exams, *, intent: Intent, seed: int, executor: Executor, shard: Shard
) -> Table:
    """Simulate the exams of a shard that are not there yet, and return their table; see ``make_exams``.

    Raises
    ------
    InputError
        The disk has too little room for the images.
    """
    pool, jobs = _jobs(stage.run, exams, intent, seed)
    return _made(stage.run, pool, [job for job in jobs if shard.has(_name(job))], executor)


def _made(run: Path, pool: Path, jobs: Sequence[_Job], executor: Executor) -> Table:
    """Simulate the exams that are not in the pool, and return the table of all, with their splits."""
    _check_room(run, pool, jobs)
    with saying_where(pool):
        pool.mkdir(parents=True, exist_ok=True)
    made = run_in_order(executor, partial(_make, pool), jobs, work="simulating exams", name=_name)
    images = [replace(i, split=job[3]) for job, table in zip(jobs, made, strict=True) for i in table.images]
    return Table(tuple(images), tuple(a for table in made for a in table.annotations))


def in_splits(table: Table, *, intent: Intent, seed: int) -> Table:
    """Return the images of an intent in the user's table, each with its split.

    Where the table has no splits, the patients of each vendor are split 60 : 10 : 30.

    Raises
    ------
    InputError
        The table has no image of this intent.
    """
    chosen = table.of_images(i for i in table.images if i.intent == intent)
    if not chosen.images:
        raise InputError(f"the table has no {intent} image, expected some")
    if not any(i.split for i in chosen.images):
        chosen = Table(tuple(_split(chosen.images, seed)), chosen.annotations)
    return chosen


def take_table(stage: Stage, table: Table) -> Table:
    """Copy the user's table into its stage, and return the copy with the current paths of the files."""
    run_stage(stage, lambda: write_table(table, stage.folder / "table"))
    files = {i.image: i.file for i in table.images}  # the same bytes may lie elsewhere than at an earlier start
    taken = read_table(stage.folder / "table")
    return Table(tuple(replace(i, file=files[i.image]) for i in taken.images), taken.annotations)


def vendor_of(row: ImageRow) -> str:
    """Return the manufacturer as one lower-case word: ``hologic``, ``ge``, ``siemens``, another, or ``unknown``."""
    return _vendor(row.system)


def leave_out(table: Table, vendor: str | None) -> Table:
    """Return the table without a vendor's images in train and validation, and with these alone in test.

    Parameters
    ----------
    vendor
        None: the table is returned as it is.

    Raises
    ------
    InputError
        The table has no image of the vendor.
    """
    if vendor is None:
        return table
    vendors = {i.image: vendor_of(i) for i in table.images}
    if vendor not in vendors.values():
        raise InputError(f"no image of {vendor}, expected one of {', '.join(sorted(set(vendors.values())))}")
    return table.of_images(i for i in table.images if (vendors[i.image] == vendor) == (i.split == "test"))


def check_left_out(vendor: str | None, given: Exams | Table) -> None:
    """Refuse, before any work, a vendor to leave out that has no exam.

    Raises
    ------
    InputError
        No system of the scale, or no image of the table, is of the vendor.
    """
    if isinstance(given, Table):
        vendors = {vendor_of(i) for i in given.images}
    else:
        vendors = {_vendor(f"{s.manufacturer} {s.model}") for s in map(system, given.systems)}
    if vendor is not None and vendor not in vendors:
        raise InputError(f"no image of {vendor}, expected one of {', '.join(sorted(vendors))}")


_Job = tuple[System, int, Settings, Split]
"""System, number, settings and split of an exam."""


def _name(job: _Job) -> str:
    """Return the name of an exam's folder."""
    s, exam, settings, _ = job
    return f"{s.name}-{settings.seed}-{exam:05d}"


def _jobs(run: Path, exams: Exams, intent: Intent, seed: int) -> tuple[Path, list[_Job]]:
    """Return the folder of the exams, and for each exam its system, number, settings and split."""
    usual = usual_rates(clusters=exams.clusters, singles=exams.singles, confusers=exams.confusers)
    usual_settings = Settings(seed, (intent,), exams.views, exams.lateralities, 1.0, usual)
    free_settings = replace(usual_settings, rates=replace(usual, clusters=0.0, singles=0.0))
    made_by = code_version("microcalc.datasets.simulated")
    pool = run / f"simulated-{key_of([asdict(usual_settings), exams.field_mm, made_by])[:12]}"
    parts: tuple[tuple[str, Split, int, Settings], ...] = (
        ("train", "train", exams.train, usual_settings),
        ("validation", "validation", exams.validation, usual_settings),
        ("test", "test", exams.test, usual_settings),
        ("test_free", "test", exams.test_free, free_settings),
    )
    systems = [_of_field(system(name), exams.field_mm) for name in dict.fromkeys(exams.systems)]
    return pool, [
        (s, _FIRST[part] + number, settings, split)
        for part, split, count, settings in parts
        for number in range(count)
        for s in systems
    ]


def _of_field(s: System, field_mm: tuple[float, float] | None) -> System:
    if field_mm is None:
        return s
    return replace(s, fields=((round(field_mm[0] / s.pitch_mm), round(field_mm[1] / s.pitch_mm)),))


def _make(pool: Path, job: _Job) -> Table:
    s, exam, settings, _ = job
    return make_exam(pool, s, exam, settings)


def _check_room(run: Path, pool: Path, jobs: Sequence[_Job]) -> None:
    """Refuse to begin without room for all images: two bytes per stored pixel, and as many for normalised ones."""
    wanted = 0
    for job in jobs:
        if not (pool / _name(job) / SETTINGS).is_file():
            s, _, settings, _ = job
            rows, columns = s.fields[-1]
            wanted += 2 * _BYTES * rows * columns * len(settings.views) * len(settings.lateralities)
    run.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(run).free
    if free < wanted:
        raise InputError(f"{run.name}: {free / 1e9:.1f} GB free, expected {wanted / 1e9:.1f} GB for the images")


def _split(images: Iterable[ImageRow], seed: int) -> list[ImageRow]:
    """Patients, shuffled, cut by shares; vendor by vendor, so that each is in every split."""
    images = list(images)
    first = {i.patient_or_image: vendor_of(i) for i in images}
    split_of: dict[str, Split] = {}
    for vendor in sorted(set(first.values())):
        patients = sorted(p for p, v in first.items() if v == vendor)
        order = np.random.default_rng([seed, *vendor.encode()]).permutation(len(patients))
        for place, index in enumerate(order):
            share = (place + 0.5) / len(patients)
            split_of[patients[index]] = next(split for split, up_to in _SHARES if share < up_to)
    return [replace(i, split=split_of[i.patient_or_image]) for i in images]


def _vendor(words: str) -> str:
    return (system_name(words, "") or "unknown").split()[0].lower()
