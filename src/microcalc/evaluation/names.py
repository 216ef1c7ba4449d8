"""Names of detectors, from the paths of their detections."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from microcalc.errors import InputError

_SUFFIXES: Final = {".csv", ".json", ".dcm"}


def detector_names(paths: Sequence[Path]) -> list[str]:
    """Return a different name for each path, in their order.

    The name is that of the folder, or of the file without the suffix of a known format. Equal names are preceded by the
    names of as many parent folders as are needed: ``a/results`` and ``b/results`` become ``a-results`` and
    ``b-results``.

    Raises
    ------
    InputError
        A path is given twice, or two paths cannot be told apart.
    """
    whole = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100  (resolve would follow links)
    for path, count in Counter(whole).items():
        if count > 1:
            raise InputError(f"{path.name}: given {count} times, expected different detections to compare")
    parts = [(*path.parts[1:-1], _last(path)) for path in whole]
    depths = [1] * len(parts)
    while True:
        names = ["-".join(of[-depth:]) for of, depth in zip(parts, depths, strict=True)]
        count_of = Counter(names)
        longer = [
            depth + 1 if count_of[name] > 1 and depth < len(of) else depth
            for of, depth, name in zip(parts, depths, names, strict=True)
        ]
        if longer == depths:
            break
        depths = longer
    for path, name in zip(whole, names, strict=True):
        if count_of[name] > 1:
            raise InputError(f"{path.name}: has the same name as other detections, expected different names")
    return names


def _last(path: Path) -> str:
    """Return the name of a path without the suffix of a known format: ``marks.csv`` becomes ``marks``."""
    return path.stem if path.suffix.lower() in _SUFFIXES and not path.is_dir() else path.name or "detections"
