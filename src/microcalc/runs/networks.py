"""Training one network of a recipe, and choosing the negatives that the second one learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from microcalc.domain import FloatImage
from microcalc.runs.recipe import Network as NetworkRecipe
from microcalc.runs.recipe import Recipe
from microcalc.sample.store import Samples, StoredImage


def train_network(
    name: Literal["cnn1", "cnn2"],
    images: Sequence[StoredImage],
    positives: Samples,
    negatives: Sequence[tuple[Samples, float]],
    *,
    recipe: Recipe,
    out: Path,
    device: str,
    say: Callable[[str], None],
) -> None:
    """Train one network and export it as ``name.onnx`` and ``name_dense.onnx``; nothing if they are there.

    Parameters
    ----------
    negatives
        Pools of samples, each with its share of a batch's negatives.
    out
        Folder of the files and, in ``out/name``, of the checkpoint that training goes on from.
    """
    if (out / f"{name}_dense.onnx").is_file():
        return
    import torch

    from microcalc.cnn.export import export_dense, export_patches
    from microcalc.cnn.fit import fit
    from microcalc.cnn.network import Network

    settings: NetworkRecipe = getattr(recipe, name)
    torch.manual_seed(recipe.seed + (1 if name == "cnn1" else 2))
    network = Network(settings.channels, settings.dilations)
    dense, patch = network.multiply_adds()
    say(f"{name}: {network.patch_px} px receptive field, {dense} multiply-adds a pixel, {patch} a patch")
    fit(
        network,
        images,
        positives,
        negatives,
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        positive_share=settings.positive_share,
        gain_range=recipe.augment.gain_range,
        noise=recipe.augment.noise,
        flips=recipe.augment.flips,
        precision=settings.precision,
        seed=recipe.seed,
        device=device,
        folder=out / name,
        progress=lambda step, loss: say(f"{name} step {step} of {settings.steps}: loss {loss:.4f}"),
    )
    export_patches(network, out / f"{name}.onnx")
    export_dense(network, out / f"{name}_dense.onnx")


def wanted_negatives(recipe: Recipe, n_positive: int, n_images: int) -> tuple[int, int]:
    """How many hard negatives CNN2 gets in all, and how many are looked for in each image at most."""
    wanted = max(1, int(recipe.mining.hard_per_positive * n_positive))
    return wanted, max(50, 4 * wanted // n_images)


def hardest(found: Sequence[Samples], logits: Sequence[FloatImage], *, n: int) -> Samples:
    """The n samples of all images with the highest logits, in the order of the images."""
    order = np.argsort(-np.concatenate(logits), kind="stable")[:n]
    return np.concatenate(found)[np.sort(order)]
