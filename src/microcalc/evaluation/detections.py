"""The marks of a detector on the images of a table, read from the project's JSON documents or from CSV files.

JSON: one document per image (`microcalc.detection.result`). CSV (`microcalc.datasets.lines`): columns ``image``,
``row``, ``column`` and ``likelihood``, one line per mark, for any other detector. Rows and columns are pixel centres
of the original image, 0-based. A line in which only ``image`` is filled in states that the image has no mark.

An image is identified by its SOP Instance UID or by the SHA-256 of its file; by name only where one of the two sides
has neither. Sizes and spacings must agree, and every mark must lie inside its image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from microcalc.datasets.lines import Line, number_in, read_lines
from microcalc.datasets.table import MARGIN_PX, ImageRow, Table, check_places
from microcalc.detection.entries import ImageEntry
from microcalc.detection.result import SCHEMA, Result, read_result
from microcalc.errors import InputError
from microcalc.evaluation.images import TableImages
from microcalc.evaluation.marks import Marks, marks_of_document
from microcalc.geometry import outside
from microcalc.storage.index import counted
from microcalc.wording import quantity

_COLUMNS: Final = ("image", "row", "column", "likelihood")
_NAMED: Final = 5
"""Number of images that a remark names."""


@dataclass(frozen=True, eq=False, slots=True)
class DetectionSet:
    """The detections on the images of a table.

    Attributes
    ----------
    marks
        Marks by the name of the image in the table.
    images_without_detections
        Images of the table without detections; they are not evaluated.
    images_not_in_table
        Images with detections that are not in the table; they are not evaluated.
    images_without_lines
        Images without a line in a CSV file of marks; they are evaluated as having no mark.
    stale_files
        Files in a folder of results that the latest run of ``microcalc detect`` did not write; they are not read.
    """

    marks: Mapping[str, Marks]
    images_without_detections: tuple[str, ...] = ()
    images_not_in_table: tuple[str, ...] = ()
    images_without_lines: tuple[str, ...] = ()
    stale_files: tuple[str, ...] = ()

    def remarks(self) -> tuple[str, ...]:
        """Return sentences that name the images that are not evaluated, or evaluated as having no marks."""
        return tuple(
            f"{quantity(len(names), noun)} {text}: {_listed(names)}"
            for names, noun, text in (
                (self.images_without_detections, "image", "of the table without detections, not evaluated"),
                (self.images_not_in_table, "image", "with detections but not in the table, not evaluated"),
                (self.images_without_lines, "image", "of the table without a line, evaluated as having no mark"),
                (self.stale_files, "file", "that the latest run of detect did not write, not read"),
            )
            if names
        )


def read_marks(paths: Sequence[Path], table: Table) -> DetectionSet:
    """Read detections and find their images in a table.

    Parameters
    ----------
    paths
        JSON documents, folders of them (other JSON files in a folder are skipped), CSV files.
    table
        With identifiers, as `microcalc.datasets.open.identified_table` returns it; else images are found by name.

    Raises
    ------
    InputError
        A file is missing or malformed, two files have detections on one image, no detections are on an image of the
        table, an image has another size or spacing than in the table, or a mark lies outside its image.
    """
    images = TableImages(table)
    parts = [_read(path) for path in paths]
    marks: dict[str, Marks] = {}
    sized: dict[str, ImageRow] = {}
    unknown: list[str] = []
    for entry, of_image, where in (item for part in parts for item in part.marks):
        image = images.find(entry, where)
        if image is None:
            unknown.append(images.describe_unknown(entry))
            continue
        if image.image in marks:
            raise InputError(
                f"{where}: image {image.image!r} has detections already, expected them once for each image"
            )
        _refuse_outside(of_image, image, where)
        marks[image.image] = of_image
        if image.shape is None and entry.shape is not None:
            sized[image.image] = replace(image, rows=entry.rows, columns=entry.columns)
    if not marks:
        given = f"such as {unknown[0]}" if unknown else "no detections at all"
        raise InputError(
            f"{_names_of(paths)}: no image of the table has detections ({given}), expected detections on its images"
        )
    check_places(Table(tuple(sized.values()), table.annotations))
    lacking = tuple(row.image for row in table.images if row.image not in marks)
    csv_only = all(path.suffix.lower() == ".csv" for path in paths)
    without_lines = lacking if csv_only and not any(part.lists_empty_images for part in parts) else ()
    marks |= {name: Marks(np.empty((0, 2)), np.empty(0)) for name in without_lines}
    return DetectionSet(
        marks,
        images_without_detections=() if without_lines else lacking,
        images_not_in_table=tuple(unknown),
        images_without_lines=without_lines,
        stale_files=tuple(name for part in parts for name in part.stale_files),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """The content of one path.

    Attributes
    ----------
    marks
        For each image its identity, its marks, and the file they come from.
    stale_files
        As in `DetectionSet`.
    lists_empty_images
        Whether a CSV file has lines of images without marks.
    """

    marks: Sequence[tuple[ImageEntry, Marks, str]]
    stale_files: Sequence[str] = ()
    lists_empty_images: bool = False


def _read(path: Path) -> _Part:
    if path.is_dir():
        return _of_folder(path)
    return _of_csv(path) if path.suffix.lower() == ".csv" else _Part([_of_document(path)])


def _of_folder(folder: Path) -> _Part:
    documents = [file for file in sorted(folder.glob("*.json")) if not file.name.startswith(".")]
    made = counted(folder)
    if made is None:
        return _Part([_of_document(file) for file in documents if _is_document(file)])
    valid = set(made)
    stale = [file.name for file in documents if file not in valid and _is_document(file)]
    return _Part([_of_document(file) for file in made], stale)


def _is_document(file: Path) -> bool:
    """Return whether a JSON file is meant to be a detections document."""
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file.name}: {error.strerror}, expected detections (JSON or CSV), or a folder") from error
    except ValueError as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(f"{file.name}: damaged, not JSON ({reason}), expected detections") from error
    return isinstance(value, dict) and value.get("schema") == SCHEMA


def _of_document(file: Path) -> tuple[ImageEntry, Marks, str]:
    document: Result = read_result(file)
    return document.image, marks_of_document(document), file.name


def _of_csv(file: Path) -> _Part:
    marks: dict[str, list[tuple[float, float, float]]] = {}
    lines: dict[str, list[int]] = {}
    seen: dict[tuple[str, float, float, float], int] = {}
    lists_empty_images = False
    for n, line in read_lines(file, required=_COLUMNS):
        where = f"{file.name} line {n}"
        if not line["image"]:
            raise InputError(f"{where}: the column image is empty, expected the name of an image")
        of_image = marks.setdefault(line["image"], [])
        if not any(line[c] for c in _COLUMNS[1:]):
            lists_empty_images = True
            continue
        mark = _mark(line, where)
        first = seen.setdefault((line["image"], *mark), n)
        if first != n:
            raise InputError(f"{where}: repeats the mark of line {first}, expected every mark once")
        of_image.append(mark)
        lines.setdefault(line["image"], []).append(n)
    return _Part(
        [
            (ImageEntry(file=name), _marks_of(of_image, lines.get(name, [])), file.name)
            for name, of_image in marks.items()
        ],
        lists_empty_images=lists_empty_images,
    )


def _mark(line: Line, where: str) -> tuple[float, float, float]:
    row, column, likelihood = (number_in(line, c, where) for c in _COLUMNS[1:])
    return row, column, likelihood


def _marks_of(marks: Sequence[tuple[float, float, float]], lines: Sequence[int]) -> Marks:
    values = np.array(marks, dtype=np.float64).reshape(-1, 3)
    return Marks(values[:, :2], values[:, 2], lines=tuple(lines))


def _refuse_outside(marks: Marks, image: ImageRow, where: str) -> None:
    if image.shape is None:
        return
    margin_px = MARGIN_PX if marks.lines else max(MARGIN_PX, 0.1 / min(image.spacing_mm))
    beyond = outside(marks.centres_px, image.shape, margin_px=margin_px)
    if beyond.any():
        first = int(beyond.argmax())
        row, column = marks.centres_px[first]
        line = f" line {marks.lines[first]}" if marks.lines else ""
        raise InputError(
            f"{where}{line}: a mark at row {row:g}, column {column:g} lies outside image {image.image!r} of "
            f"{image.rows} x {image.columns} pixels, expected rows and columns of the original image, counted from 0"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + ("" if len(names) <= _NAMED else f" and {len(names) - _NAMED} more")


def _names_of(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else quantity(len(paths), "path")
