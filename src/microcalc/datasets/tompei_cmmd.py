"""Read CMMD with the annotations of TOMPEI-CMMD: outlines of lesions on oblique views.

CMMD is DICOM in the folders of TCIA (``<patient>/<study>/<series>/1-1.dcm``); patient, side and view are those of the
headers. TOMPEI-CMMD has one file for each annotated view, ``D1-0001_MLO_R_AnnotationFile.json``: a list of outlines
(``cgPoints``, x and y in pixels) with labels (``label``: calc, mass and others, some with a blank behind). Outlines of
calc are regions; the others are passed over. Views without such a file are left out, since nobody has annotated them.

Sides are wrong in some headers, and right in the names of TOMPEI's files. So an outline beside the breast on the view
that its name says is looked for on the other view of the patient, which then has the side of the name.

References
----------
Cui C et al., The Chinese Mammography Database (CMMD), TCIA 2021, doi 10.7937/tcia.eqde-4b16; TOMPEI-CMMD, TCIA 2025.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from microcalc.datasets.lines import read_lines
from microcalc.datasets.open import open_row
from microcalc.datasets.outlines import Corners
from microcalc.datasets.public import PublicSet, Reading, counted, cut, files_below, region
from microcalc.datasets.table import ImageRow
from microcalc.domain import Laterality
from microcalc.errors import TableError

SOURCE: Final = "CMMD with TOMPEI-CMMD"
LICENCE: Final = (
    "CC BY 4.0. Cui C, Li L, Cai H et al. The Chinese Mammography Database (CMMD). The Cancer Imaging Archive 2021, "
    "doi 10.7937/tcia.eqde-4b16. Annotations: TOMPEI-CMMD, The Cancer Imaging Archive 2025."
)
CLINICAL: Final = "CMMD_clinicaldata_revision.csv"
_NAME: Final = re.compile(r"(D\d-\d{4})_(MLO|CC)_([RL])_AnnotationFile", re.IGNORECASE)
_CALCIFICATION: Final = "calc"
_OTHERS: Final = frozenset(("mass", "dist", "distortion", "fa", "fad", "lipoma"))
_ON_BREAST: Final = 0.5
"""The share of an outline's corners that lie on the breast, at least. Ours."""


@dataclass(frozen=True, slots=True)
class _Annotated:
    """What a file of TOMPEI says: outlines of calcifications, and of anything."""

    calcifications: Sequence[Corners]
    outlines: Sequence[Corners]


def read_tompei_cmmd(folder: Path, annotations: Path | None = None) -> PublicSet:
    """Read CMMD and TOMPEI-CMMD.

    Parameters
    ----------
    folder
        Folder of CMMD, with ``CMMD_clinicaldata_revision.csv`` (saved from the published spreadsheet) if there is one.
    annotations
        Folder of TOMPEI-CMMD; None: it is below ``folder``.

    Raises
    ------
    TableError
        There is no annotation file, or no image can be used.
    """
    reading = Reading(SOURCE, LICENCE)
    files = {f: m for f in files_below(annotations or folder, ".json") if (m := _NAME.fullmatch(f.stem))}
    if not files:
        raise TableError(
            f"{(annotations or folder).resolve().name}: no file such as D1-0001_MLO_R_AnnotationFile.json, expected "
            "the folder of TOMPEI-CMMD"
        )
    tags = _clinical_tags(folder)
    views = _views(reading, folder)
    absent, taken = [], set[str]()
    others = corrected = 0
    for file, name in files.items():
        patient, view, side = (part.upper() for part in name.groups())
        laterality: Laterality = "L" if side == "L" else "R"
        with reading.leaving_out(file):
            found = _annotated(file)
            near = [i for i in views.get((patient, view), ()) if i.image not in taken]
            if not near:
                absent.append(file.stem)
                continue
            image = _matching(sorted(near, key=lambda i: i.laterality != laterality), found.outlines, file)
            taken.add(image.image)
            others += len(found.outlines) - len(found.calcifications)
            corrected += image.laterality not in ("", laterality)
            image = replace(image, laterality=laterality, tags=tags.get((patient, side), ""))
            reading.add(image, [region(o, image, judge="TOMPEI", where=file.name) for o in found.calcifications])
    reading.absent(absent, "annotations of images that are not there")
    patients = {patient for patient, _ in views}
    reading.absent((p for p, _ in tags if p not in patients), f"{CLINICAL} lists patients without an image")
    left = sum(len(its) for its in views.values()) - len(taken)
    reading.notes += counted(left, "image", "without an annotation left out")
    reading.notes += counted(others, "outline", "of masses and other lesions passed over")
    reading.notes += counted(corrected, "image", "with the other side in its header; the annotation's side is taken")
    return reading.done(folder)


def _views(reading: Reading, folder: Path) -> Mapping[tuple[str, str], list[ImageRow]]:
    """Return the images by patient and view."""
    views: dict[tuple[str, str], list[ImageRow]] = {}
    for file in files_below(folder, ".dcm"):
        with reading.leaving_out(file):
            image, facts = reading.described(file)
            patient = facts.patient.upper()
            if not re.fullmatch(r"D\d-\d{4}", patient):
                raise TableError(f"{file.name}: another PatientID than those of CMMD, expected one such as D1-0001")
            name = file.relative_to(folder).with_suffix("").as_posix()
            views.setdefault((patient, image.view), []).append(replace(image, image=name, patient=patient))
    return views


def _matching(views: Sequence[ImageRow], outlines: Sequence[Corners], file: Path) -> ImageRow:
    """Return the first view on whose breast the outlines lie; with no outline, the first."""
    for image in views:
        pixels = open_row(image).pixels
        try:
            corners = np.array([c for o in outlines for c in cut(o, image, file.name)]).reshape(-1, 2)
        except TableError:
            continue
        rows, columns = np.clip(np.rint(corners).astype(int), 0, np.array(pixels.shape) - 1).T
        if not len(rows) or np.mean(pixels[rows, columns] > pixels.min()) >= _ON_BREAST:
            return image
    raise TableError(f"{file.name}: its outlines lie beside the breast or the image, expected them on it")


def _annotated(file: Path) -> _Annotated:
    expected = "expected a list of outlines with cgPoints and label"
    try:
        entries = json.loads(file.read_bytes())
    except OSError as error:
        raise TableError(f"{file.name}: {error.strerror}, {expected}") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{file.name}: not JSON, {expected}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TableError(f"{file.name}: found {type(entries).__name__}, {expected}")
    calcifications, outlines = [], []
    for number, entry in enumerate(entries, 1):
        where = f"{file.name} outline {number}"
        label = str(entry.get("label", "")).strip().lower()
        outline = _corners(entry, where)
        outlines.append(outline)
        if label == _CALCIFICATION:
            calcifications.append(outline)
        elif label not in _OTHERS:
            raise TableError(f"{where}: label {label[:40]!r}, expected calc, {', '.join(sorted(_OTHERS))}")
    return _Annotated(calcifications, outlines)


def _corners(entry: Mapping[str, Any], where: str) -> Corners:
    points = entry.get("cgPoints")
    try:
        corners = tuple((float(point["y"]), float(point["x"])) for point in points or ())
    except (TypeError, KeyError, ValueError):
        corners = ()
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise TableError(f"{where}: cgPoints {str(points)[:40]!r}, expected at least three points with x and y")
    return corners


def _clinical_tags(folder: Path) -> Mapping[tuple[str, str], str]:
    """Return patient and side → tags for the abnormality and the class of the breast; empty without the list."""
    found = [f for f in files_below(folder, ".csv") if f.name.lower() == CLINICAL.lower()]
    columns = ("ID1", "LeftRight", "abnormality", "classification")
    tags: dict[tuple[str, str], str] = {}
    for file in found[:1]:
        for _, line in read_lines(file, required=columns):
            words = (f"abnormality-{line['abnormality'].lower()}", line["classification"].lower())
            tags[line["ID1"].upper(), line["LeftRight"].upper()[:1]] = " ".join(w.replace(" ", "-") for w in words)
    return tags
