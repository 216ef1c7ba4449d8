"""The U-Net of MONAI, with the pixels around a microcalcification as its target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from benchmarks.compared.marks import Find, candidates_of_map, map_of_tiles
from benchmarks.compared.samples import Patch, TrainingImage, compressed, discs, fit, load_weights, stacked
from microcalc.domain import Candidates, FloatImage, Mammogram, NormalisedMammogram

_RADIUS_PX: Final = 1.5


def train(images: Sequence[TrainingImage], out: Path, *, minutes: float) -> None:
    """Train the network and write its weights."""
    torch.manual_seed(1)
    network, weight = _network(), torch.tensor(20.0)

    def loss_of(patches: Sequence[Patch]) -> torch.Tensor:
        wanted = stacked([discs(patch, radius_px=_RADIUS_PX) for patch in patches])
        logits = network(stacked([patch.pixels for patch in patches]))
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight)

    fit(network, loss_of, images, minutes=minutes, learning_rate=2e-3)
    torch.save(network.state_dict(), out)


def find(weights: Path) -> Find:
    """Return the detector."""
    network = load_weights(_network(), weights)

    @torch.inference_mode()
    def likelihood_of(tile: FloatImage) -> FloatImage:
        logits: FloatImage = network(stacked([tile]))[0, 0].numpy()
        return np.asarray(1 / (1 + np.exp(-logits / 4)), dtype=np.float32)  # divided: none of them rounds to 1

    def of(_mammogram: Mammogram, normalised: NormalisedMammogram) -> Candidates:
        pixels = compressed(normalised.pixels)
        return candidates_of_map(
            normalised, map_of_tiles(pixels, normalised.breast, likelihood_of, tile_px=448, overlap_px=32)
        )

    return of


def _network() -> torch.nn.Module:
    from monai.networks.nets import BasicUNet

    network: torch.nn.Module = BasicUNet(
        spatial_dims=2, in_channels=1, out_channels=1, features=(16, 16, 32, 64, 128, 16)
    )
    return network
