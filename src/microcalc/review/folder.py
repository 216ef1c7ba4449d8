"""Images as a table, for a review of what nobody has annotated."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from microcalc.datasets.table import ImageRow, Table
from microcalc.domain import Mammogram
from microcalc.errors import InputError


def table_of_images(
    images: Iterable[tuple[str, Path]], open_image: Callable[[Path], Mammogram]
) -> tuple[Table, tuple[tuple[str, str], ...]]:
    """Return images as a table, and which of them cannot be read.

    Parameters
    ----------
    images
        (name, file) of each.
    open_image
        Opens one file; what it says of spacing, intent and the like goes into the table.

    Returns
    -------
    tuple
        The table, and (name, why) of the files that could not be read.
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
