"""All reports of an exam, as the command and the node need them.

A structured report covers a whole exam and is always made; a presentation state or segmentation is made for each
image with findings or single calcifications.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from microcalc.dicom.tags import quiet
from microcalc.dicom.write import write_data_set
from microcalc.errors import InputError
from microcalc.reports.cad_report import CodeScheme, cad_report
from microcalc.reports.header import ReportKind
from microcalc.reports.presentation_state import presentation_state
from microcalc.reports.reported_image import ReportedImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

EXAM_KINDS: tuple[ReportKind, ...] = ("sr", "tid1500")
IMAGE_KINDS: tuple[ReportKind, ...] = ("gsps", "seg")


class Report(NamedTuple):
    """A report: its kind, its data set with file meta information, and its images."""

    kind: ReportKind
    dataset: Dataset
    results: tuple[ReportedImage, ...]


def exam_reports(
    results: Sequence[ReportedImage],
    kinds: Collection[ReportKind],
    *,
    made: datetime,
    codes: CodeScheme = "sct",
) -> list[Report]:
    """Return the reports of one exam.

    Parameters
    ----------
    results
        The images of one study, including those that could not be analysed.
    kinds
        Kinds of reports to make.
    made
        Time of making, which does not change UIDs.
    codes
        Coding scheme of the CAD SR.

    Returns
    -------
    list of Report
        One report of each kind that covers exams; of the other kinds, one for each image with marks.

    Raises
    ------
    InputError
        There is no image, an image twice, or images of several studies; or the header of an image is not
        sufficient for a presentation state or segmentation.
    """
    reports: list[Report] = []
    if "sr" in kinds:
        reports.append(Report("sr", cad_report(results, made=made, codes=codes), tuple(results)))
    if "tid1500" in kinds:
        from microcalc.reports.measurement_report import measurement_report

        reports.append(Report("tid1500", measurement_report(results, made=made), tuple(results)))
    for kind in IMAGE_KINDS:
        if kind in kinds:
            reports += _image_reports(kind, results, made)
    return reports


def _image_reports(kind: ReportKind, results: Sequence[ReportedImage], made: datetime) -> list[Report]:
    reports, make = [], presentation_state
    if kind == "seg":
        from microcalc.reports.segmentation import segmentation as make
    for result in results:
        try:
            dataset = make(result, made=made)
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:  # raised by the library for a header that it refuses
            raise InputError(
                f"{result.header.file.name}: no {kind} can be made for this header ({type(error).__name__}), "
                "expected a complete one"
            ) from error
        if dataset is not None:
            reports.append(Report(kind, dataset, (result,)))
    return reports


def write_report(report: Report, path: Path) -> None:
    """Write a report, completely or not at all; raise ``OutputError`` if the system refuses."""
    with quiet():
        write_data_set(report.dataset, path)
