"""CAD reports of any maker as detections documents, so that ``evaluate`` can read them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.detection.entries import CandidateEntry, ClusterEntry, ImageEntry
from microcalc.detection.result import SCHEMA, Result, write_result
from microcalc.dicom.tags import is_uid
from microcalc.errors import InputError
from microcalc.images.dicom.sniff import is_dicom
from microcalc.reports.cad_findings import ReadFinding
from microcalc.reports.cad_reader import CadReport, is_cad_report, read_cad_report
from microcalc.storage.write import saying_where

if TYPE_CHECKING:
    from microcalc.datasets.table import Table

_LOG = logging.getLogger("microcalc.reports")


def are_reports(path: Path) -> bool:
    """Return whether a path is a DICOM file, or a folder with DICOM files and without JSON files."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        return not any(file.suffix.lower() == ".json" for file in files) and any(map(is_dicom, files))
    return path.is_file() and is_dicom(path)


def write_results_of_reports(path: Path, table: Table, out: Path) -> Path:
    """Write the content of CAD reports, ours or another manufacturer's, as detections documents.

    The candidates of a cluster are its calcifications or, if none are listed, its centre. A calcification outside
    clusters is a candidate and a single calcification. Other kinds of findings are ignored, and so are findings that
    the report of another manufacturer calls typically benign (vascular, skin, ...; ``show-report`` lists them) and
    images in which detection failed or that were not searched for calcifications. In our own reports a finding of
    such a type is a finding, as in the detections that they were made of; if it is optional at every operating point,
    it is set apart. The likelihood is the certainty of a finding. Without a certainty it is 1 - k / (n + 1) if the
    finding is shown from operating point k of n on, and 1 if it is always shown (our choice).

    Parameters
    ----------
    path
        A CAD SR, or a folder of them; other DICOM files in it are ignored.
    table
        A table with SOP Instance UIDs, as returned by ``datasets.open.identified_table``.
    out
        Folder in which ``UID.json`` of each image is written; documents of earlier calls are removed.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    UnreadableImageError
        A DICOM file is damaged.
    InputError
        There is no CAD report, one violates its template, or two include the same image.
    """
    files = [file for file in sorted(path.iterdir()) if is_cad_report(file)] if path.is_dir() else [path]
    reports = {file: read_cad_report(file) for file in files}
    if not reports:
        raise InputError(f"{path.name}: DICOM files but no Mammography CAD SR, expected at least one")
    names = {row.sop_instance_uid: row.file.name for row in table.images if row.sop_instance_uid}
    documents = results_of_reports(reports, names)
    with saying_where(out / "documents"):
        out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*.json"):
        if is_uid(stale.stem) and stale.stem not in documents:
            stale.unlink()
    for uid, document in documents.items():
        write_result(document, out / f"{uid}.json")
    return out


def results_of_reports(reports: Mapping[Path, CadReport], names: Mapping[str, str]) -> dict[str, Result]:
    """Return SOP Instance UID → document of each image that reports have searched.

    Parameters
    ----------
    names
        SOP Instance UID → file of the images that are known.

    Raises
    ------
    InputError
        Two reports include the same image, or one refers to an image without a valid SOP Instance UID.
    """
    documents: dict[str, Result] = {}
    reported_in: dict[str, str] = {}
    for file, report in reports.items():
        _log_remarks(file, report)
        for image in report.images:
            if image.uid in report.failed | report.not_searched:
                continue
            name = names.get(image.uid, f"{image.uid}.dcm")
            if not is_uid(image.uid):
                raise InputError(f"{file.name}: refers to an image without a valid SOP Instance UID, expected one")
            if image.uid in documents:
                raise InputError(
                    f"{file.name}: refers to {name}, and so does {reported_in[image.uid]}, "
                    "expected one report for each image"
                )
            reported_in[image.uid] = file.name
            documents[image.uid] = _document(name, report, image.uid)
    return documents


def _log_remarks(file: Path, report: CadReport) -> None:
    for remark in report.remarks:
        _LOG.warning("%s: %s", file.name, remark)
    benign = sum(finding.is_calcium and _is_passed_over(finding, report) for finding in report.findings)
    if benign:
        _LOG.warning("%s: findings that are reported as typically benign calcium, not evaluated: %d", file.name, benign)


def _document(name: str, report: CadReport, uid: str) -> Result:
    """Return the detections document of one image, as far as the report gives its content.

    A calcification that several findings list is one candidate. One that is in a finding is no single one.
    """
    candidates: dict[CandidateEntry, int] = {}
    clusters: list[ClusterEntry] = []
    singles: list[int] = []
    for finding in report.findings:
        if finding.uid != uid or not finding.is_calcium or _is_passed_over(finding, report):
            continue
        marks = [part for part in finding.parts if not _is_passed_over(part, report)] or [finding]
        entries = [_candidate(mark, _rating(mark, report)) for mark in marks]
        members = tuple(dict.fromkeys(candidates.setdefault(entry, len(candidates)) for entry in entries))
        if finding.is_cluster:
            apart = finding.is_benign and not finding.required and finding.point is None
            clusters.append(
                ClusterEntry(
                    likelihood=_rating(finding, report),
                    finding=finding.required or apart,
                    members=members,
                    outline=_corners(finding) or (),
                    distribution=finding.distribution,
                    kind=finding.calcium_kind,
                    apart=apart,
                )
            )
        else:
            singles += members
    in_findings = {member for cluster in clusters if cluster.finding for member in cluster.members}
    return Result(
        schema=SCHEMA,
        image=ImageEntry(file=name, sop_instance_uid=uid or None),
        candidates=tuple(candidates),
        clusters=tuple(clusters),
        single_calcifications=tuple(single for single in dict.fromkeys(singles) if single not in in_findings),
    )


def _is_passed_over(finding: ReadFinding, report: CadReport) -> bool:
    """Return whether a finding is typically benign by another manufacturer's judgement, and so no mark."""
    return finding.is_benign and not report.is_ours


def _candidate(mark: ReadFinding, likelihood: float) -> CandidateEntry:
    """Return a calcification, or the centre of a cluster whose calcifications are not listed."""
    row, column = (float(value) for value in mark.centre)
    if mark.is_cluster:
        return CandidateEntry(row=row, column=column, likelihood=likelihood)
    return CandidateEntry(
        row=row,
        column=column,
        likelihood=likelihood,
        outline=_corners(mark),
        diameter_mm=mark.diameter_mm,
        area_mm2=mark.area_mm2,
        kind=mark.calcium_kind,
    )


def _corners(finding: ReadFinding) -> tuple[tuple[float, float], ...] | None:
    return None if finding.outline is None else tuple((r, c) for r, c in finding.outline.tolist())


def _rating(finding: ReadFinding, report: CadReport) -> float:
    if finding.certainty is not None:
        return finding.certainty
    if finding.required or finding.point is None:
        return 1.0
    return max(0.0, 1 - finding.point / ((report.max_point or finding.point) + 1))
