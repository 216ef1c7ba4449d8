"""Store normalised images on disk, and gather patches from them.

Samples are coordinates (image, row, column), not patches: 45 million of them are a
few hundred MB. One float16 file per image, read through the page cache.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, overload

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import BoolImage, FloatImage, NormalisedMammogram
from microcalc.geometry import Grid
from microcalc.storage.write import saying_where, writing

_MOST_MAPPED: Final = 32_768  # Linux maps 65,530 places of a process
Samples = NDArray[np.int32]
"""(n, 3): image index, row, column in the normalised raster."""


@dataclass(frozen=True, eq=False, slots=True)
class StoredImage:
    """One normalised image, mapped from disk, with a border of zeros around.

    Attributes
    ----------
    mask
        The breast mask, (rows, columns) without the border; None: it is in a file beside ``file``.
    """

    pixels: NDArray[np.float16]
    mask: BoolImage | None
    border_px: int
    spacing_mm: float
    origin_mm: tuple[float, float]
    file: Path

    def __reduce__(self) -> tuple[Callable[[Path], StoredImage], tuple[Path]]:
        """Travel to another process as the name of the file, and not with its pixels."""
        return open_stored, (self.file,)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns without the border."""
        return self.pixels.shape[0] - 2 * self.border_px, self.pixels.shape[1] - 2 * self.border_px

    @property
    def breast(self) -> BoolImage:
        """The breast mask (rows, columns), read anew each time where it is in a file."""
        if self.mask is not None:
            return self.mask
        rows, columns = self.shape
        packed = np.load(self.file.with_suffix(".breast.npy"))
        return np.unpackbits(packed, count=rows * columns).view(np.bool_).reshape(rows, columns)

    @property
    def grid(self) -> Grid:
        """Positions of the pixels without the border."""
        return Grid((self.spacing_mm, self.spacing_mm), self.origin_mm)


def store(mammogram: NormalisedMammogram, file: Path, *, border_px: int) -> None:
    """Write a normalised mammogram to .npy files beside ``file``, which can be mapped into memory.

    Raises
    ------
    OutputError
        The files cannot be written.
    """
    with saying_where(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.pad(np.clip(mammogram.pixels, -1000, 1000).astype(np.float16), border_px)
    _save(file.with_suffix(".breast.npy"), np.packbits(mammogram.breast))
    header = np.array([*mammogram.breast.shape, border_px, mammogram.spacing_mm, *mammogram.origin_mm])
    _save(file.with_suffix(".header.npy"), header)
    _save(file.with_suffix(".npy"), pixels)  # last: its presence says that all is there


def open_stored(file: Path) -> StoredImage:
    """Map an image that ``store`` wrote."""
    _, _, border, spacing, top, left = np.load(file.with_suffix(".header.npy"))
    return StoredImage(
        pixels=np.load(file.with_suffix(".npy"), mmap_mode="r"),
        mask=None,
        border_px=int(border),
        spacing_mm=float(spacing),
        origin_mm=(float(top), float(left)),
        file=file,
    )


class StoredImages(Sequence[StoredImage]):
    """Any number of images that ``store`` wrote, each mapped from disk when it is asked for.

    A mapped image takes one of the files that a process may have open, and hardly any memory. So only as many stay
    mapped as half of these files; the one that was not asked for the longest goes first.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._open = lru_cache(_most_mapped())(open_stored)

    def __reduce__(self) -> tuple[type[StoredImages], tuple[Sequence[Path]]]:
        """Travel to another process as the names of the files."""
        return StoredImages, (self._files,)

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> StoredImage: ...

    @overload
    def __getitem__(self, index: slice) -> StoredImages: ...

    def __getitem__(self, index: int | slice) -> StoredImage | StoredImages:
        if isinstance(index, slice):
            return StoredImages(self._files[index])
        return self._open(self._files[index])


def _most_mapped() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_MAPPED if files == resource.RLIM_INFINITY else max(1, min(_MOST_MAPPED, files // 2))


def stored_size(file: Path) -> tuple[tuple[int, int], float]:
    """Return rows and columns (without the border) and pixel spacing in mm of an image that ``store`` wrote."""
    rows, columns, _, spacing, _, _ = np.load(file.with_suffix(".header.npy"))
    return (int(rows), int(columns)), float(spacing)


def gather(images: Sequence[StoredImage], samples: Samples, *, margin_px: int) -> FloatImage:
    """Return the patches (n, 2 m + 1, 2 m + 1) float32 around samples.

    Raises
    ------
    ValueError
        The stored border is narrower than the margin.
    """
    side = 2 * margin_px + 1
    patches = np.empty((len(samples), side, side), dtype=np.float16)
    for out, (image, row, column) in zip(patches, samples.tolist(), strict=True):
        stored = images[image]
        shift = stored.border_px - margin_px
        if shift < 0:
            raise ValueError(f"border {stored.border_px} px, expected at least the margin {margin_px} px")
        out[...] = stored.pixels[row + shift : row + shift + side, column + shift : column + shift + side]
    return patches.astype(np.float32)


def _save(file: Path, array: NDArray[np.generic]) -> None:
    with writing(file) as temporary, temporary.open("wb") as handle:
        np.save(handle, array)
