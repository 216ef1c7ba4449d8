"""The trained model that a training goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from microcalc.errors import InputError
from microcalc.models.model import LAPLACIAN, describe_pair, model_folder, model_sha256
from microcalc.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Start:
    """A model whose networks are trained further.

    Attributes
    ----------
    name
        Name and version of the model.
    sha256
        SHA-256 of the model's description, which holds those of the networks.
    cnn1, cnn2
        Files of the networks.
    """

    name: str
    sha256: str
    cnn1: Path
    cnn2: Path


def start_from(model: str | Path, recipe: Recipe) -> Start:
    """Return the networks of a model to train further by a recipe.

    Parameters
    ----------
    model
        Name of a shipped model, or the folder of a model.

    Raises
    ------
    InputError
        No such model, its files are not those that it describes, it has no two networks, or it is for images of
        another intent or pixel spacing than the recipe's. Whether the networks have the recipe's convolutions is
        found when their weights are loaded; see ``cnn.weights``.
    """
    if model == LAPLACIAN:
        raise InputError(f"{LAPLACIAN}: a filter without networks, expected a pair of networks to train further")
    folder = model_folder(model)
    description = describe_pair(folder)
    for what, found, expected in (
        ("intent", description.intent, recipe.data.intent),
        ("spacing_mm", description.spacing_mm, recipe.data.spacing_mm),
    ):
        if found != expected:
            raise InputError(f"{folder.name}: {what} is {found}, but {expected} in the recipe {recipe.name}")
    return Start(
        name=f"{description.name} {description.version}",
        sha256=model_sha256(folder),
        cnn1=folder / description.cnn1.file,
        cnn2=folder / description.cnn2.file,
    )


def fine_tuning_recipe(model: str | Path) -> str:
    """Return the name of the shipped recipe by which a model is trained further: that of its intent."""
    return f"{describe_pair(model_folder(model)).intent}-fine-tune"
