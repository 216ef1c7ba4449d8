"""What a detector found, read from files: the project's JSON, or a plain CSV of marks.

JSON: one file per image, ``"schema": "microcalc/detections/1"``. CSV (UTF-8, header
line): columns ``image``, ``row``, ``column``, ``likelihood``, one line per mark, for
any other detector. Rows and columns are pixel centres of the original image, 0-based.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.lines import number_in, read_lines
from microcalc.datasets.table import ImageRow, Table
from microcalc.errors import InputError

SCHEMA = "microcalc/detections/1"
_CSV_COLUMNS = ("image", "row", "column", "likelihood")


@dataclass(frozen=True, eq=False, slots=True)
class Detections:
    """The marks on one image, in its pixels.

    Attributes
    ----------
    centres_px, likelihood
        (n, 2) row and column, (n,).
    members
        Of each cluster, indices of its marks; None where the detector does not group.
    cluster_likelihood, finding
        (c,) of each cluster its rating, and whether the default operating point shows it.
    breast_area_cm2
        None where the detector does not say.
    """

    centres_px: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    members: tuple[NDArray[np.int64], ...] | None = None
    cluster_likelihood: NDArray[np.float64] | None = None
    finding: NDArray[np.bool_] | None = None
    breast_area_cm2: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class DetectionSet:
    """The detections on the images of a table.

    ``of`` maps image names of the table to detections. ``not_in_table`` names images with
    detections that the table does not have; ``without`` images of the table without
    detections. Neither of the two is judged.
    """

    of: Mapping[str, Detections]
    not_in_table: tuple[str, ...]
    without: tuple[str, ...]


def read_detections(paths: Sequence[Path], table: Table) -> DetectionSet:
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
    found: dict[str, Detections] = {}
    strangers: list[str] = []
    for path in paths:
        for name, detections, file in _read(path):
            image = names.find(name, file)
            if image is None:
                strangers.append(name)
            elif image in found:
                raise InputError(f"{file.name}: image {image!r} has detections already, expected one file per image")
            else:
                found[image] = detections
    if not found:
        seen = f"such as {strangers[0]!r}" if strangers else "no detections at all"
        raise InputError(f"{_listed(paths)}: no image of the table has detections ({seen}), expected its file names")
    if any(path.suffix.lower() == ".csv" for path in paths):
        for row in table.images:
            found.setdefault(row.image, Detections(np.empty((0, 2)), np.empty(0)))
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


def _read(path: Path) -> list[tuple[str, Detections, Path]]:
    if path.is_dir():
        parsed = ((file, _json(file)) for file in sorted(path.glob("*.json")))
        return [_of_json(value, file) for file, value in parsed if _schema(value) == SCHEMA]
    if path.suffix.lower() == ".csv":
        return [(name, detections, path) for name, detections in _of_csv(path)]
    return [_of_json(_json(path), path)]


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file.name}: {error.strerror}, expected detections (JSON or CSV), or a folder") from error
    except ValueError as error:
        raise InputError(f"{file.name}: no JSON ({_first_line(error)}), expected detections") from error


def _schema(value: Any) -> Any:
    return value.get("schema") if isinstance(value, dict) else None


def _of_json(value: Any, file: Path) -> tuple[str, Detections, Path]:
    if _schema(value) != SCHEMA:
        raise InputError(f"{file.name}: schema is {_schema(value)!r}, expected {SCHEMA!r}")
    try:
        name = str(value["image"]["file"])
        centres = _numbers([(c["row"], c["column"]) for c in value["candidates"]]).reshape(-1, 2)
        likelihood = _numbers([c["likelihood"] for c in value["candidates"]])
        clusters = value["clusters"]
        members = tuple(np.array(c["members"], dtype=np.int64) for c in clusters)
        if any(m.size == 0 or m.min() < 0 or m.max() >= len(centres) for m in members):
            raise InputError(f"{file.name}: a cluster has no members, or one that is not a candidate")
        area = value.get("breast_area_cm2")
        detections = Detections(
            centres,
            likelihood,
            members,
            _numbers([c["likelihood"] for c in clusters]),
            np.array([bool(c["finding"]) for c in clusters], dtype=np.bool_),
            None if area is None else float(_numbers([area])[0]),
        )
    except KeyError as error:
        raise InputError(f"{file.name}: entry {error.args[0]!r} is missing, expected as in {SCHEMA}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{file.name}: {_first_line(error)}, expected values as in {SCHEMA}") from None
    return name, detections, file


def _of_csv(file: Path) -> list[tuple[str, Detections]]:
    marks: dict[str, list[tuple[float, float, float]]] = {}
    for n, line in read_lines(file, required=_CSV_COLUMNS):
        row, column, likelihood = (number_in(line, c, f"{file.name} line {n}") for c in _CSV_COLUMNS[1:])
        marks.setdefault(line["image"], []).append((row, column, likelihood))
    values = {name: np.array(rows, dtype=np.float64) for name, rows in marks.items()}
    return [(name, Detections(v[:, :2], v[:, 2])) for name, v in values.items()]


def _numbers(values: Sequence[Any]) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a number is not finite")
    return array


def _listed(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{len(paths)} paths"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
