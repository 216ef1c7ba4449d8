"""Stages that train the networks of the study: CNN1, mining, CNN2, and CNN2 without mining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microcalc.cnn.hardware import ON_PROCESSOR
from microcalc.execution.executor import Executor
from microcalc.storage.arrays import load_array
from microcalc.study.samples import negative_file, split_samples
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.images import TrainingImage
from microcalc.training.mining import MINED, mine_negatives
from microcalc.training.networks import train_network
from microcalc.training.recipe import Recipe
from microcalc.training.samples import DrawnSamples

_MODULES = ("microcalc.study.networks",)


@dataclass(frozen=True, slots=True)
class NetworkStages:
    """The stages that train networks; ``no_mining`` trains CNN2 on random negatives alone."""

    cnn1: Stage
    mining: Stage
    cnn2: Stage
    no_mining: Stage


def network_stages(samples: Stage, recipe: Recipe) -> NetworkStages:
    """Return the stages that train networks on the samples; their keys hold every setting, also the defaults."""
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


def train_first(stages: NetworkStages, samples: Stage, images: Sequence[TrainingImage], recipe: Recipe) -> None:
    """Train CNN1."""
    _use_one_thread()
    train = split_samples(samples, "train")
    given = DrawnSamples(train.positive, train.negative)
    out = stages.cnn1.folder
    run_stage(stages.cnn1, lambda: train_network("cnn1", images, given, recipe=recipe, out=out, hardware=ON_PROCESSOR))


def mine(
    stages: NetworkStages, samples: Stage, images: Sequence[TrainingImage], recipe: Recipe, executor: Executor
) -> None:
    """Mine the negative samples that CNN1 rates highest."""

    def work() -> None:
        mine_negatives(
            stages.cnn1.folder,
            images,
            recipe=recipe,
            n_positive=len(split_samples(samples, "train").positive),
            out=stages.mining.folder,
            executor=executor,
            allowed=negative_file(samples, "train"),
        )

    run_stage(stages.mining, work)


def train_second(stages: NetworkStages, samples: Stage, images: Sequence[TrainingImage], recipe: Recipe) -> None:
    """Train CNN2 on the mined negatives."""
    _use_one_thread()
    train = split_samples(samples, "train")
    given = DrawnSamples(train.positive, train.negative)

    def work() -> None:
        mined = load_array(stages.mining.folder / MINED)
        train_network("cnn2", images, given, mined, recipe=recipe, out=stages.cnn2.folder, hardware=ON_PROCESSOR)

    run_stage(stages.cnn2, work)


def train_without_mining(
    stages: NetworkStages, samples: Stage, images: Sequence[TrainingImage], recipe: Recipe
) -> None:
    """Train CNN2 on random negatives alone."""
    train = split_samples(samples, "train")

    def no_mining() -> None:
        _use_one_thread()  # the cascade's compiled loops share torch's threads, and have set their number
        given = DrawnSamples(train.positive, train.negative)
        train_network("cnn2", images, given, recipe=recipe, out=stages.no_mining.folder, hardware=ON_PROCESSOR)

    run_stage(stages.no_mining, no_mining)


def mined_count(stages: NetworkStages) -> int:
    """Return how many negatives were mined."""
    return len(load_array(stages.mining.folder / MINED))


def _use_one_thread() -> None:
    """Let torch compute with one thread, so that the weights do not depend on the number of cores."""
    import torch

    torch.set_num_threads(1)
