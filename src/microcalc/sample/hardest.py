"""Choose the hardest of any number of negatives: exactly, in bounded memory, and alike for any order of the images.

Two passes. The first counts the logits of all images in fixed bins; counts of several images, processes or machines
are added. Their sum tells the bin in which the n-th hardest lies. The second pass keeps what lies in this bin or above,
orders it by (-logit, image, row, column), and cuts it after n. The order has no ties, so the result depends neither on
the order in which images come nor on how they are divided.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage
from microcalc.sample.store import Samples

BINS: Final = 4096
_LOWEST: Final = np.float32(-32.0)
_PER_UNIT: Final = np.float32(BINS / 64)
"""Bins are 1/64 wide, from -32 to 32; what lies beyond is in the first or the last."""

Counts = NDArray[np.int64]
"""(BINS,) number of negatives in each bin of the logit."""


def bins_of(logits: FloatImage) -> NDArray[np.int32]:
    """Return the bin of each logit, which never falls as the logit rises; NaN is in the lowest."""
    place = (np.asarray(logits, dtype=np.float32) - _LOWEST) * _PER_UNIT
    np.nan_to_num(place, copy=False, nan=0.0, posinf=BINS - 1, neginf=0.0)
    return np.clip(place, 0, BINS - 1, out=place).astype(np.int32)


def count_logits(logits: FloatImage) -> Counts:
    """Return how many logits lie in each bin."""
    return np.bincount(bins_of(logits), minlength=BINS).astype(np.int64)


class Hardest:
    """The n hardest of the negatives that are added to it.

    It never holds more than 2 n negatives, and hardly more than n where few logits are equal.

    Parameters
    ----------
    n
        Number of negatives that are chosen, at least 1.
    counts
        Sum of ``count_logits`` over everything that will be added.
    """

    def __init__(self, n: int, counts: Counts) -> None:
        at_least = np.cumsum(counts[::-1])[::-1]  # number of negatives in a bin or above it
        self._n = n
        self._least = max(0, int(np.count_nonzero(at_least >= n)) - 1)
        room = min(int(at_least[self._least]), 2 * n)
        self._samples: Samples = np.empty((room, 3), dtype=np.int32)
        self._logits = np.empty(room, dtype=np.float32)
        self._held = 0

    def add(self, samples: Samples, logits: FloatImage) -> None:
        """Add negatives (m, 3) with their logits (m,).

        Raises
        ------
        ValueError
            More negatives were added than counted.
        """
        chosen = np.flatnonzero(bins_of(logits) >= self._least)
        while len(chosen):
            if self._held == len(self._logits):
                self._cut()
            if self._held == len(self._logits):
                raise ValueError("more negatives than were counted")
            part, chosen = np.split(chosen, [len(self._logits) - self._held])
            end = self._held + len(part)
            self._samples[self._held : end] = samples[part]
            self._logits[self._held : end] = logits[part]
            self._held = end

    def samples(self) -> Samples:
        """Return the n hardest (fewer where fewer were added), (m, 3), by image and within it the hardest first."""
        self._cut()
        samples, logits = self._samples[: self._held], self._logits[: self._held]
        return np.asarray(samples[np.lexsort((samples[:, 2], samples[:, 1], -logits, samples[:, 0]))])

    def _cut(self) -> None:
        """Drop what cannot be among the n hardest."""
        samples, logits = self._samples[: self._held], self._logits[: self._held]
        order = np.lexsort((samples[:, 2], samples[:, 1], samples[:, 0], -logits))[: self._n]
        self._held = len(order)
        self._samples[: self._held], self._logits[: self._held] = samples[order], logits[order]
        if self._held == self._n:
            self._least = max(self._least, int(bins_of(self._logits[self._n - 1 : self._n])[0]))
