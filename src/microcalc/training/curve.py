"""What the validation curve of a training is measured on.

Rating every pixel of the validation images at each point of the curve would take longer than the training. So the curve
is measured on samples that are drawn once, as many as take about 2 % of the training's time:

- **CNN1**: the centres of microcalcifications, and breast pixels drawn at random. The sensitivity is the fraction of
  microcalcifications that CNN1 passes on to CNN2 where it passes on the recipe's share of the breast.
- **CNN2**: the centres of microcalcifications, and the places of each image that CNN1 rates highest, which are nearly
  all that can become false marks. The sensitivity is that at one false mark per image among these places.

At the end of the training, every pixel is rated, and the sensitivity at one false mark per image is measured as in
``operating_points``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from microcalc.sample.draw import draw_negatives, positive_pixels
from microcalc.sample.store import Samples
from microcalc.training.images import TrainingImage, open_images
from microcalc.training.mining import wanted_negatives
from microcalc.training.networks import CNN1_DENSE
from microcalc.training.recipe import NetworkRecipe, Recipe

if TYPE_CHECKING:
    from microcalc.cnn.validate import ValidationSamples

_COST_SHARE: Final = 0.06
"""Patches of one measurement, as a fraction of those trained on between two; rating costs about a third of training."""
_POSITIVE_SHARE: Final = 0.25
_LEAST_PLACES, _MOST_PLACES = 50, 200
"""Places of an image that CNN1 rates highest."""


def first_validation(images: Sequence[TrainingImage], recipe: Recipe) -> ValidationSamples | None:
    """Return what CNN1 is measured on; None where the images have no sample of a kind."""
    from microcalc.cnn.validate import ValidationSamples

    rng = np.random.default_rng(recipe.seed)
    most = _most_patches(recipe.cnn1)
    positives = _drawn(_positives(images), round(_POSITIVE_SHARE * most), rng)
    random = _random(images, recipe, most - len(positives), rng)
    if not len(positives) or not len(random):
        return None
    share = recipe.mining.pass_fraction
    at = f"{100 * share:.2g} % of the breast passed on"
    allowed = round(share * len(random))
    return ValidationSamples(open_images(images), positives, [(random, 1.0)], random, allowed, at)


def second_validation(images: Sequence[TrainingImage], recipe: Recipe, cnn1: Path) -> ValidationSamples | None:
    """Return what CNN2 is measured on; None where the images have no sample of a kind.

    Parameters
    ----------
    cnn1
        Folder with the dense form of CNN1.
    """
    from microcalc.cnn.validate import ValidationSamples

    rng = np.random.default_rng(recipe.seed)
    most = _most_patches(recipe.cnn2)
    for_places = round((1.0 - _POSITIVE_SHARE) / 2 * most)
    chosen = sorted(rng.permutation(len(images))[: max(1, for_places // _LEAST_PLACES)].tolist())
    images = [images[index] for index in chosen]
    positives = _drawn(_positives(images), round(_POSITIVE_SHARE * most), rng)
    per_image = min(_MOST_PLACES, max(_LEAST_PLACES, for_places // len(images)))
    places, mined = _mined(images, recipe, cnn1, places_per_image=per_image)
    for_loss = (most - len(positives) - len(places)) // 2
    random, mined = _random(images, recipe, for_loss, rng), _drawn(mined, for_loss, rng)
    if not all(len(samples) for samples in (positives, places, random, mined)):
        return None
    pools = [(mined, 1.0 - recipe.mining.random_share), (random, recipe.mining.random_share)]
    return ValidationSamples(open_images(images), positives, pools, places, len(images), "1 false mark per image")


def _most_patches(network: NetworkRecipe) -> int:
    from microcalc.cnn.fit import measuring_interval

    return max(200, int(_COST_SHARE * network.batch * measuring_interval(network.steps)))


def _positives(images: Sequence[TrainingImage]) -> Samples:
    """Return the pixel nearest to each microcalcification."""
    found = []
    for index, image in enumerate(images):
        stored = image.open()
        pixels = positive_pixels(image.annotations, stored.breast, stored.grid, radius_mm=0.0)
        pixels[:, 0] = index
        found.append(pixels)
    return np.concatenate(found)


def _random(images: Sequence[TrainingImage], recipe: Recipe, n: int, rng: np.random.Generator) -> Samples:
    """Return about n negative pixels, as many of each image."""
    found = []
    for index, image in enumerate(images):
        pixels = draw_negatives(image.negative_mask(image.open(), recipe.sample), n=max(1, n // len(images)), rng=rng)
        pixels[:, 0] = index
        found.append(pixels)
    return np.concatenate(found)


def _mined(
    images: Sequence[TrainingImage], recipe: Recipe, cnn1: Path, *, places_per_image: int
) -> tuple[Samples, Samples]:
    """Return the places of each image that CNN1 rates highest, and what the rule of mining takes of all images."""
    from microcalc.cnn.mine import mine_hard_negatives
    from microcalc.cnn.scorer import open_network

    session = open_network(cnn1 / CNN1_DENSE, threads=1)
    radius_mm = recipe.sample.positive_radius_mm
    n_positive = sum(
        len(positive_pixels(image.annotations, s.breast, s.grid, radius_mm=radius_mm))
        for image, s in ((image, image.open()) for image in images)
    )
    wanted, per_image = wanted_negatives(recipe, n_positive, len(images))
    samples, logits = [], []
    for index, image in enumerate(images):
        stored = image.open()
        pixels, rated = mine_hard_negatives(
            session,
            stored,
            image.negative_mask(stored, recipe.sample),
            margin_px=sum(recipe.cnn1.dilations),
            n=max(per_image, places_per_image),
            min_distance_mm=recipe.mining.min_distance_mm,
        )
        pixels[:, 0] = index
        samples.append(pixels)
        logits.append(rated)
    hardest = np.argsort(-np.concatenate(logits), kind="stable")[:wanted]
    return np.concatenate([s[:places_per_image] for s in samples]), np.concatenate(samples)[hardest]


def _drawn(samples: Samples, n: int, rng: np.random.Generator) -> Samples:
    """Return n of the samples, or all if there are fewer."""
    return samples[np.sort(rng.permutation(len(samples))[:n])]
