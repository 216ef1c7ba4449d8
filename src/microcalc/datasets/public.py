"""What the readers of public data sets share: images as their files state them, and what is left out, by name.

A reader finds the files of its set, makes a line of each image (``Reading.describe``), and adds it with its annotations
(``Reading.add``). One damaged file or annotation leaves out its image, which is named, and the rest goes on: with a
part of its annotations an image would teach and count what is not true.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import numpy as np

from microcalc.datasets.duplicates import without_duplicates
from microcalc.datasets.outlines import Corners, check_rows, mean_corner
from microcalc.datasets.table import FILM, AnnotationRow, ImageRow, Table, check_places, refuse_repeated
from microcalc.domain import REGION
from microcalc.errors import InputError, MissingSpacingError, TableError
from microcalc.geometry import Grid
from microcalc.images.content import pixels_sha256
from microcalc.images.info import NO_INFO, Facts, ImageInfo
from microcalc.images.open import describe_image, naming
from microcalc.wording import quantity, reading_fault

FILM_NOTE: Final = (
    "digitised film: taken for processed images, which it resembles; the shipped models were trained on digital "
    "mammograms only"
)
_NAMED: Final = 5
_BEYOND_PX: Final = 3.0
"""How far an outline may leave its image, by the pen or by counting from 1; it is cut there. Ours."""
_TURNS: Final = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)


@dataclass(frozen=True, slots=True)
class PublicSet:
    """Hold a public data set as a table, with what was left out and what the user should know.

    Attributes
    ----------
    problems
        One sentence for each file, line or annotation that could not be used.
    notes
        Sentences on what was joined, corrected or passed over on purpose.
    """

    table: Table
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Reading:
    """Collect the images and annotations of one public data set.

    Parameters
    ----------
    source, licence
        Name of the data set, and the terms of its use in one line.
    said
        What the user says of images whose files do not state it.
    film
        Whether the images are digitised film.
    """

    def __init__(self, source: str, licence: str, said: ImageInfo = NO_INFO, *, film: bool = False) -> None:
        self._source, self._licence, self._said, self._film = source, licence, said, film
        self._spacing_used = said.pixel_spacing_mm is None
        self._images: list[ImageRow] = []
        self._rows: list[AnnotationRow] = []
        self._instances: dict[Path, str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = [FILM_NOTE] if film else []

    @contextmanager
    def leaving_out(self, file: Path) -> Iterator[None]:
        """Name what is wrong with a file, and go on without it."""
        try:
            with naming(file):
                yield
        except InputError as error:
            self.problems.append(str(error))

    def describe(self, file: Path, said: ImageInfo = NO_INFO) -> ImageRow:
        """Return a line for an image: what its file states, else what the set or the user says of it.

        Parameters
        ----------
        said
            What the set says of the image beside its file, such as its view; it goes before what the user says.

        Raises
        ------
        InputError
            The file cannot be used, or nobody states its pixel spacing or intent.
        """
        return self.described(file, said)[0]

    def described(self, file: Path, said: ImageInfo = NO_INFO) -> tuple[ImageRow, Facts]:
        """Return the line of ``describe``, and the facts that the file itself states; the header is read once."""
        spacing_mm = said.pixel_spacing_mm or self._said.pixel_spacing_mm
        intent = said.intent or self._said.intent or ("processed" if self._film else None)
        found = describe_image(file, replace(said, pixel_spacing_mm=spacing_mm, intent=intent))
        facts, intent, spacing_mm = found.facts, found.intent, found.spacing_mm
        if spacing_mm is None or intent is None:
            lacking = "pixel spacing" if spacing_mm is None else "intent"
            raise MissingSpacingError(f"{file.name}: no {lacking}, expected --{lacking.replace(' ', '-')}")
        self._spacing_used |= facts.spacing_mm is None and said.pixel_spacing_mm is None
        is_uid = "." in facts.uid
        line = ImageRow(
            image=file.stem, file=file.absolute(), intent=intent, spacing_mm=spacing_mm,
            system=facts.system or said.system or "", view=facts.view or said.view or "",
            laterality=facts.laterality or said.laterality or "", sop_instance_uid=facts.uid if is_uid else "",
            sha256="" if is_uid else facts.uid, rows=found.shape[0], columns=found.shape[1], source=self._source,
            licence=self._licence, tags=FILM if self._film else "",
        )  # fmt: skip
        return line, facts

    def add(self, image: ImageRow, rows: Iterable[AnnotationRow] = ()) -> None:
        """Add an image with its annotations; the same annotation twice is taken once.

        Raises
        ------
        TableError
            An annotation lies outside the image, or cannot be in a table.
        """
        unique = {(r.kind, round(r.row, 3), round(r.column, 3), r.judge): replace(r, image=image.image) for r in rows}
        check_rows(unique.values())
        check_places(Table((image,), tuple(unique.values())))
        self._images.append(image)
        self._instances[image.file] = image.sop_instance_uid or image.sha256
        self._rows += unique.values()

    def absent(self, names: Iterable[str], what: str) -> None:
        """Name what a file of the set lists, such as images, and is not there; ``what`` begins the sentence."""
        listed = list(dict.fromkeys(names))
        if listed:
            more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
            self.problems.append(f"{what}: {', '.join(listed[:_NAMED])}{more}")

    def instance_of(self, file: Path) -> str:
        """Return the SOP Instance UID of an image that was added, or the SHA-256 of its file where it has none."""
        return self._instances[file]

    def done(self, folder: Path, *, content_of: Callable[[Path], str] = pixels_sha256) -> PublicSet:
        """Return the table, each image once and each patient in one split.

        Parameters
        ----------
        content_of
            Function that returns the same text for files of one image. By default it reads the pixels of every file,
            which takes hours for a large set; ``instance_of`` reads nothing.

        Raises
        ------
        InputError
            No image can be used, an image is there twice, or the pixel spacing that the user states is of no image.
        """
        if not self._images:
            first = f"; the first: {self.problems[0]}" if self.problems else ""
            raise TableError(f"{folder.resolve().name}: no image of {self._source} that can be used{first}")
        if not self._spacing_used:
            raise InputError("--pixel-spacing: the files state it themselves, expected no --pixel-spacing")
        table, notes = without_duplicates(Table(tuple(self._images), tuple(self._rows)), content_of=content_of)
        refuse_repeated(table.images, folder.resolve().name)
        return PublicSet(table, tuple(self.problems), (*self.notes, *notes))


def _refuse_folder(error: OSError) -> None:
    raise TableError(f"{Path(error.filename).name}: {reading_fault(error)}, expected a folder to read") from error


def files_below(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files below a folder with one of some suffixes, in the order of their paths.

    Hidden files and what macOS packs beside files (``__MACOSX``, ``._name``) are passed over.

    Raises
    ------
    TableError
        It is no folder, or a folder in it cannot be read: its files would be missing without a word.
    """
    if not folder.is_dir():
        raise TableError(f"{folder.name}: no such folder, expected that of the data set")
    wanted = {suffix.lower() for suffix in suffixes}
    files = (Path(parent, name) for parent, _, names in os.walk(folder, onerror=_refuse_folder) for name in names)
    found = (file for file in files if file.suffix.lower() in wanted and file.is_file())
    hidden = (".", "__MACOSX")
    return sorted(f for f in found if not any(part.startswith(hidden) for part in f.relative_to(folder).parts))


def only_file(folder: Path, pattern: str) -> Path:
    """Return the one file below a folder whose name fits a pattern, in upper or lower case.

    Raises
    ------
    TableError
        There is none, or there are several.
    """
    found = [f for f in files_below(folder, Path(pattern).suffix) if fnmatch(f.name.lower(), pattern.lower())]
    if len(found) != 1:
        there = ", ".join(sorted(e.name for e in folder.iterdir() if not e.name.startswith("."))[:_NAMED]) or "nothing"
        count = f"no {pattern}" if not found else f"{len(found)} files {pattern}"
        raise TableError(f"{folder.resolve().name}: {count} (found {there}), expected one")
    return found[0]


def read_text(file: Path) -> str:
    """Return the text of a file of a data set, in UTF-8 or else Latin-1.

    Raises
    ------
    TableError
        The system cannot read it.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TableError(f"{file.name}: {error.strerror}, expected a text file") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def region(corners: Corners, image: ImageRow, *, judge: str, morphology: str = "", where: str = "") -> AnnotationRow:
    """Return a region with an outline that is cut at the edges of its image.

    Raises
    ------
    TableError
        It has no area, or leaves the image by more than three pixels.
    """
    inside = cut(corners, image, where)
    if len(set(inside)) < 3 or len({r for r, _ in inside}) < 2 or len({c for _, c in inside}) < 2:
        raise TableError(f"{where}: an outline without an area, expected at least three corners")
    return AnnotationRow(
        image.image, *mean_corner(inside), kind=REGION, outline=inside, judge=judge, morphology=morphology, where=where
    )


def cut(places: Corners, image: ImageRow, where: str) -> Corners:
    """Return places that leave their image by three pixels at most, moved to its edge.

    Raises
    ------
    TableError
        A place is farther out.
    """
    if image.shape is None or not places:
        return places
    given = np.asarray(places, dtype=np.float64)
    moved = np.clip(given, -0.5, np.array(image.shape) - 0.5)
    far = np.abs(given - moved).max(axis=1) > _BEYOND_PX
    if far.any():
        row, column = given[int(far.argmax())]
        raise TableError(
            f"{where}: row {row:g}, column {column:g} lies outside the image of {image.rows} x {image.columns} pixels"
        )
    return tuple((float(row), float(column)) for row, column in moved)


def box(top: float, left: float, bottom: float, right: float, where: str) -> Corners:
    """Return the corners of a box.

    Raises
    ------
    TableError
        Its edges are exchanged.
    """
    if bottom < top or right < left:
        raise TableError(
            f"{where}: a box of rows {top:g} to {bottom:g} and columns {left:g} to {right:g}, expected the smaller "
            "number first"
        )
    return ((top, left), (top, right), (bottom, right), (bottom, left))


def circle(row: float, column: float, radius_px: float) -> Corners:
    """Return corners on a circle."""
    rows, columns = row + radius_px * np.sin(_TURNS), column + radius_px * np.cos(_TURNS)
    return tuple(zip(rows.tolist(), columns.tolist(), strict=True))


def disc_diameter_mm(corners: Sequence[tuple[float, float]], grid: Grid) -> float:
    """Return the diameter of the disc with the area of a polygon."""
    rows, columns = grid.to_mm(np.asarray(corners, dtype=np.float64)).T
    area = abs(float(np.dot(rows, np.roll(columns, -1)) - np.dot(columns, np.roll(rows, -1)))) / 2
    return float(2.0 * np.sqrt(area / np.pi))


def counted(count: int, noun: str, why: str, *, plural: str = "") -> list[str]:
    """Return a note on how many of something there were; none where there were none."""
    return [f"{quantity(count, noun, plural or f'{noun}s')} {why}"] if count else []
