"""Training images and patches, the same for every network that is trained here, and the loop that trains them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.compared.marks import SPACING_MM, Points
from microcalc.cnn.precision import fast_precision
from microcalc.datasets.open import open_row
from microcalc.datasets.table import Table
from microcalc.domain import FloatImage
from microcalc.errors import InputError, TableError
from microcalc.evaluation.matched_images import IGNORED_KINDS
from microcalc.normalise.mammogram import normalise

PATCH_PX: Final = 192
_BATCH: Final = 4
_UNMEASURED_MM: Final = 0.3  # diameter of a microcalcification that has none in the table


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """An image to draw patches from.

    Attributes
    ----------
    pixels
        (rows, columns), as ``compressed`` returns them.
    places, diameters_px
        (n, 2) and (n,): the microcalcifications.
    unknown
        (k, 2): benign calcium, and places of which the reader was unsure. Marks on them are neither hits nor false.
    breast
        (m, 2): pixels of the breast, 16 apart.
    """

    pixels: NDArray[np.float16]
    places: Points
    diameters_px: Points
    unknown: Points
    breast: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Patch:
    """A square of an image, turned and flipped, with its microcalcifications and unknown places, in its pixels."""

    pixels: FloatImage
    places: Points
    diameters_px: Points
    unknown: Points


def compressed(pixels: FloatImage) -> FloatImage:
    """Return normalised pixels on a scale on which the brightest calcium does not outweigh all else."""
    return np.asarray(np.arcsinh(pixels / 4), dtype=np.float32)


def training_images(table: Table) -> list[TrainingImage]:
    """Return the normalised training images of a table; other splits are left alone."""
    rows = [row for row in table.images if row.split == "train"]
    if not rows:
        raise TableError("found no image of split train in the table to train on; expected some")
    images = []
    for n, row in enumerate(rows, 1):
        normalised, annotations = normalise(open_row(row), spacing_mm=SPACING_MM), table.annotations_of(row)
        chosen = annotations.kind == "microcalcification"
        diameters = annotations.diameter_mm[chosen]
        images.append(
            TrainingImage(
                pixels=compressed(normalised.pixels).astype(np.float16),
                places=normalised.grid.to_pixels(annotations.centres[chosen]),
                diameters_px=np.where(diameters > 0, diameters, _UNMEASURED_MM) / SPACING_MM,
                unknown=normalised.grid.to_pixels(annotations.centres[np.isin(annotations.kind, IGNORED_KINDS)]),
                breast=16 * np.argwhere(normalised.breast[::16, ::16]),
            )
        )
        if n % 20 == 0:
            print(f"normalised {n} of {len(rows)} training images", file=sys.stderr)
    return images


def draw_patch(images: Sequence[TrainingImage], rng: np.random.Generator, *, around_calcium: bool) -> Patch:
    """Draw a patch near a microcalcification of an image that has some, or anywhere in a breast."""
    shown = [image for image in images if len(image.places)] if around_calcium else images
    image = shown[int(rng.integers(len(shown)))]
    around = image.places if around_calcium else image.breast
    reach = PATCH_PX // 3
    centre = around[int(rng.integers(len(around)))] + rng.integers(-reach, reach + 1, size=2)
    corner = np.clip(centre.astype(int) - PATCH_PX // 2, 0, np.array(image.pixels.shape) - PATCH_PX)
    places, unknown = image.places - corner, image.unknown - corner
    inside = _within(places)
    top, left = corner
    patch = Patch(
        image.pixels[top : top + PATCH_PX, left : left + PATCH_PX].astype(np.float32),
        places[inside],
        image.diameters_px[inside],
        unknown[_within(unknown)],
    )
    return turned(patch, turns=int(rng.integers(4)), flip=bool(rng.integers(2)))


def _within(places: Points) -> NDArray[np.bool_]:
    return np.asarray(((places >= 0) & (places <= PATCH_PX - 1)).all(axis=1))


def turned(patch: Patch, *, turns: int, flip: bool) -> Patch:
    """Return a patch turned by right angles, and then mirrored."""
    last = patch.pixels.shape[0] - 1

    def moved(places: Points) -> Points:
        for _ in range(turns % 4):
            places = np.column_stack([last - places[:, 1], places[:, 0]])
        return np.column_stack([places[:, 0], last - places[:, 1]]) if flip else places

    pixels = np.rot90(patch.pixels, turns)
    pixels = np.ascontiguousarray(np.fliplr(pixels) if flip else pixels)
    return Patch(pixels, moved(patch.places), patch.diameters_px, moved(patch.unknown))


def discs(places: Points, shape: tuple[int, ...], *, radius_px: float) -> FloatImage:
    """Return a picture with 1 in the pixels within a radius of a place and in the nearest to each, else 0."""
    picture = np.zeros(shape, dtype=np.float32)
    reach = int(np.ceil(radius_px)) + 1
    for place in places:
        nearest = np.rint(place).astype(int)
        low, high = np.maximum(nearest - reach, 0), np.minimum(nearest + reach + 1, picture.shape)
        rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
        near = np.hypot(rows - place[0], columns - place[1]) <= radius_px
        picture[low[0] : high[0], low[1] : high[1]][near] = 1
        picture[tuple(nearest)] = 1
    return picture


def fit(
    network: torch.nn.Module,
    loss_of: Callable[[Sequence[Patch]], Any],
    images: Sequence[TrainingImage],
    *,
    minutes: float,
    learning_rate: float,
) -> None:
    """Train a network for so many minutes of the processor: AdamW, a learning rate that falls evenly, four patches.

    Channels lie last in memory, and layers multiply bfloat16 where the processor does so itself, as our own do: the
    compared networks then take 1.7 to 2.4 times as many steps in the same time.
    """
    rng, bfloat16 = np.random.default_rng(1), fast_precision("cpu")[0] == "bfloat16"
    _with_channels_last(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    network.train()
    began, step = process_time(), 0
    while (spent := process_time() - began) < 60 * minutes:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * max(0.01, 1 - spent / (60 * minutes))
        patches = [draw_patch(images, rng, around_calcium=n % 2 == 0) for n in range(_BATCH)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss = loss_of(patches)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step}, {spent / 60:.1f} of {minutes:g} min: loss {loss.item():.4f}", file=sys.stderr)


def stacked(patches: Sequence[FloatImage]) -> torch.Tensor:
    """Return pictures of one size as a batch of one channel, channels last in memory."""
    return torch.from_numpy(np.stack(patches))[:, None].contiguous(memory_format=torch.channels_last)


def load_weights(network: torch.nn.Module, path: Path) -> torch.nn.Module:
    """Load a network's weights, and return it ready to detect.

    Raises
    ------
    InputError
        The file holds no weights, or those of another network.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of any kind: torch reads bytes that are none of its own as commands
        raise InputError(f"{path.name}: expected weights saved by torch, found a file that it cannot read") from error
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(getattr(value, "shape", ())) for name, value in _entries(found).items()}
    different = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
    if different:
        first = different[0]
        raise InputError(
            f"{path.name}: expected {len(wanted)} entries as {type(network).__name__} has them, found {len(given)}; "
            f"{len(different)} differ, such as {first}: {given.get(first, 'absent')} "
            f"for {wanted.get(first, 'none')}"
        )
    network.load_state_dict(found)
    _with_channels_last(network)
    return network.eval()


def _with_channels_last(network: Any) -> None:
    network.to(memory_format=torch.channels_last)  # an option that torch's types lack


def _entries(found: object) -> dict[str, Any]:
    return {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}
