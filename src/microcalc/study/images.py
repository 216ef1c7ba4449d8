"""The images of the study, normalised; never more than a few of them in memory.

They lie in ``RUN/normalised-KEY/`` under names that follow from the files' bytes, so that
studies in one folder share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.domain import Annotations, BoolImage, Mammogram, NormalisedMammogram
from microcalc.geometry import Grid
from microcalc.normalise.mammogram import normalise
from microcalc.normalise.resample import resample
from microcalc.runs.images import naming, open_row
from microcalc.runs.recipe import Sample
from microcalc.runs.training import BORDER_PX, as_seen
from microcalc.sample.draw import negative_mask
from microcalc.sample.store import StoredImage, open_stored, store
from microcalc.study.stage import Say, Stage, after, key_of, run_stage
from microcalc.study.workers import in_processes

_STANDARD_DEVIATION = 3.0


@dataclass(frozen=True, eq=False, slots=True)
class StudyImage:
    """An image: its line of the table, what is annotated in it, and the file with its pixels.

    What is less visible than the recipe's least d' is annotated as ``unsure``.
    """

    row: ImageRow
    rows: tuple[AnnotationRow, ...]
    file: Path

    @property
    def annotations(self) -> Annotations:
        """Positions in mm."""
        return Table((self.row,), self.rows).annotations_of(self.row)

    def open(self) -> StoredImage:
        """Its pixels, mapped from disk."""
        return open_stored(self.file)

    def negative(self, stored: StoredImage, sample: Sample) -> BoolImage:
        """Where breast pixels are negative."""
        return negative_mask(
            self.annotations,
            stored.breast,
            Grid((stored.spacing_mm, stored.spacing_mm), stored.origin_mm),
            clearance_mm=sample.clearance_mm,
            unmeasured_clearance_mm=sample.unmeasured_clearance_mm,
        )


@dataclass(frozen=True, eq=False, slots=True)
class Images:
    """All images of the study, by split."""

    train: tuple[StudyImage, ...]
    tune: tuple[StudyImage, ...]
    test: tuple[StudyImage, ...]


def normalise_stage(exams: Stage, *, spacing_mm: float, normalising: bool) -> Stage:
    """Of all images of the exams."""
    return after(exams.run, "normalise", {"spacing_mm": spacing_mm, "normalising": normalising}, exams)


def normalise_all(stage: Stage, table: Table, *, spacing_mm: float, normalising: bool, workers: int, say: Say) -> None:
    """Normalise the images that are not there yet."""

    def work(progress: Say) -> None:
        files = {i: _file_of(i, stage.run, spacing_mm, normalising) for i in table.images}
        todo = [i for i, file in files.items() if not file.is_file()]
        calls = [(_normalise_one, (i, files[i], spacing_mm, normalising)) for i in todo]
        for number, _ in enumerate(in_processes(calls, workers=workers), len(files) - len(todo) + 1):
            progress(f"image {number} of {len(files)}")

    run_stage(stage, work, say)


def images_of(table: Table, run: Path, *, spacing_mm: float, normalising: bool, min_d_prime: float) -> Images:
    """The images of a table, which are normalised, by split."""
    rows: dict[str, list[AnnotationRow]] = {i.image: [] for i in table.images}
    for a in table.annotations:
        rows[a.image].append(as_seen(a, min_d_prime))

    def of(split: Split) -> tuple[StudyImage, ...]:
        chosen = (i for i in table.images if i.split == split)
        return tuple(StudyImage(i, tuple(rows[i.image]), _file_of(i, run, spacing_mm, normalising)) for i in chosen)

    return Images(of("train"), of("tune"), of("test"))


def opened(images: Sequence[StudyImage]) -> list[StoredImage]:
    """Their pixels, mapped from disk; the breast masks are in memory."""
    return [image.open() for image in images]


def standardised(mammogram: Mammogram, *, spacing_mm: float) -> NormalisedMammogram:
    """What is compared with our normalisation: grey values of mean 0 and standard deviation 3 in the breast.

    The usual z-score of an image, spread as far as normalised images are on average, for which the networks are
    made; and the breast as in our own. Noise is not equalised, and contrast is not taken against the
    surroundings. Outside the tissue where noise would be measured, 0. (Ours.)
    """
    normalised = normalise(mammogram, spacing_mm=spacing_mm)
    pixels, _ = resample(mammogram.pixels, mammogram.grid, spacing_mm)
    inside = pixels[normalised.breast].astype(np.float64)
    scaled = (pixels - np.float32(inside.mean())) * np.float32(_STANDARD_DEVIATION / max(inside.std(), 1e-6))
    tissue = normalised.breast | (normalised.pixels != 0)
    return replace(normalised, pixels=np.where(tissue, scaled, np.float32(0)))


def _normalise_one(image: ImageRow, file: Path, spacing_mm: float, normalising: bool) -> None:
    bring = normalise if normalising else standardised
    with naming(image.file):
        store(bring(open_row(image), spacing_mm=spacing_mm), file, border_px=BORDER_PX)


def _file_of(image: ImageRow, run: Path, spacing_mm: float, normalising: bool) -> Path:
    name = key_of([image.sha256 or image.image, image.intent, image.spacing_mm, image.view])
    return run / f"normalised-{key_of([spacing_mm, normalising])[:12]}" / f"{name[:24]}.npy"
