"""Train a model: split, normalise, sample, CNN1, mine, CNN2, thresholds, export.

Every stage writes its result into the run folder and is skipped when its result is there; the networks resume from
their checkpoints. So a run that was killed at any point is resumed by the same command. ``manifest.json`` says which
recipe, table, images and code the results belong to; a folder with the results of another run is refused.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from microcalc.cnn.hardware import ON_PROCESSOR, Hardware
from microcalc.datasets.table import Split, Table
from microcalc.datasets.table_files import write_table
from microcalc.errors import InputError, RecipeError
from microcalc.execution.executor import SERIAL, Executor
from microcalc.execution.shard import Shard
from microcalc.extras import require_modules
from microcalc.storage.key import code_version, key_of
from microcalc.storage.lock import locked
from microcalc.storage.ownership import check_output_folder, open_output_folder
from microcalc.storage.write import write_json, write_text
from microcalc.training.annotated import (
    check_inside,
    check_splits_carry,
    ignore_invisible,
    key_of_table,
    with_clusters,
    without_twins,
)
from microcalc.training.curve import first_validation, second_validation
from microcalc.training.images import images_of_split
from microcalc.training.mining import mine_negatives
from microcalc.training.networks import (
    average_with_start,
    describe_precision,
    first_network,
    is_trained,
    settle_precision,
    train_network,
)
from microcalc.training.normalised import BORDER_PX, NormalisedImages, with_hashes
from microcalc.training.recipe import Recipe, dump_recipe, load_recipe
from microcalc.training.samples import draw_samples
from microcalc.training.split import split_by_patient
from microcalc.training.start import Start

COMMAND: Final = "train"
_USED: tuple[Split, ...] = ("train", "validation")
_MANIFEST, _LOCK = "manifest.json", ".lock"
_LOG = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    table: Table,
    out: Path,
    *,
    start: Start | None = None,
    normalised: Path | None = None,
    hardware: Hardware = ON_PROCESSOR,
    executor: Executor = SERIAL,
    shard: Shard | None = None,
) -> Path:
    """Train both networks and write the model to ``out/model``.

    Parameters
    ----------
    table
        Table with images of the recipe's intent. Where no image has a split, patients are split 80 : 20 into train
        and validation by the recipe's seed. Where no annotation names a cluster, annotations are grouped by the
        recipe's rule.
    start
        Model whose networks are trained further; None: the weights are random at first.
    normalised
        Folder of the normalised images, which trainings on the same images may share; by default ``out/normalised``.
    hardware
        Where the networks are trained.
    executor
        Where images are normalised and negatives are mined; the results do not depend on it.
    shard
        The part of the images, by their names, that is normalised, while other calls may normalise the others.
        Nothing is trained then.

    Returns
    -------
    Path
        Folder of the model, or, of a shard, of the normalised images.

    Raises
    ------
    InputError
        The table has no such images, or its splits lack what a training needs; images cannot be used (the message
        names them all); or ``out`` holds another run, or files that no training made.
    RecipeError
        A network looks beyond the border around the stored images, or is another than that of ``start``; or the recipe
        takes a share of weights of ``start``, and there is none.
    OutputError
        The system refused to write.
    """
    require_modules("torch", "onnx")
    from microcalc.cnn.device import check_hardware

    check_hardware(hardware)
    check_receptive_fields(recipe)
    check_output_folder(out, COMMAND)
    if start is None and recipe.start.share > 0:
        raise RecipeError(f"recipe {recipe.name}: start.share is {recipe.start.share}, expected a model to start from")
    if start is not None:
        first_network("cnn1", recipe, start.cnn1), first_network("cnn2", recipe, start.cnn2)
    given, recipe = recipe, settle_precision(recipe, hardware.device, begun=_begun(out))
    table = _prepared(table, recipe)
    check_splits_carry(table, positives_in=_USED)
    table = with_hashes(table)
    _check_same_run(out, _manifest(recipe, table, start))
    open_output_folder(out, COMMAND)
    store = NormalisedImages(normalised or out / "normalised", recipe.data.spacing_mm)
    if shard is not None:
        store.make([i for i in table.images if i.split in _USED and shard.has(i.image)], executor=executor)
        return store.folder
    with locked(out / _LOCK, waiting=lambda: _LOG.info("another process trains in this folder; waiting")):
        _check_same_run(out, _manifest(recipe, table, start))  # the other process may have begun another run
        if _is_finished(out):
            _LOG.info("the run is finished: nothing to do")
        else:
            _LOG.info(describe_precision(given, recipe, hardware.device))
            _train(recipe, table, out, store, start=start, hardware=hardware, executor=executor)
    return out / "model"


def _prepared(table: Table, recipe: Recipe) -> Table:
    """Return the images of the recipe's intent with splits, no twin in validation, and what is visible, in clusters."""
    chosen = _of_intent(table, recipe)
    chosen = with_clusters(chosen, recipe.clusters, min_d_prime=recipe.sample.min_d_prime)
    return without_twins(split_by_patient(chosen, seed=recipe.seed), "validation")


def _is_finished(out: Path) -> bool:
    """Return whether the run has its model.

    Raises
    ------
    InputError
        The model has been changed since.
    """
    from microcalc.models.model import load_model
    from microcalc.training.card import CARD

    if not (out / "model" / CARD).is_file():  # written last
        return False
    load_model(out / "model")
    return True


def _train(
    recipe: Recipe,
    table: Table,
    out: Path,
    normalised: NormalisedImages,
    *,
    start: Start | None,
    hardware: Hardware,
    executor: Executor,
) -> None:
    """Do the stages of the training that are not done yet, one after the other."""
    from microcalc.training.thresholds import describe_training, write_model

    used = [i for i in table.images if i.split in _USED]
    normalised.make(used, executor=executor)
    check_inside(table.of_images(used), normalised.file)
    _claim(out, recipe, table, start)
    images, validation = (images_of_split(table, split, normalised) for split in _USED)
    samples = draw_samples(images, recipe)
    if len(samples.positive) == 0:
        raise InputError("the training images have no annotated microcalcification in the breast, expected some")
    if len(samples.random) == 0:
        raise InputError("the training images have no pixel clear of annotated calcium, expected some")
    twins = len(samples.counterfactual) if recipe.sample.counterfactual_share > 0 else 0
    counts = {"positive": len(samples.positive), "random": len(samples.random), "counterfactual": twins}
    _LOG.info("%d positive samples, %d random negative samples and %d counterfactual ones in train", *counts.values())
    on = partial(train_network, recipe=recipe, out=out, hardware=hardware)
    curve = None if is_trained(out, "cnn1") else first_validation(validation, recipe)
    on("cnn1", images, samples, start=None if start is None else start.cnn1, validation=curve)
    mined = mine_negatives(out, images, recipe=recipe, n_positive=len(samples.positive), out=out, executor=executor)
    curve = None if is_trained(out, "cnn2") else second_validation(validation, recipe, out)
    on("cnn2", images, samples, mined, start=None if start is None else start.cnn2, validation=curve)
    _LOG.info("choosing thresholds on %d validation images", len(validation))
    command = f"microcalc train --recipe {recipe.name} --data TABLE --out RUN"
    if start is not None:
        command += f" --from {start.name.split()[0]}"
    trained_on = describe_training(len(images), {**counts, "mined": len(mined)}, command)
    networks = out if start is None or recipe.start.share == 0 else average_with_start(out, recipe, start)
    write_model(
        out / "model",
        cnn1=networks,
        cnn2=networks,
        recipe=recipe,
        table=table,
        validation=validation,
        trained_on=trained_on,
        started_from=None if start is None else start.cnn1.parent,
    )


def check_receptive_fields(recipe: Recipe) -> None:
    """Refuse a recipe with a network that looks beyond the border around the stored images.

    Raises
    ------
    RecipeError
        The dilations of a network sum to more than ``BORDER_PX``.
    """
    for name, network in (("cnn1", recipe.cnn1), ("cnn2", recipe.cnn2)):
        if sum(network.dilations) > BORDER_PX:
            raise RecipeError(
                f"recipe {recipe.name}: {name}.dilations sum to {sum(network.dilations)} px, "
                f"expected at most {BORDER_PX}"
            )


def _of_intent(table: Table, recipe: Recipe) -> Table:
    images = tuple(i for i in table.images if i.intent == recipe.data.intent)
    if not images:
        raise InputError(f"the table has no {recipe.data.intent} image, recipe {recipe.name} needs them")
    return ignore_invisible(table.of_images(images), min_d_prime=recipe.sample.min_d_prime)


def _begun(out: Path) -> Recipe | None:
    """Return the recipe of the run in a folder, or None where there is no run."""
    try:
        return load_recipe(out / "recipe.toml")
    except RecipeError:
        return None


def _manifest(recipe: Recipe, table: Table, start: Start | None) -> dict[str, str]:
    """Return what identifies a run: recipe, table with the bytes of the images, code, and the model it starts from."""
    return {
        "schema": "microcalc/run/2",
        "recipe": key_of(dump_recipe(recipe)),
        "table and images": key_of_table(table),
        "code of microcalc": code_version(__name__),
        "model to start from": "" if start is None else start.sha256,
    }


def _check_same_run(out: Path, manifest: Mapping[str, str]) -> None:
    """Refuse a folder that holds another run.

    A folder whose images have not all been normalised yet holds no run: a table with a bad image can be corrected
    and given again.

    Raises
    ------
    InputError
        The folder holds another run; the message says in what it differs.
    """
    try:
        document = json.loads((out / _MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{out.resolve().name}/{_MANIFEST}: not readable ({type(error).__name__})") from error
    held = document if isinstance(document, dict) else {}
    other = [name for name, value in manifest.items() if held.get(name) != value]
    if other:
        raise InputError(
            f"{out.resolve().name}: holds a run of another {' and '.join(other)}, expected a new folder or the same run"
        )


def _claim(out: Path, recipe: Recipe, table: Table, start: Start | None) -> None:
    """Write recipe and table of the run into its folder, and last the manifest, which makes it this run's folder."""
    if (out / _MANIFEST).is_file():
        return
    write_text(out / "recipe.toml", dump_recipe(recipe))
    write_table(table, out / "table")
    write_json(out / _MANIFEST, _manifest(recipe, table, start))
