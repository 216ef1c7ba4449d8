"""A folder of images as a table, for a review of what nobody has annotated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from microcalc.datasets.table import ImageRow, Table
from microcalc.domain import Mammogram
from microcalc.errors import InputError, UnreadableImageError

_NOT_IMAGES: Final = frozenset((".csv", ".json", ".jsonl", ".toml", ".txt", ".md", ".html", ".xml", ".pdf", ".zip"))


def table_of_folder(
    folder: Path, open_image: Callable[[Path], Mammogram], *, leave_out: Path | None = None
) -> tuple[Table, tuple[tuple[str, str], ...]]:
    """List the images in a folder and the folders below it.

    Parameters
    ----------
    open_image
        Opens one file; what it says of spacing, intent and the like goes into the table.
    leave_out
        A folder that is not looked into, such as the review's own.

    Returns
    -------
    The table, each image named by its path in the folder, and (name, why) of the files
    that could not be read.

    Raises
    ------
    UnreadableImageError
        No such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UnreadableImageError(f"{folder.name}: no such folder, expected one with images")
    images: list[ImageRow] = []
    failed: list[tuple[str, str]] = []
    for file in _files(folder, leave_out):
        name = file.relative_to(folder).as_posix()
        try:
            images.append(_row(name, file, open_image(file)))
        except InputError as error:
            failed.append((name, str(error)))
    if not images:
        why = f"; the first of {len(failed)} files: {failed[0][1]}" if failed else ""
        raise UnreadableImageError(f"{folder.name}: no image found, expected DICOM, PNG, TIFF or JPEG files{why}")
    return Table(tuple(images)), tuple(failed)


def _files(folder: Path, leave_out: Path | None) -> list[Path]:
    left_out = leave_out.resolve() if leave_out else None
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and file.suffix.lower() not in _NOT_IMAGES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and (left_out is None or left_out not in file.resolve().parents)
    )


def _row(name: str, file: Path, mammogram: Mammogram) -> ImageRow:
    return ImageRow(
        image=name,
        file=file,
        intent=mammogram.intent,
        spacing_mm=mammogram.spacing_mm,
        system=mammogram.system or "",
        view=mammogram.view or "",
        laterality=mammogram.laterality or "",
    )
