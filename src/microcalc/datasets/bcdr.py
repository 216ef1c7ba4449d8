"""Read BCDR: digitised film (``bcdr_f01`` and so on) and digital mammograms (``bcdr_d01``), with outlines of lesions.

``bcdr_<set>_outlines.csv`` has a line for each outlined lesion, ``bcdr_<set>_img.csv`` one for each image; names of
images are relative to these files. Cells begin with a blank, and the density of a breast may be NaN. Views are numbered
from 1 in the first file and from 0 in the second: right and left craniocaudal, right and left oblique. Outlines of
lesions with calcifications or microcalcifications are regions; the others are passed over.

References
----------
Guevara Lopez MA et al., BCDR: a breast cancer digital repository, 15th Int. Conf. Experimental Mechanics (2012).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from microcalc.datasets.lines import Line, read_lines
from microcalc.datasets.outlines import Corners
from microcalc.datasets.public import FILM_NOTE, PublicSet, Reading, counted, files_below, region
from microcalc.datasets.table import FILM
from microcalc.domain import Laterality
from microcalc.errors import TableError
from microcalc.images.info import ImageInfo

SOURCE: Final = "BCDR"
LICENCE: Final = (
    "given on registration to those who accept its terms (https://bcdr.eu): research only. Cite Guevara Lopez MA et "
    "al., BCDR: a breast cancer digital repository (2012)."
)
_SET: Final = re.compile(r"bcdr_([df])[a-z]*\d+_(outlines|img)", re.IGNORECASE)
_FLAGS: Final = ("mammography_calcification", "mammography_microcalcification")
_OUTLINES: Final = (
    "patient_id", "image_view", "image_filename", "lw_x_points", "lw_y_points", *_FLAGS, "density", "classification"
)  # fmt: skip
_IMAGES: Final = ("patient_id", "image_filename", "image_type_id", "density")
_VIEWS: Final[Mapping[int, tuple[Laterality, str]]] = {
    1: ("R", "CC"), 2: ("L", "CC"), 3: ("R", "MLO"), 4: ("L", "MLO")
}  # fmt: skip
_DENSITY: Final = {"1": "A", "2": "B", "3": "C", "4": "D"}


def read_bcdr(folder: Path, said: ImageInfo) -> PublicSet:
    """Read the sets of BCDR below a folder.

    Parameters
    ----------
    said
        Pixel spacing, which the pictures do not state.

    Raises
    ------
    TableError
        There is no list of images or outlines, one is of another layout, or no image can be used.
    """
    lists = {file: match for file in files_below(folder, ".csv") if (match := _SET.fullmatch(file.stem))}
    if not lists:
        raise TableError(f"{folder.resolve().name}: no list such as bcdr_d01_outlines.csv, expected the folder of BCDR")
    reading = Reading(SOURCE, LICENCE, replace(said, intent="processed"))
    lines: dict[Path, list[tuple[str, Line]]] = {}
    for file in lists:
        required = _OUTLINES if "_outlines" in file.stem.lower() else _IMAGES
        for number, line in read_lines(file, required=required):
            picture = file.parent / line["image_filename"].replace("\\", "/").removeprefix("./")
            lines.setdefault(picture, []).append((f"{file.name} line {number}", line))
    others = 0
    for picture, of_image in lines.items():
        if picture.is_file():
            with reading.leaving_out(picture):
                others += _add(reading, picture, of_image, folder)
    reading.absent((p.name for p in lines if not p.is_file()), "the lists name images that are not there")
    if any(match[1].lower() == "f" for match in lists.values()):
        reading.notes.append(FILM_NOTE)
    reading.notes += counted(others, "outline", "of other lesions passed over")
    return reading.done(folder)


def _add(reading: Reading, picture: Path, lines: list[tuple[str, Line]], folder: Path) -> int:
    """Add an image with its regions; return how many outlines of other lesions it has."""
    where, first = lines[0]
    if not picture.is_relative_to(folder):
        raise TableError(f"{where}: image_filename is a path outside {folder.resolve().name}, expected one below it")
    laterality, view = _view(first, where)
    image = reading.describe(picture, ImageInfo(view=view, laterality=laterality))
    tags = [FILM] if where.lower().startswith("bcdr_f") else []
    tags += [f"density-{_DENSITY[first['density']]}"] if first["density"] in _DENSITY else []
    tags += dict.fromkeys(line["classification"].lower() for _, line in lines if line.get("classification"))
    name = picture.relative_to(folder).with_suffix("").as_posix()
    image = replace(image, image=name, patient=f"bcdr-{first['patient_id']}", tags=" ".join(tags))
    outlined = [(at, line) for at, line in lines if "lw_x_points" in line]
    calcium = [(at, line) for at, line in outlined if _has_calcium(line, at)]
    reading.add(image, [region(_corners(line, at), image, judge=SOURCE, where=at) for at, line in calcium])
    return len(outlined) - len(calcium)


def _view(line: Line, where: str) -> tuple[Laterality, str]:
    """Return laterality and view; one list counts them from 1, the other from 0."""
    text, first = (line["image_view"], 1) if "image_view" in line else (line["image_type_id"], 0)
    number = int(text) + 1 - first if text.isdigit() else -1
    if number not in _VIEWS:
        raise TableError(f"{where}: view {text[:20]!r}, expected {first} to {first + 3}")
    return _VIEWS[number]


def _has_calcium(line: Line, where: str) -> bool:
    for flag in _FLAGS:
        if line[flag] not in ("0", "1"):
            raise TableError(f"{where}: {flag} is {line[flag][:20]!r}, expected 0 or 1")
    return any(line[flag] == "1" for flag in _FLAGS)


def _corners(line: Line, where: str) -> Corners:
    try:
        rows, columns = ([float(v) for v in line[name].split()] for name in ("lw_y_points", "lw_x_points"))
        return tuple(zip(rows, columns, strict=True))
    except ValueError:
        raise TableError(f"{where}: lw_x_points and lw_y_points, expected as many numbers in both") from None
