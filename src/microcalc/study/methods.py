"""Train the methods of the study: the cascade, the two networks, and CNN2 without mining.

Two methods are trained at the same time, one thread each: the cascade beside CNN1, and CNN2 beside CNN2 without mining.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from microcalc.execution.executor import Executor, run_in_order
from microcalc.study.cascade import cascade_stage, train_cascade
from microcalc.study.images import Images
from microcalc.study.networks import (
    NetworkStages,
    mine,
    network_stages,
    train_first,
    train_second,
    train_without_mining,
)
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
    """Train all methods, two at the same time where there are two workers; between them, images are mined by all."""
    train = partial(_train, stages=stages, samples=samples, images=images, recipe=recipe, cascade=cascade)
    run_in_order(executor, train, ["cnn1", "cascade"], work="training CNN1 and the cascade")
    mine(stages.networks, samples, images.train, recipe, executor)
    run_in_order(executor, train, ["cnn2", "no_mining"], work="training CNN2 with and without mining")


def _train(
    method: Literal["cascade", "cnn1", "cnn2", "no_mining"],
    *,
    stages: MethodStages,
    samples: Stage,
    images: Images,
    recipe: Recipe,
    cascade: CascadeTraining,
) -> None:
    networks = stages.networks
    if method == "cascade":
        train_cascade(stages.cascade, samples, images, cascade, seed=recipe.seed)
    elif method == "cnn1":
        train_first(networks, samples, images.train, recipe)
    elif method == "cnn2":
        train_second(networks, samples, images.train, recipe)
    else:
        train_without_mining(networks, samples, images.train, recipe)
