"""Tables held against the files that they list: sizes, UIDs and spacings, read from headers alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from microcalc.datasets.table import ImageRow, Table, check_places, read_table, refuse_repeated
from microcalc.dicom.read import is_dicom
from microcalc.dicom.results import read_image_header
from microcalc.errors import InputError, TableError
from microcalc.geometry import same_spacing
from microcalc.picture.read import picture_shape
from microcalc.storage.key import file_sha256


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of its image; None, or an empty UID, where it does not."""

    shape: tuple[int, int] | None
    uid: str = ""
    spacing_mm: tuple[float, float] | None = None


def open_table(path: Path) -> Table:
    """Read a data set, and hold its annotations against the sizes of the images.

    Sizes are those that the table says; of other images that are annotated, those of the files, where these
    are there and can be read. What is wrong with a file itself is for those to say who open it.

    Raises
    ------
    TableError
        The table breaks its format, or a place lies outside its image.
    """
    table = read_table(path)
    return _with_images(table, (_sized(i) if i.shape is None and table.rows_of(i) else i for i in table.images))


def identified_table(table: Table) -> Table:
    """Return a table whose images are known by more than their names, as far as their files are there.

    DICOM images by their SOP Instance UIDs, pictures by the SHA-256 of their files, all by their sizes.

    Raises
    ------
    TableError
        A file is of another size, spacing or UID than the table says; two lines are of one image; a place
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
    """The line with what the file's header says; raises ``TableError`` where it says something else."""
    header = _read_header(image.file)
    if header is None:
        return image
    name = image.file.name
    if image.shape is not None and header.shape is not None and image.shape != header.shape:
        raise TableError(f"{name}: {_by(header.shape)} pixels, but the table says {_by(image.shape)}")
    if image.sop_instance_uid and header.uid and image.sop_instance_uid != header.uid:
        raise TableError(f"{name}: another SOP Instance UID than the table says, expected the same image")
    spacing = header.spacing_mm
    if spacing is not None and not same_spacing(spacing, image.spacing_mm):
        raise TableError(
            f"{name}: pixels of {spacing[0]:.4g} x {spacing[1]:.4g} mm, "
            f"but the table says {image.spacing_mm[0]:.4g} x {image.spacing_mm[1]:.4g} mm"
        )
    rows, columns = (image.rows, image.columns) if header.shape is None else header.shape
    uid = header.uid or image.sop_instance_uid
    sha256 = image.sha256 if image.sha256 or uid else file_sha256(image.file)
    return replace(image, rows=rows, columns=columns, sop_instance_uid=uid, sha256=sha256)


def _by(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _read_header(file: Path) -> _Header | None:
    """What a header says; None where the file is not there or is no image that we read."""
    if not file.is_file():
        return None
    try:
        if not is_dicom(file):
            return _Header(picture_shape(file))
        header = read_image_header(file)
    except InputError:
        return None
    shape = (header.rows, header.columns) if header.rows > 0 and header.columns > 0 else None
    return _Header(shape, header.uid, header.spacing_mm)
