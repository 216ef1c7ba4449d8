"""Normalise the images of a training or a study into one store, each under a key of what it is made from.

The key changes with the image file's bytes, with what the table says of the image, with the settings of the
normalisation, and with the code that does it. So an image is normalised again when any of these changes, and only
then.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from microcalc.datasets.open import open_row, refuse_images, unusable_images
from microcalc.datasets.table import ImageRow, Table, refuse_repeated
from microcalc.domain import Mammogram, NormalisedMammogram
from microcalc.errors import InputError, OutputError, WorkerDiedError
from microcalc.execution.executor import Executor
from microcalc.execution.progress import track
from microcalc.images.open import naming
from microcalc.normalise.mammogram import normalise
from microcalc.normalise.resample import resample
from microcalc.sample.store import store
from microcalc.storage.key import code_version, file_sha256, key_of
from microcalc.storage.store import Store

BORDER_PX: Final = 40
"""Width of the border of zeros around a stored image: the largest margin of a network, at any pixel spacing."""
_STANDARD_DEVIATION: Final = 3.0


@dataclass(frozen=True, slots=True)
class NormalisedImages:
    """A folder of normalised images.

    Attributes
    ----------
    folder
        Folder that several trainings and studies may share.
    spacing_mm
        Pixel spacing that the images are resampled to.
    equalised
        Whether images are normalised as for detection; False: they are only ``standardised``.
    """

    folder: Path
    spacing_mm: float
    equalised: bool = True

    def file(self, row: ImageRow) -> Path:
        """Return the path of a normalised image, which need not exist yet.

        Raises
        ------
        ValueError
            The image's line of the table has no SHA-256; see ``with_hashes``.
        """
        if not row.sha256:
            raise ValueError(f"image {row.image!r} has no SHA-256, expected a table from with_hashes")
        made_of = {
            "sha256": row.sha256,
            "intent": row.intent,
            "table_spacing_mm": row.spacing_mm,
            "system": row.system,
            "view": row.view,
            "laterality": row.laterality,
            "spacing_mm": self.spacing_mm,
            "equalised": self.equalised,
            "border_px": BORDER_PX,
            "code": code_version(__name__),
        }
        return self._store.path(key_of(made_of))

    def clear(self) -> None:
        """Remove all normalised images; see ``Store.clear``."""
        self._store.clear()

    @property
    def _store(self) -> Store:
        return Store(self.folder, ".npy")

    def make(self, rows: Sequence[ImageRow], *, executor: Executor) -> None:
        """Normalise the images that are not in the folder yet.

        Raises
        ------
        InputError
            Some images cannot be used; the message names them. What can be told from headers is checked before
            anything is normalised; if pixels cannot be used, the other images are normalised all the same.
        OutputError
            The system refused to write.
        """
        jobs = [(row, self.file(row), self.spacing_mm, self.equalised) for row in rows]
        todo = [job for job in jobs if not job[1].is_file()]
        refuse_images(list(unusable_images(row for row, *_ in todo).values()), of=len(rows))
        refused: dict[str, InputError] = {}
        with closing(executor.run(_make, todo)) as outcomes:
            done = track(outcomes, "normalising images", total=len(jobs), before=len(jobs) - len(todo))
            for outcome in done:
                if isinstance(outcome.error, InputError):
                    refused[outcome.item[0].image] = outcome.error
                elif isinstance(outcome.error, WorkerDiedError):
                    row = outcome.item[0]
                    refused[row.image] = InputError(f"{row.file.name}: {outcome.error}")
                elif isinstance(outcome.error, OutputError):
                    run = self.folder.absolute().parent.name
                    raise OutputError(f"{run}/{self.folder.name}/{outcome.error}") from outcome.error
                else:
                    outcome.result()
        refuse_images([refused[row.image] for row in rows if row.image in refused], of=len(rows))


def with_hashes(table: Table) -> Table:
    """Return the table with the current SHA-256 of every image's file.

    Raises
    ------
    InputError
        Files cannot be read, or differ from those that the table was made from; the message names them.
    TableError
        Two images have the same bytes.
    """
    rows: list[ImageRow] = []
    refused: list[InputError] = []
    for row in table.images:
        try:
            sha256 = file_sha256(row.file)
        except OSError as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
            refused.append(InputError(f"{row.file.name}: {reason}, expected the image {row.image!r} of the table"))
            continue
        if row.sha256 and row.sha256.lower() != sha256:
            refused.append(
                InputError(
                    f"{row.file.name}: SHA-256 {sha256[:12]}…, expected {row.sha256[:12].lower()}… as in the table"
                )
            )
        rows.append(replace(row, sha256=sha256))
    refuse_images(refused, of=len(table.images))
    refuse_repeated(rows, "the table")
    return Table(tuple(rows), table.annotations)


def standardised(mammogram: Mammogram, *, spacing_mm: float) -> NormalisedMammogram:
    """Return the mammogram with grey values of mean 0 and standard deviation 3 in the breast.

    The study compares this with our normalisation. It is the usual z-score, scaled to the average spread of
    normalised images, for which the networks are designed; the breast mask is that of our normalisation. Noise is
    not equalised, and no background is subtracted. Outside the tissue, values are 0. (Ours.)
    """
    normalised = normalise(mammogram, spacing_mm=spacing_mm)
    pixels, _ = resample(mammogram.pixels, mammogram.grid, spacing_mm)
    inside = pixels[normalised.breast].astype(np.float64)
    scaled = (pixels - np.float32(inside.mean())) * np.float32(_STANDARD_DEVIATION / max(inside.std(), 1e-6))
    tissue = normalised.breast | (normalised.pixels != 0)
    return replace(normalised, pixels=np.where(tissue, scaled, np.float32(0)))


def _make(job: tuple[ImageRow, Path, float, bool]) -> None:
    row, file, spacing_mm, equalised = job
    bring = normalise if equalised else standardised
    with naming(row.file):
        store(bring(open_row(row), spacing_mm=spacing_mm), file, border_px=BORDER_PX)
