"""Measure the thresholds of a finished model again, on other images: a new folder with the same networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from microcalc.datasets.table import ImageRow, Table, join_tables
from microcalc.datasets.twins import is_twin
from microcalc.errors import InputError
from microcalc.evaluation.reporting.tables import NOT_DEFINED, TextTable
from microcalc.execution.executor import SERIAL, Executor
from microcalc.models.description import (
    DESCRIPTION,
    CascadeDescription,
    MeasuredOn,
    ModelDescription,
    parse_description,
)
from microcalc.models.model import LAPLACIAN, load_model, model_folder, open_pair
from microcalc.storage.ownership import check_output_folder, output_folder
from microcalc.storage.write import write_text, write_whole
from microcalc.training.annotated import check_inside, ignore_invisible, with_clusters
from microcalc.training.card import CARD, RECIPE, describe_counts, describe_measured_on, with_operating_points
from microcalc.training.images import TrainingImage, open_images
from microcalc.training.normalised import NormalisedImages, with_hashes
from microcalc.training.operating_points import CLUSTER_NLF, MARK_NLF, describe_images, measure_operating_points
from microcalc.training.recipe import Recipe, load_recipe
from microcalc.training.seen import TRAINING_IMAGES, refuse_seen
from microcalc.training.thresholds import default_point, first_limits, with_measured
from microcalc.wording import quantity, reading_fault

COMMAND: Final = "operating-points"
_NORMALISED: Final = "normalised"
NO_IMAGES: Final = Table(())
_LEAST_IMAGES: Final = ceil(1 / min(CLUSTER_NLF))  # fewer cannot show so few false clusters per image
_LEAST_FOR_MARKS: Final = ceil(1 / min(MARK_NLF))
_LEAST_PATIENTS: Final = 5  # ours: of fewer, the false marks are those of a few backgrounds
_LEAST_CLUSTERS: Final = 10  # ours; as many annotated microcalcifications, which outlined clusters may lack
_REMARK: Final = "# The thresholds in model.json were measured again on "
_Description = ModelDescription | CascadeDescription


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished model: its folder, what ``model.json`` says, and its recipe."""

    folder: Path
    description: _Description
    recipe: Recipe

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of the files that rate pixels."""
        entries = (
            (self.description.cascade,)
            if isinstance(self.description, CascadeDescription)
            else (self.description.cnn1, self.description.cnn2)
        )
        return tuple(entry.file for entry in entries)


@dataclass(frozen=True, slots=True)
class Remeasured:
    """The descriptions of a model before and after its thresholds were measured again."""

    before: _Description
    after: _Description


def remeasure(
    model: str | Path, tables: Sequence[Table], out: Path, *, normals: Table = NO_IMAGES, executor: Executor = SERIAL
) -> Remeasured:
    """Measure a model's thresholds on images that it was not trained on, and write it with these into a new folder.

    The files that rate pixels are copied. The logit below which CNN1 rejects a pixel and the largest number of pixels
    that it passes on are measured again too. The logit of CNN2 from which patches are rated in all orientations stays,
    as it is part of the network's file. The default operating point keeps its number of false clusters per image; where
    the model has a threshold of the model that it was trained from among its points, it is chosen anew, by the number
    of images.

    Parameters
    ----------
    model
        Name of a shipped model, or the folder of a model.
    tables
        Images with their annotations; in each table that names no cluster, microcalcifications are grouped by the
        model's recipe. Images of the other intent are left out.
    out
        New folder of the model.
    normals
        Further images on which clusters alone are measured; see ``measure_operating_points``.
    executor
        Where images are normalised; the results do not depend on it.

    Raises
    ------
    InputError
        There is no such model, or it has no recipe; the table has no image of its intent, an image of its training,
        or too few images, patients or clusters; images cannot be used (the message names them); or ``out``
        holds files.
    OutputError
        The system refused to write.
    """
    finished = open_finished(model)
    check_output_folder(out, COMMAND, inputs=[finished.folder])
    if (out / CARD).exists():
        raise InputError(f"{out.resolve().name}: holds a model already, expected a new or empty folder")
    table = _prepared(tables, normals, finished)
    _refuse_few(table, normals)
    with output_folder(out, COMMAND):
        store = NormalisedImages(out / _NORMALISED, finished.description.spacing_mm)
        try:
            store.make(table.images, executor=executor)
            check_inside(table, store.file)
            return _write(finished, *_split(table, normals, store.file), out)
        finally:  # those of a process that is killed are used by the next
            store.clear()


def open_finished(model: str | Path) -> Finished:
    """Return a model with its recipe.

    Raises
    ------
    InputError
        There is no such model, its files are not those that it describes, it has no recipe or card, or the recipe is
        for images of another intent or pixel spacing.
    """
    if model == LAPLACIAN:
        raise InputError(f"{LAPLACIAN}: a filter without a folder, expected a model with networks or a cascade")
    folder = model_folder(model)
    load_model(folder)
    description = parse_description((folder / DESCRIPTION).read_bytes(), where=f"{folder.name}/{DESCRIPTION}")
    for name in (RECIPE, CARD):
        if not (folder / name).is_file():
            raise InputError(f"{folder.name}: no {name}, expected a folder as microcalc train writes it")
    recipe = load_recipe(folder / RECIPE)
    try:
        (folder / CARD).read_text(encoding="utf-8")  # it is rewritten at the end
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder.name}/{CARD}: {reading_fault(error)}, expected a model's card") from error
    for what, found, expected in (
        ("intent", description.intent, recipe.data.intent),
        ("spacing_mm", description.spacing_mm, recipe.data.spacing_mm),
    ):
        if found != expected:
            raise InputError(f"{folder.name}: {what} is {found}, but {expected} in its {RECIPE}")
    return Finished(folder, description, recipe)


def changes(made: Remeasured) -> TextTable:
    """Return the operating points, with the threshold at the same number of false marks or clusters before."""
    rows = []
    for what, nlfs, before, after in (
        ("marks", MARK_NLF, made.before.mark_operating_points, made.after.mark_operating_points),
        ("clusters", CLUSTER_NLF, made.before.operating_points, made.after.operating_points),
    ):
        former = (
            [f"{point.threshold:.4f}" for point in before] if len(before) == len(after) else [NOT_DEFINED] * len(after)
        )
        rows += [
            (f"{what}, {nlf:g} false per image", old, f"{new.threshold:.4f}", f"{new.llf:.1%}", f"{new.nlf:.3f}")
            for nlf, old, new in zip(nlfs, former, after, strict=True)
        ]
    return TextTable(("", "threshold before", "threshold", "found", "false per image"), rows)


def _prepared(tables: Sequence[Table], normals: Table, finished: Finished) -> Table:
    """Return the images of the model's intent, without twins, with hashes, and with clusters of what is visible."""
    intent, rules = finished.description.intent, finished.recipe.clusters
    least = finished.recipe.sample.min_d_prime
    joined = join_tables([*(with_clusters(t, rules, min_d_prime=least) for t in tables), normals])
    chosen = joined.of_images(i for i in joined.images if i.intent == intent and not is_twin(i))
    if not chosen.images:
        raise InputError(f"{finished.folder.name}: a model for {intent} images, but the table has no {intent} image")
    chosen = with_hashes(ignore_invisible(chosen, min_d_prime=least))
    refuse_seen(chosen, finished.folder)
    return chosen


def _split(
    table: Table, normals: Table, file_of: Callable[[ImageRow], Path]
) -> tuple[list[TrainingImage], list[TrainingImage]]:
    """Return the images on which marks are measured, and those for clusters alone."""
    alone = {image.image for image in normals.images}
    images = [TrainingImage(i, table.rows_of(i), file_of(i)) for i in table.images]
    return [i for i in images if i.row.image not in alone], [i for i in images if i.row.image in alone]


def _refuse_few(table: Table, normals: Table) -> None:
    """Refuse images on which the fewest false findings per image cannot be measured, and normal ones with clusters."""
    annotated, alone = _split(table, normals, lambda image: image.file)
    if describe_images(alone).clusters:
        raise InputError(f"{quantity(describe_images(alone).clusters, 'cluster')} in normal images, expected none")
    found, marks = describe_images(annotated, alone), describe_images(annotated)
    needed = (
        (found.images, _LEAST_IMAGES),
        (marks.images, _LEAST_FOR_MARKS),
        (found.patients, _LEAST_PATIENTS),
        (min(found.clusters, found.microcalcifications), _LEAST_CLUSTERS),
    )
    if any(number < least for number, least in needed):
        raise InputError(
            f"{describe_counts(found)}, {marks.images} of them to measure marks on, expected at least {_LEAST_IMAGES} "
            f"images of {_LEAST_PATIENTS} patients with {_LEAST_CLUSTERS} clusters, {_LEAST_FOR_MARKS} of the images "
            f"for marks: the strictest points are one false cluster in {_LEAST_IMAGES} images and one false mark in "
            f"{_LEAST_FOR_MARKS}"
        )


def _write(finished: Finished, annotated: list[TrainingImage], normals: list[TrainingImage], out: Path) -> Remeasured:
    """Measure, and write the folder of the model, its card last."""
    for name in finished.files:
        write_whole(out / name, (finished.folder / name).read_bytes())
    if (finished.folder / TRAINING_IMAGES).is_file():
        write_whole(out / TRAINING_IMAGES, (finished.folder / TRAINING_IMAGES).read_bytes())
    before = finished.description
    limited = _with_limits(finished, [*annotated, *normals])
    write_text(out / DESCRIPTION, limited.to_json())
    measured = measure_operating_points(
        load_model(out), finished.recipe, annotated, normals=normals, min_likelihood=before.clusters.min_likelihood
    )
    after = with_measured(limited, measured)
    if len(after.operating_points) != len(before.operating_points):
        default = default_point(len(annotated) + len(normals))
        after = after.model_copy(update={"default_operating_point": default})
    write_text(out / DESCRIPTION, after.to_json())
    load_model(out)
    recipe = (finished.folder / RECIPE).read_text(encoding="utf-8")
    write_text(out / RECIPE, f"{_remark(measured.measured_on)}{_without_remark(recipe)}")
    card = (finished.folder / CARD).read_text(encoding="utf-8")
    write_text(out / CARD, with_operating_points(card, after))
    return Remeasured(before, after)


def _with_limits(finished: Finished, images: Sequence[TrainingImage]) -> _Description:
    """Return the description with the limits on what CNN1 passes on; a cascade has none."""
    if isinstance(finished.description, CascadeDescription):
        return finished.description
    limits = first_limits(open_pair(finished.folder), finished.recipe, open_images(images))
    return finished.description.model_copy(
        update={"rejection_logit": limits.rejection_logit, "most_survivors": limits.most_survivors}
    )


def _remark(measured_on: MeasuredOn) -> str:
    return f"{_REMARK}{describe_measured_on(measured_on)}.\n"


def _without_remark(recipe: str) -> str:
    """Return the text of a recipe without the remark of an earlier measurement."""
    return "".join(line for line in recipe.splitlines(keepends=True) if not line.startswith(_REMARK))
