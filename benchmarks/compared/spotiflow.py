"""Spotiflow, which finds spots in microscopy: its own network, targets, losses and way to points, trained here.

Its published weights are not in the package, so the network starts from nothing; it has 16 feature maps instead of 32,
to see more patches in the time given.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.compared.marks import Find, Points, candidates_of_points, points_of_tiles
from benchmarks.compared.samples import PATCH_PX, Patch, TrainingImage, compressed, fit, load_weights
from microcalc.domain import Candidates, FloatImage, Mammogram, NormalisedMammogram

_DEFINED: Final[list[Any]] = []


def train(images: Sequence[TrainingImage], out: Path, *, minutes: float) -> None:
    """Train the network and write its weights."""
    torch.manual_seed(1)
    network = _network()
    from spotiflow.data import SpotsDataset, collate_spots
    from spotiflow.model import SpotiflowTrainingConfig
    from spotiflow.model.trainer import SpotiflowTrainingWrapper

    wrapped = SpotiflowTrainingWrapper(network, SpotiflowTrainingConfig(crop_size=PATCH_PX))
    levels = tuple(2**level for level in range(network.config.levels))

    def loss_of(patches: Sequence[Patch]) -> torch.Tensor:
        spots = SpotsDataset(
            images=[patch.pixels for patch in patches],
            centers=[patch.places.astype(np.float32) for patch in patches],
            downsample_factors=levels,
            sigma=network.config.sigma,
            compute_flow=True,
            normalizer=None,
            defer_normalization=True,
        )
        loss: torch.Tensor = wrapped._common_step(collate_spots([spots[n] for n in range(len(spots))]))["loss"]
        return loss

    fit(network, loss_of, images, minutes=minutes, learning_rate=1e-3)
    torch.save(network.state_dict(), out)


def find(weights: Path) -> Find:
    """Return the detector."""
    network: Any = load_weights(_network(), weights)

    def points_of(tile: FloatImage) -> tuple[Points, Points]:
        found, details = network.predict(
            tile, prob_thresh=0.01, n_tiles=(1, 1), min_distance=3, normalizer=None, verbose=False, device="cpu"
        )
        return found, details.prob

    def of(_mammogram: Mammogram, normalised: NormalisedMammogram) -> Candidates:
        pixels = compressed(normalised.pixels)
        return candidates_of_points(
            normalised, *points_of_tiles(pixels, normalised.breast, points_of, tile_px=448, overlap_px=32)
        )

    return of


def _network() -> Any:
    _make_torchvision_importable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spotiflow.model import Spotiflow, SpotiflowModelConfig

    return Spotiflow(SpotiflowModelConfig(initial_fmaps=16))


def _make_torchvision_importable() -> None:
    """Define the two operators without which the registry's torchvision fails beside a torch for processors only.

    They get no implementation: Spotiflow uses torchvision for augmentation alone, which is not used here.
    """
    if _DEFINED:
        return
    open_library: Any = torch.library.Library  # which torch leaves untyped
    library = open_library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DEFINED.append(library)
