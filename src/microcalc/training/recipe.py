"""A recipe: every number that a training or a detection uses, with its unit.

Frozen, plain values, TOML in and out. An entry that is unknown, missing or
impossible is an error that names it (``cnn1.steps``); nothing has a default here.
A recipe file says all, or names another recipe as its ``base`` and says what is changed;
what a run keeps (``dump_recipe``) always says all. Stage functions take its numbers as
keyword arguments and never see the recipe.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from microcalc.domain import Intent
from microcalc.errors import RecipeError
from microcalc.models.description import CandidateRules, ClusterRules, ShapeRules
from microcalc.training.settings import dump_settings, names_in, parsed_toml, read_toml, validated

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Range = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(_Part):
    """Images that the model is for.

    Attributes
    ----------
    spacing_mm
        Pixel spacing that all images are resampled to.
    intent
        ``raw`` or ``processed``; a model is trained for one of them.
    """

    spacing_mm: Annotated[float, Field(ge=0.03, le=0.2)]
    intent: Intent


class Sample(_Part):
    """Which pixels are positive, which are negative, which are neither.

    Attributes
    ----------
    positive_radius_mm
        Pixels within this distance of the centre of a microcalcification are positive, in mm; with 0, only the
        nearest pixel is.
    clearance_mm
        Pixels closer than this to the edge of an annotation are not negative, in mm.
    unmeasured_clearance_mm
        The same distance from the centre of an annotation without a diameter, in mm.
    min_d_prime
        Microcalcifications with a smaller d' are neither positive nor negative.
    max_positives_per_image
        Largest number of positive pixels drawn from one image.
    negatives_per_image
        Largest number of random negative pixels drawn from one image.
    counterfactual_share
        Fraction of each network's negatives that are places where a twin lacks the microcalcification of the other
        image of the pair; without twins among the training images, the other negatives take their place.
    """

    positive_radius_mm: NonNegative
    clearance_mm: Positive
    unmeasured_clearance_mm: Positive
    min_d_prime: NonNegative
    max_positives_per_image: Count
    negatives_per_image: Count
    counterfactual_share: Share

    @model_validator(mode="after")
    def _positives_are_clear(self) -> Self:
        if self.clearance_mm <= self.positive_radius_mm:
            raise ValueError(f"clearance_mm {self.clearance_mm} is not above positive_radius_mm")
        return self


class NetworkRecipe(_Part):
    """One network and its training.

    Attributes
    ----------
    channels
        Number of output channels of each 3 x 3 convolution, first to last.
    dilations
        Dilation of each convolution in pixels; the network's margin is their sum.
    steps
        Number of optimiser steps.
    batch
        Number of patches in each step.
    learning_rate
        Highest learning rate of AdamW; it rises to this value and falls again.
    weight_decay
        Weight decay of AdamW.
    positive_share
        Fraction of each batch that is positive.
    precision
        Number format of the convolutions in training: ``float32``, ``bfloat16``, or ``auto``, which is bfloat16 if the
        processor or GPU supports it in hardware (half the time) and float32 otherwise (bfloat16 then takes up to
        7 times as long). Weights and their updates are always float32.
    """

    channels: Annotated[tuple[Count, ...], Field(min_length=1)]
    dilations: Annotated[tuple[Count, ...], Field(min_length=1)]
    steps: Count
    batch: Count
    learning_rate: Positive
    weight_decay: NonNegative
    positive_share: Annotated[float, Field(gt=0.0, lt=1.0)]
    precision: Literal["auto", "float32", "bfloat16"]

    @model_validator(mode="after")
    def _one_dilation_per_convolution(self) -> Self:
        if len(self.channels) != len(self.dilations):
            raise ValueError(f"{len(self.channels)} channels, but {len(self.dilations)} dilations")
        return self


class SecondNetwork(NetworkRecipe):
    """The network that rates what the first one passes on.

    Attributes
    ----------
    tta_transforms
        Number of orientations of the patch over which the logit is averaged: 1 (the patch as it is), 2 (also turned
        by 180 degrees), 4 (all quarter turns) or 8 (also their mirror images).
    tta_share
        Fraction of the pixels passed by CNN1, measured on the validation set, that are rated in all of them: those
        rated highest as they lie. The others keep that one rating.
    """

    tta_transforms: Literal[1, 2, 4, 8]
    tta_share: Annotated[float, Field(gt=0.0, le=1.0)]


class Mining(_Part):
    """Which negatives CNN2 learns from.

    Attributes
    ----------
    hard_per_positive
        Number of mined negatives, those that CNN1 rates highest, for each positive.
    random_share
        Fraction of CNN2's negatives that are drawn at random.
    min_distance_mm
        Smallest distance between two mined negatives of an image, in mm.
    pass_fraction
        Fraction of the breast's pixels that CNN1 passes on to CNN2, measured on the validation set.
    """

    hard_per_positive: Positive
    random_share: Share
    min_distance_mm: Positive
    pass_fraction: Annotated[float, Field(gt=0.0, le=1.0)]


class Augment(_Part):
    """How training patches are varied.

    Attributes
    ----------
    flips
        Whether patches are mirrored and turned by quarter turns.
    gain_range
        Lowest and highest factor by which a patch is multiplied.
    noise
        Standard deviation of the added noise, in units of the image's noise.
    """

    flips: bool
    gain_range: Range
    noise: NonNegative

    @model_validator(mode="after")
    def _gain_is_a_range(self) -> Self:
        if not 0 < self.gain_range[0] <= self.gain_range[1]:
            raise ValueError(f"gain_range {list(self.gain_range)} is not lowest, highest")
        return self


class Detect(_Part):
    """How marks are made of likelihoods.

    Attributes
    ----------
    min_distance_mm
        Smallest distance between two candidates, in mm.
    min_likelihood
        Smallest likelihood of a candidate, before it is measured from which likelihood candidates are listed.
    false_marks_per_image
        Candidates are listed down to the likelihood with this number of false marks per image of the validation set.
    max_count
        Largest number of candidates per image.
    """

    min_distance_mm: Positive
    min_likelihood: Share
    false_marks_per_image: Positive
    max_count: Count

    def rules(self, min_likelihood: float) -> CandidateRules:
        """Return the rules of a model that lists candidates from a likelihood."""
        return CandidateRules(
            min_distance_mm=self.min_distance_mm, min_likelihood=min_likelihood, max_count=self.max_count
        )


class Shapes(_Part):
    """How calcifications are outlined.

    Attributes
    ----------
    false_marks_per_image
        Candidates are outlined down to the likelihood with this number of false marks per image of the validation set.
    min_contrast_to_noise
        Smallest difference between a calcification and the band around it, in standard deviations of a pixel's noise.
    min_dip
        Fraction of the lower peak's contrast by which the brightness between two calcifications falls at least.
    """

    false_marks_per_image: Positive
    min_contrast_to_noise: NonNegative
    min_dip: Share

    def rules(self, min_likelihood: float) -> ShapeRules:
        """Return the rules of a model that outlines candidates from a likelihood."""
        return ShapeRules(
            min_likelihood=min_likelihood, min_contrast_to_noise=self.min_contrast_to_noise, min_dip=self.min_dip
        )


class Clusters(_Part):
    """What counts as a cluster.

    Attributes
    ----------
    min_likelihood
        Smallest likelihood of a member; above 0 and below 1.
    max_gap_mm
        Largest distance between neighbouring members, in mm.
    min_members
        Smallest number of members.
    max_area_cm2
        Largest area that holds these members, in cm².
    false_marks_per_image
        Further members have at least the likelihood with this number of false marks per image of the validation set.
    member_gap_mm
        Largest distance of a further member from its nearest one, in mm; at least ``max_gap_mm``.
    """

    min_likelihood: Annotated[float, Field(gt=0.0, lt=1.0)]
    max_gap_mm: Positive
    min_members: Annotated[int, Field(ge=2)]
    max_area_cm2: Positive
    false_marks_per_image: Positive
    member_gap_mm: Positive

    @model_validator(mode="after")
    def _members_include_the_smallest_cluster(self) -> Self:
        if self.member_gap_mm < self.max_gap_mm:
            raise ValueError(f"member_gap_mm {self.member_gap_mm} is below max_gap_mm {self.max_gap_mm}")
        return self

    def rules(self, *, member_likelihood: float, min_likelihood: float | None = None) -> ClusterRules:
        """Return the rules of a model: the likelihood of further members, and the smallest one if not the recipe's."""
        return ClusterRules(
            min_likelihood=self.min_likelihood if min_likelihood is None else min_likelihood,
            max_gap_mm=self.max_gap_mm,
            min_members=self.min_members,
            max_area_cm2=self.max_area_cm2,
            member_likelihood=member_likelihood,
            member_gap_mm=self.member_gap_mm,
        )


class StartRecipe(_Part):
    """What a model that is trained further (``microcalc train --from``) keeps of its weights.

    Attributes
    ----------
    share
        Fraction of the weights that the training started from in the new model's weights, which are the mean of these
        and of the trained weights; 0: they are the trained weights.
    """

    share: Annotated[float, Field(ge=0.0, lt=1.0)]


class Recipe(_Part):
    """All settings of one model, from images to findings."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    seed: CountOrNone
    data: Data
    sample: Sample
    cnn1: NetworkRecipe
    cnn2: SecondNetwork
    start: StartRecipe
    mining: Mining
    augment: Augment
    detect: Detect
    shapes: Shapes
    clusters: Clusters


def shipped_recipes() -> list[str]:
    """Return the names of the recipes in the package."""
    return names_in(_folder())


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe of the package by its name, or any by the path of its TOML file.

    A file may hold only what it changes in another recipe: ``base = "processed"`` (a recipe of the package) or
    ``base = "mine.toml"`` (a file, seen from the folder of the one that names it), then the changed entries.

    Raises
    ------
    RecipeError
        No such recipe, not TOML, or an entry is unknown, missing or impossible; or a base refers back to itself.
    """
    file = _find(str(name_or_path))
    return validated(Recipe, _with_base(read_toml(file), (file,)), where=file.name)


def parse_recipe(text: str, *, where: str = "recipe") -> Recipe:
    """Make a recipe of TOML that says all; ``where`` names the file in errors."""
    return validated(Recipe, parsed_toml(text, where=where), where=where)


def _with_base(changes: dict[str, object], files: tuple[Traversable, ...]) -> dict[str, object]:
    """Return a recipe's entries with those of its base, of which it changes some.

    Parameters
    ----------
    files
        That were read on the way here, the one of ``changes`` last.
    """
    if "base" not in changes:
        return changes
    where, base = files[-1].name, changes.pop("base")
    if not isinstance(base, str):
        raise RecipeError(f"{where}: base is {base!r}, expected the name of a recipe or a TOML file")
    try:
        file = _find(base, beside=files[-1])
    except RecipeError as error:
        raise RecipeError(f"{where}: base: {error}") from None
    if _place(file) in map(_place, files):
        way = " → ".join(f.name for f in (*files, file))
        raise RecipeError(
            f"{where}: base refers back to itself ({way}), expected a chain that ends at a complete recipe"
        )
    whole = _with_base(read_toml(file), (*files, file))
    for entry, value in changes.items():
        before = whole.get(entry)
        whole[entry] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return whole


def _place(file: Traversable) -> str:
    return str(file.resolve() if isinstance(file, Path) else file)


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as TOML, from which ``parse_recipe`` makes the same recipe."""
    return dump_settings(recipe)


def _folder() -> Traversable:
    return resources.files("microcalc") / "recipes"


def _find(name_or_path: str, *, beside: Traversable | None = None) -> Traversable:
    """Return a recipe's file; a path is seen from the folder of ``beside``, by default from here."""
    if name_or_path in shipped_recipes():
        return _folder() / f"{name_or_path}.toml"
    path = Path(name_or_path) if not isinstance(beside, Path) else beside.parent / name_or_path
    if path.is_file():
        return path
    raise RecipeError(f"no recipe {path.name!r}, expected one of {', '.join(shipped_recipes())}, or a TOML file")
