"""Which images a command was given: files, folders with all that lies below them, and tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from microcalc.batch.folder import is_result
from microcalc.datasets.table import ImageRow, is_table
from microcalc.errors import InputError, MicrocalcError
from microcalc.images.dicom.sniff import is_dicom
from microcalc.images.open import is_picture
from microcalc.storage.ownership import owner_of

_IMAGE_SUFFIXES: Final = frozenset((".dcm", ".dicom", ".ima", ".png", ".tif", ".tiff", ".jpg", ".jpeg"))
_ARCHIVE_SUFFIXES: Final = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"))
_NO_IMAGES_OF: Final = frozenset(("detect", "demo", "review", "evaluate", "roc", "study", "train", "realism", "card"))
"""Commands whose folders hold results, not images that a user means."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image that was given: its file, its path below the folder that was given, and its line of a table."""

    file: Path
    name: str
    row: ImageRow | None = None


@dataclass(slots=True)
class Inputs:
    """What was found in everything that was given.

    Attributes
    ----------
    images
        In the order given, those of a folder in the order of their paths.
    tables
        Folders, or their ``images.csv``, that are tables and are to be read.
    problems
        One for each thing given, or found in a folder, that gives no image.
    passed_over
        How many files in folders are no images, and how many are our own results.
    """

    images: list[Input] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    problems: list[MicrocalcError] = field(default_factory=list)
    passed_over: int = 0
    results: int = 0


def find_inputs(paths: Sequence[Path]) -> Inputs:
    """Return the images in files and folders, and the tables among them, which are left to the caller to read.

    A folder is searched with all folders below it. Hidden files and folders, DICOMDIR, our own results and folders
    of results are left out, and so are files that are no images by their names and first bytes. A folder with an
    ``images.csv`` is a table, wherever it is found: what it says decides.
    """
    inputs = Inputs()
    for path in paths:
        try:
            _add(path, inputs)
        except OSError as error:  # such as a name that is too long
            inputs.problems.append(InputError(f"{path.name}: {error.strerror}, expected an image or a folder"))
    return inputs


def _add(path: Path, inputs: Inputs) -> None:
    if is_table(path):
        inputs.tables.append(path)
    elif path.is_dir():
        _search(path, inputs)
    elif is_result(path):
        inputs.problems.append(InputError(f"{path.name}: a result of microcalc, expected a mammogram"))
    elif path.name.upper() == "DICOMDIR":
        inputs.problems.append(InputError(f"{path.name}: the list of a disc's images, expected the folder it lies in"))
    elif path.suffix.lower() in _ARCHIVE_SUFFIXES:
        inputs.problems.append(InputError(f"{path.name}: an archive, expected its files, unpacked"))
    else:
        inputs.images.append(Input(path, path.name))


def _search(folder: Path, inputs: Inputs) -> None:
    before = len(inputs.images), len(inputs.tables), inputs.results
    for found in _walk(folder, {folder.resolve()}, inputs):
        if found.is_dir():
            inputs.tables.append(found)
        elif is_result(found):
            inputs.results += 1
        elif looks_like_image(found):
            inputs.images.append(Input(found, found.relative_to(folder).as_posix()))
        else:
            inputs.passed_over += 1
    if before[:2] == (len(inputs.images), len(inputs.tables)):
        only = "results of microcalc alone" if inputs.results > before[2] else "no images"
        inputs.problems.append(
            InputError(f"{folder.resolve().name}: {only} in this folder, expected DICOM, PNG, TIFF or JPEG files")
        )


def _walk(folder: Path, seen: set[Path], inputs: Inputs) -> Iterator[Path]:
    """Yield the files below a folder, and of folders that are tables the folder; each folder is entered once."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        inputs.problems.append(InputError(f"{folder.resolve().name}: {error.strerror}, expected a folder to read"))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR":
            continue
        if not entry.is_dir():
            if entry.is_file() or entry.is_symlink():
                yield entry
            else:  # a pipe, socket or device
                inputs.passed_over += 1
            continue
        if entry.resolve() in seen:
            continue
        seen.add(entry.resolve())
        if is_table(entry) and owner_of(entry) not in _NO_IMAGES_OF:
            yield entry
        elif owner_of(entry) in _NO_IMAGES_OF:
            inputs.results += 1
        else:
            yield from _walk(entry, seen, inputs)


def looks_like_image(file: Path) -> bool:
    """Return whether a file is an image by its name, has a name that says nothing, or is one by its first bytes."""
    suffix = file.suffix.lower()
    if suffix in _IMAGE_SUFFIXES or not suffix or suffix[1:].isdigit():
        return True
    return is_dicom(file) or (os.access(file, os.R_OK) and is_picture(file))
