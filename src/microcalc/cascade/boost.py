"""Boost small trees on binned features, by ranking or by classification.

A tree of depth 1 is the stump of the publications. A tree of depth 2 has a second split on
either side of the first (Lienhart); it is our default, since a sum of stumps has no interaction of features.

Ranking: a node wants each positive above each negative. RankBoost's exponential loss over all pairs
factorises in the bipartite case into one sum over positives times one over negatives, so that a
round costs no more than in classification (Freund et al.). With P and N the weights of the positives
and negatives in each leaf of a tree, the loss is least, ``(sum sqrt(P N))^2``, where a leaf votes
``log(P / N) / 2``: we take that minimum, where RankBoost bounds it (ours).

Classification: GentleBoost, each leaf voting ``(P - N) / (P + N)``.

References
----------
Y. Freund, R. Iyer, R. Schapire and Y. Singer, J. Mach. Learn. Res. 4 (2003) 933. J. Friedman, T. Hastie and
R. Tibshirani, Ann. Stat. 28 (2000) 337. R. Lienhart, A. Kuranov and V. Pisarevsky, DAGM 2003, 297 (trees).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from microcalc.cascade.compiled import compiled, in_threads
from microcalc.cascade.haar import Features, Ints
from microcalc.cascade.windows import feature_value

Boosting = Literal["ranking", "classification"]
Bins = NDArray[np.uint8]
Floats = NDArray[np.float32]
Sums = NDArray[np.float64]

BINS: Final = 128
_QUANTILES_OF: Final = 20_000  # samples
_SMOOTH: Final = 1e-4  # of a class's weight, added to each leaf: no vote is infinite


@dataclass(frozen=True, eq=False, slots=True)
class Binned:
    """Binned features of samples.

    Attributes
    ----------
    bins
        (features, samples): the number of the feature's edges that the value reaches.
    edges
        (features, 127): values in rising order; a value reaches equal edges together.
    """

    bins: Bins
    edges: Ints


@dataclass(frozen=True, eq=False, slots=True)
class Tree:
    """A full tree of depth d: its splits and leaves.

    Attributes
    ----------
    feature, threshold
        (2^d - 1,): a value that reaches the threshold goes to the high side. Split i is followed by
        split 2 i + 1 on its low side and by split 2 i + 2 on its high side.
    vote
        (2^d,) float32: the vote of each leaf, from low to high.
    """

    feature: Ints
    threshold: Ints
    vote: Floats

    def votes(self, values: Ints) -> Floats:
        """Return the votes (n,) for the values (2^d - 1, n) of the tree's features."""
        at = np.zeros(values.shape[1], dtype=np.intp)
        while at.size and at[0] < len(self.feature):
            at = 2 * at + 1 + (values[at, np.arange(at.size)] >= self.threshold[at])
        return np.asarray(self.vote[at - len(self.feature)])


def binned(windows: Ints, features: Features, *, rng: np.random.Generator) -> Binned:
    """Sort the features of windows (196, n) into bins of equal size, by the quantiles of 20,000 of them."""
    n = windows.shape[1]
    some = (
        np.ascontiguousarray(windows[:, rng.choice(n, _QUANTILES_OF, replace=False)]) if n > _QUANTILES_OF else windows
    )
    bins = np.empty((len(features), n), dtype=np.uint8)
    edges = np.empty((len(features), BINS - 1), dtype=np.int32)
    ranks = (np.arange(1, BINS) * some.shape[1]) // BINS
    for index in range(len(features)):
        edges[index] = np.sort(feature_value(some, features, index))[ranks]
        _sort_into(feature_value(windows, features, index), edges[index], bins[index])
    return Binned(bins, edges)


@compiled
def _sort_into(value: Ints, edges: Ints, bins: Bins) -> None:
    for i in range(len(value)):
        below = 0  # edges that the value attains
        step = BINS // 2
        while step > 0:
            if value[i] >= edges[below + step - 1]:
                below += step
            step //= 2
        bins[i] = below


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """How trees are grown.

    Attributes
    ----------
    boosting
        What a tree is chosen by; see the module.
    depth
        Depth of the trees: 1 (stumps) or 2.
    shrinkage
        Factor on each vote.
    share
        Share of the features, drawn anew each round, that a tree is chosen from.
    """

    boosting: Boosting
    depth: int
    shrinkage: float
    share: float


def boost(
    samples: Binned,
    score: Floats,
    counts: Floats,
    n_positive: int,
    *,
    settings: TreeSettings,
    rng: np.random.Generator,
) -> Iterator[tuple[Tree, Floats]]:
    """Yield trees without end, each with the score (n,) of every sample after it.

    Parameters
    ----------
    samples
        Binned samples, the positives first.
    score
        (n,) scores to start from.
    counts
        (n,) number of samples that each represents.
    """
    n_features = len(samples.bins)
    drawn = max(1, round(settings.share * n_features))
    while True:
        weight = _weights(score, counts, n_positive, settings.boosting)
        some = np.sort(rng.choice(n_features, drawn, replace=False)).astype(np.int32)
        tree, leaf = _grown(samples, some, weight, n_positive, settings)
        score = score + tree.vote[leaf]
        yield tree, score


def _grown(samples: Binned, some: Ints, weight: Floats, n_positive: int, settings: TreeSettings) -> tuple[Tree, Bins]:
    """Return the tree of some of the features that lowers the loss most, and the leaf (n,) of every sample."""
    node = np.zeros(samples.bins.shape[1], dtype=np.uint8)  # which leaf so far
    features, edges = [], []
    for level in range(settings.depth):
        sums = _sums(samples.bins, some, weight, node, 1 << level, n_positive)
        at_level = [_best_split(sums[:, side], settings.boosting) for side in range(1 << level)]
        feature = np.array([some[k] for k, _ in at_level], dtype=np.int32)
        first_high = np.array([b for _, b in at_level], dtype=np.uint8)
        _descend(samples.bins, feature, first_high, node)
        features.append(feature)
        edges.append(samples.edges[feature, first_high.astype(np.intp) - 1])
    votes = settings.shrinkage * _votes(weight, node, 1 << settings.depth, n_positive, settings.boosting)
    return Tree(np.concatenate(features), np.concatenate(edges), votes.astype(np.float32)), node


def _weights(score: Floats, counts: Floats, n_positive: int, boosting: Boosting) -> Floats:
    """Return the weight of every sample; each class sums to 1 (ranking), or both sum to 2 (classification)."""
    margin = score.astype(np.float64)
    margin[:n_positive] *= -1
    weight = np.empty_like(margin)
    for part in (slice(None, n_positive), slice(n_positive, None)):
        if boosting == "ranking":
            weight[part] = counts[part] * np.exp(margin[part] - margin[part].max())
            weight[part] /= weight[part].sum()
        else:
            weight[part] = counts[part] * np.exp(margin[part]) / counts[part].sum(dtype=np.float64)
    return np.asarray(weight * (2 / weight.sum()), dtype=np.float32)


def _sums(bins: Bins, some: Ints, weight: Floats, node: Bins, sides: int, n_positive: int) -> Sums:
    """Return sums of weights: (features, sides, classes, bins)."""
    sums = np.zeros((len(some), sides, 2, BINS), dtype=np.float64)
    in_threads(
        lambda first, last: _sum_up(bins, some[first:last], weight, node, n_positive, sums[first:last]), len(some)
    )
    return sums


@compiled
def _sum_up(bins: Bins, some: Ints, weight: Floats, node: Bins, n_positive: int, sums: Sums) -> None:
    """Fill in the sums of weights of some features."""
    sides = sums.shape[1]
    for k in range(len(some)):
        row = bins[some[k]]
        of = np.zeros((2, sides * BINS), dtype=np.float64)  # every other sample: no sum waits for the one before
        for kind in range(2):
            of[:] = 0
            first, last = (0, n_positive) if kind == 0 else (n_positive, len(row))
            for i in range(first, last - 1, 2):
                of[0, node[i] * BINS + row[i]] += weight[i]
                of[1, node[i + 1] * BINS + row[i + 1]] += weight[i + 1]
            if (last - first) % 2:
                of[0, node[last - 1] * BINS + row[last - 1]] += weight[last - 1]
            for side in range(sides):
                for b in range(BINS):
                    sums[k, side, kind, b] = of[0, side * BINS + b] + of[1, side * BINS + b]


@compiled
def _descend(bins: Bins, feature: Ints, first_high: Bins, node: Bins) -> None:
    """Move each sample from its node to the one below, low or high."""
    for i in range(len(node)):
        side = node[i]
        node[i] = 2 * side + (1 if bins[feature[side], i] >= first_high[side] else 0)


def _best_split(sums: Sums, boosting: Boosting) -> tuple[int, int]:
    """Return the split that lowers the loss most: index of the feature, first bin of the high side (1 to 127)."""
    below = np.cumsum(sums, axis=2)
    p_low, n_low = below[:, 0, :-1], below[:, 1, :-1]  # (features, bins - 1)
    p_high, n_high = (np.maximum(below[:, c, -1:] - below[:, c, :-1], 0) for c in (0, 1))
    if boosting == "ranking":
        loss = np.sqrt(p_low * n_low) + np.sqrt(p_high * n_high)
    else:
        tiny = np.finfo(np.float64).tiny
        loss = -((p_low - n_low) ** 2) / (p_low + n_low + tiny) - (p_high - n_high) ** 2 / (p_high + n_high + tiny)
    feature, last_low = np.unravel_index(np.argmin(loss), loss.shape)
    return int(feature), int(last_low) + 1


def _votes(weight: Floats, node: Bins, leaves: int, n_positive: int, boosting: Boosting) -> Sums:
    """Return the vote of each leaf, (leaves,), before shrinkage."""
    p, n = (
        np.bincount(node[part], weight[part], minlength=leaves) + _SMOOTH
        for part in (slice(None, n_positive), slice(n_positive, None))
    )
    return np.log(p / n) / 2 if boosting == "ranking" else (p - n) / (p + n)
