"""Read images with masks of equal size, in which each connected component is an annotation; BMCD is such a set.

A mask has two values, 0 and another. Pixels that touch, also by a corner, are one component. A component of single
calcifications is at its centroid, with the diameter of the disc of equal area; one of lesions is a region with the
outline of the component.

References
----------
Loizidou K et al., Breast Micro-Calcifications Dataset (BMCD), Zenodo 2021, doi 10.5281/zenodo.5036062.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from scipy import ndimage

from microcalc.datasets.masks import mask_outline
from microcalc.datasets.outlines import Corners
from microcalc.datasets.public import PublicSet, Reading, files_below, region
from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.domain import REGION, BoolImage
from microcalc.errors import InputError, TableError
from microcalc.images.info import NO_INFO, ImageInfo
from microcalc.images.picture import read_mask

BMCD: Final = "BMCD"
BMCD_LICENCE: Final = (
    "CC BY 4.0. Loizidou K, Skouroumouni G, Pitris C, Nikolaou C. Breast Micro-Calcifications Dataset with Precisely "
    "Annotated Sequential Mammograms. Zenodo 2021, doi 10.5281/zenodo.5036062."
)
_SUFFIXES: Final = (".dcm", ".jpeg", ".jpg", ".pgm", ".png", ".tif", ".tiff")
_TOUCHING: Final = np.ones((3, 3), dtype=bool)
_NO_PATIENTS: Final = (
    "no patient is known, so each image counts as one: with --patient, views of one patient stay together"
)


@dataclass(frozen=True, slots=True)
class MaskNames:
    """Which mask belongs to which image, and which images to which patient.

    Attributes
    ----------
    pattern
        Name of the mask of an image without its suffix, in which ``*`` is the name of the image: ``*_MASK``.
    folder
        Folder of the masks; None: the folder of the images.
    patient
        Regular expression that finds the patient in the path of an image below the folder, as its first group if it
        has one; empty: no patient is known.
    """

    pattern: str = "*_MASK"
    folder: Path | None = None
    patient: str = ""


def read_masks(
    folder: Path,
    said: ImageInfo = NO_INFO,
    names: MaskNames | None = None,
    *,
    kind: Literal["microcalcification", "calcification_region"] = "microcalcification",
    source: str = "",
    licence: str = "",
) -> PublicSet:
    """Read images and their masks.

    Parameters
    ----------
    said
        Pixel spacing, intent and system of images that do not state them.
    kind
        What a component of a mask is.
    source, licence
        Name of the data set, and the terms of its use in one line.

    Raises
    ------
    InputError
        The names cannot be used, no image has a mask, or no image can be used.
    """
    names = names or MaskNames()
    find_patient = _patient_finder(names)
    reading = Reading(source, licence, said)
    mask_of, images = _paired(folder, names)
    without: list[str] = []
    for file in images:
        mask_file = mask_of.get(_mask_name(file, names))
        with reading.leaving_out(file):
            if mask_file is None:
                without.append(file.stem)
                continue
            path = file.relative_to(folder)
            image = replace(
                reading.describe(file), image=path.with_suffix("").as_posix(), patient=find_patient(path.as_posix())
            )
            rows = annotations_of_mask(read_mask(mask_file), image, kind=kind, file=mask_file, judge=source)
            reading.add(image, rows)
    used = {_mask_name(file, names) for file in images}
    reading.absent(without, "images without a mask")
    reading.absent((f.stem for name, f in mask_of.items() if name not in used), "masks of images that are not there")
    if not names.patient:
        reading.notes.append(_NO_PATIENTS)
    return reading.done(folder)


def read_bmcd(folder: Path, said: ImageInfo, names: MaskNames | None = None) -> PublicSet:
    """Read BMCD (KIOS): a mask of each mammogram, whose components are single microcalcifications."""
    processed = replace(said, intent=said.intent or "processed")
    return read_masks(folder, processed, names, source=BMCD, licence=BMCD_LICENCE)


def annotations_of_mask(
    mask: BoolImage,
    image: ImageRow,
    *,
    kind: Literal["microcalcification", "calcification_region"],
    file: Path,
    judge: str,
) -> Iterator[AnnotationRow]:
    """Yield the components of a mask as annotations.

    Raises
    ------
    TableError
        The mask has another size than the image.
    """
    if image.shape is not None and mask.shape != image.shape:
        raise TableError(
            f"{file.name}: a mask of {mask.shape[0]} x {mask.shape[1]} pixels, expected {image.rows} x {image.columns} "
            "as its image has"
        )
    if kind == REGION:
        for number, outline in enumerate(outlines_of_mask(mask), 1):
            yield region(outline, image, judge=judge, where=f"{file.name} component {number}")
        return
    labels, count = ndimage.label(mask, _TOUCHING)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:] * image.spacing_mm[0] * image.spacing_mm[1]
    places = ndimage.center_of_mass(mask, labels, range(1, count + 1))
    for number, ((row, column), area) in enumerate(zip(places, areas.tolist(), strict=True), 1):
        diameter_mm = float(2.0 * np.sqrt(area / np.pi))
        where = f"{file.name} component {number}"
        yield AnnotationRow(image.image, float(row), float(column), diameter_mm, judge=judge, where=where)


def outlines_of_mask(mask: BoolImage) -> list[Corners]:
    """Return the outer outline of each component, half a pixel around its pixels."""
    labels, _ = ndimage.label(mask, _TOUCHING)
    outlines: list[Corners] = []
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        top, left = box[0].start, box[1].start
        outlines.append(tuple((row + top, column + left) for row, column in mask_outline(labels[box] == number)))
    return outlines


def _paired(folder: Path, names: MaskNames) -> tuple[Mapping[str, Path], list[Path]]:
    """Return the masks by their names in lower case, and the images."""
    if names.pattern.count("*") != 1 or (names.folder is None and names.pattern == "*"):
        raise InputError(f"--mask-name {names.pattern}: expected one * for the name of the image, such as *_MASK")
    shape = re.compile(re.escape(names.pattern.lower()).replace(r"\*", ".+"))
    files = files_below(folder, *_SUFFIXES)
    among = files if names.folder is None else files_below(names.folder, *_SUFFIXES)
    masks = [f for f in among if shape.fullmatch(f.stem.lower())]
    if not masks:
        where = (names.folder or folder).resolve().name
        raise TableError(f"{where}: no mask of a name such as {names.pattern} among {len(files)} images, expected some")
    by_name: dict[str, Path] = {}
    for file in masks:
        if by_name.setdefault(file.stem.lower(), file) is not file:
            raise TableError(f"{file.name}: several masks of this name, expected one of each")
    return by_name, [f for f in files if f not in set(masks)]


def _mask_name(file: Path, names: MaskNames) -> str:
    return names.pattern.replace("*", file.stem).lower()


def _patient_finder(names: MaskNames) -> Callable[[str], str]:
    """Return a function from the path of an image below the folder to its patient, empty where none is known."""
    try:
        expression = re.compile(names.patient)
    except re.error as error:
        raise InputError(f"--patient {names.patient}: {error.msg}, expected a regular expression") from None

    def find(path: str) -> str:
        found = expression.search(path)
        if found is None:
            raise TableError(f"--patient {names.patient} finds no patient, expected one")
        return found[1] if expression.groups else found[0]

    return find if names.patient else lambda path: ""
