"""A table of images without annotations, for a review."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from microcalc.datasets.table import ImageRow, Table
from microcalc.domain import Mammogram
from microcalc.errors import InputError


def table_of_images(
    images: Iterable[tuple[str, Path]], open_image: Callable[[Path], Mammogram]
) -> tuple[Table, tuple[tuple[str, str], ...]]:
    """Return a table of images, and the images that cannot be read.

    Parameters
    ----------
    images
        Name and file of each image.
    open_image
        Opens one file; the table takes spacing, intent, system, view and laterality from it.

    Returns
    -------
    table
        The images that can be read.
    failed
        Name of each image that cannot be read, and the reason.
    """
    rows: list[ImageRow] = []
    failed: list[tuple[str, str]] = []
    for name, file in images:
        try:
            rows.append(_row(name, file, open_image(file)))
        except InputError as error:
            failed.append((name, str(error)))
    return Table(tuple(rows)), tuple(failed)


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
