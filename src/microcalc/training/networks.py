"""Training one network of a recipe, and choosing the negatives that the second one learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from microcalc.cnn.precision import Precision, fast_precision
from microcalc.domain import FloatImage
from microcalc.sample.store import Samples, StoredImage
from microcalc.storage.write import saying_where
from microcalc.training.recipe import NetworkRecipe, Recipe


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
    precision = settled(settings.precision, device)
    torch.manual_seed(recipe.seed + (1 if name == "cnn1" else 2))
    network = Network(settings.channels, settings.dilations)
    dense, patch = network.multiply_adds()
    say(f"{name}: {network.patch_px} px receptive field, {dense} multiply-adds a pixel, {patch} a patch, {precision}")
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
        precision=precision,
        seed=recipe.seed,
        device=device,
        folder=out / name,
        progress=lambda step, loss: say(f"{name} step {step} of {settings.steps}: loss {loss:.4f}"),
    )
    with saying_where(out / f"{name}.onnx"):
        export_patches(network, out / f"{name}.onnx")
        export_dense(network, out / f"{name}_dense.onnx")


def settle_precision(recipe: Recipe, device: str, *, begun: Recipe | None = None) -> Recipe:
    """Return the recipe with what ``auto`` stands for on this device; what a recipe says outright stays.

    Parameters
    ----------
    begun
        Recipe of a run that goes on. Where nothing else differs, the run keeps the precision that it began with,
        also on another processor: one model is of one precision.
    """
    if begun is not None:
        kept = {
            name: part.model_copy(update={"precision": getattr(begun, name).precision})
            for name, part in (("cnn1", recipe.cnn1), ("cnn2", recipe.cnn2))
            if part.precision == "auto"
        }
        if recipe.model_copy(update=kept) == begun:
            recipe = begun
    update = {
        name: part.model_copy(update={"precision": settled(part.precision, device)})
        for name, part in (("cnn1", recipe.cnn1), ("cnn2", recipe.cnn2))
    }
    return recipe.model_copy(update=update)


def settled(precision: Literal["auto", "float32", "bfloat16"], device: str) -> Precision:
    """Return the precision that a recipe's entry stands for on a device."""
    return fast_precision(device)[0] if precision == "auto" else precision


def words_on_precision(given: Recipe, settled: Recipe, device: str) -> str:
    """Return what a log says of the precision of a training."""
    networks = [(getattr(given, name).precision, getattr(settled, name).precision) for name in ("cnn1", "cnn2")]
    fast, reason = fast_precision(device)
    kept = any(asked == "auto" and taken != fast for asked, taken in networks)
    why = (
        "as the run began"
        if kept
        else reason
        if any(asked == "auto" for asked, _ in networks)
        else "as the recipe says"
    )
    return f"training in {' and '.join(dict.fromkeys(taken for _, taken in networks))}: {why}"


def wanted_negatives(recipe: Recipe, n_positive: int, n_images: int) -> tuple[int, int]:
    """How many hard negatives CNN2 gets in all, and how many are looked for in each image at most."""
    wanted = max(1, int(recipe.mining.hard_per_positive * n_positive))
    return wanted, max(50, 4 * wanted // n_images)


def hardest(found: Sequence[Samples], logits: Sequence[FloatImage], *, n: int) -> Samples:
    """The n samples of all images with the highest logits, in the order of the images."""
    order = np.argsort(-np.concatenate(logits), kind="stable")[:n]
    return np.concatenate(found)[np.sort(order)]
