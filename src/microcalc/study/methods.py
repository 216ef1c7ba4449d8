"""Train the methods of the study: the cascade, the two networks, and CNN2 without mining.

The cascade and the networks do not need each other: they are trained at the same time, one thread each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from microcalc.execution.executor import Executor, run_in_order
from microcalc.study.cascade import cascade_stage, train_cascade
from microcalc.study.images import Images
from microcalc.study.networks import NetworkStages, network_stages, train_pair, train_without_mining
from microcalc.study.scale import CascadeTraining
from microcalc.study.stage import Stage
from microcalc.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class MethodStages:
    """The stages that train."""

    cascade: Stage
    networks: NetworkStages


def method_stages(samples: Stage, recipe: Recipe, cascade: CascadeTraining) -> MethodStages:
    """Return the stages that train on the samples."""
    return MethodStages(cascade_stage(samples, cascade, seed=recipe.seed), network_stages(samples, recipe))


def train_methods(
    stages: MethodStages, samples: Stage, images: Images, recipe: Recipe, cascade: CascadeTraining, executor: Executor
) -> None:
    """Train all methods: the pair beside the cascade and CNN2 without mining, where there are two workers."""
    train = partial(_train, stages=stages, samples=samples, images=images, recipe=recipe, cascade=cascade)
    run_in_order(executor, train, ["pair", "others"], work="training methods")


def _train(
    lane: Literal["pair", "others"],
    *,
    stages: MethodStages,
    samples: Stage,
    images: Images,
    recipe: Recipe,
    cascade: CascadeTraining,
) -> None:
    if lane == "pair":
        train_pair(stages.networks, samples, images.train, recipe)
    else:
        train_cascade(stages.cascade, samples, images, cascade, seed=recipe.seed)
        train_without_mining(stages.networks, samples, images.train, recipe)
