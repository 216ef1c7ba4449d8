"""All reports of an exam: what the command and the node ask for.

Structured reports speak of a whole exam and are always made; presentation states and
segmentations are made for each image that has findings.
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
    """A report: its kind, its data set with file meta information, and the results that it speaks of."""

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
    """The reports of one exam.

    Parameters
    ----------
    results
        Of the images of one study; those that could not be analysed among them.
    kinds
        Which reports.
    made
        When; UIDs do not depend on it.
    codes
        Of the CAD SR.

    Returns
    -------
    list of Report
        One for each kind that speaks of exams; one for each image with findings of the others.

    Raises
    ------
    InputError
        No image, images of several studies, or one twice; a header that no presentation state or
        segmentation can be made for.
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
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # the library's, of a header that it refuses
            raise InputError(
                f"{result.header.file.name}: a header that no {kind} can be made for ({type(error).__name__}), "
                "expected a whole one"
            ) from error
        if dataset is not None:
            reports.append(Report(kind, dataset, (result,)))
    return reports


def write_report(report: Report, path: Path) -> None:
    """Write a report whole or not at all."""
    with quiet():
        write_data_set(report.dataset, path)
