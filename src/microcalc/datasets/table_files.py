"""Read and write tables of images and annotations.

A data set is a folder with two CSV files (UTF-8, comma, header line), or with two Parquet files of the same columns,
``images.parquet`` and ``annotations.parquet``:

``images.csv``, one line per image:
    ``image`` (unique name), ``file`` (path, relative to the folder, or absolute),
    ``patient``, ``system``, ``intent`` (``raw`` or ``processed``), ``view``,
    ``laterality`` (``L`` or ``R``), ``row_spacing_mm``, ``column_spacing_mm``,
    ``split`` (``train``, ``validation``, ``test``, or empty: not decided), ``sha256`` (may
    be empty), ``tags`` (free words, may be empty), ``sop_instance_uid``, ``rows``,
    ``columns`` (of the image), ``source`` (the data set that the image is from) and
    ``licence`` (terms of its use; all of these may be empty).
``annotations.csv``, one line per place:
    ``image``, ``row``, ``column`` (pixel centres of the original image, 0-based,
    fractions allowed), ``diameter_mm`` (0: not measured), ``kind``, ``cluster``
    (empty: none), ``outline`` (``row column; row column; ...``, may be empty; a
    ``calcification_region`` needs one),
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

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final, Literal

from microcalc.datasets.cells import (
    ANNOTATION_COLUMNS,
    ANNOTATION_REQUIRED,
    IMAGE_COLUMNS,
    IMAGE_REQUIRED,
    annotation_row,
    annotation_texts,
    image_row,
    image_texts,
)
from microcalc.datasets.columns import AnnotationColumns
from microcalc.datasets.lines import Line, open_lines, read_lines, write_cells
from microcalc.datasets.read_columns import Chunk, chunks_of_lines, read_columns
from microcalc.datasets.stored import HELD, LARGEST_GROUP, open_stored
from microcalc.datasets.table import (
    AnnotationRow,
    ImageRow,
    Table,
    check_places,
    refuse_repeated,
    refuse_split_patients,
)
from microcalc.errors import OutputError, TableError
from microcalc.extras import require_modules
from microcalc.storage.ownership import owner_of, write_editable_by
from microcalc.storage.write import saying_where, writing

_LOG = logging.getLogger(__name__)

IMAGES, ANNOTATIONS = "images.csv", "annotations.csv"
Form = Literal["csv", "parquet"]
_EXPECTED: Final = f"expected a folder with {IMAGES} and {ANNOTATIONS} (see microcalc table)"
_NAMES: Final[Mapping[Form, tuple[str, str]]] = {
    "csv": (IMAGES, ANNOTATIONS),
    "parquet": ("images.parquet", "annotations.parquet"),
}
"""Names of the files of images and annotations."""


def is_table(path: Path) -> bool:
    """Return whether a path is meant as a data set: ``images.csv`` or ``images.parquet``, or a folder with such a file.

    Whether it keeps to the format is for ``read_table`` to say, and a file that differs in upper and lower
    case alone is meant, too: nothing that looks like a table is taken for a folder of images.
    """
    if path.is_dir():
        try:
            return any(_lists_images(file.name) for file in path.iterdir())
        except OSError:
            return False  # whoever opens the folder says why it cannot be read
    return _lists_images(path.name)


def table_folder(path: Path) -> Path:
    """Return the folder of a data set that is given by its folder or its file of images."""
    return path.parent if _lists_images(path.name) and not path.is_dir() else path


def _lists_images(name: str) -> bool:
    return name.lower() in {images for images, _ in _NAMES.values()}


def read_table(path: Path) -> Table:
    """Read a data set.

    Parameters
    ----------
    path
        The folder, or its ``images.csv`` or ``images.parquet``.

    Raises
    ------
    TableError
        A file or column is missing, a line has a value that is not allowed, an image or an annotation is listed
        twice, or an annotation lies outside its image, where the table has the size of the image.
    MissingExtraError
        The data set is in Parquet, and ``microcalc[parquet]`` is not installed.
    """
    folder = table_folder(path)
    name = folder.resolve().name
    form = _form_of(folder, name)
    images_name, annotations_name = _NAMES[form]
    images = _read_images(folder, f"{name}/{images_name}", form)
    index_of = {image.image: index for index, image in enumerate(images)}
    annotations = _read_annotations(folder, f"{name}/{annotations_name}", form, index_of)
    table = Table(images, annotations)
    check_places(table)
    return table


def _form_of(folder: Path, name: str) -> Form:
    """Return the form of the files of a folder; refuse a folder without a table, or with files of two forms."""
    found = [file for files in _NAMES.values() for file in files if _is_file(folder / file, f"{name}/{file}")]
    for form, files in _NAMES.items():
        if files[0] in found:
            if other := [file for file in found if file not in files]:
                both = " and ".join(sorted([files[0], other[0]]))
                raise TableError(f"{name}: {both}, expected images and annotations of one form, CSV or Parquet")
            if files[1] not in found:
                _refuse_other_case(folder, name, files[1])
            return form
    _refuse_other_case(folder, name, *(images for images, _ in _NAMES.values()))
    raise TableError(f"{name}: no {IMAGES}, {_EXPECTED}")


def _is_file(path: Path, where: str) -> bool:
    """Return whether there is a file; refuse what is none, such as a link to annotations that have been moved."""
    if path.is_file():
        return True
    if os.path.lexists(path):
        what = "a folder" if path.is_dir() else "a link to a missing file" if path.is_symlink() else "a pipe or device"
        raise TableError(f"{where}: {what}, expected a file")
    return False


def _refuse_other_case(folder: Path, name: str, *files: str) -> None:
    """Refuse a file that differs from one of these names in upper and lower case alone: it is meant, and not read."""
    meant = sorted(f.name for f in folder.iterdir() if f.name.lower() in files) if folder.is_dir() else []
    if meant:
        raise TableError(f"{name}: {meant[0]} but no {meant[0].lower()}, {_EXPECTED}")


def write_table(table: Table, folder: Path, *, form: Form = "csv") -> None:
    """Write the images and the annotations, each file whole or not at all.

    Both forms hold the same values: positions to a thousandth of a pixel, diameters to four digits. In Parquet more
    annotations than ``stored.HELD`` are put in the order of the images, so that they can be read by parts. Where the
    folder bears the mark of a command, a table that has been edited since it was written stays.

    Raises
    ------
    OutputError
        The folder holds a table that a person has edited, or one of the other form, or the system refused to write.
    MissingExtraError
        ``microcalc[parquet]`` is not installed.
    """
    images, annotations = _NAMES[form]
    if form == "parquet":
        require_modules("pyarrow")
    for other in _NAMES.keys() - {form}:
        if held := next((name for name in _NAMES[other] if (folder / name).exists()), None):
            raise OutputError(f"{folder.resolve().name}: holds {held}, expected a folder without a table of that form")
    with saying_where(folder / images):
        folder.mkdir(parents=True, exist_ok=True)
    # Images last: where they stand, their annotations stand, too.
    rows: Iterable[AnnotationRow] = table.annotations
    if form == "parquet" and len(table.annotations) > HELD:
        rows = (row for image in table.images for row in table.rows_of(image))
    _write(folder / annotations, ANNOTATION_COLUMNS, map(annotation_texts, rows), form)
    texts = partial(image_texts, folder=folder.resolve(), resolved=cache(Path.resolve))
    _write(folder / images, IMAGE_COLUMNS, map(texts, table.images), form)


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]], form: Form) -> None:
    if form == "csv":
        write = partial(write_cells, columns=columns, rows=rows)
    else:
        from microcalc.datasets.parquet import write_parquet

        write = partial(write_parquet, columns=columns, rows=rows)
    if owner_of(file.parent) is not None:
        write_editable_by(file, write)
        return
    with writing(file) as temporary:
        write(temporary)


_PUBLISHED: Final = {"tcia_name": "cdd-cesm"}
"""Columns that tell the lists of public data sets named ``images.csv`` from ours, with the names of their readers."""


def _refuse_published(file: Path, where: str) -> None:
    """Refuse the list of a public data set of the same file name, with the command that makes a table of it."""
    with file.open("rb") as handle:
        columns = handle.readline(10_000).decode("utf-8", "replace").strip().split(",")
    for column, name in _PUBLISHED.items():
        if column in columns and "image" not in columns:
            raise TableError(
                f"{where}: the list of {name.upper()} as published, expected a table (microcalc table {name} makes one)"
            )


def _read_images(folder: Path, where: str, form: Form) -> tuple[ImageRow, ...]:
    file, required, optional = folder / _NAMES[form][0], IMAGE_REQUIRED, IMAGE_COLUMNS
    if form == "csv":
        _refuse_published(file, where)
        lines: Iterable[tuple[int, Line]] = read_lines(file, required=required, optional=optional, where=where)
    else:
        from microcalc.datasets.parquet import parquet_lines

        lines = enumerate(parquet_lines(file, required=required, optional=optional, where=where), 1)
    images = tuple(image_row(line, folder, _place(where, form, n)) for n, line in lines)
    refuse_repeated(images, where)
    refuse_split_patients(images, where)
    return images


def _read_annotations(folder: Path, where: str, form: Form, index_of: Mapping[str, int]) -> Sequence[AnnotationRow]:
    file, required, optional = folder / _NAMES[form][1], ANNOTATION_REQUIRED, ANNOTATION_COLUMNS
    if not file.is_file():
        return ()
    row_of = partial(_annotation_of, images=index_of, listed_in=_NAMES[form][0])
    read = partial(_read_places, images=index_of, row_of=row_of, where=where, form=form)
    if form == "csv":
        rows = read(chunks_of_lines(*open_lines(file, required=required, optional=optional, where=where)))
    else:
        from microcalc.datasets.parquet import parquet_chunks, row_groups

        chunks = partial(parquet_chunks, file, required=required, optional=optional, where=where)
        groups = row_groups(file, where)
        if groups[-1] > HELD:
            if stored := open_stored(file, index_of, where=where, groups=groups, chunks=chunks, read=read):
                _refuse_repeated_id(stored[0].repeated_id(stored[1]))
                return stored[0]
            _LOG.warning(
                "%s: all of %d annotations are held in memory, as they are not in the order of the images, or in row "
                "groups of over %d; microcalc table export TABLE --to parquet --out COLUMNS mends both",
                *(where, groups[-1], LARGEST_GROUP),
            )
        rows = read(chunks())
    _refuse_repeated_id(rows.repeated_id())
    return rows


def _read_places(
    chunks: Iterable[Chunk],
    *,
    images: Mapping[str, int],
    row_of: Callable[[Line, str], AnnotationRow],
    where: str,
    form: Form,
) -> AnnotationColumns:
    """Return annotations; refuse two of one judge at one place."""
    rows = read_columns(chunks, images, row_of=row_of, where=partial(_place, where, form))
    if again := rows.repeated_place():
        row, first = again
        raise TableError(
            f"{row.where}: row {row.row:g}, column {row.column:g} of image {row.image!r} is also on "
            f"{first.where.removeprefix(f'{where} ')}, expected each place once"
        )
    return rows


def _refuse_repeated_id(again: tuple[AnnotationRow, AnnotationRow] | None) -> None:
    if again is not None:
        raise TableError(f"{again[0].where}: the id of {again[1].where}, expected every id once")


def _place(where: str, form: Form, number: int) -> str:
    """Return what messages call a line of a file."""
    return f"{where} {'line' if form == 'csv' else 'row'} {number}"


def _annotation_of(line: Line, where: str, *, images: Mapping[str, int], listed_in: str) -> AnnotationRow:
    """Return one line, which may be of these images."""
    row = annotation_row(line, where)
    if row.image not in images:
        raise TableError(f"{where}: image {row.image!r} is not in {listed_in}")
    return row
