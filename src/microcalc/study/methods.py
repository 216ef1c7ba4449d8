"""The methods of the study, trained: cascade, CNN1, the mined negatives, CNN2, and CNN2 without mining.

The cascade and the networks do not need each other: they are trained beside each other, one
thread each, in two lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microcalc.study.boosted import cascade_stage, train_cascade
from microcalc.study.images import Images
from microcalc.study.networks import NetworkStages, network_stages, train_pair, train_unmined
from microcalc.study.scale import CascadeTraining
from microcalc.study.stage import Say, Stage
from microcalc.study.workers import in_processes
from microcalc.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """The stages that train."""

    cascade: Stage
    networks: NetworkStages


def method_stages(samples: Stage, recipe: Recipe, cascade: CascadeTraining) -> Trained:
    """Of the samples."""
    return Trained(cascade_stage(samples, cascade, seed=recipe.seed), network_stages(samples, recipe))


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
        (train_pair, (trained.networks, samples, images.train, recipe, say)),
        (_others, (trained, samples, images, recipe, cascade, say)),
    ]
    for _ in in_processes(lanes, workers=workers):
        pass


def _others(
    trained: Trained, samples: Stage, images: Images, recipe: Recipe, settings: CascadeTraining, say: Say
) -> None:
    """The cascade, and CNN2 without mining."""
    train_cascade(trained.cascade, samples, images, settings, seed=recipe.seed, say=say)
    train_unmined(trained.networks, samples, images.train, recipe, say)
