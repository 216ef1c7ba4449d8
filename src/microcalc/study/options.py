"""The options of a study, and the recipe and the command line that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from microcalc.domain import Intent
from microcalc.errors import InputError
from microcalc.study.scale import Scale
from microcalc.training.recipe import Data, Recipe, load_recipe
from microcalc.training.train import check_receptive_fields


@dataclass(frozen=True, slots=True)
class Options:
    """The options that distinguish studies of one scale.

    Attributes
    ----------
    left_out
        Vendor whose images are left out of the training, and are the only ones tested on.
    normalising
        False: images are only brought to one mean and standard deviation. The training then adds no noise, as noise
        has no unit in such images.
    spacing_mm
        Pixel spacing in place of the recipe's.
    recipe
        Name or file of a recipe in place of the intent's.
    """

    intent: Intent = "raw"
    left_out: str | None = None
    normalising: bool = True
    spacing_mm: float | None = None
    recipe: str | None = None
    seed: int = 1


def study_recipe(scale: Scale, options: Options) -> Recipe:
    """Return the recipe of the intent, or the one that is named, with the numbers of steps of the scale.

    Raises
    ------
    RecipeError
        There is no such recipe, or a network looks beyond the border of the images.
    InputError
        The recipe is for the other intent.
    """
    base = load_recipe(options.recipe or options.intent)
    if base.data.intent != options.intent:
        raise InputError(f"recipe {base.name}: for {base.data.intent} images, expected one for {options.intent} images")
    spacing_mm = options.spacing_mm or base.data.spacing_mm
    recipe = base.model_copy(
        update={
            "seed": options.seed,
            "data": Data(spacing_mm=spacing_mm, intent=options.intent),
            "cnn1": base.cnn1.model_copy(update={"steps": scale.training.cnn1_steps}),
            "cnn2": base.cnn2.model_copy(update={"steps": scale.training.cnn2_steps}),
            "augment": base.augment.model_copy(update={} if options.normalising else {"noise": 0.0}),
            "sample": base.sample.model_copy(update={"positive_radius_mm": 0.0}),  # the publication counts places
        }
    )
    check_receptive_fields(recipe)
    return recipe


def command_line(scale: Scale, options: Options, *, own_tables: int) -> str:
    """Return the command line of a study, without paths."""
    given = {
        "--leave-out": options.left_out,
        "--spacing": None if options.spacing_mm is None else f"{options.spacing_mm:g}",
        "--recipe": None if options.recipe is None else Path(options.recipe).name,
    }
    words = ["microcalc study", f"--scale {scale.name}", f"--intent {options.intent}"]
    words += ["--data TABLE"] * own_tables
    words += [f"{option} {value}" for option, value in given.items() if value is not None]
    words += ["--no-normalising"] * (not options.normalising)
    return " ".join([*words, f"--seed {options.seed}", "--out RUN"])
