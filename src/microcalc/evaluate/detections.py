"""What a detector found in the images of a table, read from files: the project's JSON, or a plain CSV of marks.

JSON: one file per image (``detect.report``). CSV (UTF-8, header
line): columns ``image``, ``row``, ``column``, ``likelihood``, one line per mark, for
any other detector. Rows and columns are pixel centres of the original image, 0-based.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from microcalc.datasets.lines import number_in, read_lines
from microcalc.datasets.table import ImageRow, Table
from microcalc.detect.report import SCHEMA, read_detections
from microcalc.errors import InputError
from microcalc.evaluate.marks import Marks, marks_of_document

_CSV_COLUMNS = ("image", "row", "column", "likelihood")


@dataclass(frozen=True, eq=False, slots=True)
class DetectionSet:
    """The detections on the images of a table.

    ``of`` maps image names of the table to marks. ``not_in_table`` names images with
    detections that the table does not have; ``without`` images of the table without
    detections. Neither of the two is judged.
    """

    of: Mapping[str, Marks]
    not_in_table: tuple[str, ...]
    without: tuple[str, ...]


def read_marks(paths: Sequence[Path], table: Table) -> DetectionSet:
    """Read detections and find their images in a table.

    An image is known by its file name, by its name in the table, or by its file name without
    suffix, in this order. A CSV speaks of every image of the table: no line means no mark.

    Parameters
    ----------
    paths
        JSON files, folders of them (other JSON files there are passed over), CSV files.

    Raises
    ------
    InputError
        A file is missing or breaks its format, two speak of one image, or none fits the table.
    """
    names = _Names(table)
    found: dict[str, Marks] = {}
    strangers: list[str] = []
    for path in paths:
        for name, marks, file in _read(path):
            image = names.find(name, file)
            if image is None:
                strangers.append(name)
            elif image in found:
                raise InputError(f"{file.name}: image {image!r} has detections already, expected one file per image")
            else:
                found[image] = marks
    if not found:
        seen = f"such as {strangers[0]!r}" if strangers else "no detections at all"
        raise InputError(f"{_listed(paths)}: no image of the table has detections ({seen}), expected its file names")
    if any(path.suffix.lower() == ".csv" for path in paths):
        for row in table.images:
            found.setdefault(row.image, Marks(np.empty((0, 2)), np.empty(0)))
    without = tuple(row.image for row in table.images if row.image not in found)
    return DetectionSet(found, tuple(strangers), without)


class _Names:
    """Finds images of a table by what detections call them."""

    def __init__(self, table: Table) -> None:
        self._by: list[dict[str, list[str]]] = [{}, {}, {}]
        for row in table.images:
            for index, key in zip(self._by, _keys(row), strict=True):
                index.setdefault(key, []).append(row.image)

    def find(self, name: str, file: Path) -> str | None:
        base = PurePath(name.replace("\\", "/")).name
        for index, key in zip(self._by, (base, name, PurePath(base).stem), strict=True):
            images = index.get(key, [])
            if len(images) > 1:
                raise InputError(f"{file.name}: {key!r} fits images {images[0]!r} and {images[1]!r}, expected one")
            if images:
                return images[0]
        return None


def _keys(row: ImageRow) -> tuple[str, str, str]:
    return row.file.name, row.image, row.file.stem


def _read(path: Path) -> list[tuple[str, Marks, Path]]:
    if path.is_dir():
        return [_of_document(file) for file in sorted(path.glob("*.json")) if _is_document(file)]
    if path.suffix.lower() == ".csv":
        return [(name, marks, path) for name, marks in _of_csv(path)]
    return [_of_document(path)]


def _is_document(file: Path) -> bool:
    """Whether a JSON file is meant to be a detections document; other JSON files are passed over."""
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file.name}: {error.strerror}, expected detections (JSON or CSV), or a folder") from error
    except ValueError as error:
        raise InputError(f"{file.name}: no JSON ({_first_line(error)}), expected detections") from error
    return isinstance(value, dict) and value.get("schema") == SCHEMA


def _of_document(file: Path) -> tuple[str, Marks, Path]:
    document = read_detections(file)
    return document.image.file, marks_of_document(document), file


def _of_csv(file: Path) -> list[tuple[str, Marks]]:
    marks: dict[str, list[tuple[float, float, float]]] = {}
    for n, line in read_lines(file, required=_CSV_COLUMNS):
        row, column, likelihood = (number_in(line, c, f"{file.name} line {n}") for c in _CSV_COLUMNS[1:])
        marks.setdefault(line["image"], []).append((row, column, likelihood))
    values = {name: np.array(rows, dtype=np.float64) for name, rows in marks.items()}
    return [(name, Marks(v[:, :2], v[:, 2])) for name, v in values.items()]


def _listed(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{len(paths)} paths"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
