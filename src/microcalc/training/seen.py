"""Which images a model's networks were trained on, so that nothing is measured on them.

``training-images.txt`` in a model's folder holds the SHA-256 of each image file, and nothing of a patient. Patients
are known as long as the model lies in its run folder, beside the table of the training.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from microcalc.datasets.table import ImageRow, Table
from microcalc.datasets.table_files import read_table
from microcalc.errors import InputError
from microcalc.storage.ownership import owner_of
from microcalc.storage.write import write_text
from microcalc.wording import quantity, reading_fault

TRAINING_IMAGES: Final = "training-images.txt"
_SHA256: Final = re.compile("[0-9a-f]{64}")
_EXPECTED: Final = "expected the SHA-256 of an image in each line"
_NAMED: Final = 5  # images in a message


def write_training_images(folder: Path, sha256: Iterable[str]) -> None:
    """Write the SHA-256 of the training images into a model's folder, one a line."""
    write_text(folder / TRAINING_IMAGES, "".join(f"{line}\n" for line in sorted(set(sha256))))


def training_images(folder: Path) -> frozenset[str]:
    """Return the SHA-256 of the images that a model was trained on; empty where its folder does not state them.

    Raises
    ------
    InputError
        The file cannot be read, or holds anything else: what is measured would include training images.
    """
    file = folder / TRAINING_IMAGES
    if not file.exists():
        return frozenset()
    try:
        lines = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{folder.name}/{file.name}: {reading_fault(error)}, {_EXPECTED}") from error
    other = next((line for line in lines if not _SHA256.fullmatch(line)), None)
    if other is not None:
        raise InputError(f"{folder.name}/{file.name}: found {other[:20]!r}, {_EXPECTED}")
    return frozenset(lines)


def training_patients(folder: Path) -> frozenset[str]:
    """Return the patients of a model's training; empty where the model lies outside its run folder."""
    run = folder.resolve().parent
    if owner_of(run) != "train" or not (run / "table").is_dir():
        return frozenset()
    return frozenset(i.patient for i in read_table(run / "table").images if i.split == "train" and i.patient)


def refuse_seen(table: Table, folder: Path) -> None:
    """Refuse images that a model was trained on, and images of the patients of its training.

    Parameters
    ----------
    table
        Table from ``with_hashes``.
    folder
        Folder of the model.

    Raises
    ------
    InputError
        Names the first of them.
    """
    files, patients = training_images(folder), training_patients(folder)
    for images, reason in (
        ([i for i in table.images if i.split == "train"], "in split train"),
        ([i for i in table.images if i.sha256 in files], f"trained on by {folder.resolve().name}"),
        ([i for i in table.images if i.patient in patients], f"of patients that {folder.resolve().name} learned from"),
    ):
        if images:
            raise InputError(f"{_named(images)} {reason}, expected images of patients that the model has not seen")


def _named(images: Sequence[ImageRow]) -> str:
    names = ", ".join(repr(image.image) for image in images[:_NAMED])
    more = f" and {len(images) - _NAMED} more" if len(images) > _NAMED else ""
    return f"{quantity(len(images), 'image')} ({names}{more})"
