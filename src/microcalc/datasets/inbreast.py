"""Read INbreast: full-field digital mammograms with single microcalcifications and outlines of clusters.

``AllDICOMs/<image>_<patient>_MG_<L|R>_<CC|ML>_ANON.dcm``; ``AllXML/<image>.xml``, a property list of OsiriX, of each
image with findings; ``INbreast.csv``, separated by semicolons. Of one or two points, a region of interest is one
microcalcification; of more, its outline. ``Cluster`` outlines a cluster: the microcalcifications in it are its members,
and without any it is a region. Masses, asymmetries and distortions are passed over.

References
----------
Moreira I et al., Academic Radiology 19 (2012) 236, doi 10.1016/j.acra.2011.09.014.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError

import numpy as np

from microcalc.datasets.lines import Line, read_lines
from microcalc.datasets.outlines import Corners, Outline, with_outlines
from microcalc.datasets.public import PublicSet, Reading, counted, cut, disc_diameter_mm, files_below, only_file
from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.domain import Kind, Laterality
from microcalc.errors import TableError
from microcalc.images.info import NO_INFO, ImageInfo

SOURCE: Final = "INbreast"
LICENCE: Final = (
    "given on request to those who accept its terms (Breast Research Group, INESC Porto): research only, not to be "
    "passed on. Cite Moreira I et al., Academic Radiology 19 (2012) 236, doi 10.1016/j.acra.2011.09.014."
)
LARGEST_MM: Final = 1.0
"""An outlined calcification up to this diameter is a microcalcification, a larger one other calcium (BI-RADS: coarse
from 0.5 mm; publications that use the set draw the line at about 1 mm)."""
_COLUMNS: Final = ("File Name", "Laterality", "View", "ACR", "Bi-Rads")
_STEM: Final = re.compile(r"(\d+)_([0-9a-zA-Z]+)_MG_([LR])_(CC|ML|MLO)_.*", re.IGNORECASE)
_POINT: Final = re.compile(r"\(\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*\)")
_CALCIFICATIONS: Final = frozenset(("calcification", "calcifications"))
_CLUSTERS: Final = frozenset(("cluster", "clusters"))
_OTHERS: Final = frozenset(
    ("mass", "spiculated region", "espiculated region", "asymmetry", "assymetry", "distortion",
     "architectural distortion")
)  # fmt: skip
_DENSITY: Final = {"1": "A", "2": "B", "3": "C", "4": "D"}


def read_inbreast(folder: Path, said: ImageInfo = NO_INFO) -> PublicSet:
    """Read INbreast.

    Parameters
    ----------
    said
        Pixel spacing of files that do not state it.

    Raises
    ------
    TableError
        ``INbreast.csv`` is missing or of another layout, or no image can be used.
    """
    reading = Reading(SOURCE, LICENCE, said)
    lines = _lines(only_file(folder, "INbreast.csv"))
    contours = {file.stem: file for file in files_below(folder, ".xml") if file.stem.isdigit()}
    passed_over = 0
    images = {}
    for file in files_below(folder, ".dcm"):
        with reading.leaving_out(file):
            image = _image(reading, file, lines)
            images[image.image] = file
            rows, others = _annotations(contours[image.image], image) if image.image in contours else ((), 0)
            reading.add(image, rows)
            passed_over += others
    reading.absent((n for n in lines if n not in images), "INbreast.csv lists images that are not there")
    reading.absent((n for n in contours if n not in images), "annotations of images that are not there")
    reading.absent((n for n in images if n not in lines), "images that INbreast.csv does not list")
    reading.notes += counted(passed_over, "outline", "of masses, asymmetries and distortions passed over")
    return reading.done(folder)


def _lines(file: Path) -> Mapping[str, Line]:
    """Return the lines of ``INbreast.csv`` by image."""
    lines: dict[str, Line] = {}
    for number, line in read_lines(file, required=_COLUMNS, separator=";"):
        name = line["File Name"].removesuffix(".0")
        if not name.isdigit():
            raise TableError(f"{file.name} line {number}: File Name is {name[:40]!r}, expected the number of an image")
        lines[name] = line
    return lines


def _image(reading: Reading, file: Path, lines: Mapping[str, Line]) -> ImageRow:
    name = _STEM.fullmatch(file.stem)
    if name is None:
        raise TableError(f"{file.name}: expected a name such as 20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm")
    number, patient, side, view = name.groups()
    line = lines.get(number, {})
    laterality: Laterality = "L" if side.upper() == "L" else "R"
    image = reading.describe(
        file, ImageInfo(view="MLO" if view.upper() == "ML" else view.upper(), laterality=laterality)
    )
    tags = [f"density-{_DENSITY[acr]}" for acr in (line.get("ACR", ""),) if acr in _DENSITY]
    tags += [f"birads-{birads}" for birads in (line.get("Bi-Rads", "").replace(" ", ""),) if birads]
    return replace(image, image=number, patient=f"inbreast-{patient}", tags=" ".join(tags))


def _annotations(file: Path, image: ImageRow) -> tuple[tuple[AnnotationRow, ...], int]:
    """Return the annotations of an image, and how many outlines of other lesions it has."""
    rows: list[AnnotationRow] = []
    outlines: list[Outline] = []
    others = 0
    for number, roi in enumerate(_regions_of_interest(file), 1):
        where = f"{file.name} ROI {number}"
        name = " ".join(str(roi.get("Name", "")).lower().split())
        if name in _OTHERS:
            others += 1
            continue
        places = cut(_places(roi, where), image, where)
        if name in _CALCIFICATIONS:
            rows.append(_calcification(places, image, where))
        elif name in _CLUSTERS:
            if len(places) < 3:
                raise TableError(f"{where}: a cluster of {len(places)} points, expected an outline")
            outlines.append(Outline(image.image, places, judge=SOURCE, where=where))
        else:
            raise TableError(f"{where}: Name {name[:40]!r}, expected Calcification, Cluster or another finding")
    return with_outlines(rows, outlines), others


def _regions_of_interest(file: Path) -> list[Mapping[str, Any]]:
    try:
        content = plistlib.loads(file.read_bytes(), fmt=plistlib.FMT_XML)
        rois = content["Images"][0]["ROIs"]
    except OSError as error:
        raise TableError(f"{file.name}: {error.strerror}, expected a property list of OsiriX") from error
    except (ExpatError, plistlib.InvalidFileException, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise TableError(f"{file.name}: no Images with ROIs, expected a property list of OsiriX (XML)") from None
    if not isinstance(rois, list) or not all(isinstance(roi, dict) for roi in rois):
        raise TableError(f"{file.name}: ROIs is no list of dictionaries, expected a property list of OsiriX")
    return rois


def _places(roi: Mapping[str, Any], where: str) -> Corners:
    """Return the points of a region of interest as (row, column); the file has (x, y)."""
    texts = roi.get("Point_px")
    if not isinstance(texts, list) or not texts:
        raise TableError(f"{where}: no Point_px, expected a list of points")
    stated = roi.get("NumberOfPoints", len(texts))
    if stated != len(texts):
        raise TableError(f"{where}: {len(texts)} points, expected {str(stated)[:8]} as NumberOfPoints states")
    places = []
    for text in texts:
        point = _POINT.fullmatch(str(text).strip())
        try:
            x, y = (float(value) for value in point.groups()) if point else (np.nan, np.nan)
        except ValueError:
            x, y = np.nan, np.nan
        if not (np.isfinite(x) and np.isfinite(y)):
            raise TableError(f"{where}: point {str(text)[:40]!r}, expected '(x, y)'")
        places.append((y, x))
    return tuple(places)


def _calcification(places: Corners, image: ImageRow, where: str) -> AnnotationRow:
    """Return a calcification at one or two points, or at the middle of its outline."""
    row, column = np.mean(places, axis=0)
    if len(places) < 3:
        return AnnotationRow(image.image, float(row), float(column), judge=SOURCE, where=where)
    diameter_mm = disc_diameter_mm(places, image.grid)
    kind: Kind = "microcalcification" if diameter_mm <= LARGEST_MM else "other_calcium"
    return AnnotationRow(
        image.image, float(row), float(column), diameter_mm, kind, outline=places, judge=SOURCE, where=where
    )
