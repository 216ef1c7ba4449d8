"""A device of torch: whether this machine has it, and images that are held on it, of which patches are cut.

On a GPU the patches of a training are cut and varied where they are needed: only their places cross the bus.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from microcalc.cnn.hardware import Hardware
from microcalc.errors import InputError
from microcalc.sample.store import Samples, StoredImage

_FREE_PART: Final = 0.7
"""Part of a GPU's free memory that images may take; the rest is for the network and its gradients."""


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises
    ------
    InputError
        There is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device, expected a GPU and a CUDA build of torch")


def check_hardware(hardware: Hardware) -> None:
    """Refuse hardware that this machine does not have.

    Raises
    ------
    InputError
        There is no such device, or there are fewer GPUs.
    """
    check_device(hardware.device)
    if hardware.device == "cuda" and hardware.gpus > torch.cuda.device_count():
        raise InputError(f"--gpus {hardware.gpus}: {torch.cuda.device_count()} GPUs, expected at least as many")


def fits(images: Sequence[StoredImage], device: str) -> bool:
    """Return whether the pixels of images can be held on a device beside what a training needs."""
    if torch.device(device).type != "cuda":
        return True
    free, _total = torch.cuda.mem_get_info(device)
    return sum(image.pixels.nbytes for image in images) <= _FREE_PART * free


class ImagesOnDevice:
    """Normalised images in the memory of a device.

    Parameters
    ----------
    images
        As stored, of any shapes.
    device
        As torch names it.
    """

    def __init__(self, images: Sequence[StoredImage], device: str) -> None:
        sizes = [image.pixels.size for image in images]
        self._border_px = min((image.border_px for image in images), default=0)
        self._flat = torch.empty(sum(sizes), dtype=torch.float16, device=device)
        self._offset = torch.tensor([0, *np.cumsum(sizes)[:-1]], dtype=torch.int64, device=device)
        self._columns = torch.tensor([image.pixels.shape[1] for image in images], dtype=torch.int64, device=device)
        self._border = torch.tensor([image.border_px for image in images], dtype=torch.int64, device=device)
        for image, part in zip(images, torch.split(self._flat, sizes), strict=True):
            part.copy_(torch.from_numpy(np.array(image.pixels).reshape(-1)))

    def gather(self, samples: Samples, *, margin_px: int) -> Tensor:
        """Return the patches (n, 2 m + 1, 2 m + 1) float32 around samples (n, 3), as ``sample.store.gather`` does.

        Raises
        ------
        ValueError
            The stored border is narrower than the margin.
        """
        if self._border_px < margin_px:
            raise ValueError(f"border {self._border_px} px, expected at least the margin {margin_px} px")
        places = torch.from_numpy(samples.astype(np.int64)).to(self._flat.device, non_blocking=True)
        image, row, column = places.unbind(1)
        columns, shift = self._columns[image], self._border[image]
        steps = torch.arange(-margin_px, margin_px + 1, device=self._flat.device)
        rows = (row + shift)[:, None] + steps  # (n, side)
        first = self._offset[image][:, None] + rows * columns[:, None]
        index = first[:, :, None] + ((column + shift)[:, None] + steps)[:, None, :]  # (n, side, side)
        return self._flat[index].float()


def augmented_on_device(
    patches: Tensor, generator: torch.Generator, *, gain_range: tuple[float, float], noise: float, flips: bool
) -> Tensor:
    """Vary patches (n, side, side) on their device, as ``cnn.fit.augmented`` does, with other random numbers."""
    device, n = patches.device, len(patches)
    if flips:
        turn = torch.randint(8, (n, 1, 1), device=device, generator=generator)
        patches = torch.where(turn & 1 > 0, patches.transpose(1, 2), patches)
        patches = torch.where(turn & 2 > 0, patches.flip(1), patches)
        patches = torch.where(turn & 4 > 0, patches.flip(2), patches)
    low, high = np.log(gain_range)
    patches = patches * torch.exp(low + (high - low) * torch.rand((n, 1, 1), device=device, generator=generator))
    if noise > 0:
        patches = patches + noise * torch.randn(patches.shape, device=device, generator=generator)
    return patches
