"""``microcalc table inbreast`` and the like: the tables of public data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.cli.options import SpacingOption
from microcalc.cli.output import print_error, print_line
from microcalc.cli.tables import print_sources
from microcalc.storage.ownership import check_output_folder, output_folder
from microcalc.wording import quantity

if TYPE_CHECKING:
    from microcalc.datasets.public import PublicSet
    from microcalc.images.info import ImageInfo


def table_inbreast(folder: Path, /, *, out: Path, pixel_spacing: SpacingOption | None = None) -> int:
    """Make the table of INbreast: single microcalcifications, and clusters with their outlines.

    Parameters
    ----------
    folder
        Folder with INbreast.csv, AllDICOMs and AllXML.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm of files that do not state it.
    """
    from microcalc.datasets.inbreast import read_inbreast

    check_output_folder(out, "table inbreast", inputs=[folder])
    return _written(read_inbreast(folder, _said(pixel_spacing)), out, "table inbreast", [folder])


def _said(pixel_spacing: float | None) -> ImageInfo:
    from microcalc.images.info import ImageInfo

    return ImageInfo(None if pixel_spacing is None else (pixel_spacing, pixel_spacing))


def _written(found: PublicSet, out: Path, command: str, inputs: list[Path]) -> int:
    """Write the table, and say what is in it, what is not, and under which terms it may be used."""
    from microcalc.datasets.table_files import write_table

    for problem in found.problems:
        print_error(problem)
    with output_folder(out, command, inputs=inputs):
        write_table(found.table, out)
    images, annotations = found.table.images, found.table.annotations
    print_line(f"{out}: {quantity(len(images), 'image')}, {quantity(len(annotations), 'annotation')}")
    for note in found.notes:
        print_line(note)
    print_sources(images)
    return 1 if found.problems else 0
