"""Cross-validation, by patient, of a small network that classifies two kinds of patches. Needs torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from microcalc.domain import FloatImage
from microcalc.errors import MissingExtraError

Floats = NDArray[np.float64]

_BATCH = 64
_LEARNING_RATE = 3e-3
_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Separation:
    """Area under the ROC curve of a classifier of two kinds, with 95 % interval and standard error by patient."""

    auc: float
    low: float
    high: float
    standard_error: float


def check_torch() -> None:
    """Refuse to train without torch.

    Raises
    ------
    MissingExtraError
        torch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("torch is not installed, expected pip install 'microcalc[train]'") from error


def cross_validate(
    patches: FloatImage, is_second: NDArray[np.bool_], patient: NDArray[np.str_], *, steps: int, folds: int, seed: int
) -> Separation:
    """Train a network on all folds but one, rate that fold, and so for each fold; no patient is in two folds.

    Parameters
    ----------
    patches
        (n, side, side) float32, with values of the order of 1.
    is_second, patient
        (n,) kind and patient of each patch.
    steps
        Number of training steps per fold.
    """
    rng = np.random.default_rng(seed)
    fold = folds_of(patient, is_second, folds, rng)
    rating, within = np.zeros(len(patches)), []
    for k in range(folds):
        test = fold == k
        rating[test] = _rated(patches[~test], is_second[~test], patches[test], steps=steps, seed=seed + k)
        within.append(rating[test])
    for k, values in enumerate(within):  # the networks of different folds have different scales
        rating[fold == k] = stats.rankdata(values) / len(values)
    return separation(rating, is_second, patient, rng)


def folds_of(
    patient: NDArray[np.str_], is_second: NDArray[np.bool_], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the fold (n,) of each patch: patients are assigned at random, with both kinds spread evenly."""
    out = np.zeros(len(patient), dtype=np.int64)
    dealt = 0
    kinds = {p: bool(is_second[patient == p].mean() > 0.5) for p in np.unique(patient).tolist()}
    for kind in (False, True):
        for name in rng.permutation(sorted(p for p, k in kinds.items() if k == kind)).tolist():
            out[patient == name] = dealt % folds
            dealt += 1
    return out


def separation(
    rating: Floats, is_second: NDArray[np.bool_], patient: NDArray[np.str_], rng: np.random.Generator
) -> Separation:
    """Return the area under the ROC curve with its bootstrap interval and standard error by patient."""
    members = [np.flatnonzero(patient == p) for p in np.unique(patient)]
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if 0 < is_second[chosen].sum() < len(chosen):
            drawn.append(auc(rating[chosen], is_second[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Separation(auc(rating, is_second), float(low), float(high), float(np.std(drawn)))


def auc(rating: Floats, positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve; ties count half."""
    n = int(positive.sum())
    return float((stats.rankdata(rating)[positive].sum() - n * (n + 1) / 2) / (n * (len(rating) - n)))


def _rated(patches: FloatImage, is_second: NDArray[np.bool_], others: FloatImage, *, steps: int, seed: int) -> Floats:
    """Train on patches, half of each batch of either kind, flipped and rotated at random; return ratings of others."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 1),
    )  # fmt: skip
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, steps)
    kinds = [np.flatnonzero(~is_second), np.flatnonzero(is_second)]
    labels = torch.repeat_interleave(torch.tensor([0.0, 1.0]), _BATCH // 2)
    for _ in range(steps):
        chosen = np.concatenate([k[rng.integers(len(k), size=_BATCH // 2)] for k in kinds])
        batch = torch.from_numpy(patches[chosen]).unsqueeze(1)  # (batch, 1, side, side)
        batch = torch.rot90(batch, int(rng.integers(4)), (2, 3))
        batch = batch.flip(3) if rng.random() < 0.5 else batch
        loss = nn.functional.binary_cross_entropy_with_logits(network(batch).flatten(), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        parts = torch.split(torch.from_numpy(others).unsqueeze(1), 512)
        return np.asarray(torch.cat([network(p).flatten() for p in parts]).numpy(), dtype=np.float64)
