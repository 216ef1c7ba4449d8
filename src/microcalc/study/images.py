"""The normalised images of a study.

They lie in ``RUN/normalised/`` under keys of what they are made from, so that studies in one folder share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from microcalc.datasets.table import Table
from microcalc.execution.executor import Executor
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.annotated import check_inside, ignore_invisible
from microcalc.training.images import TrainingImage, images_of_split
from microcalc.training.normalised import NormalisedImages


@dataclass(frozen=True, eq=False, slots=True)
class Images:
    """All images of the study, by split."""

    train: tuple[TrainingImage, ...]
    validation: tuple[TrainingImage, ...]
    test: tuple[TrainingImage, ...]


def normalised_images(run: Path, *, spacing_mm: float, normalising: bool) -> NormalisedImages:
    """Return the folder of normalised images, which all studies in a run folder share."""
    return NormalisedImages(run / "normalised", spacing_mm, equalised=normalising)


def normalise_stage(exams: Stage, normalised: NormalisedImages) -> Stage:
    """Return the stage that normalises all images of the exams."""
    settings = {"spacing_mm": normalised.spacing_mm, "normalising": normalised.equalised}
    return after(exams.run, "normalise", settings, exams, modules=("microcalc.training.normalised",))


def normalise_all(stage: Stage, table: Table, normalised: NormalisedImages, *, executor: Executor) -> None:
    """Normalise the images that are not in the folder yet.

    Raises
    ------
    InputError
        Some images cannot be used; the message names them all.
    TableError
        An annotation lies outside its image.
    """
    run_stage(stage, lambda: normalised.make(table.images, executor=executor))
    check_inside(table, normalised.file)


def images_of(table: Table, normalised: NormalisedImages, *, min_d_prime: float) -> Images:
    """Return the images of a table, which have been normalised, by split; invisible annotations are ``unsure``."""
    visible = ignore_invisible(table, min_d_prime=min_d_prime)
    return Images(
        images_of_split(visible, "train", normalised),
        images_of_split(visible, "validation", normalised),
        images_of_split(visible, "test", normalised),
    )
