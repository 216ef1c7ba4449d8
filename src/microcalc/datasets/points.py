"""Read annotations from CSV files of points or boxes, one per line, as other programs and spreadsheets write them.

A line names its image (column ``image``, ``file``, ``file_name`` or ``filename``) and a place: ``row`` and ``column``,
or ``y`` and ``x``, in pixels of the original image, 0 at the centre of the first pixel; or a box: ``ymin``, ``xmin``,
``ymax`` and ``xmax``. ``kind`` (without it: microcalcification, of a box calcification_region), ``diameter_mm``,
``cluster``, ``judge``, ``morphology``, ``id`` and ``when`` may be there too; other columns are ignored. A box of
another kind stands for a place in its middle, with its mean side as the diameter. A line with four empty cells for a
box has no annotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

from microcalc.datasets.categories import Categories
from microcalc.datasets.lines import Line, number_in, read_lines, text_in
from microcalc.datasets.outlines import Corners, ImageNames, box_corners, check_rows, mean_corner
from microcalc.datasets.table import AnnotationRow, ImageRow, Table, check_places
from microcalc.domain import REGION, Kind
from microcalc.errors import TableError

_IMAGE: Final = ("image", "file", "file_name", "filename")
_BOX: Final = ("ymin", "xmin", "ymax", "xmax")
_PLACES: Final = (("row", "column"), ("y", "x"), _BOX)
_OPTIONAL: Final = ("diameter_mm", "kind", "cluster", "judge", "morphology", "id", "when")


def read_points(file: Path, images: Table, *, categories: Sequence[str] = ()) -> Table:
    """Return the images with the annotations of a CSV file.

    Parameters
    ----------
    images
        The images; their own annotations are left out.
    categories
        What other words in the column ``kind`` are, ``"word=kind"``; see ``Categories``.

    Raises
    ------
    InputError
        ``categories`` says nothing of this file.
    TableError
        The file has no such columns, or a line has a value that is not allowed, an image that is not among
        ``images``, a place outside it, or the place or ``id`` of another line.
    """
    kinds: Categories[Any] = Categories(categories, get_args(Kind))
    lines = read_lines(file, required=(), optional=_OPTIONAL)
    if not lines:
        raise TableError(f"{file.name}: no point, expected a header line and at least one line below it")
    header = list(lines[0][1])
    image_column = _only(header, [(name,) for name in _IMAGE], file.name)[0]
    row_column = _only(header, _PLACES, file.name)
    names = ImageNames(images.images)
    usual = REGION if row_column == _BOX else "microcalcification"
    rows = []
    for number, line in lines:
        where = f"{file.name} line {number}"
        image = names.find(line[image_column], where)
        kind = kinds.kind_of(line.get("kind") or usual, where)
        if kind is not None and (row_column != _BOX or any(line[column] for column in _BOX)):
            rows.append(_row(line, image, row_column, kind, where))
    kinds.check_used(file.name)
    check_rows(rows)
    table = Table(images.images, tuple(rows))
    check_places(table)
    return table


def _only(header: Sequence[str], choices: Sequence[tuple[str, ...]], where: str) -> tuple[str, ...]:
    """Return the one choice of columns that is there."""
    there = [choice for choice in choices if all(column in header for column in choice)]
    if len(there) != 1:
        found = ", ".join(repr(column[:40]) for column in header[:12])
        expected = " or ".join(" and ".join(choice) for choice in choices)
        raise TableError(f"{where}: columns {found}, expected {'one of ' if there else ''}{expected}")
    return there[0]


def _row(line: Line, image: ImageRow, place: tuple[str, ...], kind: Kind, where: str) -> AnnotationRow:
    numbers = [number_in(line, column, where) for column in place]
    outline, side_mm = _box(numbers, image, where) if place == _BOX else ((), 0.0)
    diameter_mm = number_in(line, "diameter_mm", where) if line.get("diameter_mm") else side_mm
    if diameter_mm < 0:
        raise TableError(f"{where}: diameter_mm is {diameter_mm:g}, expected 0 or more")
    row, column = mean_corner(outline) if outline else numbers
    return AnnotationRow(
        image=image.image,
        row=row,
        column=column,
        diameter_mm=0.0 if kind == REGION else diameter_mm,
        kind=kind,
        cluster=text_in(line, "cluster", where),
        outline=outline if kind == REGION else (),
        judge=line.get("judge", ""),
        morphology=line.get("morphology", ""),
        id=text_in(line, "id", where),
        when=text_in(line, "when", where),
        where=where,
    )


def _box(numbers: Sequence[float], image: ImageRow, where: str) -> tuple[Corners, float]:
    """Return the corners of a box in pixels, and its mean side in mm."""
    top, left, bottom, right = numbers
    if bottom <= top or right <= left:
        raise TableError(
            f"{where}: a box of rows {top:g} to {bottom:g} and columns {left:g} to {right:g}, expected min below max"
        )
    side_mm = ((bottom - top) * image.spacing_mm[0] + (right - left) * image.spacing_mm[1]) / 2
    return box_corners(top, left, bottom, right), side_mm
