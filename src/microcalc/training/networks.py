"""Train CNN1 and CNN2 on samples, for ``train`` and for ``study``; ``mining`` finds the hard negatives of CNN2."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from microcalc.cnn.hardware import Hardware
from microcalc.cnn.precision import Precision, fast_precision
from microcalc.sample.store import Samples
from microcalc.storage.write import saying_where
from microcalc.training.images import TrainingImage, open_images
from microcalc.training.recipe import NetworkRecipe, Recipe
from microcalc.training.samples import DrawnSamples
from microcalc.training.start import Start

if TYPE_CHECKING:
    from microcalc.cnn.network import Network
    from microcalc.cnn.validate import ValidationSamples

NetworkName = Literal["cnn1", "cnn2"]
CNN1_DENSE, CNN2_PATCHES = "cnn1_dense.onnx", "cnn2.onnx"
"""The forms of the trained networks that a model consists of."""
_LOG = logging.getLogger(__name__)


# Nine parameters: what is trained, on what, and where; `start` and `validation` are given by `train` alone.
def train_network(
    name: NetworkName,
    images: Sequence[TrainingImage],
    samples: DrawnSamples,
    mined: Samples | None = None,
    *,
    recipe: Recipe,
    out: Path,
    hardware: Hardware,
    start: Path | None = None,
    validation: ValidationSamples | None = None,
) -> None:
    """Train one network and export it as ``name.onnx`` and ``name_dense.onnx``, unless these files are there.

    Parameters
    ----------
    mined
        Hard negatives; None: the network learns from random and counterfactual ones alone, as CNN1 does.
    out
        Folder of the files and, in ``out/name``, of the checkpoint that an interrupted training resumes from.
    start
        File of the network that is trained further; None: the weights are random at first.
    validation
        What the network is measured on while it is trained; None: it is not measured.

    Raises
    ------
    RecipeError
        The network in ``start`` is not the recipe's.
    """
    if is_trained(out, name):
        return
    from microcalc.cnn.export import export_dense, export_patches
    from microcalc.cnn.fit import Augmentation, Optimisation, TrainingSamples, Watch, fit_on_several

    settings: NetworkRecipe = getattr(recipe, name)
    precision = _resolved(settings.precision, hardware.device)
    network = first_network(name, recipe, start)
    dense, patch = network.multiply_adds()
    _LOG.info(
        "%s: receptive field %d px, %d multiply-adds per pixel, %d per patch, %s",
        name, network.patch_px, dense, patch, precision,
    )  # fmt: skip
    fit_on_several(
        network,
        TrainingSamples(open_images(images), samples.positive, samples.negative_pools(mined, recipe)),
        Optimisation(
            steps=settings.steps,
            batch=settings.batch,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            positive_share=settings.positive_share,
            precision=precision,
        ),
        Augmentation(recipe.augment.gain_range, recipe.augment.noise, recipe.augment.flips),
        seed=recipe.seed,
        hardware=hardware,
        folder=out / name,
        watch=Watch(validation, later_steps=_later_steps(recipe) if name == "cnn1" else 0.0),
    )
    with saying_where(out / f"{name}.onnx"):
        export_patches(network, out / f"{name}.onnx")
        export_dense(network, out / f"{name}_dense.onnx")


def is_trained(out: Path, name: NetworkName) -> bool:
    """Return whether ``train_network`` has written its files."""
    return (out / f"{name}_dense.onnx").is_file()


def _later_steps(recipe: Recipe) -> float:
    """Return the training of CNN2 in steps of CNN1, as their numbers of patch pixels compare (ours).

    A step of CNN2 of the shipped recipes takes 3.0 to 3.6 times as long as one of CNN1 (AVX-512, float32 and bfloat16);
    it has 3.2 times as many pixels, and 9.1 times as many multiply-adds.
    """
    first, second = (n.batch * (2 * sum(n.dilations) + 1) ** 2 for n in (recipe.cnn1, recipe.cnn2))
    return recipe.cnn2.steps * second / first


def first_network(name: NetworkName, recipe: Recipe, start: Path | None) -> Network:
    """Return a network as its training begins: with random weights of the recipe's seed, or with those of a file.

    Raises
    ------
    RecipeError
        The network in the file is not the recipe's.
    """
    import torch

    from microcalc.cnn.network import Network
    from microcalc.cnn.weights import load_weights

    settings: NetworkRecipe = getattr(recipe, name)
    torch.manual_seed(recipe.seed + (1 if name == "cnn1" else 2))
    network = Network(settings.channels, settings.dilations)
    if start is not None:
        load_weights(network, start, where=f"{start.parent.name}/{start.name}")
    return network


def average_with_start(out: Path, recipe: Recipe, start: Start) -> Path:
    """Write networks with the mean of the trained weights and those that the training started from.

    Such a mean is often better, on data like those trained on and on others, than either end.

    Parameters
    ----------
    out
        Folder of the trained networks.

    Returns
    -------
    Path
        Folder of the averaged networks.

    References
    ----------
    M. Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022.
    """
    from microcalc.cnn.export import export_dense, export_patches

    folder, share = out / "averaged", recipe.start.share
    with saying_where(folder):
        folder.mkdir(exist_ok=True)
    files: dict[NetworkName, Path] = {"cnn1": start.cnn1, "cnn2": start.cnn2}
    for name, file in files.items():
        network = first_network(name, recipe, out / f"{name}.onnx")
        before = first_network(name, recipe, file).state_dict()
        trained = network.state_dict()
        network.load_state_dict({k: (1.0 - share) * trained[k] + share * before[k] for k in trained})
        with saying_where(folder / f"{name}.onnx"):
            export_patches(network, folder / f"{name}.onnx")
            export_dense(network, folder / f"{name}_dense.onnx")
    return folder


def settle_precision(recipe: Recipe, device: str, *, begun: Recipe | None = None) -> Recipe:
    """Return the recipe with each precision ``auto`` replaced by the fastest precision of the device.

    Parameters
    ----------
    begun
        Recipe of a run that is resumed. Where nothing else differs, the run keeps the precision that it began with,
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
        name: part.model_copy(update={"precision": _resolved(part.precision, device)})
        for name, part in (("cnn1", recipe.cnn1), ("cnn2", recipe.cnn2))
    }
    return recipe.model_copy(update=update)


def describe_precision(given: Recipe, settled: Recipe, device: str) -> str:
    """Return one line for the log: the precision of a training, and why it is that one."""
    networks = [(getattr(given, name).precision, getattr(settled, name).precision) for name in ("cnn1", "cnn2")]
    fast, reason = fast_precision(device)
    if any(wanted == "auto" and taken != fast for wanted, taken in networks):
        reason = "as the run began"
    elif all(wanted != "auto" for wanted, _ in networks):
        reason = "as the recipe says"
    return f"training in {' and '.join(dict.fromkeys(taken for _, taken in networks))}: {reason}"


def _resolved(precision: Literal["auto", "float32", "bfloat16"], device: str) -> Precision:
    return fast_precision(device)[0] if precision == "auto" else precision
