"""The architecture: a small VGG-like stack of 3 x 3 convolutions, applied in two ways.

Applied densely, every convolution has its dilation, and the output has one logit per
pixel. Applied to single patches, the network computes only the values that the centre pixel
needs: dilations become strides. Both give the same logit to rounding.

No batch statistics: they would tie the network to the systems it saw. Grey values
enter through asinh, so that a bright calcification and a faint one stay on one scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from microcalc.cnn.compression import SOFT


class Network(nn.Module):
    """A pixel classifier with a receptive field of ``2 * margin_px + 1``.

    Parameters
    ----------
    channels, dilations
        Numbers of channels and dilations of the convolutions, first to last.
    """

    def __init__(self, channels: Sequence[int], dilations: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.dilations = tuple(channels), tuple(dilations)
        inputs = (1, *self.channels[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, dilation=d) for i, o, d in zip(inputs, self.channels, self.dilations, strict=True)
        )
        self.head = nn.Conv2d(self.channels[-1], 1, 1)
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv2d)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)

    @property
    def margin_px(self) -> int:
        """Return the number of pixels lost at each border."""
        return sum(self.dilations)

    @property
    def patch_px(self) -> int:
        """Return the side of the patch that gives one logit."""
        return 2 * self.margin_px + 1

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logit of every pixel: (n, 1, rows, columns) -> (n, 1, rows - 2 m, columns - 2 m)."""
        x = torch.asinh(pixels / SOFT)
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))
        logits: Tensor = self.head(x)
        return logits

    def rate_patches(self, patches: Tensor) -> Tensor:
        """Return the logits of the centre pixels: (n, 1, patch_px, patch_px) -> (n,)."""
        x = torch.asinh(patches / SOFT)
        for convolution, stride, dilation in zip(self.convolutions, self.strides, self.patch_dilations, strict=True):
            assert isinstance(convolution, nn.Conv2d)
            x = nn.functional.conv2d(x, convolution.weight, convolution.bias, stride=stride, dilation=dilation)
            x = torch.relu(x)
        logits: Tensor = self.head(x)
        return logits.flatten()

    @property
    def strides(self) -> tuple[int, ...]:
        """Return the stride of each convolution when patches are rated; later layers do not need what it skips."""
        steps = self._steps
        return tuple(after // before for before, after in zip(steps, (*steps[1:], steps[-1]), strict=True))

    @property
    def patch_dilations(self) -> tuple[int, ...]:
        """Return the dilation of each convolution when patches are rated."""
        return tuple(d // step for d, step in zip(self.dilations, self._steps, strict=True))

    @property
    def _steps(self) -> tuple[int, ...]:
        """Return the distance in pixels between the input values of each layer, when patches are rated."""
        return (1, *(math.gcd(*self.dilations[i:]) for i in range(1, len(self.dilations))))

    def multiply_adds(self) -> tuple[int, int]:
        """Return the multiply-adds per pixel (applied densely) and per patch."""
        dense = patch = 0
        side = self.patch_px
        layers = zip((1, *self.channels[:-1]), self.channels, self.strides, self.patch_dilations, strict=True)
        for inputs, outputs, stride, dilation in layers:
            side = (side - 2 * dilation - 1) // stride + 1
            dense += 9 * inputs * outputs
            patch += 9 * inputs * outputs * side * side
        return dense + self.channels[-1], patch + self.channels[-1]
