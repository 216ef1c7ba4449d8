"""Arrays on disk, each file whole or not there."""

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
    """Return one array, mapped from disk; an empty array, which cannot be mapped, is read."""
    try:
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except ValueError:
        return np.asarray(np.load(file, allow_pickle=False))


def save_arrays(file: Path, **arrays: NDArray[Any]) -> None:
    """Write several arrays by name (.npz)."""
    with writing(file) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **dict[str, Any](arrays))


def load_arrays(file: Path) -> Mapping[str, NDArray[Any]]:
    """Return the arrays that ``save_arrays`` wrote, in memory, by name."""
    with np.load(file, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}
