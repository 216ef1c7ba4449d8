"""Read EMBED (Emory Breast Imaging Dataset, open part): digital mammograms with boxes that radiologists drew.

``EMBED_OpenData_metadata.csv`` has a line for each file, ``EMBED_OpenData_clinical.csv`` one for each finding of an
exam (either also as ``..._reduced.csv``). Paths are those of the publisher's machine: files are found by their names.
``ROI_coords`` is a list of lists as text, ``[[ymin, xmin, ymax, xmax]]``, and ``match_level`` says of each box whether
it was drawn on this image (1) or derived from another (2).

A box is not tied to a finding. So the boxes of an image are regions where all findings of its breast have
calcifications, and are passed over where none has. Images are left out where some have, where calcifications have no
box, or a derived one: what is annotated in them is not known. A negative assessment without calcifications is no
finding.

References
----------
Jeong JJ et al., Radiology: Artificial Intelligence 5 (2023) e220047, doi 10.1148/ryai.220047.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from microcalc.datasets.lines import Line, is_not_known, open_lines, word_in
from microcalc.datasets.outlines import Corners
from microcalc.datasets.public import PublicSet, Reading, box, counted, files_below, only_file, region
from microcalc.domain import Laterality
from microcalc.errors import TableError
from microcalc.images.info import NO_INFO, ImageInfo

SOURCE: Final = "EMBED"
LICENCE: Final = (
    "EMBED Open Data licence (Emory University): given on request, research only; copies must not be passed on, and "
    "weights of models trained on it must not be published. Cite Jeong JJ et al., Radiology: Artificial Intelligence 5 "
    "(2023) e220047, doi 10.1148/ryai.220047."
)
_IMAGE_COLUMNS: Final = (
    "empi_anon", "acc_anon", "anon_dicom_path", "FinalImageType", "ImageLateralityFinal", "ViewPosition", "spot_mag",
    "num_roi", "ROI_coords", "match_level",
)  # fmt: skip
_FINDING_COLUMNS: Final = ("empi_anon", "acc_anon", "side", "asses", "calcfind", "calcdistri")
_TYPES: Final = ("2D", "3D", "C-view", "ROI_SSC", "ROI_SS")
_SIDES: Final[tuple[Laterality, ...]] = ("L", "R")
_BOTH: Final = ("B", "")
_NEGATIVE: Final = "N"
_BIRADS: Final = {"A": "0", "N": "1", "B": "2", "P": "3", "S": "4", "M": "5", "K": "6"}
_SHAPES: Final = {
    "A": "amorphous", "B": "fine-linear-branching", "C": "popcorn", "D": "dystrophic", "E": "rim", "F": "fine-linear",
    "G": "generic", "H": "coarse-heterogeneous", "I": "fine-pleomorphic", "J": "oil-cyst", "K": "pleomorphic",
    "L": "rod", "M": "milk-of-calcium", "O": "lucent", "P": "punctate", "Q": "coarse", "R": "round", "S": "skin",
    "U": "suture", "V": "vascular", "9": "benign",
}  # fmt: skip
_LAYOUTS: Final = {
    "G": "grouped", "S": "segmental", "R": "regional", "D": "diffuse", "L": "linear", "C": "clustered"
}  # fmt: skip
_DERIVED: Final = 2


@dataclass(frozen=True, slots=True)
class _Finding:
    """One line of the clinical list; ``side`` is L, R, or one of ``_BOTH``."""

    side: str
    assessment: str
    shapes: str
    layouts: str
    where: str

    def is_in(self, side: Laterality) -> bool:
        """Return whether it may be a finding of a breast."""
        return self.side in (side, *_BOTH)


@dataclass(frozen=True, slots=True)
class _View:
    """What the lists say of one image: the findings of its breast, and boxes, of which some may be derived."""

    side: Laterality
    findings: Sequence[_Finding]
    boxes: Sequence[Corners]
    derived: bool

    @property
    def calcium(self) -> Sequence[_Finding]:
        """Return the findings that are calcifications."""
        return [finding for finding in self.findings if finding.shapes]

    def why_unclear(self) -> str:
        """Return why it is not known what the boxes show; empty where it is."""
        if not self.calcium:
            return ""
        if not self.boxes:
            return "calcifications without a box"
        if any(not f.shapes and f.assessment != _NEGATIVE for f in self.findings):
            return "boxes of calcifications or of other findings"
        return "calcifications with a box derived from another image" if self.derived else ""


def read_embed(folder: Path, said: ImageInfo = NO_INFO) -> PublicSet:
    """Read EMBED.

    Parameters
    ----------
    said
        Pixel spacing of files that do not state it.

    Raises
    ------
    TableError
        A list is missing or of another layout, or no image can be used.
    """
    reading = Reading(SOURCE, LICENCE, said)
    metadata, clinical = (_list_file(folder, part) for part in ("metadata", "clinical"))
    findings = _findings(clinical)
    files = files_below(folder, ".dcm")
    by_name: dict[str, list[Path]] = {}
    for file in files:
        by_name.setdefault(file.name, []).append(file)
    listed, left_out = set[str](), Counter[str]()
    absent: list[str] = []
    others = 0
    for where, line in _lines(metadata, _IMAGE_COLUMNS):
        name = line["anon_dicom_path"].replace("\\", "/").rsplit("/", 1)[-1]
        listed.add(name)
        with reading.leaving_out(by_name.get(name, [metadata])[0]):
            reason = _why_other(line, where)
            view = None if reason else _view(line, findings, where)
            reason = reason or (view.why_unclear() if view else "")
            if reason:
                left_out[reason] += 1
            elif name not in by_name:
                absent.append(name)
            elif view is not None:
                file = _nearest(by_name[name], line, where)
                others += _add(reading, file, file.relative_to(folder), line, view, where)
    reading.absent(absent, f"{metadata.name} lists images that are not there")
    reading.absent((f.name for f in files if f.name not in listed), f"images that {metadata.name} does not list")
    for reason, count in left_out.items():
        reading.notes += counted(count, "image", f"left out: {reason}")
    reading.notes += counted(others, "box", "of masses and other findings passed over", plural="boxes")
    return reading.done(folder, content_of=reading.instance_of)


def _list_file(folder: Path, part: str) -> Path:
    """Return a list, whole rather than reduced."""
    whole = f"EMBED_OpenData_{part}.csv"
    there = any(f.name.lower() == whole.lower() for f in files_below(folder, ".csv"))
    return only_file(folder, whole if there else f"EMBED_OpenData_{part}*.csv")


def _lines(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Line]]:
    """Yield the place and some of the cells of each line: half a million lines have more than a hundred each."""
    header, lines = open_lines(file, required=columns)
    places = [(column, header.index(column)) for column in columns]
    for number, cells in lines:
        known = {c: "" if is_not_known(cells[at]) else cells[at].removesuffix(".0") for c, at in places}
        yield f"{file.name} line {number}", known


def _findings(file: Path) -> Mapping[tuple[str, str], list[_Finding]]:
    """Return the findings by patient and exam."""
    findings: dict[tuple[str, str], list[_Finding]] = {}
    for where, line in _lines(file, _FINDING_COLUMNS):
        finding = _Finding(line["side"], line["asses"], line["calcfind"], line["calcdistri"], where)
        findings.setdefault((line["empi_anon"], line["acc_anon"]), []).append(finding)
    return findings


def _why_other(line: Line, where: str) -> str:
    """Return why a file is no standard digital mammogram; empty where it is one."""
    kind = word_in(line, "FinalImageType", _TYPES, where)
    if kind != "2D":
        return f"{kind}, no digital mammogram"
    return "spot compression or magnification" if word_in(line, "spot_mag", ("", "0", "1"), where) == "1" else ""


def _view(line: Line, findings: Mapping[tuple[str, str], list[_Finding]], where: str) -> _View:
    side = word_in(line, "ImageLateralityFinal", _SIDES, where)
    exam = findings.get((line["empi_anon"], line["acc_anon"]))
    if not line["empi_anon"] or exam is None:
        raise TableError(f"{where}: no line of its patient and exam in the clinical list, expected one")
    boxes, derived = _boxes(line, where)
    return _View(side, [finding for finding in exam if finding.is_in(side)], boxes, derived)


def _nearest(files: Sequence[Path], line: Line, where: str) -> Path:
    """Return the file whose path ends like that of the list."""
    stated = line["anon_dicom_path"].replace("\\", "/").split("/")

    def alike(file: Path) -> int:
        pairs = list(zip(reversed(file.parts), reversed(stated), strict=False))
        return next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))

    best = max(map(alike, files))
    found = [file for file in files if alike(file) == best]
    if len(found) != 1:
        raise TableError(f"{where}: {len(found)} files of the name {files[0].name}, expected one")
    return found[0]


def _add(reading: Reading, file: Path, path: Path, line: Line, view: _View, where: str) -> int:
    """Add an image with its regions; return how many boxes of other findings it has."""
    image = reading.describe(file, ImageInfo(view=line["ViewPosition"] or None))
    tags = dict.fromkeys(f"birads-{_BIRADS[f.assessment]}" for f in view.findings if f.assessment in _BIRADS)
    image = replace(
        image, image=path.with_suffix("").as_posix(), patient=f"embed-{line['empi_anon']}", laterality=view.side,
        tags=" ".join(tags),
    )  # fmt: skip
    words = _morphology(view.calcium)
    rows = [region(b, image, judge=SOURCE, morphology=words, where=where) for b in view.boxes if view.calcium]
    reading.add(image, rows)
    return len(view.boxes) - len(rows)


def _boxes(line: Line, where: str) -> tuple[list[Corners], bool]:
    """Return the boxes of an image, and whether one is derived from another image."""
    coordinates, levels = _list_in(line, "ROI_coords", where), _list_in(line, "match_level", where)
    if line["num_roi"] not in ("", str(len(coordinates))) or len(levels) != len(coordinates):
        raise TableError(
            f"{where}: {len(coordinates)} ROI_coords, {len(levels)} match_level and num_roi {line['num_roi'][:8]!r}, "
            "expected as many of each"
        )
    boxes = []
    for edges in coordinates:
        try:
            top, left, bottom, right = (float(edge) for edge in edges)
        except (TypeError, ValueError):
            raise TableError(f"{where}: ROI_coords {str(edges)[:40]}, expected [ymin, xmin, ymax, xmax]") from None
        boxes.append(box(top, left, bottom, right, where))
    return boxes, _DERIVED in levels


def _list_in(line: Line, column: str, where: str) -> Sequence[Any]:
    """Return a list that is written as text; none where the cell is empty."""
    try:
        value = ast.literal_eval(line[column] or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if isinstance(value, int):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise TableError(f"{where}: {column} is {line[column][:40]!r}, expected a list")
    return value


def _morphology(findings: Sequence[_Finding]) -> str:
    """Return the shapes and the layouts of calcifications in words."""
    words: dict[str, None] = {}
    for meanings, column, texts in (
        (_SHAPES, "calcfind", [(f.shapes, f.where) for f in findings]),
        (_LAYOUTS, "calcdistri", [(f.layouts, f.where) for f in findings]),
    ):
        for text, where in texts:
            for code in text.replace(",", "").replace(" ", ""):
                if code not in meanings:
                    raise TableError(f"{where}: {column} is {text[:20]!r}, expected letters of {''.join(meanings)}")
                words[meanings[code]] = None
    return " ".join(words)
