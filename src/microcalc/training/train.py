"""Trains a model: split, sample, CNN1, mine, CNN2, thresholds, export.

Every stage writes its result into the run folder and is not run again when it is
there; the networks resume from their checkpoints. So a run that was killed at any
point goes on by the same command. ``manifest.json`` says of which recipe, table, images and
code the results are; a folder with another run's results is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from microcalc.datasets.table import ImageRow, Split, Table, write_table
from microcalc.domain import Annotations, BoolImage
from microcalc.errors import InputError, RecipeError
from microcalc.extras import require_modules
from microcalc.geometry import Grid
from microcalc.sample.draw import draw_negatives, negative_mask, positive_pixels, reviewed_negatives
from microcalc.sample.store import Samples, StoredImage, open_stored
from microcalc.storage.key import code_version, key_of
from microcalc.storage.lock import locked
from microcalc.storage.ownership import check_output_folder, open_output_folder
from microcalc.storage.write import write_json, write_text, writing
from microcalc.training.annotated import as_seen, check_inside, check_splits_carry, key_of_table, with_clusters
from microcalc.training.networks import hardest, settle_precision, train_network, wanted_negatives, words_on_precision
from microcalc.training.normalised import BORDER_PX, NormalisedImages, with_hashes
from microcalc.training.recipe import Recipe, dump_recipe, load_recipe
from microcalc.training.split import split_by_patient

Say = Callable[[str], None]
COMMAND: Final = "train"
_USED: tuple[Split, ...] = ("train", "validation")
_MANIFEST, _LOCK = "manifest.json", ".lock"


@dataclass(frozen=True, eq=False, slots=True)
class _Image:
    """An image of the run: its line of the table, its annotations, its pixels."""

    row: ImageRow
    annotations: Annotations
    stored: StoredImage

    @property
    def grid(self) -> Grid:
        spacing = self.stored.spacing_mm
        return Grid((spacing, spacing), self.stored.origin_mm)


def train(recipe: Recipe, table: Table, out: Path, *, device: str = "cpu", workers: int = 1, say: Say = print) -> Path:
    """Train both networks and write the model to ``out/model``.

    Parameters
    ----------
    table
        Images of the recipe's intent. Where no image has a split, patients are split 80 : 20 into train and validation
        by the recipe's seed. Where no annotation names a cluster, they are grouped by the recipe's rule.

    Returns
    -------
    The model's folder.

    Raises
    ------
    InputError
        The table has no such images, or its splits lack what a training needs; images cannot be used (all of them by
        name); or ``out`` holds another run, or files that no training made.
    RecipeError
        A network is larger than the border around the stored images.
    OutputError
        The system refused to write.
    """
    require_modules("torch", "onnx")
    from microcalc.cnn.fit import check_device

    check_device(device)
    check_margins(recipe)
    check_output_folder(out, COMMAND)
    given, recipe = recipe, settle_precision(recipe, device, begun=_begun(out))
    table = _prepared(table, recipe)
    check_splits_carry(table, positives_in=_USED)
    table = with_hashes(table)
    _check_same_run(out, _manifest(recipe, table))
    open_output_folder(out, COMMAND)
    with locked(out / _LOCK, waiting=lambda: say("another process trains in this folder; waiting")):
        _check_same_run(out, _manifest(recipe, table))  # the other process may have begun another run
        if _is_finished(out):
            say("the run is finished: nothing to do")
            return out / "model"
        say(words_on_precision(given, recipe, device))
        return _train(recipe, table, out, device=device, workers=workers, say=say)


def _prepared(table: Table, recipe: Recipe) -> Table:
    """Return what the run takes from the table: images of its intent in splits, what can be seen, in clusters."""
    taken = _of_intent(table, recipe)
    taken = with_clusters(taken, recipe.clusters, min_d_prime=recipe.sample.min_d_prime)
    return split_by_patient(taken, seed=recipe.seed)


def _is_finished(out: Path) -> bool:
    """Return whether the run has its model, which is loaded to see that it is still the run's."""
    from microcalc.models.model import load_model
    from microcalc.training.card import CARD

    if not (out / "model" / CARD).is_file():  # written last
        return False
    load_model(out / "model")
    return True


def _train(recipe: Recipe, table: Table, out: Path, *, device: str, workers: int, say: Say) -> Path:
    from microcalc.training.thresholds import ValidationImage, words_on_training, write_model

    normalised = NormalisedImages(out / "normalised", recipe.data.spacing_mm)
    used = [i for i in table.images if i.split in _USED]
    normalised.make(used, workers=workers, say=lambda line: say(f"normalising {line}"))
    check_inside(table.of_images(used), normalised.file)
    _claim(out, recipe, table)
    train_images, validation_images = (_opened(table.of_split(split), normalised) for split in _USED)
    positives, random_negatives = _samples(train_images, recipe)
    if len(positives) == 0:
        raise InputError("the training images have no annotated microcalcification in the breast, expected some")
    if len(random_negatives) == 0:
        raise InputError("the training images have no pixel clear of annotated calcium, expected some")
    say(f"{len(positives)} positive samples, {len(random_negatives)} random negative samples in train")
    stored = [i.stored for i in train_images]
    train_network("cnn1", stored, positives, [(random_negatives, 1.0)], recipe=recipe, out=out, device=device, say=say)
    mined = _mined(train_images, len(positives), recipe, out, say)
    share = recipe.mining.random_share
    pools = [(mined, 1.0 - share), (random_negatives, share)]
    train_network("cnn2", stored, positives, pools, recipe=recipe, out=out, device=device, say=say)
    counts = {"positive": len(positives), "mined": len(mined), "random": len(random_negatives)}
    say(f"choosing thresholds on {len(validation_images)} validation images")
    validation = [ValidationImage(i.annotations, i.stored) for i in validation_images]
    command = f"microcalc train --recipe {recipe.name} --data TABLE --out RUN"
    return write_model(out, recipe, table, validation, trained_on=words_on_training(len(train_images), counts, command))


def check_margins(recipe: Recipe) -> None:
    """See that no network looks further than the border around the stored images.

    Raises
    ------
    RecipeError
        One does.
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
    names = {i.image for i in images}
    return Table(images, tuple(as_seen(a, recipe.sample.min_d_prime) for a in table.annotations if a.image in names))


def _begun(out: Path) -> Recipe | None:
    """Return the recipe of the run that a folder holds; None where it holds none."""
    try:
        return load_recipe(out / "recipe.toml")
    except RecipeError:
        return None


def _manifest(recipe: Recipe, table: Table) -> dict[str, str]:
    """Return what makes a run this run: recipe, table with the images' bytes, and the code that trains."""
    return {
        "schema": "microcalc/run/2",
        "recipe": key_of(dump_recipe(recipe)),
        "table and images": key_of_table(table),
        "code of microcalc": code_version(__name__),
    }


def _check_same_run(out: Path, manifest: Mapping[str, str]) -> None:
    """Refuse a folder that holds another run, saying in what it differs; that run stays as it is.

    A folder whose images have not all been normalised yet holds no run: a table that named a bad image can be
    mended and given again.

    Raises
    ------
    InputError
        It is another run.
    """
    try:
        found = json.loads((out / _MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{out.resolve().name}/{_MANIFEST}: not readable ({type(error).__name__})") from error
    found = found if isinstance(found, dict) else {}
    other = [name for name, value in manifest.items() if found.get(name) != value]
    if other:
        raise InputError(
            f"{out.resolve().name}: holds a run of another {' and '.join(other)}, expected a new folder or the same run"
        )


def _claim(out: Path, recipe: Recipe, table: Table) -> None:
    """Make the folder this run's; the manifest, which says so, is written last."""
    if (out / _MANIFEST).is_file():
        return
    write_text(out / "recipe.toml", dump_recipe(recipe))
    write_table(table, out / "table")
    write_json(out / _MANIFEST, _manifest(recipe, table))


def _opened(table: Table, normalised: NormalisedImages) -> list[_Image]:
    return [_Image(i, table.annotations_of(i), open_stored(normalised.file(i))) for i in table.images]


def _samples(images: Sequence[_Image], recipe: Recipe) -> tuple[Samples, Samples]:
    """All positive pixels, and random negatives, of the training images."""
    rng = np.random.default_rng(recipe.seed)
    positives, negatives = [], []
    for index, image in enumerate(images):
        radius = recipe.sample.positive_radius_mm
        found = positive_pixels(image.annotations, image.stored.breast, image.grid, radius_mm=radius)
        found[:, 0] = index
        positives.append(rng.permutation(found)[: recipe.sample.max_positives_per_image])
        drawn = draw_negatives(_negative(image, recipe), n=recipe.sample.negatives_per_image, rng=rng)
        drawn[:, 0] = index
        negatives.append(drawn)
    return np.concatenate(positives), np.concatenate(negatives)


def _negative(image: _Image, recipe: Recipe) -> BoolImage:
    return negative_mask(
        image.annotations,
        image.stored.breast,
        image.grid,
        clearance_mm=recipe.sample.clearance_mm,
        unmeasured_clearance_mm=recipe.sample.unmeasured_clearance_mm,
    )


def _mined(images: Sequence[_Image], n_positive: int, recipe: Recipe, out: Path, say: Say) -> Samples:
    """CNN1 over every negative of every training image: those it rates highest, and those reviewed as such."""
    file = out / "mined.npy"
    if file.is_file():
        return np.asarray(np.load(file))
    from microcalc.cnn.mine import mine_hard_negatives
    from microcalc.cnn.scorer import open_network

    session = open_network(out / "cnn1_dense.onnx", threads=2)
    wanted, per_image = wanted_negatives(recipe, n_positive, len(images))
    found, logits, total = [], [], 0
    for index, image in enumerate(images):
        negative = _negative(image, recipe)
        samples, rating = mine_hard_negatives(
            session, image.stored, negative, margin_px=sum(recipe.cnn1.dilations),
            n=per_image, min_distance_mm=recipe.mining.min_distance_mm,
        )  # fmt: skip
        reviewed = reviewed_negatives(image.annotations, negative, image.grid)
        samples = np.concatenate([reviewed, samples])
        rating = np.concatenate([np.full(len(reviewed), np.inf, dtype=np.float32), rating])
        samples[:, 0] = index
        total += int(np.count_nonzero(negative))
        found.append(samples)
        logits.append(rating)
        say(f"mining image {index + 1} of {len(images)}: {total} negatives rated")
    mined = hardest(found, logits, n=wanted)
    with writing(file) as temporary, temporary.open("wb") as handle:
        np.save(handle, mined)
    return mined
