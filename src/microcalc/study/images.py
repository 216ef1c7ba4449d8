"""The images of the study, normalised; never more than a few of them in memory.

They lie in ``RUN/normalised/`` under keys of what they are made of, so that studies in one folder share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.domain import Annotations, BoolImage
from microcalc.geometry import Grid
from microcalc.sample.draw import negative_mask
from microcalc.sample.store import StoredImage, open_stored
from microcalc.study.stage import Say, Stage, after, run_stage
from microcalc.training.annotated import as_seen, check_inside
from microcalc.training.normalised import NormalisedImages
from microcalc.training.recipe import Sample


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
    validation: tuple[StudyImage, ...]
    test: tuple[StudyImage, ...]


def normalise_stage(exams: Stage, *, spacing_mm: float, normalising: bool) -> Stage:
    """Of all images of the exams."""
    settings = {"spacing_mm": spacing_mm, "normalising": normalising}
    return after(exams.run, "normalise", settings, exams, modules=("microcalc.training.normalised",))


def normalise_all(stage: Stage, table: Table, *, spacing_mm: float, normalising: bool, workers: int, say: Say) -> None:
    """Normalise the images that are not there yet; raises ``InputError`` that names all that cannot be used.

    Annotations outside their images raise ``TableError``.
    """
    store = _store(stage.run, spacing_mm, normalising)
    run_stage(stage, lambda progress: store.make(table.images, workers=workers, say=progress), say)
    check_inside(table, store.file)


def images_of(table: Table, run: Path, *, spacing_mm: float, normalising: bool, min_d_prime: float) -> Images:
    """The images of a table, which are normalised, by split."""
    rows: dict[str, list[AnnotationRow]] = {i.image: [] for i in table.images}
    for a in table.annotations:
        rows[a.image].append(as_seen(a, min_d_prime))

    store = _store(run, spacing_mm, normalising)

    def of(split: Split) -> tuple[StudyImage, ...]:
        chosen = (i for i in table.images if i.split == split)
        return tuple(StudyImage(i, tuple(rows[i.image]), store.file(i)) for i in chosen)

    return Images(of("train"), of("validation"), of("test"))


def opened(images: Sequence[StudyImage]) -> list[StoredImage]:
    """Their pixels, mapped from disk; the breast masks are in memory."""
    return [image.open() for image in images]


def _store(run: Path, spacing_mm: float, normalising: bool) -> NormalisedImages:
    return NormalisedImages(run / "normalised", spacing_mm, equalised=normalising)
