"""Trains a model: split, sample, CNN1, mine, CNN2, thresholds, export.

Every stage writes its result into the run folder and is not run again when it is
there; the networks resume from their checkpoints. So a run that was killed at any
point goes on by the same command.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from microcalc.datasets.table import ANNOTATIONS, IMAGES, AnnotationRow, ImageRow, Split, Table, write_table
from microcalc.domain import Annotations, BoolImage
from microcalc.errors import InputError, RecipeError
from microcalc.geometry import Grid
from microcalc.normalise.mammogram import normalise
from microcalc.runs.images import naming, open_row
from microcalc.runs.networks import hardest, settle_precision, train_network, wanted_negatives, words_on_precision
from microcalc.runs.recipe import Recipe, dump_recipe, load_recipe
from microcalc.runs.split import split_by_patient
from microcalc.sample.draw import draw_negatives, negative_mask, positive_pixels, reviewed_negatives
from microcalc.sample.store import Samples, StoredImage, open_stored, store

Say = Callable[[str], None]
BORDER_PX = 40
"""Of zeros around a stored image: the largest margin of a network."""
_USED: tuple[Split, ...] = ("train", "tune")


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
        Images of the recipe's intent. Where no image has a split, patients are split
        80 : 20 into train and tune by the recipe's seed.

    Returns
    -------
    The model's folder.

    Raises
    ------
    InputError
        The table has no such images, no positives, or ``out`` holds another run or a table of the user's.
    RecipeError
        A network is larger than the border around the stored images.
    """
    from microcalc.cnn.fit import check_device
    from microcalc.detect.model import load_model
    from microcalc.runs.card import CARD
    from microcalc.runs.thresholds import TuneImage, words_on_training, write_model

    check_device(device)
    check_margins(recipe)
    given, recipe = recipe, settle_precision(recipe, device, begun=_begun(out))
    table = split_by_patient(_of_intent(table, recipe), seed=recipe.seed)
    _check_splits(table)
    _claim(out, recipe, table)
    if (out / "model" / CARD).is_file():  # written last: the run is finished
        load_model(out / "model")
        say("the run is finished: nothing to do")
        return out / "model"
    say(words_on_precision(given, recipe, device))
    _normalise([i for i in table.images if i.split in _USED], out, recipe, workers=workers, say=say)
    train_images, tune_images = (_opened(table.of_split(split), out) for split in _USED)
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
    say(f"choosing thresholds on {len(tune_images)} tune images")
    tune = [TuneImage(i.annotations, i.stored) for i in tune_images]
    command = f"microcalc train --recipe {recipe.name} --data TABLE --out RUN"
    return write_model(out, recipe, table, tune, trained_on=words_on_training(len(train_images), counts, command))


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


def _check_splits(table: Table) -> None:
    """What would otherwise be missed only when the training is over."""
    for split in _USED:
        if not any(i.split == split for i in table.images):
            raise InputError(f"no image in split {split}, expected some in train and some in tune, patients apart")
    if not any(a.kind == "microcalcification" and a.cluster for a in table.of_split("tune").annotations):
        raise InputError("the tune images have no annotated cluster, expected some to choose thresholds on")


def _of_intent(table: Table, recipe: Recipe) -> Table:
    images = tuple(i for i in table.images if i.intent == recipe.data.intent)
    if not images:
        raise InputError(f"the table has no {recipe.data.intent} image, recipe {recipe.name} needs them")
    names = {i.image for i in images}
    return Table(images, tuple(as_seen(a, recipe.sample.min_d_prime) for a in table.annotations if a.image in names))


def as_seen(annotation: AnnotationRow, least: float) -> AnnotationRow:
    """Microcalcifications that cannot be seen teach nothing: they are neither positive nor negative."""
    if annotation.d_prime is None or annotation.d_prime >= least:
        return annotation
    return replace(annotation, kind="unsure")


def _begun(out: Path) -> Recipe | None:
    """Return the recipe of the run that a folder holds; None where it holds none."""
    try:
        return load_recipe(out / "recipe.toml")
    except RecipeError:
        return None


def _claim(out: Path, recipe: Recipe, table: Table) -> None:
    """Make the folder this run's, or see that it is; another run's folder stays as it was."""
    given, file = out / "table.part", out / "manifest.json"
    if (out / "table").exists() and not (out / "recipe.toml").is_file():  # a user's, perhaps the one being read
        raise InputError(f"{out.resolve().name}/table: not of a run, expected an empty folder or one of this run")
    write_table(table, given)
    digest = hashlib.sha256()
    for name in (IMAGES, ANNOTATIONS):
        digest.update((given / name).read_bytes())
    digest.update(dump_recipe(recipe).encode())
    manifest = {"schema": "microcalc/run/1", "recipe": recipe.name, "sha256": digest.hexdigest()}
    if file.is_file() and json.loads(file.read_text()) != manifest:
        shutil.rmtree(given)
        raise InputError(f"{out.name}: holds a run of another recipe or table, expected an empty or the same folder")
    (out / "recipe.toml").write_text(dump_recipe(recipe))  # before the table: it says that the table is a run's
    shutil.rmtree(out / "table", ignore_errors=True)
    given.replace(out / "table")
    temporary = file.with_suffix(".part")
    temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    temporary.replace(file)


def _normalise(images: Sequence[ImageRow], out: Path, recipe: Recipe, *, workers: int, say: Say) -> None:
    """Normalise the images that are not there yet."""
    from joblib import Parallel, delayed

    todo = [i for i in images if not _file_of(i, out).is_file()]
    jobs = (delayed(_normalise_one)(i, _file_of(i, out), recipe.data.spacing_mm) for i in todo)
    done = Parallel(n_jobs=workers, return_as="generator_unordered")(jobs)
    try:
        for number, _ in enumerate(done, len(images) - len(todo) + 1):
            say(f"normalising image {number} of {len(images)}")
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib: an interruption leaves images undone, which is as it should be
            done.close()


def _normalise_one(image: ImageRow, file: Path, spacing_mm: float) -> None:
    with naming(image.file):
        store(normalise(open_row(image), spacing_mm=spacing_mm), file, border_px=BORDER_PX)


def _opened(table: Table, out: Path) -> list[_Image]:
    return [_Image(i, table.annotations_of(i), open_stored(_file_of(i, out))) for i in table.images]


def _file_of(image: ImageRow, out: Path) -> Path:
    return out / "normalised" / f"{hashlib.sha256(image.image.encode()).hexdigest()[:16]}.npy"


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
    from microcalc.detect.scorer import open_network

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
    with file.with_suffix(".part").open("wb") as handle:
        np.save(handle, mined)
    file.with_suffix(".part").replace(file)
    return mined
