"""What a detector found in the images of a table, read from files: the project's JSON, or a plain CSV of marks.

JSON: one file per image (``detection.result``). CSV (``datasets.lines``): columns ``image``, ``row``, ``column``,
``likelihood``, one line per mark, for any other detector. Rows and columns are pixel centres of the original
image, 0-based. A line of which all but ``image`` is empty says that the image was searched and has no mark.

Which image is meant is told by the SOP Instance UID or the SHA-256 of the file; by names only where one of the
two sides knows neither. Sizes and spacings have to agree, and no mark lies outside its image.
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
from microcalc.detection.result import SCHEMA, ImageEntry, Result, read_result
from microcalc.errors import InputError
from microcalc.evaluation.images import TableImages
from microcalc.evaluation.marks import Marks, marks_of_document
from microcalc.geometry import outside
from microcalc.storage.index import counted

_COLUMNS: Final = ("image", "row", "column", "likelihood")
_NAMED: Final = 5
"""How many images a remark names."""


@dataclass(frozen=True, eq=False, slots=True)
class DetectionSet:
    """The detections on the images of a table.

    Attributes
    ----------
    of
        Maps image names of the table to marks.
    without
        Images of the table without detections; they are not judged.
    not_in_table
        Images with detections that the table does not have; they are not judged.
    taken_for_empty
        Images without a line in a CSV of marks, judged as searched and without a mark.
    passed_over
        Files in a folder of results that the latest call of ``microcalc detect`` did not make; not judged.
    """

    of: Mapping[str, Marks]
    without: tuple[str, ...] = ()
    not_in_table: tuple[str, ...] = ()
    taken_for_empty: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    def remarks(self) -> tuple[str, ...]:
        """Return in words which images are judged without marks, and which are not judged."""
        return tuple(
            f"{len(names)} {words}: {_listed(names)}"
            for names, words in (
                (self.without, "images of the table without detections, left out"),
                (self.not_in_table, "images with detections that are not in the table, left out"),
                (self.taken_for_empty, "images of the table without a line, counted as without marks"),
                (self.passed_over, "files that the latest run of detect did not make, passed over"),
            )
            if names
        )


def read_marks(paths: Sequence[Path], table: Table) -> DetectionSet:
    """Read detections and find their images in a table.

    Parameters
    ----------
    paths
        JSON files, folders of them (other JSON files there are passed over), CSV files.
    table
        As ``datasets.open.identified_table`` gives it, so that images are known by more than their names.

    Raises
    ------
    InputError
        A file is missing or breaks its format, two speak of one image, none fits the table, an image is of
        another size or spacing than the table's, or a place lies outside its image.
    """
    images = TableImages(table)
    found: dict[str, Marks] = {}
    sized: dict[str, ImageRow] = {}
    strangers: list[str] = []
    passed_over: list[str] = []
    csv_only, says_empty = all(path.suffix.lower() == ".csv" for path in paths), False
    for path in paths:
        part = _read(path)
        passed_over += part.passed_over
        says_empty |= part.says_empty
        for entry, marks, where in part.marks:
            image = images.find(entry, where)
            if image is None:
                strangers.append(images.say_who(entry))
                continue
            if image.image in found:
                raise InputError(
                    f"{where}: image {image.image!r} has detections already, expected them once for each image"
                )
            _refuse_outside(marks, image, where)
            found[image.image] = marks
            if image.shape is None and entry.shape is not None:
                sized[image.image] = replace(image, rows=entry.rows, columns=entry.columns)
    if not found:
        seen = f"such as {strangers[0]}" if strangers else "no detections at all"
        raise InputError(
            f"{_names_of(paths)}: no image of the table has detections ({seen}), expected detections on its images"
        )
    check_places(Table(tuple(sized.values()), table.annotations))
    lacking = tuple(row.image for row in table.images if row.image not in found)
    empty = lacking if csv_only and not says_empty else ()
    found |= {name: Marks(np.empty((0, 2)), np.empty(0)) for name in empty}
    return DetectionSet(
        found,
        without=() if empty else lacking,
        not_in_table=tuple(strangers),
        taken_for_empty=empty,
        passed_over=tuple(passed_over),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """What one path gives: of each image what it says of it, its marks, and where they stand."""

    marks: Sequence[tuple[ImageEntry, Marks, str]]
    passed_over: Sequence[str] = ()
    says_empty: bool = False


def _read(path: Path) -> _Part:
    if path.is_dir():
        return _of_folder(path)
    return _of_csv(path) if path.suffix.lower() == ".csv" else _Part([_of_document(path)])


def _of_folder(folder: Path) -> _Part:
    documents = [file for file in sorted(folder.glob("*.json")) if not file.name.startswith(".")]
    made = counted(folder)
    if made is None:
        return _Part([_of_document(file) for file in documents if _is_document(file)])
    stale = [file.name for file in documents if file not in made and _is_document(file)]
    return _Part([_of_document(file) for file in made], stale)


def _is_document(file: Path) -> bool:
    """Whether a JSON file is meant to be a detections document; other JSON files are passed over."""
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file.name}: {error.strerror}, expected detections (JSON or CSV), or a folder") from error
    except ValueError as error:
        said = (str(error).splitlines() or [""])[0]
        raise InputError(f"{file.name}: damaged, no JSON ({said}), expected detections") from error
    return isinstance(value, dict) and value.get("schema") == SCHEMA


def _of_document(file: Path) -> tuple[ImageEntry, Marks, str]:
    document: Result = read_result(file)
    return document.image, marks_of_document(document), file.name


def _of_csv(file: Path) -> _Part:
    marks: dict[str, list[tuple[float, float, float]]] = {}
    lines: dict[str, list[int]] = {}
    seen: dict[tuple[str, float, float, float], int] = {}
    says_empty = False
    for n, line in read_lines(file, required=_COLUMNS):
        where = f"{file.name} line {n}"
        if not line["image"]:
            raise InputError(f"{where}: image is empty, expected the name of one")
        its = marks.setdefault(line["image"], [])
        if not any(line[c] for c in _COLUMNS[1:]):
            says_empty = True
            continue
        mark = _mark(line, where)
        first = seen.setdefault((line["image"], *mark), n)
        if first != n:
            raise InputError(f"{where}: the mark of line {first} again, expected every mark once")
        its.append(mark)
        lines.setdefault(line["image"], []).append(n)
    return _Part(
        [(ImageEntry(file=name), _marks_of(its, lines.get(name, [])), file.name) for name, its in marks.items()],
        says_empty=says_empty,
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
    return paths[0].name if len(paths) == 1 else f"{len(paths)} paths"
