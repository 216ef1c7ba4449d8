"""CAD reports beside images: the findings of each program as those of a detector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from microcalc.datasets.table import Table
from microcalc.detection.result import Result
from microcalc.dicom.tags import quiet, word
from microcalc.errors import InputError, MicrocalcError
from microcalc.images.dicom.read import read_data_set
from microcalc.images.dicom.sniff import is_dicom
from microcalc.reports.cad_reader import read_cad_report
from microcalc.reports.header import SOP_CLASSES
from microcalc.reports.to_results import results_of_reports
from microcalc.viewer.catalogue import DetectionFiles

_STRUCTURED: Final = "1.2.840.10008.5.1.4.1.1.88."
_OTHERS: Final = (
    (_STRUCTURED, "a structured report other than Mammography CAD SR", "; microcalc table sr reads annotations"),
    (SOP_CLASSES["gsps"], "a presentation state", ""),
    (SOP_CLASSES["seg"], "a segmentation", ""),
)


def is_cad_report_or_refused(file: Path) -> bool:
    """Return whether a file is a Mammography CAD SR; False: it is no report at all.

    Raises
    ------
    UnreadableImageError
        The file is damaged DICOM.
    InputError
        It is a report of another kind, which cannot be shown.
    """
    if not file.is_file() or not is_dicom(file):
        return False
    with quiet():
        sop_class = word(read_data_set(file, stop_before_pixels=True), "SOPClassUID")
    if sop_class == SOP_CLASSES["sr"]:
        return True
    for start, what, hint in _OTHERS:
        if sop_class.startswith(start):
            raise InputError(f"{file.name}: {what}, expected images or a Mammography CAD SR{hint}")
    return False


@dataclass(slots=True)
class _Program:
    """The reports of one program that have no image in common."""

    name: str
    path: Path
    files: dict[str, Path] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)


def detectors_of_reports(files: Sequence[Path], table: Table, first: int) -> tuple[list[DetectionFiles], list[str]]:
    """Return the findings of reports on the images of a table, program by program, and why reports are not shown.

    Two reports of one program on one image are two detectors.

    Parameters
    ----------
    table
        With SOP Instance UIDs.
    first
        Number of the first detector.
    """
    image_of = {row.sop_instance_uid: row.image for row in table.images if row.sop_instance_uid}
    names = {row.sop_instance_uid: row.file.name for row in table.images if row.sop_instance_uid}
    programs: list[_Program] = []
    problems: list[str] = []
    for file in files:
        try:
            report = read_cad_report(file)
            results = results_of_reports({file: report}, names)
        except MicrocalcError as error:
            problems.append(str(error))
            continue
        found = {image_of[uid]: result for uid, result in results.items() if uid in image_of}
        if not found:
            problems.append(f"{file.name}: a CAD report on none of the images given, expected one of these images")
            continue
        name = next(iter(report.algorithms), "") or "CAD report"
        program = next((p for p in programs if p.name == name and not p.files.keys() & found), None)
        if program is None:
            program = _Program(name, file)
            programs.append(program)
        program.files |= dict.fromkeys(found, file)
        program.results |= found
    return [
        DetectionFiles(
            f"d{n}", f"{p.name} (CAD SR)", p.path, p.files, p.results, _least_of_findings(p.results.values())
        )
        for n, p in enumerate(programs, first)
    ], problems


def _least_of_findings(results: Iterable[Result]) -> float:
    """Return the likelihood from which all is shown that the reports ask to show; 1 where they ask for nothing."""
    return min((c.likelihood for result in results for c in result.clusters if c.finding), default=1.0)
