"""What distinguishes one study from another: options, and the recipe that they make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from microcalc.domain import Intent
from microcalc.errors import InputError
from microcalc.study.scale import Scale
from microcalc.training.recipe import Data, Recipe, load_recipe
from microcalc.training.train import check_margins


@dataclass(frozen=True, slots=True)
class Options:
    """What distinguishes one study from another of the same scale.

    Attributes
    ----------
    left_out
        Vendor whose images are not trained on, and alone are tested on.
    normalising
        False: images are only brought to one mean and standard deviation; in training no noise is added, for want
        of a unit.
    spacing_mm, recipe
        In place of the recipe's spacing; name or file in place of the intent's recipe.
    """

    intent: Intent = "raw"
    left_out: str | None = None
    normalising: bool = True
    spacing_mm: float | None = None
    recipe: str | None = None
    seed: int = 1


def study_recipe(scale: Scale, options: Options) -> Recipe:
    """The recipe of the intent, or the one named, with the scale's steps.

    Raises
    ------
    RecipeError
        No such recipe, or a network that looks further than the border of the images.
    InputError
        The recipe named is for the other intent.
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
    check_margins(recipe)
    return recipe


def command(scale: Scale, options: Options, *, own_tables: int) -> str:
    """The command line of a study, without paths."""
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
