"""Measure a network on validation samples while it is trained; the training is not changed by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from microcalc.cnn.network import Network
from microcalc.sample.store import Samples, StoredImage, gather


@dataclass(frozen=True, eq=False, slots=True)
class ValidationSamples:
    """What a network is measured on.

    Attributes
    ----------
    positives
        (n, 3) samples in ``images``: the centre of each microcalcification.
    negatives
        Pools of samples, each with its share of the negatives' loss (the shares sum to 1).
    places
        (m, 3) samples that are false where they are marked.
    most_false
        Number of ``places`` that may be marked: the threshold is the lowest that marks no more.
    at
        What this number stands for, in words, such as ``"1 false mark per image"``.
    """

    images: Sequence[StoredImage]
    positives: Samples
    negatives: Sequence[tuple[Samples, float]]
    places: Samples
    most_false: int
    at: str


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a network.

    Attributes
    ----------
    loss
        Binary cross entropy, with positives and pools of negatives in the shares of a training batch.
    sensitivity
        Fraction of the positives that are rated above the threshold.
    """

    loss: float
    sensitivity: float


class Validation:
    """Validation samples as patches in memory.

    Parameters
    ----------
    positive_share
        Share of a training batch that is positive.
    batch
        Number of patches that are rated at once.
    """

    def __init__(self, samples: ValidationSamples, *, margin_px: int, positive_share: float, batch: int) -> None:
        self.at = samples.at
        self._most_false, self._positive_share, self._batch = samples.most_false, positive_share, batch
        self._shares = [share for _, share in samples.negatives]
        parts = [samples.positives, *(pool for pool, _ in samples.negatives), samples.places]
        self._ends = np.cumsum([len(part) for part in parts])[:-1]
        patches = gather(samples.images, np.concatenate(parts), margin_px=margin_px)
        self._patches = patches.astype(np.float16)  # as they are stored

    def measure(self, network: Network, *, device: str, bfloat16: bool) -> Measured:
        """Measure a network as it is now."""
        network.eval()
        rated = []
        with torch.inference_mode(), torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bfloat16):
            for start in range(0, len(self._patches), self._batch):
                patches = torch.from_numpy(self._patches[start : start + self._batch].astype(np.float32)).unsqueeze(1)
                given = patches.to(device, memory_format=torch.channels_last)
                rated.append(network.rate_patches(given).float().cpu().numpy())
        network.train()
        positive, *negatives, places = np.split(np.concatenate(rated), self._ends)
        return Measured(self._loss(positive, negatives), sensitivity(positive, places, most_false=self._most_false))

    def _loss(self, positive: NDArray[np.float32], negatives: Sequence[NDArray[np.float32]]) -> float:
        of_negatives = sum(
            share * _cross_entropy(pool, 0.0) for share, pool in zip(self._shares, negatives, strict=True)
        )
        return self._positive_share * _cross_entropy(positive, 1.0) + (1.0 - self._positive_share) * of_negatives


def sensitivity(positive: NDArray[np.float32], places: NDArray[np.float32], *, most_false: int) -> float:
    """Return the fraction of positives that are rated above all but ``most_false`` of the places.

    >>> import numpy as np
    >>> sensitivity(np.array([1.0, 3.0, 5.0]), np.array([2.0, 4.0, 0.0]), most_false=1)
    0.6666666666666666
    """
    if most_false >= len(places):
        return 1.0
    threshold = np.partition(places, len(places) - 1 - most_false)[len(places) - 1 - most_false]
    return float(np.mean(positive > threshold))


def _cross_entropy(logits: NDArray[np.float32], label: float) -> float:
    loss = nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.full((len(logits),), label), reduction="mean"
    )
    return float(loss)
