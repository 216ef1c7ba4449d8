"""Read CBIS-DDSM: digitised film of DDSM as DICOM, with a mask of each abnormality.

``calc_case_description_train_set.csv`` and its three likes have a line for each abnormality of an image. The paths in
them are not those of the download: of a path, only the series (its last part but one) is believed, and looked for in
the headers. A series may hold a mask and a cropped image in either order; they are told apart by SeriesDescription, by
their size, and by the mask having two values. A mask may be some pixels larger or smaller than its image, to whose size
it is scaled. Masks of calcifications are regions; those of masses are passed over.

PatientID names a patient and a view, so the patient is that of the lists. An image with a calcification and a mass is
there twice, under two names; it is taken once.

References
----------
Lee RS et al., Scientific Data 4 (2017) 170177, doi 10.1038/sdata.2017.177.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import shapely

from microcalc.datasets.lines import Line, is_not_known, read_lines
from microcalc.datasets.masks import mask_outline
from microcalc.datasets.outlines import Corners
from microcalc.datasets.public import PublicSet, Reading, counted, files_below, region
from microcalc.datasets.table import ImageRow, Split
from microcalc.domain import BoolImage, Laterality
from microcalc.errors import InputError, TableError
from microcalc.images.content import pixels_sha256
from microcalc.images.dicom.facts import read_facts
from microcalc.images.info import NO_INFO, Facts, ImageInfo
from microcalc.images.open import open_mammogram

SOURCE: Final = "CBIS-DDSM"
LICENCE: Final = (
    "CC BY 3.0. Sawyer-Lee R, Gimenez F, Hoogi A, Rubin D. Curated Breast Imaging Subset of Digital Database for "
    "Screening Mammography (CBIS-DDSM). The Cancer Imaging Archive 2016, doi 10.7937/K9/TCIA.2016.7O02S9CY."
)
_LIST: Final = re.compile(r"(calc|mass)_case_description_(train|test)_set", re.IGNORECASE)
_NAME: Final = re.compile(r"(Calc|Mass)-(Training|Test)_P_\d+_(LEFT|RIGHT)_(CC|MLO)(_\d+)?$")
"""PatientID of the files of the set, which all bear one file name; any other may be that of a real patient."""
_PATHS: Final = ("image file path", "cropped image file path", "ROI mask file path")
_COLUMNS: Final = ("patient_id", "left or right breast", "image view", "assessment", "pathology", *_PATHS)
_CALC_COLUMNS: Final = ("breast density", *_COLUMNS, "calc type", "calc distribution")
_MASS_COLUMNS: Final = ("breast_density", *_COLUMNS)
_SIDES: Final[Mapping[str, Laterality]] = {"LEFT": "L", "RIGHT": "R"}
_DENSITY: Final = {"1": "A", "2": "B", "3": "C", "4": "D"}
_PROPORTIONS: Final = 0.02
"""How much the proportions of a mask may differ from those of its image."""
_WITHIN_PX: Final = 0.5
"""How far a simplified outline may be from the mask's. Ours."""


@dataclass(frozen=True, slots=True)
class _File:
    """One DICOM file of a series, and the line of its image, or why it is refused as one, as a crop may be."""

    path: Path
    facts: Facts
    image: ImageRow | InputError

    @property
    def rows(self) -> int:
        """Return the number of rows; 0 where the header has none."""
        return 0 if self.facts.shape is None else self.facts.shape[0]


@dataclass(frozen=True, slots=True)
class _Abnormality:
    """One line of a list."""

    line: Line
    where: str
    is_calcium: bool
    split: Split

    @property
    def words(self) -> str:
        """Return the shape and the layout of calcifications in words."""
        known = (self.line[c].lower() for c in ("calc type", "calc distribution") if not is_not_known(self.line[c]))
        return " ".join(filter(None, known))


def read_cbis_ddsm(folder: Path, said: ImageInfo = NO_INFO) -> PublicSet:
    """Read CBIS-DDSM.

    Parameters
    ----------
    said
        Pixel spacing, which the files do not state.

    Raises
    ------
    TableError
        There is no list of cases, one is of another layout, or no image can be used.
    """
    reading = Reading(SOURCE, LICENCE, said, film=True)
    by_image = _abnormalities(reading, folder)
    files = _files(reading, folder)
    view_of: dict[Path, str] = {}
    absent: list[str] = []
    others = 0
    for (name, series), abnormalities in by_image.items():
        if series not in files:
            absent.append(name)
            continue
        with reading.leaving_out(Path(name)):
            image = _image(reading, name, files[series], abnormalities)
            calcium = [a for a in abnormalities if a.is_calcium]
            reading.add(image, [region(_outline(a, image, files), image, judge=SOURCE, morphology=a.words,
                                       where=a.where) for a in calcium])  # fmt: skip
            view_of[image.file] = f"{image.patient} {image.laterality} {image.view}"
            others += len(abnormalities) - len(calcium)
    reading.absent(absent, "the lists name images that are not there")
    listed = {part for its in by_image.values() for a in its for c in _PATHS for part in a.line[c].split("/")}
    unlisted = (f for s, its in files.items() if s not in listed for f in its)
    reading.absent(
        (f.facts.patient if _NAME.match(f.facts.patient) else f.path.name for f in unlisted), "files that no list names"
    )
    reading.notes += counted(others, "mass", "passed over", plural="masses")
    films = Counter(view_of.values())
    return reading.done(folder, content_of=lambda f: pixels_sha256(f) if films[view_of[f]] > 1 else view_of[f])


def _abnormalities(reading: Reading, folder: Path) -> Mapping[tuple[str, str], list[_Abnormality]]:
    """Return the lines of all lists by name and series of their image."""
    lists = {file: match for file in files_below(folder, ".csv") if (match := _LIST.fullmatch(file.stem))}
    if not lists:
        raise TableError(
            f"{folder.resolve().name}: no list such as calc_case_description_train_set.csv, expected the folder of "
            f"{SOURCE}"
        )
    by_image: dict[tuple[str, str], list[_Abnormality]] = {}
    for file, match in lists.items():
        is_calcium, split = match[1].lower() == "calc", match[2].lower()
        for number, line in read_lines(file, required=_CALC_COLUMNS if is_calcium else _MASS_COLUMNS):
            where = f"{file.name} line {number}"
            abnormality = _Abnormality(line, where, is_calcium, "train" if split == "train" else "test")
            with reading.leaving_out(file):
                by_image.setdefault(_series(abnormality, "image file path"), []).append(abnormality)
    return by_image


def _series(abnormality: _Abnormality, column: str) -> tuple[str, str]:
    """Return the first part of a path, which names an image, and its series."""
    parts = abnormality.line[column].split("/")
    if len(parts) < 3 or not all(parts):
        raise TableError(
            f"{abnormality.where}: {column} is {abnormality.line[column][:40]!r}, expected NAME/STUDY/SERIES/FILE.dcm"
        )
    return parts[0], parts[-2]


def _files(reading: Reading, folder: Path) -> Mapping[str, list[_File]]:
    """Return the DICOM files by series."""
    files: dict[str, list[_File]] = {}
    for path in files_below(folder, ".dcm"):
        with reading.leaving_out(path):
            file = _file(reading, path)
            files.setdefault(file.facts.series, []).append(file)
    return files


def _file(reading: Reading, path: Path) -> _File:
    try:
        image, facts = reading.described(path)
    except InputError as error:
        return _File(path, read_facts(path), error.with_traceback(None))
    return _File(path, facts, image)


def _image(reading: Reading, name: str, files: Sequence[_File], abnormalities: Sequence[_Abnormality]) -> ImageRow:
    if len(files) != 1:
        raise TableError(f"{name}: {len(files)} files in its series, expected one")
    line, where = abnormalities[0].line, abnormalities[0].where
    side = _SIDES.get(line["left or right breast"].upper())
    if side is None or not line["patient_id"]:
        found = f"{line['patient_id'][:20]!r} and {line['left or right breast'][:20]!r}"
        raise TableError(f"{where}: patient_id and left or right breast are {found}, expected a patient, LEFT or RIGHT")
    image = files[0].image
    if isinstance(image, InputError):
        raise image
    density = _DENSITY.get(line.get("breast density", line.get("breast_density", "")))
    tags = [image.tags, *([f"density-{density}"] if density else [])]
    tags += [f"birads-{a.line['assessment']}" for a in abnormalities if a.line["assessment"].isdigit()]
    tags += [a.line["pathology"].lower() for a in abnormalities]
    split: Split = "test" if any(a.split == "test" for a in abnormalities) else "train"
    return replace(
        image, image=name, patient=f"cbis-{line['patient_id']}", split=split,
        view=image.view or line["image view"].upper(), laterality=image.laterality or side,
        tags=" ".join(dict.fromkeys(" ".join(tags).split())),
    )  # fmt: skip


def _outline(abnormality: _Abnormality, image: ImageRow, files: Mapping[str, list[_File]]) -> Corners:
    """Return the outline of an abnormality's mask in pixels of its image."""
    series = dict.fromkeys(_series(abnormality, column)[1] for column in _PATHS[1:])
    found = [f for s in series for f in files.get(s, ())]
    for of_mask in (lambda f: "mask" in f.facts.series_description.lower(), lambda f: 2 * f.rows > (image.rows or 0)):
        found = list(filter(of_mask, found)) or found
    masks = [mask for f in found if (mask := _mask(f.path, image)) is not None]
    if len(masks) != 1:
        raise TableError(
            f"{abnormality.where}: {len(masks)} masks in the series of its ROI mask and cropped image, expected one"
        )
    rows, columns = masks[0].shape
    down, right = (image.rows or rows) / rows, (image.columns or columns) / columns
    if abs(down / right - 1.0) > _PROPORTIONS:
        raise TableError(
            f"{abnormality.where}: a mask of {rows} x {columns} pixels, expected the proportions of its image of "
            f"{image.rows} x {image.columns}"
        )
    outline = shapely.simplify(shapely.Polygon(mask_outline(masks[0])), _WITHIN_PX)
    return tuple(((r + 0.5) * down - 0.5, (c + 0.5) * right - 0.5) for r, c in outline.exterior.coords[:-1])


def _mask(file: Path, image: ImageRow) -> BoolImage | None:
    """Return where a mask has the larger of its two values; None for an image of more or fewer values."""
    pixels = open_mammogram(file, ImageInfo(image.spacing_mm, "processed")).pixels
    low, high = pixels.min(), pixels.max()
    inside = pixels == high
    return inside if low < high and bool((inside | (pixels == low)).all()) else None
