"""Which pixels of the training images the networks learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from microcalc.sample.draw import draw_negatives, positive_pixels
from microcalc.sample.store import Samples
from microcalc.training.images import TrainingImage
from microcalc.training.recipe import Recipe

Pool = tuple[Samples, float]
"""Negative samples, and their share of a batch's negatives."""


@dataclass(frozen=True, eq=False, slots=True)
class DrawnSamples:
    """The samples of a training, each (n, 3); the first column is the index of the image.

    Attributes
    ----------
    positive
        Pixels of microcalcifications.
    random
        Negatives drawn evenly.
    counterfactual
        Negatives where a twin lacks the microcalcification of the other image of the pair; empty without twins.
    """

    positive: Samples
    random: Samples
    counterfactual: Samples = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int32))

    def negative_pools(self, mined: Samples | None, recipe: Recipe) -> list[Pool]:
        """Return the pools of negatives that a network learns from; none is empty.

        Parameters
        ----------
        mined
            Hard negatives; None: random ones take their place.
        """
        random_share = 1.0 if mined is None else recipe.mining.random_share
        counterfactual = recipe.sample.counterfactual_share if len(self.counterfactual) else 0.0
        rest = 1.0 - counterfactual
        pools = [] if mined is None else [(mined, (1.0 - random_share) * rest)]
        pools += [(self.random, random_share * rest), (self.counterfactual, counterfactual)]
        return [(pool, share) for pool, share in pools if share > 0]


def draw_samples(images: Sequence[TrainingImage], recipe: Recipe) -> DrawnSamples:
    """Draw positive, random negative and counterfactual samples from the training images."""
    rng = np.random.default_rng(recipe.seed)
    positives, negatives, counterfactuals = [], [], []
    for index, image in enumerate(images):
        stored, rules = image.open(), recipe.sample
        positive = positive_pixels(image.annotations, stored.breast, stored.grid, radius_mm=rules.positive_radius_mm)
        positives.append(_of_image(index, rng.permutation(positive)[: rules.max_positives_per_image]))
        negative = image.negative_mask(stored, rules)
        negatives.append(_of_image(index, draw_negatives(negative, n=rules.negatives_per_image, rng=rng)))
        counterfactuals.append(_of_image(index, image.counterfactual_pixels(stored, rules)))
    return DrawnSamples(*(np.concatenate(pixels) for pixels in (positives, negatives, counterfactuals)))


def _of_image(index: int, pixels: Samples) -> Samples:
    """Return pixels with the index of their image in the first column."""
    pixels[:, 0] = index
    return pixels
