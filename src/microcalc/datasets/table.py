"""Tables of images and annotations: what a data set is, and what holds for every one.

The files of a table, and the meaning of their columns, are described in ``table_files``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from microcalc.domain import REGION, Annotations, Intent, Kind, Laterality
from microcalc.errors import TableError
from microcalc.geometry import Grid, outside
from microcalc.images.info import ImageInfo

Split = Literal["train", "validation", "test", ""]
MARGIN_PX: Final = 0.49
"""How far beyond the edge a place may lie: the last pixel of a coarser raster may; one counted from 1 may not."""

FILM: Final = "film"
"""The tag of an image that was digitised from film."""
_LEAST_CORNERS: Final = 3


@dataclass(frozen=True, slots=True)
class ImageRow:
    """Hold one line of ``images.csv``; ``file`` is resolved against the folder of the table.

    ``sop_instance_uid`` is empty, and ``rows`` and ``columns`` are None, where the table does not have them. ``source``
    is the data set that the image is from, and ``licence`` the terms of its use; both are empty where not stated.
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
    source: str = ""
    licence: str = ""

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


class AnnotationRows(Sequence[AnnotationRow]):
    """Annotations that are kept otherwise than as rows; a row is made when it is asked for."""

    def __eq__(self, other: object) -> bool:
        """Return whether the other holds equal rows, whichever way it keeps them, or as a tuple."""
        if not isinstance(other, AnnotationRows | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    @abstractmethod
    def of_image(self, image: str) -> tuple[AnnotationRow, ...]:
        """Return the annotations of one image, in the order of the table."""

    @abstractmethod
    def of_images(self, images: Collection[str]) -> AnnotationRows:
        """Return the annotations of some images."""

    @abstractmethod
    def images_with(self, kind: Kind, *, in_cluster: bool = False) -> set[str]:
        """Return the names of the images with an annotation of a kind; ``in_cluster``: with one that has a cluster."""

    @abstractmethod
    def outside(self, sizes: Mapping[str, tuple[int, int]]) -> tuple[AnnotationRow, int] | None:
        """Return the first annotation outside its image and the number of all, or None; ``sizes`` are those known."""


@dataclass(frozen=True, slots=True)
class Table:
    """Hold a data set: its images and their annotations."""

    images: tuple[ImageRow, ...]
    annotations: Sequence[AnnotationRow] = field(default=())
    _rows_of: Mapping[str, tuple[AnnotationRow, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort annotations that are rows by image, once."""
        rows: dict[str, list[AnnotationRow]] = {}
        if not isinstance(self.annotations, AnnotationRows):
            for row in self.annotations:
                rows.setdefault(row.image, []).append(row)
        object.__setattr__(self, "_rows_of", {image: tuple(its) for image, its in rows.items()})

    def rows_of(self, image: ImageRow) -> tuple[AnnotationRow, ...]:
        """Return the annotations of one image as they stand in the table, in its order."""
        if isinstance(self.annotations, AnnotationRows):
            return self.annotations.of_image(image.image)
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
            regions={n: image.grid.to_mm(np.array(a.outline)) for n, a in enumerate(rows) if a.kind == REGION},
        )

    def of_split(self, split: Split) -> Table:
        """Return the images of one split with their annotations."""
        return self.of_images(i for i in self.images if i.split == split)

    def of_images(self, images: Iterable[ImageRow]) -> Table:
        """Return some of the images with their annotations."""
        chosen = tuple(images)
        names = {i.image for i in chosen}
        if isinstance(self.annotations, AnnotationRows):
            return Table(chosen, self.annotations.of_images(names))
        return Table(chosen, tuple(a for a in self.annotations if a.image in names))

    def images_with(self, kind: Kind, *, in_cluster: bool = False) -> set[str]:
        """Return the names of the images with an annotation of a kind; ``in_cluster``: with one that has a cluster."""
        if isinstance(self.annotations, AnnotationRows):
            return self.annotations.images_with(kind, in_cluster=in_cluster)
        return {a.image for a in self.annotations if a.kind == kind and (a.cluster or not in_cluster)}


def join_tables(tables: Sequence[Table]) -> Table:
    """Return several data sets as one.

    Raises
    ------
    TableError
        An image is in two of them, or a patient is in two splits.
    """
    images = tuple(i for t in tables for i in t.images)
    refuse_repeated(images, "the tables together")
    refuse_split_patients(images, "the tables together")
    return Table(images, tuple(a for t in tables for a in t.annotations))


def check_places(table: Table) -> None:
    """Refuse annotations outside their images, as far as the sizes of these are known.

    Raises
    ------
    TableError
        Names the first such place and its line, and how many more there are.
    """
    sizes = {image.image: image.shape for image in table.images if image.shape is not None}
    found = (
        table.annotations.outside(sizes) if isinstance(table.annotations, AnnotationRows) else _outside(table, sizes)
    )
    if found is not None:
        row, count = found
        rows, columns = sizes[row.image]
        more = f" (and {count - 1} more such places)" if count > 1 else ""
        raise TableError(
            f"{row.where or 'annotation'}: row {row.row:g}, column {row.column:g} lies outside image {row.image!r} "
            f"of {rows} x {columns} pixels{more}, expected rows and columns counted from 0 at the centre of the first "
            "pixel"
        )


def _outside(table: Table, sizes: Mapping[str, tuple[int, int]]) -> tuple[AnnotationRow, int] | None:
    """Return the first annotation outside its image and the number of all, or None."""
    wrong: list[AnnotationRow] = []
    for image in table.images:
        rows = table.rows_of(image)
        if image.image in sizes and rows:
            places = np.array([(a.row, a.column) for a in rows], dtype=np.float64)
            beyond = outside(places, sizes[image.image], margin_px=MARGIN_PX)
            wrong += [a for a, is_beyond in zip(rows, beyond, strict=True) if is_beyond]
    return (wrong[0], len(wrong)) if wrong else None


def check_region(row: AnnotationRow) -> None:
    """Refuse a region without an outline.

    Raises
    ------
    TableError
        It has fewer than three corners.
    """
    if row.kind == REGION and len(row.outline) < _LEAST_CORNERS:
        raise TableError(
            f"{row.where or 'annotation'}: {REGION} with an outline of {len(row.outline)} corners, "
            f"expected at least {_LEAST_CORNERS}"
        )


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


def refuse_split_patients(images: Sequence[ImageRow], where: str) -> None:
    """Refuse images of one patient in several splits.

    Raises
    ------
    TableError
        Names the image and the two splits.
    """
    split_of: dict[str, str] = {}
    for image in images:
        first = split_of.setdefault(image.patient_or_image, image.split)
        if first != image.split:
            raise TableError(
                f"{where}: image {image.image!r} and another of its patient are in splits "
                f"{first!r} and {image.split!r}, expected one split per patient"
            )
