"""Open the images of a table, and check tables against their files: sizes, UIDs and pixel spacings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from microcalc.datasets.table import ImageRow, Table, check_places, refuse_repeated
from microcalc.datasets.table_files import read_table
from microcalc.domain import Intent, Mammogram
from microcalc.errors import InputError, TableError
from microcalc.geometry import same_spacing
from microcalc.images.dicom.facts import read_facts
from microcalc.images.dicom.read import is_dicom
from microcalc.images.open import check_header, naming, open_mammogram
from microcalc.images.picture import picture_shape
from microcalc.storage.key import file_sha256
from microcalc.wording import listed


@dataclass(frozen=True, slots=True)
class _Header:
    """Hold what a file states about its image; None, or an empty UID, where it states nothing."""

    shape: tuple[int, int] | None
    uid: str = ""
    spacing_mm: tuple[float, float] | None = None


def open_table(path: Path) -> Table:
    """Read a data set, and check its annotations against the sizes of the images.

    Sizes are those of the table. Where it has none, annotated images are measured if their files can be read.
    Errors in the files themselves are raised when the images are opened.

    Raises
    ------
    TableError
        The table breaks its format, or an annotation lies outside its image.
    """
    table = read_table(path)
    return _with_images(table, (_sized(i) if i.shape is None and table.rows_of(i) else i for i in table.images))


def identified_table(table: Table) -> Table:
    """Return the table with the identity of its images, as far as their files exist.

    DICOM images are identified by their SOP Instance UIDs, pictures by the SHA-256 of their files, all by their sizes.

    Raises
    ------
    TableError
        The size, spacing or UID of a file differs from the table, two lines are of one image, or an annotation
        lies outside its image.
    """
    found = _with_images(table, (_identified(image) for image in table.images))
    refuse_repeated(found.images, "the table")
    return found


def _with_images(table: Table, images: Iterable[ImageRow]) -> Table:
    checked = Table(tuple(images), table.annotations)
    check_places(checked)
    return checked


def _sized(image: ImageRow) -> ImageRow:
    header = _read_header(image.file)
    if header is None or header.shape is None:
        return image
    return replace(image, rows=header.shape[0], columns=header.shape[1])


def _identified(image: ImageRow) -> ImageRow:
    """Return the line completed from the header of its file; raise ``TableError`` where the two differ."""
    header = _read_header(image.file)
    if header is None:
        return image
    name = image.file.name
    if image.shape is not None and header.shape is not None and image.shape != header.shape:
        raise TableError(f"{name}: {_by(header.shape)} pixels, expected {_by(image.shape)} as in the table")
    if image.sop_instance_uid and header.uid and image.sop_instance_uid != header.uid:
        raise TableError(f"{name}: its SOP Instance UID differs from the table's, expected the same image")
    spacing = header.spacing_mm
    if spacing is not None and not same_spacing(spacing, image.spacing_mm):
        raise TableError(_spacing_differs(name, spacing, image))
    rows, columns = (image.rows, image.columns) if header.shape is None else header.shape
    uid = header.uid or image.sop_instance_uid
    sha256 = image.sha256 if image.sha256 or uid else file_sha256(image.file)
    return replace(image, rows=rows, columns=columns, sop_instance_uid=uid, sha256=sha256)


def _by(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _read_header(file: Path) -> _Header | None:
    """Return what a header states; None where the file is missing or is no image that we read."""
    if not file.is_file():
        return None
    try:
        if not is_dicom(file):
            return _Header(picture_shape(file))
        facts = read_facts(file)
    except InputError:
        return None
    return _Header(facts.shape, facts.uid, facts.spacing_mm)


def open_row(row: ImageRow) -> Mammogram:
    """Read the image of a line of a table, which states what a picture does not.

    Raises
    ------
    InputError
        The file cannot be used.
    TableError
        Its size, spacing or intent differs from the table, or the pixels of a picture are not square.
    """
    mammogram = open_mammogram(row.file, row.info, any_view=True)
    _check_fits(row, mammogram.intent, mammogram.pixels.shape, mammogram.spacing_mm)
    return mammogram


def unusable_images(images: Iterable[ImageRow]) -> dict[str, InputError]:
    """Return, by image, why ``open_row`` would refuse it, as far as this can be told without decoding pixels.

    A long work begins with this check, so that a file that is missing, is no mammogram or does not fit its line of the
    table is named at once.
    """
    errors: dict[str, InputError] = {}
    for row in images:
        try:
            with naming(row.file):
                intent, shape, spacing_mm = check_header(row.file, row.info, any_view=True)
                _check_fits(row, intent, shape, spacing_mm)
        except InputError as error:
            errors[row.image] = error
    return errors


def _check_fits(
    row: ImageRow, intent: Intent | None, shape: tuple[int, ...], spacing_mm: tuple[float, float] | None
) -> None:
    """Refuse a file whose size, intent or pixel spacing, in which the annotations are measured, is not the table's."""
    name = row.file.name
    if spacing_mm is not None and not same_spacing(spacing_mm, row.spacing_mm):
        raise TableError(_spacing_differs(name, spacing_mm, row))
    if row.shape not in (None, shape):
        raise TableError(f"{name}: {shape[0]} x {shape[1]} pixels, expected {row.rows} x {row.columns} as in the table")
    if intent != row.intent:
        raise TableError(f"{name}: a {intent} image, expected a {row.intent} one as in the table")


def _spacing_differs(name: str, found: tuple[float, float], row: ImageRow) -> str:
    expected = row.spacing_mm
    return (
        f"{name}: pixels of {found[0]:.4g} x {found[1]:.4g} mm, "
        f"expected {expected[0]:.4g} x {expected[1]:.4g} mm as in the table"
    )


def refuse_images(refused: Sequence[InputError], *, of: int) -> None:
    """Raise the error of the one image that cannot be used, or one error that names them, of many the first.

    With fewer images than the table, results and models would claim more images than were used.
    """
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise InputError(f"{len(refused)} of {of} images cannot be used: {listed([str(e) for e in refused])}")
