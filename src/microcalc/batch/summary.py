"""``summary.csv``: one row for each image of a call, for a spreadsheet.

===================== ==================================================================================
image                 the image's path below the folder that was given, or its file's name
result                its detections document in the same folder; empty where there is none
breast_area_cm2       area that was searched
candidates            candidates that are members of findings, at the default operating point
findings              clusters shown to the reader, at the default operating point
seconds               from the file to the findings
error                 why there is no result; empty where there is one
single_calcifications evident calcifications outside findings
highest_likelihood    of the most likely cluster, whether it is a finding or not; empty without a cluster
largest_mm            diameter of the largest calcification in a finding or alone; empty without one
findings_apart        findings that are set apart, because of their kind (``--benign apart``)
vascular_length_mm    length of the vascular calcifications
vascular_area_mm2     their area
===================== ==================================================================================
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from microcalc.storage.ownership import check_editable, write_editable

if TYPE_CHECKING:
    from microcalc.detection.result import Result

SUMMARY: Final = "summary.csv"


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One image; see the module. None: there is no result, or it does not state the value."""

    image: str
    result: str = ""
    breast_area_cm2: float | None = None
    candidates: int | None = None
    findings: int | None = None
    seconds: float | None = None
    error: str = ""
    single_calcifications: int | None = None
    highest_likelihood: float | None = None
    largest_mm: float | None = None
    findings_apart: int | None = None
    vascular_length_mm: float | None = None
    vascular_area_mm2: float | None = None

    @classmethod
    def of(cls, image: str, name: str, result: Result) -> SummaryRow:
        """Return the row of an image with a result, whose document is called ``name``."""
        vascular = result.vascular_calcium
        shown = [cluster for cluster in result.clusters if cluster.finding]
        listed = [mark for finding in result.findings for mark in finding.calcifications] + list(result.singles)
        return cls(
            image,
            name,
            breast_area_cm2=result.breast_area_cm2,
            candidates=len({member for cluster in shown for member in cluster.members}),
            findings=len(shown),
            seconds=None if result.seconds is None else result.seconds.total,
            single_calcifications=len(result.single_calcifications),
            highest_likelihood=max((cluster.likelihood for cluster in result.clusters), default=None),
            largest_mm=max((mark.diameter_mm for mark in listed if mark.diameter_mm is not None), default=None),
            findings_apart=sum(cluster.apart for cluster in shown),
            vascular_length_mm=None if vascular is None else vascular.length_mm,
            vascular_area_mm2=None if vascular is None else vascular.area_mm2,
        )


def check_summary(folder: Path) -> None:
    """Refuse, before any work, to replace a ``summary.csv`` that a user made or changed.

    Raises
    ------
    OutputError
        The file was not written by this command, or was changed since.
    """
    check_editable(folder / SUMMARY)


def write_summary(folder: Path, rows: Iterable[SummaryRow]) -> None:
    """Write ``summary.csv`` into a folder that bears our mark.

    Raises
    ------
    OutputError
        The file was changed by hand during the work; or the system refused.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [entry.name for entry in fields(SummaryRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_editable(folder / SUMMARY, text.getvalue().encode("utf-8", "backslashreplace"))
