"""Random cascades, and what they must say, reckoned slowly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.cascade.boost import Tree
from microcalc.cascade.cascade import Cascade, Floats, likelihood_of
from microcalc.cascade.fit import CascadeSettings, fit_cascade
from microcalc.cascade.haar import MARGIN_PX, WINDOW_PX, Features, Masks, draw_features
from microcalc.cascade.rate import CascadeScorer, places_of
from microcalc.cascade.windows import quantised
from microcalc.domain import NormalisedMammogram
from microcalc.sample.store import Samples, StoredImage


def random_cascade(rng: np.random.Generator, *, depth: int, trees: tuple[int, ...] = (2, 3, 4)) -> Cascade:
    """A cascade whose nodes let more than half of pure noise pass."""
    n = sum(trees)
    return Cascade(
        spacing_mm=0.1,
        features=draw_features(n * (2**depth - 1), rng),
        threshold=rng.integers(-200, 200, n * (2**depth - 1)).astype(np.int32),
        vote=(rng.normal(size=(n, 2**depth)) + 0.2).astype(np.float32),
        node_start=np.cumsum([0, *trees], dtype=np.int32),
        pass_score=np.zeros(len(trees), dtype=np.float32),
    )


def masks_of(features: Features) -> Masks:
    """Return the masks (n, 13, 13) of features: the weight of each pixel of the window."""
    weight = np.zeros((len(features), WINDOW_PX + 1, WINDOW_PX + 1), dtype=np.int32)
    feature = np.repeat(np.arange(len(features)), np.diff(features.start))
    np.add.at(weight, (feature, features.row, features.column), features.weight)
    below_right = np.flip(np.cumsum(np.cumsum(np.flip(weight, (1, 2)), axis=1), axis=2), (1, 2))
    return below_right[:, 1:, 1:].astype(np.int16)


def rate_samples(
    cascade: Cascade, image: StoredImage, rows: NDArray[np.integer], columns: NDArray[np.integer]
) -> Floats:
    """Return the likelihood (n,) of pixels of an image."""
    return likelihood_of(*places_of(cascade, image, rows, columns), cascade.bounds)


def random_mammogram(
    rng: np.random.Generator, *, shape: tuple[int, int] = (41, 60), scale: float = 1.0
) -> NormalisedMammogram:
    pixels = (scale * rng.normal(size=shape)).astype(np.float32)
    breast = np.zeros(shape, dtype=bool)
    breast[3:, :45] = True
    breast[20:25, 10:20] = False
    return NormalisedMammogram(np.where(breast, pixels, np.float32(0)), breast, 0.1, (0.0, 0.0), "uid")


def stored(mammogram: NormalisedMammogram, *, border_px: int = 9) -> StoredImage:
    pixels = np.pad(np.clip(mammogram.pixels, -1000, 1000).astype(np.float16), border_px)
    return StoredImage(pixels, mammogram.breast, border_px, mammogram.spacing_mm, mammogram.origin_mm, Path())


def spotted(n: int, *, seed: int) -> tuple[list[StoredImage], Samples, Samples]:
    """Noise with spots of 3 pixels, and with edges that are none: images, positives, negatives."""
    rng = np.random.default_rng(seed)
    images, positives, negatives = [], [], []
    for index in range(n):
        pixels = rng.normal(size=(64, 96)).astype(np.float32)
        pixels[:, 70:] += 8
        spots = [(r, c) for r in (10, 25, 40, 55) for c in (10, 26, 42, 58)]
        clear = np.ones(pixels.shape, dtype=bool)
        for row, column in spots:
            pixels[row - 1 : row + 2, column - 1 : column + 2] += 1.3
            clear[row - 3 : row + 4, column - 3 : column + 4] = False
        images.append(stored(NormalisedMammogram(pixels, np.ones_like(clear), 0.1, (0.0, 0.0), "")))
        positives.append([(index, *spot) for spot in spots])
        negatives.append(np.insert(np.argwhere(clear), 0, index, axis=1))
    return images, np.concatenate(positives).astype(np.int32), np.concatenate(negatives).astype(np.int32)


def compile_all(folder: Path) -> None:
    """Call every function that is compiled, with all types of arguments."""
    images, positives, negatives = spotted(2, seed=1)
    few = CascadeSettings(rounds=(2, 2), features_per_node=20, negatives_per_node=200, least_negatives=20)
    cascade = fit_cascade(images, positives, negatives, images, positives, settings=few, seed=1, folder=folder)
    CascadeScorer(cascade).score(random_mammogram(np.random.default_rng(1)))


def place_and_score(cascade: Cascade, mammogram: NormalisedMammogram, row: int, column: int) -> tuple[int, float]:
    """By the definition, from masks and pixels."""
    window = np.pad(quantised(mammogram.pixels), MARGIN_PX)[row : row + 13, column : column + 13].astype(np.int64)
    values: NDArray[np.int64] = (masks_of(cascade.features) * window).sum(axis=(1, 2))
    splits = cascade.vote.shape[1] - 1
    score, tree = np.float32(0), 0
    for node, (first, last) in enumerate(zip(cascade.node_start[:-1], cascade.node_start[1:], strict=True)):
        for tree in range(first, last):
            own = slice(tree * splits, (tree + 1) * splits)
            feature = np.arange(splits, dtype=np.int32)
            asked = Tree(feature, cascade.threshold[own], cascade.vote[tree])
            score += asked.votes(values[own].astype(np.int32)[:, np.newaxis])[0]
        if score < cascade.pass_score[node]:
            break
    return node, float(score)
