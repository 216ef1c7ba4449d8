"""Read mini-MIAS: digitised film at 200 µm, with circles around lesions.

``Info.txt`` has lines such as ``mdb001 G CIRC B 535 425 197``: film, tissue, class of abnormality, benign or malignant,
x, y and radius in pixels, y counted from the bottom. A film may have several lines. Circles of class CALC are regions.
A film whose line has no place (``*NOTE``: calcifications all over) is left out. Films come in pairs: an odd number is
the right breast, the next even one the left breast of the same patient.

References
----------
Suckling J et al., The Mammographic Image Analysis Society Digital Mammogram Database, Excerpta Medica 1069 (1994) 375.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from microcalc.datasets.public import PublicSet, Reading, circle, files_below, only_file, read_text, region
from microcalc.errors import TableError
from microcalc.images.info import ImageInfo

SOURCE: Final = "mini-MIAS"
LICENCE: Final = (
    "for research alone, under the licence agreement of the Mammographic Image Analysis Society. Cite Suckling J et "
    "al., Excerpta Medica International Congress Series 1069 (1994) 375."
)
_SPACING_MM: Final = 0.2
_SIDE_PX: Final = 1024
_LINE: Final = re.compile(
    r"(mdb\d{3})\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)"
    r"(?:\s+([BM])(?:\s+(\d+)\s+(\d+)\s+(\d+)|\s*\*?\s*NOTE.*)?)?\s*"
)
_CLASS: Final = {"B": "benign", "M": "malignant"}
_TISSUE: Final = {"F": "fatty", "G": "glandular", "D": "dense"}


class _Line(NamedTuple):
    """One line of ``Info.txt``."""

    number: int
    tissue: str
    abnormality: str
    severity: str
    circle: tuple[int, int, int] | None


def read_mini_mias(folder: Path) -> PublicSet:
    """Read mini-MIAS, from PGM files or pictures of the same size.

    Raises
    ------
    TableError
        ``Info.txt`` is missing or of another layout, or no image can be used.
    """
    info = only_file(folder, "Info.txt")
    lines = _lines(info)
    reading = Reading(SOURCE, LICENCE, film=True)
    files = {f.stem.lower(): f for f in files_below(folder, ".pgm", ".png", ".tif", ".tiff")}
    nowhere = []
    for name, file in files.items():
        of_film = lines.get(name, [])
        if any(line.abnormality == "CALC" and line.circle is None for line in of_film):
            nowhere.append(name)
            continue
        with reading.leaving_out(file):
            _add(reading, file, of_film, info.name)
    if nowhere:
        reading.notes.append(f"calcifications all over, without a place; left out: {', '.join(nowhere)}")
    reading.absent((name for name in lines if name not in files), f"{info.name} lists images that are not there")
    return reading.done(folder)


def _add(reading: Reading, file: Path, lines: Sequence[_Line], info: str) -> None:
    if not lines:
        raise TableError(f"{file.name}: not in {info}, expected an image that it lists")
    number = int(file.stem[3:])
    image = reading.describe(
        file, ImageInfo((_SPACING_MM, _SPACING_MM), "processed", view="MLO", laterality="R" if number % 2 else "L")
    )
    if image.shape != (_SIDE_PX, _SIDE_PX):
        raise TableError(f"{file.name}: {image.rows} x {image.columns} pixels, expected {_SIDE_PX} x {_SIDE_PX}")
    words = ((_TISSUE[line.tissue], line.abnormality, _CLASS.get(line.severity, "")) for line in lines)
    tags = dict.fromkeys(word for of_line in words for word in of_line if word)
    image = replace(image, patient=f"mias-{(number + 1) // 2:03d}", tags=f"{image.tags} {' '.join(tags)}")
    rows = []
    for line in lines:
        if line.abnormality == "CALC" and line.circle is not None:
            x, y, radius = line.circle
            outline = circle(_SIDE_PX - 1 - y, x, max(1, radius))
            rows.append(region(outline, image, judge="MIAS", where=f"{info} line {line.number}"))
    reading.add(image, rows)


def _lines(file: Path) -> Mapping[str, list[_Line]]:
    """Return the lines of ``Info.txt`` by film; the text around them is passed over."""
    lines: dict[str, list[_Line]] = {}
    for number, text in enumerate(read_text(file).splitlines(), 1):
        if not re.match(r"mdb\d", text):
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise TableError(
                f"{file.name} line {number}: {text[:40]!r}, expected 'mdb001 G CIRC B 535 425 197' or the like"
            )
        name, tissue, abnormality, severity, *place = found.groups()
        x, y, radius = (None if v is None else int(v) for v in place)
        whole = None if x is None or y is None or radius is None else (x, y, radius)
        lines.setdefault(name, []).append(_Line(number, tissue, abnormality, severity or "", whole))
    if not lines:
        raise TableError(f"{file.name}: no line such as 'mdb001 G CIRC B 535 425 197', expected some")
    return lines
