"""The images that a command is given: as files, as folders with all folders below them, and as tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from microcalc.batch.folder import is_result
from microcalc.datasets.table import ImageRow
from microcalc.datasets.table_files import is_table
from microcalc.errors import InputError, MicrocalcError
from microcalc.execution.shard import Shard
from microcalc.images.dicom.sniff import is_dicom
from microcalc.images.info import Facts, ImageInfo
from microcalc.images.open import is_picture, stated_for_picture
from microcalc.storage.ownership import owner_of

_IMAGE_SUFFIXES: Final = frozenset((".dcm", ".dicom", ".ima", ".pgm", ".png", ".tif", ".tiff", ".jpg", ".jpeg"))
_ARCHIVE_SUFFIXES: Final = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"))
_NO_IMAGES_OF: Final = frozenset(("detect", "demo", "review", "evaluate", "roc", "study", "train", "realism", "card"))
"""Commands whose folders hold results, not images that a user means."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image: its file, its path below the folder that was given, and its row if it comes from a table."""

    file: Path
    name: str
    row: ImageRow | None = None

    def is_in(self, shard: Shard | None) -> bool:
        """Return whether the image belongs to a shard, by its name in the table or its path below the folder."""
        return shard is None or shard.has(self.name if self.row is None else self.row.image)


@dataclass(frozen=True, slots=True)
class GivenImages:
    """The images of a call, and what each states about itself.

    Attributes
    ----------
    images
        Each image once.
    facts
        Facts of each image; None if the file cannot be read (opening it tells why), or if it is listed in a table and
        belongs to another shard than that of this call.
    problems
        One for each path that yields no image, or an image that was given before.
    """

    images: tuple[Input, ...]
    facts: tuple[Facts | None, ...]
    problems: tuple[MicrocalcError, ...] = ()


@dataclass(slots=True)
class Inputs:
    """The images in everything that was given, and what else was there.

    Attributes
    ----------
    images
        In the order given, those of a folder in the order of their paths.
    tables
        Folders with an ``images.csv``, or these files.
    problems
        One for each path that yields no image.
    passed_over
        Number of files in folders that are not images, and that are our own results.
    pictures
        Number of pictures in folders with DICOM files that were skipped; see ``find_inputs``.
    """

    images: list[Input] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    problems: list[MicrocalcError] = field(default_factory=list)
    passed_over: int = 0
    results: int = 0
    pictures: int = 0


def find_inputs(paths: Sequence[Path], *, with_pictures: bool = True) -> Inputs:
    """Return the images in files and folders, and the tables among them, which are left to the caller to read.

    A folder is searched with all folders below it. Hidden files and folders, DICOMDIR, our own results and folders
    of results are skipped, and so are files that are not images by their names and first bytes. A folder with an
    ``images.csv`` is a table, wherever it is found.

    Parameters
    ----------
    with_pictures
        Whether pictures can be mammograms here. If not, those in a folder with DICOM files are skipped, such as the
        logo on a disc; without any DICOM file they are returned, so that the caller can say what they lack.
    """
    inputs = Inputs()
    for path in paths:
        try:
            _add(path, inputs, with_pictures=with_pictures)
        except OSError as error:  # such as a name that is too long
            inputs.problems.append(InputError(f"{path.name}: {error.strerror}, expected an image or a folder"))
    return inputs


def _add(path: Path, inputs: Inputs, *, with_pictures: bool) -> None:
    if is_table(path):
        inputs.tables.append(path)
    elif path.is_dir():
        _search(path, inputs, with_pictures=with_pictures)
    elif is_result(path):
        inputs.problems.append(InputError(f"{path.name}: a result of microcalc, expected a mammogram"))
    elif path.name.upper() == "DICOMDIR" and path.is_file():
        inputs.problems.append(InputError(f"{path.name}: a DICOMDIR, expected the folder that holds it"))
    elif path.suffix.lower() in _ARCHIVE_SUFFIXES and path.is_file():
        inputs.problems.append(InputError(f"{path.name}: an archive, expected the unpacked files"))
    else:
        inputs.images.append(Input(path, path.name))


def _search(folder: Path, inputs: Inputs, *, with_pictures: bool) -> None:
    before = len(inputs.tables), inputs.results, len(inputs.problems)
    images: list[Path] = []
    for found in _walk(folder, {folder.resolve()}, inputs):
        if found.is_dir():
            inputs.tables.append(found)
        elif is_result(found):
            inputs.results += 1
        elif looks_like_image(found):
            images.append(found)
        else:
            inputs.passed_over += 1
    if not with_pictures and any(is_dicom(file) for file in images):
        usable = [file for file in images if not _is_readable_picture(file)]
        inputs.pictures += len(images) - len(usable)
        images = usable
    inputs.images += [Input(file, file.relative_to(folder).as_posix()) for file in images]
    if not images and (before[0], before[2]) == (len(inputs.tables), len(inputs.problems)):
        only = "only results of microcalc" if inputs.results > before[1] else "no images"
        inputs.problems.append(
            InputError(f"{folder.resolve().name}: {only} in this folder, expected DICOM, PNG, TIFF, JPEG or PGM files")
        )


def refuse_pictures(given: GivenImages, info: ImageInfo) -> GivenImages:
    """Return the images without the pictures that lack what neither a table nor ``info`` states; each is a problem."""
    kept: list[tuple[Input, Facts | None]] = []
    problems = list(given.problems)
    for image, facts in zip(given.images, given.facts, strict=True):
        try:
            if image.row is None and facts is not None and is_picture(image.file):
                stated_for_picture(image.file, info)
        except InputError as error:
            problems.append(error)
        else:
            kept.append((image, facts))
    return GivenImages(tuple(image for image, _ in kept), tuple(facts for _, facts in kept), tuple(problems))


def _is_readable_picture(file: Path) -> bool:
    return file.is_file() and os.access(file, os.R_OK) and is_picture(file)


def _walk(folder: Path, seen: set[Path], inputs: Inputs) -> Iterator[Path]:
    """Yield the files below a folder, and of folders that are tables the folder; enter each folder once."""
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
    """Return whether a file is an image by its suffix or first bytes, or has no suffix that tells."""
    suffix = file.suffix.lower()
    if suffix in _IMAGE_SUFFIXES or not suffix or suffix[1:].isdigit():
        return True
    return is_dicom(file) or (os.access(file, os.R_OK) and is_picture(file))
