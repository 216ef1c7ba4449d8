"""Read the low-energy craniocaudal images of CDD-CESM into the project's table.

The data are 8-bit JPEG at native resolution, cropped to the breast, without a
header, described by one ``images.csv``. Three things are added here.

**Splits** (``cdd_cesm_splits.csv``). Half of the images name no patient. Within one
category and side the named images are numbered in the order of their patients, so
the patient of an unnamed image lies between those of its named neighbours (and no
patient has two craniocaudal images of one breast). The splits are chosen so that no
unnamed image can belong to a patient of another split; images that could belong to
several are in none.

**Spacing**. The publisher's spacing is inferred from the matrix. Images larger than
the largest GE matrix cannot be GE images, and are treated as Hologic images.

**Reviewed places** (``data/cdd-cesm/reviewed.csv`` of the source tree). The data set annotates no
microcalcification. The places that were reviewed by eye become annotations; the verdict is their kind.

References
----------
Khaled R et al., The Cancer Imaging Archive 2021, doi 10.7937/29kw-ae92 (CC BY 4.0);
Khaled R et al., Scientific Data 9 (2022), doi 10.1038/s41597-022-01238-0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, get_args

from microcalc.datasets.lines import Line, number_in, read_lines, word_in
from microcalc.datasets.reviewed import read_reviewed
from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.domain import Laterality
from microcalc.errors import TableError

SPLITS: Final = Path(__file__).with_name("cdd_cesm_splits.csv")
_SOURCE_TREE: Final = Path(__file__).resolve().parents[3]

TAG: Final = "cdd-cesm"
SOURCE: Final = "CDD-CESM"
ATTRIBUTION: Final = (
    "Khaled R, Helal M, Alfarghaly O, Mokhtar O, Elkorany A, El Kassas H, Fahmy A. Categorized Digital Database for "
    "Low energy and Subtracted Contrast Enhanced Spectral Mammography images. The Cancer Imaging Archive 2021, "
    "doi 10.7937/29kw-ae92 (CC BY 4.0). Khaled R et al., Scientific Data 9 (2022), doi 10.1038/s41597-022-01238-0. "
    "Clark K et al., J Digit Imaging 26 (2013) 1045, doi 10.1007/s10278-013-9622-7."
)
"""Attribution that the licence of the images requires wherever weights trained on them are distributed."""

_REQUIRED = ("file", "tcia_name", "width", "height", "category", "system", "pixel_spacing_mm", "density", "sha256")
_LARGEST_GE_MATRIX = (3062, 2394)
"""(rows, columns) of the Senographe Essential's large field."""
_HOLOGIC = ("Hologic Selenia Dimensions", 0.070)


def reviewed_in_source_tree() -> Path | None:
    """Return the file of the reviewed places in the source tree, or None where the package runs from a wheel."""
    file = _SOURCE_TREE / "data" / "cdd-cesm" / "reviewed.csv"
    return file if (_SOURCE_TREE / "pyproject.toml").is_file() and file.is_file() else None


def read_cdd_cesm(folder: Path, *, reviewed: Path | None = None, rounds: int | None = None) -> Table:
    """Read the images and the project's splits, with the reviewed places as annotations.

    Parameters
    ----------
    folder
        Folder with ``images.csv`` and the JPEG files.
    reviewed
        Table of reviewed places (``microcalc.datasets.reviewed``); None: the images have no annotations.
    rounds
        Keep the places of this many first rounds only; None: of all rounds.

    Raises
    ------
    TableError
        A file is missing or is not the published one (SHA-256), or a table breaks its format.
    """
    file = folder / "images.csv"
    if not file.is_file():
        raise TableError(f"{folder.name}: no images.csv, expected the folder of CDD-CESM")
    splits = _read_splits(SPLITS)
    images = tuple(
        _image(line, folder, splits, f"{file.name} line {n}") for n, line in read_lines(file, required=_REQUIRED)
    )
    for image in images:
        _check_sha256(image)
    return Table(images, () if reviewed is None else _reviewed_places(reviewed, images, rounds))


def _image(line: Line, folder: Path, splits: dict[str, Split], where: str) -> ImageRow:
    patient, laterality = _patient_and_side(line["tcia_name"], where)
    system, spacing_mm, remark = _system(line, where)
    tags = [line["category"], TAG, f"density-{line['density']}" if line["density"] not in ("", "_") else "", remark]
    calcification = line.get("calcification", "")
    if calcification not in ("", "none stated"):
        tags.append(f"calcification-{calcification}")
    return ImageRow(
        image=Path(line["file"]).stem,
        file=folder / line["file"],
        intent="processed",
        spacing_mm=(spacing_mm, spacing_mm),
        patient=patient,
        system=system,
        view="CC",
        laterality=laterality,
        split=splits.get(line["file"], ""),
        sha256=line["sha256"],
        tags=" ".join(t for t in tags if t),
        rows=int(number_in(line, "height", where)),
        columns=int(number_in(line, "width", where)),
        source=SOURCE,
        licence=ATTRIBUTION,
    )


def _patient_and_side(tcia_name: str, where: str) -> tuple[str, Laterality | Literal[""]]:
    """Return patient and laterality of a name such as ``P35_L_DM_CC.jpg``; both are empty for images without a name."""
    if not tcia_name:
        return "", ""
    patient, side, *_ = tcia_name.split("_")
    if side == "L":
        return patient, "L"
    if side == "R":
        return patient, "R"
    raise TableError(f"{where}: tcia_name is {tcia_name!r}, expected a name like 'P35_L_DM_CC.jpg'")


def _system(line: Line, where: str) -> tuple[str, float, str]:
    """Return the system, the pixel spacing in mm, and a tag for how they were inferred."""
    rows, columns = number_in(line, "height", where), number_in(line, "width", where)
    spacing_mm = number_in(line, "pixel_spacing_mm", where)
    system = line["system"].removesuffix("(inferred)").removeprefix("unknown, probably").strip()
    too_large = rows > _LARGEST_GE_MATRIX[0] or columns > _LARGEST_GE_MATRIX[1]
    if system.startswith("GE") and too_large:
        return *_HOLOGIC, "system-from-size"
    return system, spacing_mm, "system-probable" if line["system"].startswith("unknown") else "system-inferred"


def _read_splits(file: Path) -> dict[str, Split]:
    return {
        line["file"]: word_in(line, "split", get_args(Split), f"{file.name} line {n}")
        for n, line in read_lines(file, required=("file", "split"))
    }


def _reviewed_places(file: Path, images: Sequence[ImageRow], rounds: int | None) -> tuple[AnnotationRow, ...]:
    name_of = {i.sha256: i.image for i in images}
    return tuple(
        AnnotationRow(name_of[r.sha256], r.row, r.column, kind=r.verdict, judge=r.judge)
        for r in read_reviewed(file)
        if r.sha256 in name_of and (rounds is None or r.round <= rounds)
    )


def _check_sha256(image: ImageRow) -> None:
    try:
        found = hashlib.sha256(image.file.read_bytes()).hexdigest()
    except OSError:
        raise TableError(f"{image.file.name}: no such file, but images.csv lists it") from None
    if found != image.sha256:
        raise TableError(f"{image.file.name}: sha256 {found[:12]}…, expected {image.sha256[:12]}… (changed file?)")
