"""NetC, whose weights only its authors give: read from the file that a user has.

Five blocks, each of four convolutions of 3, 5, 7 and 9 pixels side by side, of whose channels a fifth of 5 pixels makes
one logit; 448,000 weights, 45 pixels of receptive field. It takes the image as it is shown, with the chest wall on the
left, from 0 to 1 and then standardised with the mean and deviation of its training images. Written from the
description; names and sizes of the entries are those of the published file. It was not tried with that file.

References
----------
Zamir R, Bagon S, Samocha D, Yagil Y, Basri R, Sklair-Levy M, Galun M. Segmenting microcalcifications in mammograms and
its applications. Proc. SPIE 11596 (2021).
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch

from benchmarks.compared.marks import Find, candidates_of_map, map_of_tiles
from benchmarks.compared.samples import load_weights, stacked
from microcalc.display.grey import GreyImage, stretch, whole_grey
from microcalc.domain import Candidates, FloatImage, Mammogram, NormalisedMammogram
from microcalc.errors import InputError
from microcalc.geometry import same_spacing

_MEAN, _DEVIATION = 0.1572722182674478, 0.16270082671743363
_REACH_PX: Final = 24  # the network sees 22 pixels on each side of one
_CHANNELS: Final = (1, 4, 16, 32, 64, 128)


class NetC(torch.nn.Module):
    """The network, of logits at every pixel of a picture (n, 1, rows, columns)."""

    def __init__(self) -> None:
        super().__init__()
        for n, (given, made) in enumerate(pairwise(_CHANNELS), 1):
            self.add_module(f"block{n}", _Block(given, made))
        self.pred = torch.nn.Conv2d(_CHANNELS[-1], 1, 5, padding=2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        for child in self.children():
            pixels = child(pixels)
        return pixels


class _Block(torch.nn.Module):
    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.sides = (3, 5, 7, 9)
        for side in self.sides:
            self.add_module(f"conv{side}", torch.nn.Conv2d(given, made // 4, side, padding=side // 2))
        self.bn = torch.nn.BatchNorm2d(made)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self.get_submodule(f"conv{side}")(pixels) for side in self.sides], dim=1)
        return torch.relu(self.bn(joined))


def find(weights: Path) -> Find:
    """Return the detector.

    Raises
    ------
    InputError
        The file does not hold NetC's weights.
    """
    network = load_weights(NetC(), weights)

    @torch.inference_mode()
    def likelihood_of(tile: FloatImage) -> FloatImage:
        return np.asarray(torch.sigmoid(network(stacked([tile])))[0, 0].numpy(), dtype=np.float32)

    def of(mammogram: Mammogram, normalised: NormalisedMammogram) -> Candidates:
        native = with_breast(mammogram, normalised)
        flip = -1 if chest_wall_right(native) else 1
        shown = ((_grey(mammogram) / np.float32(255) - _MEAN) / _DEVIATION).astype(np.float32)
        likelihood = map_of_tiles(
            shown[:, ::flip], native.breast[:, ::flip], likelihood_of, tile_px=208, overlap_px=_REACH_PX
        )
        return candidates_of_map(native, likelihood[:, ::flip])

    return of


def _grey(mammogram: Mammogram) -> GreyImage:
    """Return the image with its header's window, or all of its range where there is none, as NetC's PNG files have."""
    if mammogram.window is not None:
        return whole_grey(mammogram)
    return stretch(mammogram.pixels, float(mammogram.pixels.min()), float(mammogram.pixels.max()))


def with_breast(mammogram: Mammogram, normalised: NormalisedMammogram) -> NormalisedMammogram:
    """Return the image at its own spacing, with the breast mask of the normalised one.

    Raises
    ------
    InputError
        Its pixels are not square.
    """
    spacing_mm = mammogram.spacing_mm
    if not same_spacing(spacing_mm, (spacing_mm[0], spacing_mm[0])):
        raise InputError(f"{mammogram.file}: NetC expects square pixels, found {spacing_mm[0]} x {spacing_mm[1]} mm")
    at = []
    for axis in (0, 1):
        along_mm = np.arange(mammogram.pixels.shape[axis]) * spacing_mm[axis]
        index = np.rint((along_mm - normalised.origin_mm[axis]) / normalised.spacing_mm).astype(int)
        at.append(np.clip(index, 0, normalised.breast.shape[axis] - 1))
    return NormalisedMammogram(
        pixels=mammogram.pixels,
        breast=normalised.breast[np.ix_(*at)],
        spacing_mm=spacing_mm[0],
        origin_mm=(0.0, 0.0),
        uid=normalised.uid,
    )


def chest_wall_right(mammogram: NormalisedMammogram) -> bool:
    """Return whether the breast touches the right side of the picture more than the left."""
    along = mammogram.breast.sum(axis=0)
    half = len(along) // 2
    return bool(along[:half].sum() < along[-half:].sum())
