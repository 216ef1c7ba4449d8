"""Read and write tables of images and annotations.

A data set is a folder with two CSV files (UTF-8, comma, header line):

``images.csv``, one line per image:
    ``image`` (unique name), ``file`` (path, relative to the folder, or absolute),
    ``patient``, ``system``, ``intent`` (``raw`` or ``processed``), ``view``,
    ``laterality`` (``L`` or ``R``), ``row_spacing_mm``, ``column_spacing_mm``,
    ``split`` (``train``, ``validation``, ``test``, or empty: not decided), ``sha256`` (may
    be empty), ``tags`` (free words, may be empty), ``sop_instance_uid``, ``rows``,
    ``columns`` (of the image; may be empty).
``annotations.csv``, one line per place:
    ``image``, ``row``, ``column`` (pixel centres of the original image, 0-based,
    fractions allowed), ``diameter_mm`` (0: not measured), ``kind``, ``cluster``
    (empty: none), ``outline`` (``row column; row column; ...``, may be empty),
    ``d_prime`` (visibility to the ideal observer, may be empty), ``judge`` (who says so),
    ``morphology`` (words, may be empty), ``id`` (identifies the annotation when it is moved,
    exported and read back; may be empty), ``when`` (time of the last change, ISO 8601 in UTC,
    may be empty).

``patient``, ``system``, ``view`` and ``laterality`` may be empty for pictures; an
image without a patient counts as a separate patient. No image is listed twice, by
name, file, content or UID, and no annotation either, by place or ``id``. No annotation lies outside its
image, where the size of the image is known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np

from microcalc.datasets.lines import Line, number_in, number_of, read_lines, table_bytes, text_in, word_in
from microcalc.domain import Annotations, Intent, Kind, Laterality
from microcalc.errors import TableError
from microcalc.geometry import Grid, outside
from microcalc.images.info import ImageInfo
from microcalc.storage.ownership import owner_of, write_editable
from microcalc.storage.write import saying_where, write_whole

Split = Literal["train", "validation", "test", ""]
_FORMER_SPLITS = {"tune": "validation"}
"""Split names of earlier versions, and those that replace them."""
IMAGES, ANNOTATIONS = "images.csv", "annotations.csv"
MARGIN_PX: Final = 0.49
"""How far beyond the edge a place may lie: the last pixel of a coarser raster may; one counted from 1 may not."""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """Hold one line of ``images.csv``; ``file`` is resolved against the folder of the table.

    ``sop_instance_uid`` is empty, and ``rows`` and ``columns`` are None, where the table does not have them.
    """

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
    sop_instance_uid: str = ""
    rows: int | None = None
    columns: int | None = None

    @property
    def shape(self) -> tuple[int, int] | None:
        """Return (rows, columns); None where they are not known."""
        return None if self.rows is None or self.columns is None else (self.rows, self.columns)

    @property
    def info(self) -> ImageInfo:
        """Return what the table states about the image, for files without a header."""
        return ImageInfo(self.spacing_mm, self.intent, self.system or None, self.view or None, self.laterality or None)

    @property
    def patient_or_image(self) -> str:
        """Return the patient; an image without one counts as a separate patient."""
        return self.patient or f"image:{self.image}"

    @property
    def grid(self) -> Grid:
        """Return the pixel grid of the original image."""
        return Grid(self.spacing_mm)


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """Hold one line of ``annotations.csv``, in pixels of the original image; ``where`` is its origin, for messages."""

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
    id: str = ""
    when: str = ""
    where: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    """Hold a data set: its images and their annotations."""

    images: tuple[ImageRow, ...]
    annotations: tuple[AnnotationRow, ...] = field(default=())
    _rows_of: Mapping[str, tuple[AnnotationRow, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the annotations by image, once."""
        rows: dict[str, list[AnnotationRow]] = {}
        for row in self.annotations:
            rows.setdefault(row.image, []).append(row)
        object.__setattr__(self, "_rows_of", {image: tuple(its) for image, its in rows.items()})

    def rows_of(self, image: ImageRow) -> tuple[AnnotationRow, ...]:
        """Return the annotations of one image as they stand in the table, in its order."""
        return self._rows_of.get(image.image, ())

    def annotations_of(self, image: ImageRow) -> Annotations:
        """Return the annotations of one image, positions in mm."""
        rows = self.rows_of(image)
        pixels = np.array([(a.row, a.column) for a in rows], dtype=np.float64).reshape(-1, 2)
        return Annotations(
            centres=image.grid.to_mm(pixels),
            diameter_mm=np.array([a.diameter_mm for a in rows], dtype=np.float64),
            kind=np.array([a.kind for a in rows], dtype=np.str_),
            cluster=np.array([a.cluster for a in rows], dtype=np.str_),
        )

    def of_split(self, split: Split) -> Table:
        """Return the images of one split with their annotations."""
        return self.of_images(i for i in self.images if i.split == split)

    def of_images(self, images: Iterable[ImageRow]) -> Table:
        """Return some of the images with their annotations."""
        chosen = tuple(images)
        names = {i.image for i in chosen}
        return Table(chosen, tuple(a for a in self.annotations if a.image in names))


def is_table(path: Path) -> bool:
    """Return whether a path is meant as a data set: ``images.csv``, or a folder with such a file.

    Whether it keeps to the format is for ``read_table`` to say, and a file that differs in upper and lower
    case alone is meant, too: nothing that looks like a table is taken for a folder of images.
    """
    if path.is_dir():
        try:
            return any(file.name.lower() == IMAGES for file in path.iterdir())
        except OSError:
            return False  # whoever opens the folder says why it cannot be read
    return path.name.lower() == IMAGES


def read_table(path: Path) -> Table:
    """Read a data set.

    Parameters
    ----------
    path
        The folder, or its ``images.csv``.

    Raises
    ------
    TableError
        A file or column is missing, a line has a value that is not allowed, an image or an annotation is listed
        twice, or an annotation lies outside its image, where the table has the size of the image.
    """
    folder = path.parent if path.name.lower() == IMAGES and not path.is_dir() else path
    name = folder.resolve().name
    if not (folder / IMAGES).is_file():
        meant = sorted(f.name for f in folder.iterdir() if f.name.lower() == IMAGES) if folder.is_dir() else []
        found = f"{meant[0]} but no {IMAGES}" if meant else f"no {IMAGES}"
        raise TableError(f"{name}: {found}, expected a folder with {IMAGES} and {ANNOTATIONS}")
    images = _read_images(folder, f"{name}/{IMAGES}")
    annotations = _read_annotations(folder / ANNOTATIONS, f"{name}/{ANNOTATIONS}", {i.image for i in images})
    table = Table(images, annotations)
    check_places(table)
    return table


def join_tables(tables: Sequence[Table]) -> Table:
    """Return several data sets as one.

    Raises
    ------
    TableError
        An image is in two of them, or a patient is in two splits.
    """
    images = tuple(i for t in tables for i in t.images)
    refuse_repeated(images, "the tables together")
    _refuse_split_patients(images, "the tables together")
    return Table(images, tuple(a for t in tables for a in t.annotations))


def check_places(table: Table) -> None:
    """Refuse annotations outside their images, as far as the sizes of these are known.

    Raises
    ------
    TableError
        Names the first such place and its line, and how many more there are.
    """
    wrong: list[str] = []
    for image in table.images:
        rows = table.rows_of(image)
        if image.shape is None or not rows:
            continue
        beyond = outside(
            np.array([(a.row, a.column) for a in rows], dtype=np.float64), image.shape, margin_px=MARGIN_PX
        )
        wrong += [_beyond(a, image) for a, is_beyond in zip(rows, beyond, strict=True) if is_beyond]
    if wrong:
        more = f" (and {len(wrong) - 1} more such places)" if len(wrong) > 1 else ""
        raise TableError(f"{wrong[0]}{more}, expected rows and columns counted from 0 at the centre of the first pixel")


def _beyond(row: AnnotationRow, image: ImageRow) -> str:
    return (
        f"{row.where or 'annotation'}: row {row.row:g}, column {row.column:g} lies outside image {image.image!r} "
        f"of {image.rows} x {image.columns} pixels"
    )


def write_table(table: Table, folder: Path) -> None:
    """Write ``images.csv`` and ``annotations.csv``, each whole or not at all.

    Where the folder bears the mark of a command, a table that has been edited since it was written stays.

    Raises
    ------
    OutputError
        The folder holds a table that a person has edited, or the system refused to write.
    """
    with saying_where(folder / IMAGES):
        folder.mkdir(parents=True, exist_ok=True)
    write = write_whole if owner_of(folder) is None else write_editable
    # Images last: where they stand, their annotations stand, too.
    write(folder / ANNOTATIONS, table_bytes(_ANNOTATION_COLUMNS, map(_annotation_texts, table.annotations)))
    write(folder / IMAGES, table_bytes(_IMAGE_COLUMNS, (_image_texts(i, folder) for i in table.images)))


def _image_texts(i: ImageRow, folder: Path) -> Sequence[str]:
    return (
        i.image, _relative(i.file, folder), i.patient, i.system, i.intent, i.view, i.laterality,
        f"{i.spacing_mm[0]:.9g}", f"{i.spacing_mm[1]:.9g}", i.split, i.sha256, i.tags, i.sop_instance_uid,
        "" if i.rows is None else str(i.rows), "" if i.columns is None else str(i.columns),
    )  # fmt: skip


def _annotation_texts(a: AnnotationRow) -> Sequence[str]:
    return (
        a.image, f"{a.row:.3f}", f"{a.column:.3f}", f"{a.diameter_mm:.4g}", a.kind, a.cluster,
        "; ".join(f"{r:.2f} {c:.2f}" for r, c in a.outline),
        "" if a.d_prime is None else f"{a.d_prime:.4g}", a.judge, a.morphology, a.id, a.when,
    )  # fmt: skip


_IMAGE_COLUMNS: Final = (
    "image", "file", "patient", "system", "intent", "view", "laterality", "row_spacing_mm", "column_spacing_mm",
    "split", "sha256", "tags", "sop_instance_uid", "rows", "columns",
)  # fmt: skip
_IMAGE_REQUIRED: Final = ("image", "file", "intent", "row_spacing_mm", "column_spacing_mm")
_ANNOTATION_COLUMNS: Final = (
    "image", "row", "column", "diameter_mm", "kind", "cluster", "outline", "d_prime", "judge", "morphology", "id",
    "when",
)  # fmt: skip
_ANNOTATION_REQUIRED: Final = ("image", "row", "column", "kind")


def _read_images(folder: Path, where: str) -> tuple[ImageRow, ...]:
    lines = read_lines(folder / IMAGES, required=_IMAGE_REQUIRED, optional=_IMAGE_COLUMNS, where=where)
    images = tuple(_image_row(line, folder, f"{where} line {n}") for n, line in lines)
    refuse_repeated(images, where)
    _refuse_split_patients(images, where)
    return images


def _read_annotations(file: Path, where: str, images: set[str]) -> tuple[AnnotationRow, ...]:
    if not file.is_file():
        return ()
    rows = []
    line_of: dict[tuple[str, float, float, str], int] = {}
    for n, line in read_lines(file, required=_ANNOTATION_REQUIRED, optional=_ANNOTATION_COLUMNS, where=where):
        row = _annotation_row(line, f"{where} line {n}")
        if row.image not in images:
            raise TableError(f"{row.where}: image {row.image!r} is not in {IMAGES}")
        first = line_of.setdefault((row.image, row.row, row.column, row.judge), n)
        if first != n:
            raise TableError(
                f"{row.where}: row {row.row:g}, column {row.column:g} of image {row.image!r} is on line {first}, too, "
                "expected each place once"
            )
        rows.append(row)
    _refuse_repeated_ids(rows)
    return tuple(rows)


def _refuse_repeated_ids(rows: Sequence[AnnotationRow]) -> None:
    first: dict[str, AnnotationRow] = {}
    for row in rows:
        other = first.setdefault(row.id, row) if row.id else row
        if other is not row:
            raise TableError(f"{row.where}: the id of {other.where}, expected every id once")


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


def _annotation_row(line: Line, where: str) -> AnnotationRow:
    return AnnotationRow(
        image=line["image"],
        row=number_in(line, "row", where),
        column=number_in(line, "column", where),
        diameter_mm=_not_negative(line, "diameter_mm", where) or 0.0,
        kind=word_in(line, "kind", get_args(Kind), where),
        cluster=text_in(line, "cluster", where),
        outline=_outline(line.get("outline", ""), where),
        d_prime=_not_negative(line, "d_prime", where),
        judge=line.get("judge", ""),
        morphology=line.get("morphology", ""),
        id=text_in(line, "id", where),
        when=text_in(line, "when", where),
        where=where,
    )


def _not_negative(line: Line, column: str, where: str) -> float | None:
    """Return a measured value, or None for an empty cell."""
    if not line.get(column):
        return None
    value = number_in(line, column, where)
    if value < 0:
        raise TableError(f"{where}: {column} is {value:g}, expected 0 or more")
    return value


def _outline(text: str, where: str) -> tuple[tuple[float, float], ...]:
    try:
        pairs = [
            tuple(number_of(v, "outline", where) for v in pair.split()) for pair in text.split(";") if pair.strip()
        ]
        return tuple((row, column) for row, column in pairs)
    except (ValueError, TableError):
        raise TableError(f"{where}: outline is {text[:40]!r}, expected 'row column; row column; ...'") from None


def refuse_repeated(images: Sequence[ImageRow], where: str) -> None:
    """Refuse images that are the same one: by name, file, content or SOP Instance UID.

    Raises
    ------
    TableError
        Names the image and the other one.
    """
    for what, value_of in _IDENTITY.items():
        first: dict[str, ImageRow] = {}
        for image in images:
            value = value_of(image)
            other = first.setdefault(value, image) if value else image
            if other is not image:
                both = f"images {other.image!r} and {image.image!r} have one {what}"
                twice = f"image {image.image!r} is listed twice"
                if image.file != other.file:
                    twice += f", as different files ({_in_folder(other.file)} and {_in_folder(image.file)})"
                raise TableError(f"{where}: {twice if what == 'name' else both}, expected every image once")


def _in_folder(file: Path) -> str:
    return f"{file.parent.name}/{file.name}"


_IDENTITY: Final[Mapping[str, Callable[[ImageRow], str]]] = {
    "name": lambda image: image.image,
    "file": lambda image: str(image.file),
    "content (sha256)": lambda image: image.sha256,
    "instance (SOP Instance UID)": lambda image: image.sop_instance_uid,
}


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
