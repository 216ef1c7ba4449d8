"""The one table format for images and annotations.

A data set is a folder with two CSV files (UTF-8, comma, header line):

``images.csv``, one line per image:
    ``image`` (unique name), ``file`` (path, relative to the folder, or absolute),
    ``patient``, ``system``, ``intent`` (``raw`` or ``processed``), ``view``,
    ``laterality`` (``L`` or ``R``), ``row_spacing_mm``, ``column_spacing_mm``,
    ``split`` (``train``, ``tune``, ``test``, or empty: not decided), ``sha256`` (may
    be empty), ``tags`` (free words, may be empty).
``annotations.csv``, one line per place:
    ``image``, ``row``, ``column`` (pixel centres of the original image, 0-based,
    fractions allowed), ``diameter_mm`` (0: not measured), ``kind``, ``cluster``
    (empty: none), ``outline`` (``row column; row column; ...``, may be empty),
    ``d_prime`` (visibility to the ideal observer, may be empty), ``judge`` (who says so),
    ``morphology`` (words, may be empty).

``patient``, ``system``, ``view`` and ``laterality`` may be empty for pictures; an
image without a patient counts as a patient of its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from microcalc.datasets.lines import Line, number_in, read_lines, word_in, write_lines
from microcalc.domain import Annotations, Intent, Kind, Laterality
from microcalc.errors import TableError
from microcalc.geometry import Grid

Split = Literal["train", "tune", "test", ""]
IMAGES, ANNOTATIONS = "images.csv", "annotations.csv"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One line of ``images.csv``; ``file`` is resolved against the table's folder."""

    image: str
    file: Path
    intent: Intent
    spacing_mm: tuple[float, float]
    patient: str = ""
    system: str = ""
    view: str = ""
    laterality: Laterality | Literal[""] = ""
    split: Split = ""
    sha256: str = ""
    tags: str = ""

    @property
    def patient_or_image(self) -> str:
        """The patient; an image without one counts as a patient of its own."""
        return self.patient or f"image:{self.image}"

    @property
    def grid(self) -> Grid:
        """Where the original image's pixels lie."""
        return Grid(self.spacing_mm)


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """One line of ``annotations.csv``, in pixels of the original image."""

    image: str
    row: float
    column: float
    diameter_mm: float = 0.0
    kind: Kind = "microcalcification"
    cluster: str = ""
    outline: tuple[tuple[float, float], ...] = ()
    d_prime: float | None = None
    judge: str = ""
    morphology: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A data set: its images, and what is known to be in them."""

    images: tuple[ImageRow, ...]
    annotations: tuple[AnnotationRow, ...] = field(default=())

    def annotations_of(self, image: ImageRow) -> Annotations:
        """The annotations of one image, positions in mm."""
        rows = [a for a in self.annotations if a.image == image.image]
        pixels = np.array([(a.row, a.column) for a in rows], dtype=np.float64).reshape(-1, 2)
        return Annotations(
            centres=image.grid.to_mm(pixels),
            diameter_mm=np.array([a.diameter_mm for a in rows], dtype=np.float64),
            kind=np.array([a.kind for a in rows], dtype=np.str_),
            cluster=np.array([a.cluster for a in rows], dtype=np.str_),
        )

    def of_split(self, split: Split) -> Table:
        """The images of one split with their annotations."""
        return self.of_images(i for i in self.images if i.split == split)

    def of_images(self, images: Iterable[ImageRow]) -> Table:
        """Some of the images with their annotations."""
        chosen = tuple(images)
        names = {i.image for i in chosen}
        return Table(chosen, tuple(a for a in self.annotations if a.image in names))


def is_table(path: Path) -> bool:
    """Whether a path is a data set in this format: ``images.csv``, or a folder with one, with the columns required."""
    file = path if path.name == IMAGES else path / IMAGES
    if not file.is_file():
        return False
    with file.open(encoding="utf-8-sig", errors="replace") as handle:
        columns = [c.strip() for c in handle.readline().split(",")]
    return all(c in columns for c in _IMAGE_REQUIRED)


def read_table(path: Path) -> Table:
    """Read a data set.

    Parameters
    ----------
    path
        The folder, or its ``images.csv``.

    Raises
    ------
    TableError
        A file or column is missing, or a line has a value that is not allowed.
    """
    folder = path.parent if path.name == IMAGES else path
    name = folder.resolve().name
    if not (folder / IMAGES).is_file():
        raise TableError(f"{name}: no {IMAGES}, expected a folder with {IMAGES} and {ANNOTATIONS}")
    images = tuple(
        _image_row(line, folder, f"{name}/{IMAGES} line {n}")
        for n, line in read_lines(folder / IMAGES, required=_IMAGE_REQUIRED)
    )
    names = [i.image for i in images]
    _refuse_repeated(names, f"{name}/{IMAGES}")
    _refuse_split_patients(images, f"{name}/{IMAGES}")
    annotations: tuple[AnnotationRow, ...] = ()
    if (folder / ANNOTATIONS).is_file():
        annotations = tuple(
            _annotation_row(line, f"{name}/{ANNOTATIONS} line {n}")
            for n, line in read_lines(folder / ANNOTATIONS, required=("image", "row", "column", "kind"))
        )
    known = set(names)
    for row in annotations:
        if row.image not in known:
            raise TableError(f"{name}/{ANNOTATIONS}: image {row.image!r} is not in {IMAGES}")
    return Table(images, annotations)


def join_tables(tables: Sequence[Table]) -> Table:
    """Several data sets as one.

    Raises
    ------
    TableError
        An image is in two of them, or a patient in two splits.
    """
    images = tuple(i for t in tables for i in t.images)
    _refuse_repeated([i.image for i in images], "the tables together")
    _refuse_split_patients(images, "the tables together")
    return Table(images, tuple(a for t in tables for a in t.annotations))


def write_table(table: Table, folder: Path) -> None:
    """Write ``images.csv`` and ``annotations.csv``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(
        folder / IMAGES,
        _IMAGE_COLUMNS,
        (
            (
                i.image, _relative(i.file, folder), i.patient, i.system, i.intent, i.view, i.laterality,
                f"{i.spacing_mm[0]:.9g}", f"{i.spacing_mm[1]:.9g}", i.split, i.sha256, i.tags,
            )
            for i in table.images
        ),
    )  # fmt: skip
    write_lines(
        folder / ANNOTATIONS,
        _ANNOTATION_COLUMNS,
        (
            (
                a.image, f"{a.row:.3f}", f"{a.column:.3f}", f"{a.diameter_mm:.4g}", a.kind, a.cluster,
                "; ".join(f"{r:.2f} {c:.2f}" for r, c in a.outline),
                "" if a.d_prime is None else f"{a.d_prime:.4g}", a.judge, a.morphology,
            )
            for a in table.annotations
        ),
    )  # fmt: skip


_IMAGE_COLUMNS = (
    "image", "file", "patient", "system", "intent", "view", "laterality",
    "row_spacing_mm", "column_spacing_mm", "split", "sha256", "tags",
)  # fmt: skip
_IMAGE_REQUIRED = ("image", "file", "intent", "row_spacing_mm", "column_spacing_mm")
_ANNOTATION_COLUMNS = tuple(f.name for f in fields(AnnotationRow))


def _image_row(line: Line, folder: Path, where: str) -> ImageRow:
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
        patient=line.get("patient", ""),
        system=line.get("system", ""),
        view=line.get("view", ""),
        laterality=word_in(line, "laterality", ("L", "R", ""), where),
        split=word_in(line, "split", get_args(Split), where),
        sha256=line.get("sha256", ""),
        tags=line.get("tags", ""),
    )


def _annotation_row(line: Line, where: str) -> AnnotationRow:
    return AnnotationRow(
        image=line["image"],
        row=number_in(line, "row", where),
        column=number_in(line, "column", where),
        diameter_mm=number_in(line, "diameter_mm", where) if line.get("diameter_mm") else 0.0,
        kind=word_in(line, "kind", get_args(Kind), where),
        cluster=line.get("cluster", ""),
        outline=_outline(line.get("outline", ""), where),
        d_prime=number_in(line, "d_prime", where) if line.get("d_prime") else None,
        judge=line.get("judge", ""),
        morphology=line.get("morphology", ""),
    )


def _outline(text: str, where: str) -> tuple[tuple[float, float], ...]:
    try:
        pairs = [tuple(float(v) for v in pair.split()) for pair in text.split(";") if pair.strip()]
        return tuple((row, column) for row, column in pairs)
    except ValueError:
        raise TableError(f"{where}: outline is {text[:40]!r}, expected 'row column; row column; ...'") from None


def _refuse_repeated(names: Sequence[str], where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise TableError(f"{where}: image {name!r} is listed {count} times, expected once")


def _refuse_split_patients(images: Sequence[ImageRow], where: str) -> None:
    split_of: dict[str, str] = {}
    for image in images:
        first = split_of.setdefault(image.patient_or_image, image.split)
        if first != image.split:
            raise TableError(
                f"{where}: image {image.image!r} and another of its patient are in splits "
                f"{first!r} and {image.split!r}, expected one split per patient"
            )


def _relative(file: Path, folder: Path) -> str:
    try:
        return file.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return os.path.relpath(file.resolve(), folder.resolve())
