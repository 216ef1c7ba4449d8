"""The scale of a study: all numbers that decide how large it is, in a TOML file of the package.

As in a recipe, an unknown, missing or impossible entry is an error that names it.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from microcalc.domain import Laterality
from microcalc.errors import RecipeError
from microcalc.simulate.breast import View
from microcalc.training.recipe import Count, CountOrNone, NonNegative, Positive
from microcalc.training.settings import names_in, read_toml, validated

Names = Annotated[tuple[str, ...], Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Exams(_Part):
    """The exams that are simulated.

    Attributes
    ----------
    systems
        Short names of ``simulate.systems``.
    train, validation, test
        Number of patients of each system.
    test_free
        Number of additional test patients of each system without any microcalcification, on whose images every
        mark is false.
    clusters, singles, confusers
        Mean numbers per breast, and the factor on the rates of confusers, as in ``microcalc simulate``.
    field_mm
        Height and width of the images in mm; None: those of the system.
    """

    systems: Names
    train: Count
    validation: Count
    test: Count
    test_free: CountOrNone
    views: Annotated[tuple[View, ...], Field(min_length=1)]
    lateralities: Annotated[tuple[Laterality, ...], Field(min_length=1)]
    clusters: NonNegative
    singles: NonNegative
    confusers: NonNegative
    field_mm: tuple[Positive, Positive] | None = None


class SampleCounts(_Part):
    """Numbers of samples: positives are a minimum; negatives are drawn in this number, or all there are."""

    train_positive: Count
    train_negative: Count
    test_positive: Count
    test_negative: Count


class Training(_Part):
    """Numbers of optimiser steps in place of the recipe's."""

    cnn1_steps: Count
    cnn2_steps: Count


class CascadeTraining(_Part):
    """Settings of the cascade; see ``cascade.fit.CascadeSettings``."""

    boosting: Literal["ranking", "classification"]
    deep: bool
    rounds: Annotated[tuple[Count, ...], Field(min_length=1)]
    features_per_node: Count
    negatives_per_node: Count


class Evaluation(_Part):
    """Settings of the evaluation.

    Attributes
    ----------
    resamples
        Number of bootstrap resamples.
    shows_nothing
        True: the study only shows that everything runs, and its report draws no conclusion.
    """

    resamples: Count
    shows_nothing: bool = False


class Scale(_Part):
    """All numbers of a study that are not in its recipe."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    exams: Exams
    samples: SampleCounts
    training: Training
    cascade: CascadeTraining
    evaluation: Evaluation


def shipped_scales() -> list[str]:
    """Return the names of the scales in the package."""
    return names_in(_folder())


def load_scale(name_or_path: str | Path) -> Scale:
    """Read a scale of the package by its name, or any scale by the path of its TOML file.

    Raises
    ------
    RecipeError
        There is no such scale, the file is not TOML, or an entry is unknown, missing or impossible.
    """
    file = _find(str(name_or_path))
    return validated(Scale, read_toml(file), where=file.name)


def _folder() -> Traversable:
    return resources.files("microcalc") / "study" / "scales"


def _find(name_or_path: str) -> Traversable:
    if name_or_path in shipped_scales():
        return _folder() / f"{name_or_path}.toml"
    if Path(name_or_path).is_file():
        return Path(name_or_path)
    name = Path(name_or_path).name
    raise RecipeError(f"no scale {name!r}, expected one of {', '.join(shipped_scales())}, or a TOML file")
