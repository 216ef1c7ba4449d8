"""Read VinDr-Mammo: digital mammograms with boxes around findings of BI-RADS 3 and above.

``images/<study>/<image>.dicom``, and ``finding_annotations.csv`` with a line for each finding, or for an image without
one. The categories of a finding are a list of Python as text, ``"['Suspicious Calcification', 'Mass']"``; its box is in
pixels of the image as stored. Boxes of calcifications are regions; those of other findings are passed over. A study is
one patient.

References
----------
Nguyen HT et al., Scientific Data 10 (2023) 277, doi 10.1038/s41597-023-02100-7.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from microcalc.datasets.lines import Line, number_in, read_lines, word_in
from microcalc.datasets.public import PublicSet, Reading, box, counted, files_below, only_file, region
from microcalc.datasets.table import AnnotationRow, ImageRow, Split
from microcalc.domain import Laterality
from microcalc.errors import TableError
from microcalc.images.info import NO_INFO, ImageInfo

SOURCE: Final = "VinDr-Mammo"
LICENCE: Final = (
    "PhysioNet Credentialed Health Data License 1.5.0: given on request, research only, not to be passed on. Cite "
    "Nguyen HT et al., Scientific Data 10 (2023) 277, doi 10.1038/s41597-023-02100-7."
)
LIST: Final = "finding_annotations.csv"
_EDGES: Final = ("ymin", "xmin", "ymax", "xmax")
_COLUMNS: Final = (
    "study_id", "image_id", "laterality", "view_position", "height", "width", "breast_birads", "breast_density",
    "finding_categories", *_EDGES, "split",
)  # fmt: skip
_SPLITS: Final[Mapping[str, Split]] = {"training": "train", "test": "test"}
_SIDES: Final[tuple[Laterality, ...]] = ("L", "R")
_NONE: Final = "no finding"

_Lines = Sequence[tuple[str, Line]]
"""The lines of one image, each with its place in the list."""


def read_vindr_mammo(folder: Path, said: ImageInfo = NO_INFO) -> PublicSet:
    """Read VinDr-Mammo.

    Parameters
    ----------
    said
        Pixel spacing of files that do not state it.

    Raises
    ------
    TableError
        ``finding_annotations.csv`` is missing or of another layout, or no image can be used.
    """
    reading = Reading(SOURCE, LICENCE, said)
    list_file = only_file(folder, LIST)
    lines: dict[str, list[tuple[str, Line]]] = {}
    for number, line in read_lines(list_file, required=_COLUMNS):
        lines.setdefault(line["image_id"], []).append((f"{list_file.name} line {number}", line))
    files = files_below(folder, ".dicom", ".dcm")
    others = 0
    for file in files:
        if file.stem in lines:
            with reading.leaving_out(file):
                others += _add(reading, file, lines[file.stem])
    there = dict.fromkeys(file.stem for file in files)
    reading.absent((name for name in lines if name not in there), f"{LIST} lists images that are not there")
    reading.absent((name for name in there if name not in lines), f"images that {LIST} does not list")
    reading.notes += counted(others, "box", "of masses and other findings passed over", plural="boxes")
    return reading.done(folder, content_of=reading.instance_of)


def _add(reading: Reading, file: Path, lines: _Lines) -> int:
    """Add an image with its regions; return how many boxes of other findings it has."""
    where, line = lines[0]
    side, split = word_in(line, "laterality", _SIDES, where), word_in(line, "split", tuple(_SPLITS), where)
    if not line["study_id"]:
        raise TableError(f"{where}: no study_id, expected the study of the image")
    image = reading.describe(file, ImageInfo(view=line["view_position"], laterality=side))
    stated = f"{number_in(line, 'height', where):g} x {number_in(line, 'width', where):g}"
    if f"{image.rows} x {image.columns}" != stated:
        raise TableError(f"{file.name}: {image.rows} x {image.columns} pixels, expected {stated} as in {where}")
    image = replace(
        image, image=file.stem, patient=f"vindr-{line['study_id']}", split=_SPLITS[split], tags=_tags(line)
    )  # fmt: skip
    calcium, others = [], 0
    for at, finding in lines:
        categories = _categories(finding, at)
        if any("calcification" in category for category in categories):
            calcium.append(_region(finding, image, at))
        elif categories != [_NONE]:
            others += 1
    reading.add(image, calcium)
    return others


def _region(line: Line, image: ImageRow, where: str) -> AnnotationRow:
    top, left, bottom, right = (number_in(line, edge, where) for edge in _EDGES)
    return region(box(top, left, bottom, right, where), image, judge=SOURCE, where=where)


def _categories(line: Line, where: str) -> list[str]:
    """Return the categories of a finding in lower case."""
    text = line["finding_categories"]
    try:
        categories = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        categories = None
    if not isinstance(categories, list) or not categories or not all(isinstance(c, str) for c in categories):
        raise TableError(f"{where}: finding_categories is {text[:40]!r}, expected a list such as ['Mass']")
    return [" ".join(category.lower().split()) for category in categories]


def _tags(line: Line) -> str:
    """Return tags for the density and the BI-RADS category of the breast: ``DENSITY C`` and ``BI-RADS 4``."""
    density, birads = line["breast_density"].upper().split(), line["breast_birads"].upper().split()
    tags = [f"density-{density[-1]}"] if density and density[-1] in ("A", "B", "C", "D") else []
    return " ".join([*tags, *([f"birads-{birads[-1]}"] if birads and birads[-1][:1].isdigit() else [])])
