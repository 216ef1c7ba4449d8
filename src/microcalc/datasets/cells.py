"""An image and an annotation as cells of a table (see `microcalc.datasets.table_files`): columns, texts, and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, get_args

from microcalc.datasets.lines import Line, number_in, number_of, outline_of, text_in, word_in
from microcalc.datasets.table import AnnotationRow, ImageRow, Split, check_region
from microcalc.domain import Intent, Kind
from microcalc.errors import TableError

IMAGE_COLUMNS: Final = (
    "image", "file", "patient", "system", "intent", "view", "laterality", "row_spacing_mm", "column_spacing_mm",
    "split", "sha256", "tags", "sop_instance_uid", "rows", "columns", "source", "licence",
)  # fmt: skip
IMAGE_REQUIRED: Final = ("image", "file", "intent", "row_spacing_mm", "column_spacing_mm")
ANNOTATION_COLUMNS: Final = (
    "image", "row", "column", "diameter_mm", "kind", "cluster", "outline", "d_prime", "judge", "morphology", "id",
    "when",
)  # fmt: skip
ANNOTATION_REQUIRED: Final = ("image", "row", "column", "kind")
_FORMER_SPLITS = {"tune": "validation"}
"""Split names of earlier versions, and those that replace them."""


def image_texts(i: ImageRow, *, folder: Path, resolved: Callable[[Path], Path]) -> Sequence[str]:
    """Return the cells of an image, in the order of ``IMAGE_COLUMNS``; its file is relative to a folder.

    Parameters
    ----------
    resolved
        Function that returns a folder without symbolic links, and remembers it: a table has few folders.
    """
    return (
        i.image, _relative(i.file, folder, resolved), i.patient, i.system, i.intent, i.view, i.laterality,
        f"{i.spacing_mm[0]:.9g}", f"{i.spacing_mm[1]:.9g}", i.split, i.sha256, i.tags, i.sop_instance_uid,
        "" if i.rows is None else str(i.rows), "" if i.columns is None else str(i.columns), i.source, i.licence,
    )  # fmt: skip


def annotation_texts(a: AnnotationRow) -> Sequence[str]:
    """Return the cells of an annotation, in the order of ``ANNOTATION_COLUMNS``."""
    return (
        a.image, f"{a.row:.3f}", f"{a.column:.3f}", f"{a.diameter_mm:.4g}", a.kind, a.cluster,
        "; ".join(f"{r:.2f} {c:.2f}" for r, c in a.outline),
        "" if a.d_prime is None else f"{a.d_prime:.4g}", a.judge, a.morphology, a.id, a.when,
    )  # fmt: skip


def image_row(line: Line, folder: Path, where: str) -> ImageRow:
    """Return the image of a line, its file relative to a folder; raise ``TableError`` for a cell that is wrong."""
    spacing = (number_in(line, "row_spacing_mm", where), number_in(line, "column_spacing_mm", where))
    if not all(0.02 <= s <= 0.2 for s in spacing):
        raise TableError(f"{where}: spacing {spacing[0]} x {spacing[1]} mm, expected 0.02 to 0.2")
    if not line["image"] or not line["file"]:
        raise TableError(f"{where}: image or file is empty, expected both")
    return ImageRow(
        image=line["image"],
        file=Path(os.path.normpath(folder / line["file"])),
        intent=word_in(line, "intent", get_args(Intent), where),
        spacing_mm=spacing,
        patient=text_in(line, "patient", where),
        system=text_in(line, "system", where),
        view=text_in(line, "view", where),
        laterality=word_in(line, "laterality", ("L", "R", ""), where),
        split=word_in(_today(line), "split", get_args(Split), where),
        sha256=text_in(line, "sha256", where).lower(),
        tags=line.get("tags", ""),
        sop_instance_uid=text_in(line, "sop_instance_uid", where),
        rows=_count_in(line, "rows", where),
        columns=_count_in(line, "columns", where),
        source=sys.intern(text_in(line, "source", where)),  # one text for all images that have it
        licence=sys.intern(text_in(line, "licence", where)),
    )


def _count_in(line: Line, column: str, where: str) -> int | None:
    text = line.get(column, "")
    if not text:
        return None
    number = number_of(text, column, where)
    if number < 1 or number != int(number):
        raise TableError(f"{where}: {column} is {text[:40]!r}, expected a number of pixels")
    return int(number)


def _today(line: Line) -> Line:
    """Return a line in which a former word for a split is today's."""
    split = line.get("split", "")
    return {**line, "split": _FORMER_SPLITS.get(split, split)}


def annotation_row(line: Line, where: str) -> AnnotationRow:
    """Return the annotation of a line; raise ``TableError`` for a cell that is wrong."""
    row = AnnotationRow(
        image=line["image"],
        row=number_in(line, "row", where),
        column=number_in(line, "column", where),
        diameter_mm=_not_negative(line, "diameter_mm", where) or 0.0,
        kind=word_in(line, "kind", get_args(Kind), where),
        cluster=text_in(line, "cluster", where),
        outline=outline_of(line.get("outline", ""), where),
        d_prime=_not_negative(line, "d_prime", where),
        judge=line.get("judge", ""),
        morphology=line.get("morphology", ""),
        id=text_in(line, "id", where),
        when=text_in(line, "when", where),
        where=where,
    )
    check_region(row)
    return row


def _not_negative(line: Line, column: str, where: str) -> float | None:
    """Return a measured value, or None for an empty cell."""
    if not line.get(column):
        return None
    value = number_in(line, column, where)
    if value < 0:
        raise TableError(f"{where}: {column} is {value:g}, expected 0 or more")
    return value


def _relative(file: Path, folder: Path, resolved: Callable[[Path], Path]) -> str:
    """Return the path of a file relative to a folder without symbolic links."""
    real = file.resolve() if file.is_symlink() else resolved(file.parent) / file.name
    try:
        return real.relative_to(folder).as_posix()
    except ValueError:
        return os.path.relpath(real, folder)
