"""Arrays on disk, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microcalc.storage.write import writing


def save_array(file: Path, array: NDArray[Any]) -> None:
    """Write one array (.npy)."""
    with writing(file) as temporary, temporary.open("wb") as handle:
        np.save(handle, array, allow_pickle=False)


def load_array(file: Path) -> NDArray[Any]:
    """Map one array from disk; an empty one, which cannot be mapped, is read."""
    try:
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except ValueError:
        return np.asarray(np.load(file, allow_pickle=False))


def save_piece(file: Path, **arrays: NDArray[Any]) -> None:
    """Write several arrays by name (.npz)."""
    with writing(file) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **dict[str, Any](arrays))


def load_piece(file: Path) -> Mapping[str, NDArray[Any]]:
    """The arrays that ``save_piece`` wrote, in memory."""
    with np.load(file, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}
