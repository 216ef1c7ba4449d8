"""``microcalc table points``, ``coco``, ``sr`` and ``export``: annotations of other programs, in and out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from microcalc.cli.options import IntentOption, SpacingOption
from microcalc.cli.output import print_fault, print_line
from microcalc.storage.ownership import check_output_folder, output_folder
from microcalc.wording import quantity

if TYPE_CHECKING:
    from microcalc.datasets.table import ImageRow, Table
    from microcalc.domain import Intent


def table_points(
    file: Path,
    /,
    *,
    images: list[Path],
    out: Path,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    categories: list[str] | None = None,
) -> int:
    """Make a table of images and of points or boxes in a CSV file, one per line.

    Columns: image (or file, file_name), and row and column (or y and x) in pixels, 0 at the centre of the first pixel;
    or ymin, xmin, ymax and xmax of a box, which is a region where no kind says otherwise.
    kind, diameter_mm, cluster, judge, morphology, id and when may be there too.

    Parameters
    ----------
    file
        CSV file of points or boxes.
    images
        Images, folders of these, or a table whose annotations are left out. Repeat for several.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm. Required for pictures outside tables.
    intent
        raw (for processing) or processed (for presentation). Required for pictures outside tables.
    categories
        Another word in the column kind, and what it is: NAME=KIND, or NAME=skip to leave its annotations out. Repeat
        for several.
    """
    from microcalc.datasets.points import read_points

    check_output_folder(out, "table points", inputs=[file, *images])
    given, problems = _images(images, pixel_spacing, intent)
    return _written(
        read_points(file, given, categories=categories or ()), out, "table points", [file, *images], problems
    )


def table_coco(
    file: Path,
    /,
    *,
    images: list[Path],
    out: Path,
    pixel_spacing: SpacingOption | None = None,
    intent: IntentOption = None,
    categories: list[str] | None = None,
) -> int:
    """Make a table of images and of annotations in COCO JSON.

    Keypoints and boxes are places; the categories are the kinds of the table. Polygons of the category cluster are
    outlines of clusters.

    Parameters
    ----------
    file
        COCO JSON file.
    images
        Images, folders of these, or a table whose annotations are left out. Repeat for several.
    out
        Folder for images.csv and annotations.csv.
    pixel_spacing
        Pixel spacing in mm. Required for pictures outside tables.
    intent
        raw (for processing) or processed (for presentation). Required for pictures outside tables.
    categories
        Category of another name than the table's kinds, and what it is: NAME=KIND, or NAME=skip to leave its
        annotations out. Repeat for several.
    """
    from microcalc.datasets.coco import read_coco

    check_output_folder(out, "table coco", inputs=[file, *images])
    given, problems = _images(images, pixel_spacing, intent)
    table = read_coco(file, given, categories=categories or ())
    return _written(table, out, "table coco", [file, *images], problems)


def table_sr(files: list[Path], /, *, images: list[Path], out: Path) -> int:
    """Make a table of images and of annotations in DICOM measurement reports (TID 1500).

    Points, polylines, circles and ellipses are read, from reports of microcalc and of other programs.

    Parameters
    ----------
    files
        Structured reports.
    images
        DICOM images, folders of these, or a table whose annotations are left out. Repeat for several.
    out
        Folder for images.csv and annotations.csv.
    """
    from microcalc.reports.annotation_reader import read_annotation_reports

    check_output_folder(out, "table sr", inputs=[*files, *images])
    given, problems = _images(images, None, None)
    read = read_annotation_reports(files, given)
    code = _written(read.table, out, "table sr", [*files, *images], problems)
    if read.passed_over:
        print_line(f"skipped: {quantity(read.passed_over, 'finding')} of another kind than calcifications")
    return code


def table_export(table: Path, /, *, to: Literal["coco", "sr", "csv", "parquet"], out: Path) -> None:
    """Write annotations as COCO JSON or as DICOM measurement reports (TID 1500), or the table as CSV or Parquet.

    Reports need DICOM images, and microcalc[report]; there is one for each exam and reader. Parquet, for large tables,
    needs microcalc[parquet].

    Parameters
    ----------
    table
        Folder with images.csv and annotations.csv, or with these files in Parquet.
    to
        coco, sr for reports, or csv or parquet for the table as it is.
    out
        Folder for annotations.json, for annotations-1.sr.dcm and so on, or for the files of the table.
    """
    from microcalc.datasets.coco import write_coco
    from microcalc.datasets.open import identified_table, open_table
    from microcalc.dicom.tags import quiet
    from microcalc.dicom.write import write_data_set
    from microcalc.extras import require_modules
    from microcalc.reports.annotation_report import annotation_reports

    check_output_folder(out, "table export", inputs=[table])
    if to in ("csv", "parquet"):
        _converted(table, out, to)
        return
    whole = identified_table(open_table(table))
    if to == "coco":
        with output_folder(out, "table export", inputs=[table]):
            write_coco(whole, out / "annotations.json")
        print_line(f"{out}: {quantity(len(whole.annotations), 'annotation')}")
        return
    require_modules("highdicom")
    reports = list(annotation_reports(whole, made=datetime.now().astimezone()))
    with output_folder(out, "table export", inputs=[table]), quiet():
        for number, report in enumerate(reports, 1):
            write_data_set(report.dataset, out / f"annotations-{number}.sr.dcm")
        for stale in set(out.glob("annotations-*.sr.dcm")) - {
            out / f"annotations-{number}.sr.dcm" for number in range(1, len(reports) + 1)
        }:
            stale.unlink()
    print_line(f"{out}: {quantity(len(whole.annotations), 'annotation')} in {quantity(len(reports), 'report')}")


def _converted(table: Path, out: Path, form: Literal["csv", "parquet"]) -> None:
    """Write a table in one of its two forms; its images need not be there."""
    from microcalc.datasets.table_files import read_table, write_table

    whole = read_table(table)
    with output_folder(out, "table export", inputs=[table]):
        write_table(whole, out, form=form)
    print_line(f"{out}: {quantity(len(whole.images), 'image')}, {quantity(len(whole.annotations), 'annotation')}")


def _images(paths: list[Path], pixel_spacing: float | None, intent: Intent | None) -> tuple[Table, tuple[str, ...]]:
    """Return the images in files, folders and tables as one table, and why some cannot be used."""
    from microcalc.datasets.open import identified_table
    from microcalc.images.info import ImageInfo
    from microcalc.viewer.sources import open_catalogue

    info = ImageInfo(None if pixel_spacing is None else (pixel_spacing, pixel_spacing), intent)
    catalogue = open_catalogue(paths, info)
    return identified_table(catalogue.table), catalogue.problems


def _written(table: Table, out: Path, command: str, inputs: list[Path], problems: tuple[str, ...]) -> int:
    from microcalc.datasets.table_files import write_table

    for problem in problems:
        print_fault(problem)
    with output_folder(out, command, inputs=inputs):
        write_table(table, out)
    print_line(f"{out}: {quantity(len(table.images), 'image')}, {quantity(len(table.annotations), 'annotation')}")
    print_sources(table.images)
    return 1 if problems else 0


def print_sources(images: Iterable[ImageRow]) -> None:
    """Print which data sets the images are from, and the terms of their use."""
    from microcalc.datasets.sources import sources_of

    for source, licence in sources_of(images):
        print_line(f"{source or 'licence'}: {licence or 'no terms stated'}")
