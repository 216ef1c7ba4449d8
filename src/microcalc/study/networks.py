"""The networks of the study, trained: CNN1, the negatives that it rates highest, CNN2, and CNN2 without mining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from microcalc.domain import BoolImage
from microcalc.geometry import Grid
from microcalc.sample.draw import reviewed_negatives
from microcalc.sample.store import Samples, StoredImage
from microcalc.storage.write import saying_where
from microcalc.study.arrays import load_array, load_piece, save_array, save_piece
from microcalc.study.images import StudyImage, opened
from microcalc.study.samples import by_image, split_samples
from microcalc.study.stage import Say, Stage, after, run_stage
from microcalc.training.networks import hardest, train_network, wanted_negatives
from microcalc.training.recipe import Recipe

_MODULES = ("microcalc.study.networks",)
_MINED = "mined.npy"


@dataclass(frozen=True, slots=True)
class NetworkStages:
    """The stages that train networks; ``no_mining`` is CNN2 of random negatives alone."""

    cnn1: Stage
    mining: Stage
    cnn2: Stage
    no_mining: Stage


def network_stages(samples: Stage, recipe: Recipe) -> NetworkStages:
    """Of the samples; the keys hold every setting, those with defaults too."""
    run, augment, seed = samples.run, recipe.augment.model_dump(), recipe.seed
    one = {"network": recipe.cnn1.model_dump(), "augment": augment, "seed": seed}
    two = {
        "network": recipe.cnn2.model_dump(exclude={"tta_transforms", "tta_share"}),
        "augment": augment,
        "seed": seed,
    }
    mined = recipe.mining.model_dump(exclude={"random_share", "pass_fraction"})
    cnn1 = after(run, "cnn1", one, samples, modules=_MODULES)
    mining = after(run, "mining", mined, cnn1, samples, modules=_MODULES)
    return NetworkStages(
        cnn1=cnn1,
        mining=mining,
        cnn2=after(run, "cnn2", {**two, "random_share": recipe.mining.random_share}, mining, samples, modules=_MODULES),
        no_mining=after(run, "no_mining", two, samples, modules=_MODULES),
    )


def train_pair(trained: NetworkStages, samples: Stage, images: Sequence[StudyImage], recipe: Recipe, say: Say) -> None:
    """CNN1, mining, CNN2."""
    _one_thread()
    random = split_samples(samples, "train")

    def cnn1(progress: Say) -> None:
        pools = [(random.negative, 1.0)]
        train_network(
            "cnn1", opened(images), random.positive, pools,
            recipe=recipe, out=trained.cnn1.folder, device="cpu", say=progress,
        )  # fmt: skip

    def cnn2(progress: Say) -> None:
        share = recipe.mining.random_share
        mined = load_array(trained.mining.folder / _MINED)
        pools = [(mined, 1.0 - share), (random.negative, share)]
        train_network(
            "cnn2", opened(images), random.positive, pools,
            recipe=recipe, out=trained.cnn2.folder, device="cpu", say=progress,
        )  # fmt: skip

    run_stage(trained.cnn1, cnn1, say)
    run_stage(trained.mining, lambda progress: _mine(trained, samples, images, recipe, progress), say)
    run_stage(trained.cnn2, cnn2, say)


def train_unmined(
    trained: NetworkStages, samples: Stage, images: Sequence[StudyImage], recipe: Recipe, say: Say
) -> None:
    """CNN2 without mining."""
    random = split_samples(samples, "train")

    def no_mining(progress: Say) -> None:
        _one_thread()  # the cascade's compiled loops share torch's threads, and have set their number
        pools = [(random.negative, 1.0)]
        train_network(
            "cnn2", opened(images), random.positive, pools,
            recipe=recipe, out=trained.no_mining.folder, device="cpu", say=progress,
        )  # fmt: skip

    run_stage(trained.no_mining, no_mining, say)


def _mine(trained: NetworkStages, samples: Stage, images: Sequence[StudyImage], recipe: Recipe, say: Say) -> None:
    """CNN1 over every negative training sample: those it rates highest, one per neighbourhood."""
    from microcalc.cnn.mine import mine_hard_negatives
    from microcalc.cnn.scorer import open_network

    training = split_samples(samples, "train")
    session = open_network(trained.cnn1.folder / "cnn1_dense.onnx", threads=1)
    wanted, per_image = wanted_negatives(recipe, len(training.positive), len(images))
    pieces = trained.mining.folder / "pieces"
    with saying_where(pieces):
        pieces.mkdir(exist_ok=True)
    files = [pieces / f"{index:05d}.npz" for index in range(len(images))]
    negatives, rated = by_image(training.negative, len(images)), 0
    for index, (image, file, own) in enumerate(zip(images, files, negatives, strict=True)):
        rated += len(own)
        if file.is_file():
            continue
        stored = image.open()
        mined, logits = mine_hard_negatives(
            session, stored, _mask(own, stored), margin_px=sum(recipe.cnn1.dilations), n=per_image,
            min_distance_mm=recipe.mining.min_distance_mm,
        )  # fmt: skip
        reviewed = reviewed_negatives(image.annotations, image.negative(stored, recipe.sample), _grid(stored))
        found = np.concatenate([reviewed, mined])
        found[:, 0] = index
        save_piece(file, found=found, logits=np.concatenate([np.full(len(reviewed), np.inf, np.float32), logits]))
        say(f"image {index + 1} of {len(images)}: {rated} negatives rated")
    loaded = [load_piece(file) for file in files]
    save_array(
        trained.mining.folder / _MINED, hardest([p["found"] for p in loaded], [p["logits"] for p in loaded], n=wanted)
    )


def mined_count(trained: NetworkStages) -> int:
    """How many negatives were mined."""
    return len(load_array(trained.mining.folder / _MINED))


def _mask(samples: Samples, stored: StoredImage) -> BoolImage:
    mask = np.zeros(stored.breast.shape, dtype=bool)
    mask[samples[:, 1], samples[:, 2]] = True
    return mask


def _grid(stored: StoredImage) -> Grid:
    return Grid((stored.spacing_mm, stored.spacing_mm), stored.origin_mm)


def _one_thread() -> None:
    """The same weights on every machine, however many cores it has."""
    import torch

    torch.set_num_threads(1)
