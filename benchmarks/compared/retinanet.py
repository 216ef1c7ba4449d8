"""The RetinaNet of MONAI, with the least strides and anchors that microcalcifications of a few pixels need.

Of MONAI's own it has the backbone (a ResNet), the pyramid, the heads, the anchors, their matching and sampling; only
the ten lines that join backbone and pyramid are ours, because MONAI's need torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.compared.marks import Find, Points, candidates_of_points, points_of_tiles
from benchmarks.compared.samples import Patch, TrainingImage, compressed, fit, load_weights, stacked
from microcalc.domain import Candidates, FloatImage, Mammogram, NormalisedMammogram

_CHANNELS: Final = 32
_ANCHORS_PX: Final = (4, 7)
_STRIDES: Final = (2, 4)
_LEAST_BOX_PX: Final = 5.0


def train(images: Sequence[TrainingImage], out: Path, *, minutes: float) -> None:
    """Train the network and write its weights."""
    from monai.apps.detection.networks import retinanet_detector

    # Classes of torchvision that MONAI only compares with: without torchvision the question itself fails.
    retinanet_detector.Matcher = retinanet_detector.BalancedPositiveNegativeSampler = ()
    torch.manual_seed(1)
    detector = _detector()
    detector.set_atss_matcher(num_candidates=4, center_in_gt=False)
    detector.set_hard_negative_sampler(batch_size_per_image=256, positive_fraction=0.3, pool_size=20, min_neg=64)
    detector.network.register_forward_hook(_in_float32)

    def loss_of(patches: Sequence[Patch]) -> torch.Tensor:
        targets = [
            {"boxes": torch.from_numpy(boxes_of(patch)), "labels": torch.zeros(len(patch.places), dtype=torch.int64)}
            for patch in patches
        ]
        losses: dict[str, torch.Tensor] = detector(stacked([patch.pixels for patch in patches]), targets)
        return losses["classification"] + losses["box_regression"]

    fit(detector.network, loss_of, images, minutes=minutes, learning_rate=1e-3)
    torch.save(detector.network.state_dict(), out)


def find(weights: Path) -> Find:
    """Return the detector."""
    detector = _detector()
    load_weights(detector.network, weights)
    detector.eval()
    detector.set_box_selector_parameters(
        score_thresh=0.01, topk_candidates_per_level=1000, nms_thresh=0.2, detections_per_img=300
    )

    @torch.inference_mode()
    def points_of(tile: FloatImage) -> tuple[Points, Points]:
        (found,) = detector(stacked([tile]))
        return centres_of(found["boxes"].numpy()), found["labels_scores"].numpy().astype(np.float64)

    def of(_mammogram: Mammogram, normalised: NormalisedMammogram) -> Candidates:
        pixels = compressed(normalised.pixels)
        return candidates_of_points(
            normalised, *points_of_tiles(pixels, normalised.breast, points_of, tile_px=448, overlap_px=32)
        )

    return of


def boxes_of(patch: Patch) -> FloatImage:
    """Return the boxes (n, 4) around microcalcifications: first row, first column, last row, last column, as edges.

    Pixel i reaches from i to i + 1. A box is one pixel wider than its microcalcification on each side, at least 5
    pixels wide, and cut off at the patch's edge.
    """
    half = np.maximum(patch.diameters_px + 2, _LEAST_BOX_PX)[:, None] / 2
    centres = patch.places + 0.5
    boxes = np.concatenate([centres - half, centres + half], axis=1)
    return np.asarray(np.clip(boxes, 0, patch.pixels.shape[0]), dtype=np.float32)


def centres_of(boxes: FloatImage) -> Points:
    """Return the centres (n, 2) of boxes, in pixels whose centres are whole numbers."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5, dtype=np.float64)


def _in_float32(_network: torch.nn.Module, _given: Any, maps: dict[str, list[torch.Tensor]]) -> Any:
    """Return a network's maps in float32: sums over all anchors would lose digits in bfloat16."""
    return {name: [level.float() for level in levels] for name, levels in maps.items()}


def _detector() -> Any:
    from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
    from monai.apps.detection.networks.retinanet_network import RetinaNet
    from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape

    anchors = AnchorGeneratorWithAnchorShape(
        feature_map_scales=[stride / _STRIDES[0] for stride in _STRIDES],
        base_anchor_shapes=[(side, side) for side in _ANCHORS_PX],
    )
    network = RetinaNet(
        spatial_dims=2,
        num_classes=1,
        num_anchors=len(_ANCHORS_PX),
        feature_extractor=_Features(),
        size_divisible=_STRIDES[-1],
    )
    return RetinaNetDetector(network, anchors)


class _Features(torch.nn.Module):
    """The maps of strides 2 and 4 of a ResNet, joined by a feature pyramid."""

    def __init__(self) -> None:
        from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
        from monai.networks.nets.resnet import ResNet

        super().__init__()
        self.out_channels = _CHANNELS
        self.body = ResNet(
            "basic", [1, 1, 1, 1], [16, 32, 64, 64], spatial_dims=2, n_input_channels=1, conv1_t_size=3,
            no_max_pool=True, feed_forward=False,
        )  # fmt: skip
        self.body.layer4 = torch.nn.Identity()
        self.pyramid = FeaturePyramidNetwork(2, [32, 64], _CHANNELS)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        body = self.body
        fine = body.layer2(body.layer1(body.act(body.bn1(body.conv1(pixels)))))
        return list(self.pyramid({"fine": fine, "coarse": body.layer3(fine)}).values())
