"""The U-Net of MONAI, with the pixels around a microcalcification as its target.

It is normalised by batch. With MONAI's default, by instance, an output depends on the mean and deviation of all else in
the window: trained on windows of 192 pixels, the network found little in windows of 512 and nothing in larger ones.
"""

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
_UNKNOWN_PX: Final = 5.0  # the radius of a hit: nothing is learned of what a mark there would mean
_POSITIVE_WEIGHT: Final = 20.0


def train(images: Sequence[TrainingImage], out: Path, *, minutes: float) -> None:
    """Train the network and write its weights."""
    torch.manual_seed(1)
    network = _network()

    def loss_of(patches: Sequence[Patch]) -> torch.Tensor:
        return loss(network(stacked([patch.pixels for patch in patches])), patches)

    fit(network, loss_of, images, minutes=minutes, learning_rate=2e-3)
    torch.save(network.state_dict(), out)


def loss(logits: torch.Tensor, patches: Sequence[Patch]) -> torch.Tensor:
    """Return the mean of the weighted cross entropy; pixels near unknown places count only as microcalcifications."""
    wanted = stacked([discs(p.places, p.pixels.shape, radius_px=_RADIUS_PX) for p in patches])
    unknown = stacked([discs(p.unknown, p.pixels.shape, radius_px=_UNKNOWN_PX) for p in patches])
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.float(), wanted, pos_weight=torch.tensor(_POSITIVE_WEIGHT), reduction="none"
    )
    return (each * torch.maximum(wanted, 1 - unknown)).mean()


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
        spatial_dims=2, in_channels=1, out_channels=1, features=(16, 16, 32, 64, 128, 16), norm="batch"
    )
    return network
