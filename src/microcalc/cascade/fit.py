"""Train a cascade node by node, each on negatives that pass the nodes before it.

A node continues from the score of the node before. Its negatives are drawn from all that pass, with a
probability that rises with their weight in boosting. One that is drawn with probability p counts 1 / p, so that the
sums are right on average, and the hardest, which decide at small false positive fractions, are
all included (ours; after Fleuret and Geman, J. Mach. Learn. Res. 9 (2008) 2549).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.cascade.boost import Boosting, Tree, TreeSettings, binned, boost
from microcalc.cascade.cascade import Cascade, Floats, load_cascade, save_cascade
from microcalc.cascade.haar import Features, Ints, draw_features
from microcalc.cascade.rate import Places, places_of, places_of_windows
from microcalc.cascade.windows import by_image, feature_values, integral_windows
from microcalc.errors import InputError
from microcalc.sample.store import Samples, StoredImage

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CascadeSettings:
    """How a cascade is trained; the numbers are ours.

    Attributes
    ----------
    boosting
        How a node is trained: by ranking (RankBoost) or by classification (GentleBoost).
    deep
        True: every node takes all of its rounds; False: a node stops as soon as it meets its goal.
    rounds
        Largest number of trees in each node, first to last; its length is the largest number of nodes.
    depth
        Depth of the trees: 1 (stumps) or 2.
    features_per_node
        Number of features drawn for each node.
    share
        Share of a node's features that each round chooses from.
    shrinkage
        Factor on each tree's vote.
    negatives_per_node
        Largest number of negatives drawn for each node, of those that pass the nodes before.
    least_negatives
        Smallest number of negatives that a further node is trained on.
    kept
        Share of the validation positives that reach the last node's rating.
    passed
        Goal of a node that may stop early: the largest share of its negatives that passes.
    turns
        Number of the eight quarter turns and mirrored quarter turns of each positive that are trained on.
    """

    boosting: Boosting = "ranking"
    deep: bool = True
    rounds: tuple[int, ...] = (10, 20, 40, 80, 150, 250)
    depth: int = 2
    features_per_node: int = 1500
    share: float = 0.3
    shrinkage: float = 0.25
    negatives_per_node: int = 100_000
    least_negatives: int = 500
    kept: float = 0.995
    passed: float = 0.4
    turns: int = 8


def fit_cascade(
    images: Sequence[StoredImage],
    positives: Samples,
    negatives: Samples,
    validation_images: Sequence[StoredImage],
    validation_positives: Samples,
    *,
    settings: CascadeSettings,
    seed: int,
    folder: Path,
) -> Cascade:
    """Train a cascade; go on from ``folder``'s nodes where there are some.

    Parameters
    ----------
    positives, negatives
        (n, 3) training samples in ``images``; the negatives sorted by image.
    validation_positives
        (n, 3) samples in ``validation_images``: on them the nodes' thresholds are set.
    folder
        Takes ``node_NN.npz``, the cascade so far, after each node.

    Raises
    ------
    InputError
        A set of samples is empty.
    """
    _refuse_empty({"positive": positives, "negative": negatives, "positive validation": validation_positives})
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"node_{node:02d}.npz" for node in range(len(settings.rounds))]
    done = next((k for k, file in enumerate(files) if not file.is_file()), len(files))
    cascade = load_cascade(files[done - 1]) if done else None
    known = _Known(images, positives, validation_images, validation_positives, settings)
    passing = _Passing(np.arange(len(negatives)), np.zeros(len(negatives), dtype=np.float32))
    for node in range(done, len(settings.rounds)):
        if cascade is not None:
            passing = _passing(cascade, images, negatives, passing.index)
            if len(passing.index) < settings.least_negatives:
                _LOG.info("cascade: %d negatives pass %d nodes: no further node", len(passing.index), node)
                break
        rng = np.random.default_rng([seed, node])
        drawn, counts = draw_by_weight(passing.score, settings.negatives_per_node, rng)
        _LOG.info(
            "cascade: node %d: %d of %d negatives pass so far, %d drawn",
            node + 1, len(passing.index), len(negatives), len(drawn),
        )  # fmt: skip
        cascade = _with_node(cascade, known, negatives[passing.index[drawn]], counts, node, rng)
        save_cascade(cascade, files[node])
    assert cascade is not None
    return cascade


def _refuse_empty(sets: Mapping[str, Samples]) -> None:
    for name, samples in sets.items():
        if len(samples) == 0:
            raise InputError(f"no {name} samples for the cascade, expected some")


@dataclass(frozen=True, eq=False, slots=True)
class _Known:
    """The settings and samples that are the same for every node."""

    images: Sequence[StoredImage]
    positives: Samples
    validation_images: Sequence[StoredImage]
    validation_positives: Samples
    settings: CascadeSettings


@dataclass(frozen=True, eq=False, slots=True)
class _Passing:
    """Negatives that pass every node: their rising indices (m,) and their scores (m,)."""

    index: NDArray[np.intp]
    score: Floats


@dataclass(frozen=True, eq=False, slots=True)
class _Reaching:
    """Windows (196, m) that pass every node, and their scores (m,)."""

    windows: Ints
    score: Floats


def _passing(cascade: Cascade, images: Sequence[StoredImage], negatives: Samples, index: NDArray[np.intp]) -> _Passing:
    """Return the negatives with these indices that pass every node."""
    chosen = negatives[index]
    place, score = np.empty(len(chosen), dtype=np.int16), np.empty(len(chosen), dtype=np.float32)
    for image, part in by_image(chosen):
        place[part], score[part] = places_of(cascade, images[image], chosen[part, 1], chosen[part, 2])
    passes = _passes(cascade, place, score)
    return _Passing(index[passes], score[passes])


def _passes(cascade: Cascade, place: Places, score: Floats) -> NDArray[np.bool_]:
    return np.asarray((place == cascade.n_nodes - 1) & (score >= cascade.pass_score[-1]))


def draw_by_weight(score: Floats, n: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], Floats]:
    """Draw about n negatives; return their rising indices and the number of samples that each represents.

    The probability is proportional to the weight that boosting gives them, exp(score), and at most 1.
    """
    weight = np.exp(score.astype(np.float64) - score.max())
    probability = np.minimum(1.0, weight * _factor(weight, n)) if len(weight) > n else np.ones(len(weight))
    drawn = np.flatnonzero(rng.random(len(weight)) < probability)
    return drawn, (1 / probability[drawn]).astype(np.float32)


def _factor(weight: NDArray[np.float64], n: int) -> float:
    """Return the factor f for which min(1, f weight) sums to n, which is less than the number of weights."""
    falling = np.sort(weight)[::-1]
    rest = np.cumsum(falling[::-1])[::-1]  # of this and all lighter ones
    whole = np.arange(n)  # so many of the heaviest are certain
    factor = (n - whole) / rest[:n]
    return float(factor[np.flatnonzero(factor * falling[:n] <= 1)[0]])


def _with_node(
    cascade: Cascade | None, known: _Known, negatives: Samples, counts: Floats, node: int, rng: np.random.Generator
) -> Cascade:
    """Return the cascade with one more node."""
    settings = known.settings
    every = np.repeat(known.positives, settings.turns, axis=0)
    turns = np.tile(np.arange(settings.turns, dtype=np.uint8), len(known.positives))
    positive = _reaching(cascade, integral_windows(known.images, every, turns=turns))
    negative = _reaching(cascade, integral_windows(known.images, negatives))
    validation = _reaching(cascade, integral_windows(known.validation_images, known.validation_positives))
    n_positive = len(positive.score)
    features = draw_features(settings.features_per_node, rng)
    samples = binned(np.concatenate([positive.windows, negative.windows], axis=1), features, rng=rng)
    grown = boost(
        samples,
        np.concatenate([positive.score, negative.score]),
        np.concatenate([np.ones(n_positive, dtype=np.float32), counts]),
        n_positive,
        settings=TreeSettings(settings.boosting, settings.depth, settings.shrinkage, settings.share),
        rng=rng,
    )
    n_validation = len(known.validation_positives)
    may_lose = max(0, _losses(settings, node, n_validation) - (n_validation - len(validation.score)))
    trees: list[Tree] = []
    for tree, score in grown:
        trees.append(tree)
        validation.score[:] += tree.votes(feature_values(validation.windows, features.chosen(tree.feature)))
        limit = np.partition(validation.score, may_lose)[may_lose]
        passed = float(np.average(score[n_positive:] >= limit, weights=counts))
        if len(trees) == settings.rounds[node] or (not settings.deep and passed <= settings.passed):
            break
    _LOG.info("cascade: node %d: %d trees let %.3g of the negatives pass", node + 1, len(trees), passed)
    return _appended(cascade, features, trees, limit, known.images[0].spacing_mm)


def _reaching(cascade: Cascade | None, windows: Ints) -> _Reaching:
    if cascade is None:
        return _Reaching(windows, np.zeros(windows.shape[1], dtype=np.float32))
    place, score = places_of_windows(cascade, windows)
    passes = _passes(cascade, place, score)
    return _Reaching(windows if passes.all() else np.compress(passes, windows, axis=1), score[passes])


def _losses(settings: CascadeSettings, node: int, n: int) -> int:
    """Return how many validation positives may be lost up to a node: evenly over the nodes before the last."""
    before_last = max(1, len(settings.rounds) - 1)
    return int((1 - settings.kept) * n * min(1.0, (node + 1) / before_last))


def _appended(
    cascade: Cascade | None, features: Features, trees: Sequence[Tree], limit: np.float32, spacing_mm: float
) -> Cascade:
    new = Cascade(
        spacing_mm=spacing_mm,
        features=features.chosen(np.concatenate([t.feature for t in trees])),
        threshold=np.concatenate([t.threshold for t in trees]),
        vote=np.array([t.vote for t in trees]),
        node_start=np.array([0, len(trees)], dtype=np.int32),
        pass_score=np.array([limit], dtype=np.float32),
    )
    if cascade is None:
        return new
    return Cascade(
        spacing_mm=spacing_mm,
        features=cascade.features.followed_by(new.features),
        threshold=np.concatenate([cascade.threshold, new.threshold]),
        vote=np.concatenate([cascade.vote, new.vote]),
        node_start=np.append(cascade.node_start, cascade.node_start[-1] + new.node_start[1:]),
        pass_score=np.append(cascade.pass_score, new.pass_score),
    )
