"""The methods of the study, trained: cascade, CNN1, the mined negatives, CNN2, and CNN2 without mining.

The cascade and the networks do not need each other: they are trained beside each other, one
thread each, in two lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from microcalc.domain import BoolImage
from microcalc.geometry import Grid
from microcalc.runs.networks import hardest, train_network, wanted_negatives
from microcalc.runs.recipe import Recipe
from microcalc.sample.draw import reviewed_negatives
from microcalc.sample.store import Samples, StoredImage
from microcalc.study.images import Images, StudyImage, opened
from microcalc.study.pieces import load_array, load_piece, save_array, save_piece
from microcalc.study.samples import by_image, split_samples
from microcalc.study.scale import CascadeTraining
from microcalc.study.stage import Say, Stage, after, run_stage
from microcalc.study.workers import in_processes

if TYPE_CHECKING:
    from microcalc.cascade.fit import CascadeSettings

CASCADE_FILE = "cascade.npz"
_MINED = "mined.npy"


@dataclass(frozen=True, slots=True)
class Trained:
    """The stages that train; ``unmined`` is CNN2 of random negatives alone."""

    cascade: Stage
    cnn1: Stage
    mining: Stage
    cnn2: Stage
    unmined: Stage


def method_stages(samples: Stage, recipe: Recipe, cascade: CascadeTraining) -> Trained:
    """Of the samples; the keys hold every setting, those with defaults too."""
    run, augment, seed = samples.run, recipe.augment.model_dump(), recipe.seed
    one = {"network": recipe.cnn1.model_dump(), "augment": augment, "seed": seed}
    two = {
        "network": recipe.cnn2.model_dump(exclude={"orientations", "turned_share"}),
        "augment": augment,
        "seed": seed,
    }
    cnn1 = after(run, "cnn1", one, samples)
    mining = after(run, "mining", recipe.mining.model_dump(exclude={"random_share", "survive_share"}), cnn1, samples)
    return Trained(
        cascade=after(run, "cascade", {**asdict(_settings(cascade)), "seed": seed}, samples),
        cnn1=cnn1,
        mining=mining,
        cnn2=after(run, "cnn2", {**two, "random_share": recipe.mining.random_share}, mining, samples),
        unmined=after(run, "unmined", two, samples),
    )


def train_methods(
    trained: Trained,
    samples: Stage,
    images: Images,
    recipe: Recipe,
    cascade: CascadeTraining,
    *,
    workers: int,
    say: Say,
) -> None:
    """Train all methods; one lane with the networks, another with the rest, where there are two workers."""
    lanes: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (_networks, (trained, samples, images.train, recipe, say)),
        (_others, (trained, samples, images, recipe, cascade, say)),
    ]
    for _ in in_processes(lanes, workers=workers):
        pass


def _networks(trained: Trained, samples: Stage, images: Sequence[StudyImage], recipe: Recipe, say: Say) -> None:
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


def _others(
    trained: Trained, samples: Stage, images: Images, recipe: Recipe, settings: CascadeTraining, say: Say
) -> None:
    """The cascade, and CNN2 without mining."""
    random = split_samples(samples, "train")

    def cascade(progress: Say) -> None:
        from microcalc.cascade.cascade import save_cascade
        from microcalc.cascade.fit import fit_cascade

        fitted = fit_cascade(
            opened(images.train),
            random.positive,
            random.negative,
            opened(images.tune),
            split_samples(samples, "tune").positive,
            settings=_settings(settings),
            seed=recipe.seed,
            folder=trained.cascade.folder,
            say=progress,
        )
        save_cascade(fitted, trained.cascade.folder / CASCADE_FILE)

    def unmined(progress: Say) -> None:
        _one_thread()  # the cascade's compiled loops share torch's threads, and have set their number
        pools = [(random.negative, 1.0)]
        train_network(
            "cnn2", opened(images.train), random.positive, pools,
            recipe=recipe, out=trained.unmined.folder, device="cpu", say=progress,
        )  # fmt: skip

    run_stage(trained.cascade, cascade, say)
    run_stage(trained.unmined, unmined, say)


def _mine(trained: Trained, samples: Stage, images: Sequence[StudyImage], recipe: Recipe, say: Say) -> None:
    """CNN1 over every negative training sample: those it rates highest, one per neighbourhood."""
    from microcalc.cnn.mine import mine_hard_negatives
    from microcalc.detect.scorer import open_network

    training = split_samples(samples, "train")
    session = open_network(trained.cnn1.folder / "cnn1_dense.onnx", threads=1)
    wanted, per_image = wanted_negatives(recipe, len(training.positive), len(images))
    pieces = trained.mining.folder / "pieces"
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


def _settings(cascade: CascadeTraining) -> CascadeSettings:
    from microcalc.cascade.fit import CascadeSettings

    return CascadeSettings(**cascade.model_dump())


def mined_count(trained: Trained) -> int:
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
