"""Judge a recipe on all images of a table by folds: ``python -m benchmarks.folds TABLE --recipe processed --out OUT``.

Patients are divided into folds. For each fold, a pair is trained on microcalcifications inserted into other patients'
images, thresholds are chosen on the patients of the next fold, and its marks on the fold's own images are counted: on
other insertions, and on reviewed places. So every image is judged by networks that never saw its patient. The ratings
of all folds that are done are pooled. The same command continues where it was stopped; ``--fold 2`` does one fold.
Folds are drawn at random, or are those of ``--folds-of FILE`` (columns ``image`` and ``fold``), such as
``data/cdd-cesm/folds.csv``, for a data set where some images name no patient; an image in no fold is not used.

With ``--half NAME …`` only the patients of one split are judged, in two halves: those named, and the others. The
networks of a half learn from the other half as well as from the table's training patients, and thresholds are chosen on
its validation patients. Models of ``--compare`` are judged on the same images, and differences are from the first.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import Parser, count, run, whole
from benchmarks.near_calcium import Rated, load_models, rate, report
from microcalc.cli.log import log_records_shown
from microcalc.cli.options import WhereItRuns
from microcalc.datasets.inserted import insert_data_set
from microcalc.datasets.lines import number_in, read_lines
from microcalc.datasets.open import open_row, open_table
from microcalc.datasets.table import Split, Table, join_tables
from microcalc.datasets.table_files import IMAGES, read_table
from microcalc.errors import InputError
from microcalc.evaluation.matched_images import Rules
from microcalc.execution.executor import Executor
from microcalc.models.model import Model, load_model
from microcalc.normalise.mammogram import normalise
from microcalc.simulate.placement import Insertion
from microcalc.storage.write import write_json
from microcalc.training.recipe import Recipe, load_recipe
from microcalc.training.split import folds_of_patients, halves_of_split, split_by_fold, split_by_half
from microcalc.training.start import Start, start_from
from microcalc.training.train import train

Patients = tuple[frozenset[str], ...]
_RULES = {"inserted": Rules(lesions_by="inserted"), "reviewed": Rules(false_marks="reviewed")}


@dataclass(frozen=True, slots=True)
class _Settings:
    """What is asked for on the command line."""

    out: Path
    recipe: Recipe
    start: Start | None
    halves: bool
    variants: int
    clusters: int
    singles: int
    seed: int
    executor: Executor


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="data set with real mammograms, such as that of microcalc table")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", required=True, help="name of a shipped recipe, or a TOML file")
    parser.add_argument(
        "--from", dest="start", help="model whose networks are trained further; it has seen some images"
    )
    parser.add_argument(
        "--compare", action="append", default=[], help="model to judge, too; it must not know the images"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--folds", type=count, default=5)
    how.add_argument("--folds-of", type=Path, help="CSV file of the fold of each image, from 0")
    how.add_argument("--half", nargs="+", help="patients of one half of their split, or images without a patient")
    parser.add_argument("--fold", type=whole, help="this fold or half alone, from 0")
    parser.add_argument("--variants", type=count, default=4, help="copies of each image to train with; each has a twin")
    parser.add_argument("--clusters", type=whole, default=14, help="of each copy to train with")
    parser.add_argument("--singles", type=whole, default=10, help="of each copy to train with")
    parser.add_argument("--seed", type=whole, default=1)
    parser.add_argument("--workers", type=count)
    parser.add_argument("--cluster", help="Dask scheduler; folds are the shards: give each machine its --fold")
    asked = parser.parse_args(arguments)
    executor = WhereItRuns(asked.workers, asked.cluster).executor()
    recipe = load_recipe(asked.recipe)
    settings = _Settings(
        asked.out, recipe, start_from(asked.start, recipe) if asked.start else None,
        asked.half is not None, asked.variants, asked.clusters, asked.singles, asked.seed, executor,
    )  # fmt: skip
    compare = load_models(asked.compare, {recipe.data.intent}, spacing_mm=recipe.data.spacing_mm)
    source = open_table(asked.table)
    source = source.of_images(i for i in source.images if i.intent == recipe.data.intent)
    patients: Patients
    if asked.half is not None:
        patients = halves_of_split(source, asked.half)
    elif asked.folds_of is not None:
        patients = folds_of_file(asked.folds_of, source)
    else:
        patients = folds_of_patients(source, folds=asked.folds, seed=settings.seed)
    if asked.fold is not None and not 0 <= asked.fold < len(patients):
        raise InputError(f"--fold {asked.fold}: expected 0 to {len(patients) - 1}")
    with log_records_shown(), executor:
        for fold in range(len(patients)) if asked.fold is None else [asked.fold]:
            judge_fold(source, patients, fold, settings, compare)
    done = [fold for fold in range(len(patients)) if (_folder(settings, fold) / "rated.json").is_file()]
    for name in _RULES:
        print(f"\n{name}, folds {', '.join(map(str, done))}: ", end="")
        print("\n".join(report(_pooled([_read(_folder(settings, fold) / "rated.json")[name] for fold in done]))))
    return 0


def folds_of_file(file: Path, table: Table) -> Patients:
    """Return the patients of each fold of a CSV file.

    Raises
    ------
    InputError
        An image of the file is not in the table, a patient is in two folds, or there are fewer than three folds.
    TableError
        The file lacks a column, or a fold is no number.
    """
    patient_of = {i.image: i.patient_or_image for i in table.images}
    fold_of: dict[str, float] = {}
    for number, line in read_lines(file, required=("image", "fold")):
        where = f"{file.name} line {number}"
        if line["image"] not in patient_of:
            raise InputError(f"{where}: image {line['image']!r} is not in the table")
        fold = number_in(line, "fold", where)
        if fold_of.setdefault(patient_of[line["image"]], fold) != fold:
            raise InputError(f"{where}: image {line['image']!r} is in fold {fold:g}, its patient also in another")
    names = sorted(set(fold_of.values()))
    if len(names) < 3 or names != list(range(len(names))):
        raise InputError(f"{file.name}: folds {names}, expected three or more, numbered from 0")
    return tuple(frozenset(p for p, f in fold_of.items() if f == fold) for fold in names)


def judge_fold(source: Table, patients: Patients, fold: int, settings: _Settings, compare: Mapping[str, Model]) -> None:
    """Train the pair of a fold, and write its marks on the images of the fold's own patients."""
    folder = _folder(settings, fold)
    if (folder / "rated.json").is_file():
        return
    judged = frozenset[str]().union(*patients)
    dense = Insertion(clusters=settings.clusters, singles=settings.singles)
    to_train = _inserted(_chosen(source, judged, "train"), "to-train", dense, settings, twins=True)
    to_judge = _inserted(_chosen(source, judged, "validation"), "to-judge", Insertion(), settings, twins=False)
    train_split, other_split = (_split(t, patients, fold, settings) for t in (to_train, to_judge))
    used = join_tables([train_split.of_split("train"), other_split.of_split("validation")])
    trained = train(
        settings.recipe, used, folder / "run", start=settings.start, normalised=settings.out / "normalised",
        executor=settings.executor,
    )  # fmt: skip
    models = {**compare, "trained": load_model(trained, threads=1)}
    tables = {"inserted": other_split, "reviewed": _split(source, patients, fold, settings)}
    rated = {name: _rate(table.of_split("test"), models, _RULES[name]) for name, table in tables.items()}
    write_json(
        folder / "rated.json", {k: {name: list(map(_as_json, r)) for name, r in v.items()} for k, v in rated.items()}
    )


def _chosen(source: Table, judged: frozenset[str], split: Split) -> Table:
    """Return the images of the patients that are judged in some fold, and those of a split."""
    return source.of_images(i for i in source.images if i.patient_or_image in judged or i.split == split)


def _split(table: Table, patients: Patients, fold: int, settings: _Settings) -> Table:
    """Return the images of a table with their splits in one fold."""
    return (split_by_half if settings.halves else split_by_fold)(table, patients, test=fold)


def _inserted(source: Table, name: str, insertion: Insertion, settings: _Settings, *, twins: bool) -> Table:
    """Return a data set with microcalcifications inserted into images; all folds share it."""
    folder = settings.out / name
    if not (folder / IMAGES).is_file():  # written last
        variants, seed = (settings.variants, settings.seed + 1) if twins else (3, settings.seed + 2)
        insert_data_set(
            source, folder, insertion=insertion, variants=variants, twins=twins, seed=seed, executor=settings.executor
        )
    return read_table(folder)


def _rate(table: Table, models: Mapping[str, Model], rules: Rules) -> dict[str, list[Rated]]:
    """Return the marks of each model on the annotated images of a table."""
    rated: dict[str, list[Rated]] = {name: [] for name in models}
    for image in (i for i in table.images if table.rows_of(i)):
        normalised = normalise(open_row(image), spacing_mm=next(iter(models.values())).spacing_mm)
        for name, model in models.items():
            rated[name].append(rate(normalised, image, table, model, rules))
    return rated


def _pooled(folds: Sequence[Mapping[str, list[Rated]]]) -> dict[str, list[Rated]]:
    """Return the marks of each model on the images of several folds."""
    return {name: [r for fold in folds for r in fold[name]] for name in folds[0]}


def _folder(settings: _Settings, fold: int) -> Path:
    return settings.out / f"fold-{fold}"


def _as_json(rated: Rated) -> dict[str, object]:
    """Return the marks on an image as JSON holds them: a missed microcalcification's rating is null."""
    numbers = {name: getattr(rated, name) for name in Rated.__dataclass_fields__}
    return {
        name: [float(v) if np.isfinite(v) else None for v in value] if isinstance(value, np.ndarray) else value
        for name, value in numbers.items()
    }


def _read(file: Path) -> dict[str, dict[str, list[Rated]]]:
    """Return the marks of ``rated.json``: by what was counted, then by model."""
    missing = {"lesion": -np.inf, "d_prime": np.nan, "false": np.nan, "distance_mm": np.inf}

    def rated(entry: dict[str, list[float | None]]) -> Rated:
        arrays = {k: np.array([missing[k] if v is None else v for v in entry[k]], dtype=np.float64) for k in missing}
        return Rated(**{**entry, **arrays})  # type: ignore[arg-type]  # the others are plain numbers

    counted = json.loads(file.read_text())
    return {k: {name: [rated(e) for e in entries] for name, entries in by.items()} for k, by in counted.items()}


if __name__ == "__main__":
    sys.exit(run(main))
