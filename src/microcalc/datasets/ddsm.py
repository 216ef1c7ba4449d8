"""Read DDSM from its ``.ics`` and ``.OVERLAY`` files: digitised film, with outlines of lesions as chain codes.

``A-0001-1.ics`` describes the four views of a case, ``A_0001_1.LEFT_CC.OVERLAY`` the abnormalities of one. Outlines of
calcifications (``BOUNDARY``) are regions; the cores inside them (``CORE``) and masses are passed over. The images were
published as a lossless JPEG of DDSM's own, which is not read here: they are expected under the same name, converted to
16-bit PNG or TIFF without a change of size, in which dense tissue is bright.

References
----------
Heath M et al., The Digital Database for Screening Mammography, Proc. 5th International Workshop on Digital Mammography
(2001) 212.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

import shapely

from microcalc.datasets.outlines import Corners
from microcalc.datasets.public import PublicSet, Reading, counted, files_below, read_text, region
from microcalc.domain import Laterality
from microcalc.errors import TableError
from microcalc.images.info import ImageInfo

SOURCE: Final = "DDSM"
LICENCE: Final = (
    "free for research; cite Heath M et al., Proc. 5th International Workshop on Digital Mammography (2001) 212, and "
    "Heath M et al., Digital Mammography (1998) 457."
)
_VIEW: Final = re.compile(
    r"(LEFT|RIGHT)_(CC|MLO)\s+LINES\s+(\d+)\s+PIXELS_PER_LINE\s+(\d+)\s+BITS_PER_PIXEL\s+(\d+)\s+RESOLUTION\s+(\d+\.?\d*)"
    r"\s+(OVERLAY|NON_OVERLAY)"
)
_STEPS: Final = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""Chain code → step (row, column): 0 is up, then clockwise."""
_DENSITY: Final = {"1": "A", "2": "B", "3": "C", "4": "D"}
_SUFFIXES: Final = (".png", ".tif", ".tiff", ".pgm")
_WITHIN_PX: Final = 0.5
"""How far a simplified outline may be from the drawn one. Ours."""


class _View(NamedTuple):
    """One view of a case, as its ``.ics`` file describes it."""

    name: str
    laterality: Laterality
    view: str
    shape: tuple[int, int]
    spacing_mm: float
    has_overlay: bool


@dataclass(slots=True)
class _Abnormality:
    """One abnormality of an overlay."""

    lesions: list[str] = field(default_factory=list)
    pathology: str = ""
    boundary: Corners = ()


def read_ddsm(folder: Path) -> PublicSet:
    """Read the cases of DDSM below a folder.

    Raises
    ------
    TableError
        There is no ``.ics`` file, or no image can be used.
    """
    cases = files_below(folder, ".ics")
    if not cases:
        raise TableError(f"{folder.resolve().name}: no .ics file, expected the folders of DDSM's cases")
    reading = Reading(SOURCE, LICENCE, film=True)
    absent: list[str] = []
    others = 0
    for case in cases:
        with reading.leaving_out(case):
            text = read_text(case)
            density = re.search(r"^DENSITY\s+([1-4])", text, re.MULTILINE)
            tags = f"density-{_DENSITY[density[1]]}" if density else ""
            for view in _views(text, case):
                file = _image_file(case, view)
                if file is None:
                    absent.append(view.name)
                    continue
                with reading.leaving_out(file):
                    others += _add(reading, case, view, file, tags)
    reading.absent(absent, "images that are not there, or only as .LJPEG, expected as 16-bit PNG or TIFF")
    reading.notes += counted(others, "mass", "passed over", plural="masses")
    return reading.done(folder)


def _views(text: str, case: Path) -> Iterator[_View]:
    found = list(_VIEW.finditer(text))
    if not found:
        raise TableError(f"{case.name}: no line such as 'LEFT_CC LINES 4696 PIXELS_PER_LINE 3024 ...', expected four")
    for match in found:
        side, view, lines, columns, _, resolution, overlay = match.groups()
        name = f"{case.stem.replace('-', '_')}.{side}_{view}"
        laterality: Laterality = "L" if side == "LEFT" else "R"
        shape = (int(lines), int(columns))
        yield _View(name, laterality, view, shape, float(resolution) / 1000.0, overlay == "OVERLAY")


def _image_file(case: Path, view: _View) -> Path | None:
    return next((f for f in (case.with_name(view.name + suffix) for suffix in _SUFFIXES) if f.is_file()), None)


def _add(reading: Reading, case: Path, view: _View, file: Path, tags: str) -> int:
    """Add a view with its regions; return how many abnormalities of other kinds it has."""
    spacing_mm = (view.spacing_mm, view.spacing_mm)
    image = reading.describe(file, ImageInfo(spacing_mm, "processed", view=view.view, laterality=view.laterality))
    if image.shape != view.shape:
        raise TableError(
            f"{file.name}: {image.rows} x {image.columns} pixels, expected {view.shape[0]} x {view.shape[1]} "
            f"as in {case.name}"
        )
    overlay = case.with_name(f"{view.name}.OVERLAY")
    if view.has_overlay and not overlay.is_file():
        raise TableError(f"{file.name}: {overlay.name} is not there, expected it as {case.name} says")
    abnormalities = _abnormalities(overlay) if view.has_overlay else []
    pathologies = dict.fromkeys(a.pathology.lower() for a in abnormalities if a.pathology)
    all_tags = " ".join(filter(None, (image.tags, tags, *pathologies)))
    image = replace(image, image=view.name, patient=f"ddsm-{case.stem}", tags=all_tags)
    rows = []
    for number, abnormality in enumerate(abnormalities, 1):
        calcium = [lesion for lesion in abnormality.lesions if lesion.startswith("CALCIFICATION")]
        if calcium:
            where = f"{overlay.name} abnormality {number}"
            words = " ".join(calcium).lower().replace("calcification", "").split()
            rows.append(region(abnormality.boundary, image, judge=SOURCE, morphology=" ".join(words), where=where))
    reading.add(image, rows)
    return len(abnormalities) - len(rows)


def _abnormalities(file: Path) -> list[_Abnormality]:
    """Return the abnormalities of an overlay; the number of outlines that it states is not believed: some are wrong."""
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    found: list[_Abnormality] = []
    stated = -1
    for number, line in enumerate(lines):
        key, _, rest = line.partition(" ")
        if key == "TOTAL_ABNORMALITIES" and rest.strip().isdigit():
            stated = int(rest)
        elif key == "ABNORMALITY":
            found.append(_Abnormality())
        elif found and key == "LESION_TYPE":
            found[-1].lesions.append(rest.strip())
        elif found and key == "PATHOLOGY":
            found[-1].pathology = rest.strip()
        elif found and line == "BOUNDARY" and not found[-1].boundary:
            found[-1].boundary = _chain(lines[number + 1] if number + 1 < len(lines) else "", f"{file.name} BOUNDARY")
    if stated != len(found):
        raise TableError(f"{file.name}: {len(found)} abnormalities, expected as many as TOTAL_ABNORMALITIES states")
    return found


def _chain(line: str, where: str) -> Corners:
    """Return the corners of a chain code: start column, start row, steps, and ``#`` at the end."""
    words = line.split()
    if len(words) < 4 or words[-1] != "#" or not all(w.isdigit() for w in words[:-1]):
        raise TableError(f"{where}: {line[:40]!r}, expected 'column row step step ... #'")
    column, row, *steps = (int(w) for w in words[:-1])
    if any(step > 7 for step in steps):
        raise TableError(f"{where}: step {max(steps)}, expected 0 to 7")
    places = [(row, column)]
    for step in steps:
        down, right = _STEPS[step]
        row, column = row + down, column + right
        places.append((row, column))
    line_string = shapely.simplify(shapely.LineString(places), _WITHIN_PX)
    return tuple((float(r), float(c)) for r, c in line_string.coords)
