"""Print reports as text: CAD SR, other structured reports, presentation states and segmentations.

Patient and study are not printed, as the text may end up in a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from microcalc.dicom.tags import integer, items, numbers, quiet, shown_uid, word
from microcalc.errors import InputError
from microcalc.reports import concepts as c
from microcalc.reports.cad_findings import ReadFinding
from microcalc.reports.cad_reader import CadReport, parse_cad_report
from microcalc.reports.content_items import children, meaning, measured
from microcalc.reports.header import SOP_CLASSES
from microcalc.reports.whole import read_whole
from microcalc.wording import quantity

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_STRUCTURED = "1.2.840.10008.5.1.4.1.1.88."


def show_report(file: Path) -> list[str]:
    """Return the content of a report as lines; positions are rows and columns in pixels, 0 at the first pixel's centre.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, or damaged.
    InputError
        The file is not a report, or the report violates its template.
    """
    with quiet():
        dataset = read_whole(file)
        sop_class = word(dataset, "SOPClassUID")
        try:
            if sop_class == SOP_CLASSES["sr"]:
                return list(_cad(dataset))
            if sop_class == SOP_CLASSES["gsps"]:
                return list(_presentation_state(dataset))
            if sop_class == SOP_CLASSES["seg"]:
                return list(_segmentation(dataset))
            if sop_class.startswith(_STRUCTURED):
                return list(_tree(dataset))
        except InputError as error:
            raise InputError(f"{file.name}: {error}") from None
    raise InputError(
        f"{file.name}: SOP class {shown_uid(sop_class)}, expected a structured report, a presentation state or a "
        "segmentation"
    )


def _manufacturer(dataset: Dataset) -> str:
    named = (word(dataset, keyword) for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions"))
    return " ".join(dict.fromkeys(name for name in named if name)) or "an unnamed manufacturer"


def _cad(dataset: Dataset) -> Iterator[str]:
    report = parse_cad_report(dataset)
    yield f"Mammography CAD report by {_manufacturer(dataset)}"
    yield report.outcome or "no summary"
    if report.description:
        yield report.description
    yield from report.remarks
    for algorithm in report.algorithms:
        yield f"algorithm: {algorithm}"
    for parameter in report.parameters:
        yield f"  {parameter}"
    for n, image in enumerate(report.images, start=1):
        named = ", ".join(name for name in (image.laterality, image.view) if name)
        yield f"image {n}: {named or 'view unknown'}: {_findings_of_image(report, image.uid)}"
        for finding in report.findings:
            if finding.uid == image.uid:
                yield from _finding(finding, "  ")


def _findings_of_image(report: CadReport, uid: str) -> str:
    """Return the numbers of required and of optional findings, or why there are none."""
    findings = [finding for finding in report.findings if finding.uid == uid]
    if not findings:
        return (
            "failed" if uid in report.failed
            else "not searched for calcifications" if uid in report.not_searched
            else "no finding"
        )  # fmt: skip
    shown = sum(finding.required for finding in findings)
    default = "" if report.max_point is None else " at the default operating point (0)"
    words = [f"{quantity(shown, 'finding')}{default}"]
    later = sum(not finding.required and finding.point is not None for finding in findings)
    if later:
        words.append(f"{later} optional at more sensitive points")
    if shown + later < len(findings):
        words.append(f"{len(findings) - shown - later} optional")
    return ", ".join(words)


def _finding(finding: ReadFinding, indent: str) -> Iterator[str]:
    words = [f"{finding.kind} at row {finding.centre[0]:.1f}, column {finding.centre[1]:.1f}"]
    if finding.count is not None:
        words.append(quantity(finding.count, "calcification"))
    if finding.distribution is not None:
        words.append(f"{finding.distribution} distribution")
    words += _size(finding)
    words += _types(finding)
    if finding.certainty is not None:
        words.append(f"certainty {100 * finding.certainty:.1f} %")
    if finding.point is not None:
        words.append(f"shown from operating point {finding.point} on")
    elif not finding.required:
        words.append("showing it is optional")
    yield indent + "; ".join(words)
    for part in finding.parts:
        words = [f"row {part.centre[0]:.1f}, column {part.centre[1]:.1f}", *_size(part), *_types(part)]
        if part.certainty is not None:
            words.append(f"certainty {100 * part.certainty:.1f} %")
        yield f"{indent}  {'; '.join(words)}"


def _size(finding: ReadFinding) -> list[str]:
    return [] if finding.diameter_mm is None else [f"diameter {finding.diameter_mm:.2f} mm"]


def _types(finding: ReadFinding) -> list[str]:
    """Return the stated types of calcification, without that of microcalcifications."""
    return [kind for kind in finding.types if kind != c.MICROCALCIFICATIONS.meaning]


def _tree(dataset: Dataset) -> Iterator[str]:
    """Yield an indented line for each item with a name or a value."""
    yield f"structured report by {_manufacturer(dataset)}"
    waiting = [(dataset, 0)]
    while waiting:
        item, depth = waiting.pop()
        line = ": ".join(part for part in (meaning(item, "ConceptNameCodeSequence"), _value(item)) if part)
        if line:
            yield "  " * depth + line
        waiting += [(child, depth + 1) for child in reversed(children(item))]


def _value(item: Dataset) -> str:
    kind = word(item, "ValueType")
    if kind == "CODE":
        return meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        units = [meaning(entry, "MeasurementUnitsCodeSequence") for entry in items(item, "MeasuredValueSequence")]
        value = measured(item)
        return "" if value is None else f"{value:g} {units[0]}"
    if kind == "SCOORD":
        data = numbers(item, "GraphicData")
        where = _where(data)
        return f"{word(item, 'GraphicType')}, {quantity(len(data) // 2, 'point')}, {where}"
    if kind == "IMAGE":
        return "image"
    keyword = {"TEXT": "TextValue", "UIDREF": "UID", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime"}.get(kind)
    return "" if keyword is None else word(item, keyword)


def _where(data: tuple[float, ...]) -> str:
    """Return the centre of coordinates (column, row, ...), which count from the corner of the first pixel."""
    columns, rows = data[0::2], data[1::2]
    if not rows:
        return "nowhere"
    middle = ((min(side) + max(side)) / 2 - 0.5 for side in (rows, columns))
    return "around row {:.1f}, column {:.1f}".format(*middle)


def _presentation_state(dataset: Dataset) -> Iterator[str]:
    yield f"presentation state by {_manufacturer(dataset)}: {word(dataset, 'ContentLabel')}"
    for annotation in items(dataset, "GraphicAnnotationSequence"):
        layer = word(annotation, "GraphicLayer")
        for drawn in items(annotation, "GraphicObjectSequence"):
            yield f"  {layer}: {word(drawn, 'GraphicType')} {_where(numbers(drawn, 'GraphicData'))}"
        for label in items(annotation, "TextObjectSequence"):
            yield f"  {layer}: {word(label, 'UnformattedTextValue')}"


def _segmentation(dataset: Dataset) -> Iterator[str]:
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    yield f"segmentation by {_manufacturer(dataset)}: {rows} rows, {columns} columns"
    for segment in items(dataset, "SegmentSequence"):
        kind = meaning(segment, "SegmentedPropertyTypeCodeSequence")
        yield f"  segment {word(segment, 'SegmentNumber')}: {kind}: {word(segment, 'SegmentLabel')}"
