"""Images of a training or a study: their line of the table, their annotations, and the file of normalised pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow, Split, Table
from microcalc.datasets.twins import LEFT_OUT
from microcalc.domain import Annotations, BoolImage
from microcalc.sample.draw import negative_mask, pixels_around, reviewed_negatives
from microcalc.sample.store import Samples, StoredImage, StoredImages, open_stored
from microcalc.training.normalised import NormalisedImages
from microcalc.training.recipe import Sample


@dataclass(frozen=True, eq=False, slots=True)
class TrainingImage:
    """An image with its annotations and the file of its normalised pixels.

    Attributes
    ----------
    rows
        Lines of the table that annotate the image, in the order of the table.
    file
        File that ``NormalisedImages`` made.
    """

    row: ImageRow
    rows: tuple[AnnotationRow, ...]
    file: Path

    @property
    def annotations(self) -> Annotations:
        """Annotations with positions in mm."""
        return Table((self.row,), self.rows).annotations_of(self.row)

    def open(self) -> StoredImage:
        """Return the normalised pixels, mapped from disk."""
        return open_stored(self.file)

    def negative_mask(self, stored: StoredImage, rules: Sample) -> BoolImage:
        """Return where breast pixels are negative, (rows, columns)."""
        return negative_mask(
            self.annotations,
            stored.breast,
            stored.grid,
            clearance_mm=rules.clearance_mm,
            unmeasured_clearance_mm=rules.unmeasured_clearance_mm,
        )

    def counterfactual_pixels(self, stored: StoredImage, rules: Sample) -> Samples:
        """Return the pixels where a twin lacks a microcalcification: (n, 3) with image index 0.

        They are the pixels that are positive in the other image of the pair. Only those are left out that calcium of
        this image covers, or of which it makes positives; the clearance around calcium does not hold for them.
        """
        places = [(r.row, r.column) for r in self.rows if r.judge == LEFT_OUT]
        free = negative_mask(
            self.annotations,
            stored.breast,
            stored.grid,
            clearance_mm=rules.positive_radius_mm,
            unmeasured_clearance_mm=rules.unmeasured_clearance_mm,
        )
        centres = self.row.grid.to_mm(np.array(places, dtype=np.float64).reshape(-1, 2))
        pixels = pixels_around(centres, free, stored.grid, radius_mm=rules.positive_radius_mm)
        pixels[:, 0] = 0
        return pixels

    def reviewed_negatives(self, stored: StoredImage, negative: BoolImage) -> Samples:
        """Return the negative pixels that a reader judged to be free of calcium: (n, 3) with image index 0."""
        read = replace(self, rows=tuple(r for r in self.rows if r.judge != LEFT_OUT))
        return reviewed_negatives(read.annotations, negative, stored.grid)


def images_of_split(table: Table, split: Split, normalised: NormalisedImages) -> tuple[TrainingImage, ...]:
    """Return the images of one split, in the order of the table."""
    return tuple(TrainingImage(i, table.rows_of(i), normalised.file(i)) for i in table.images if i.split == split)


def open_images(images: Sequence[TrainingImage]) -> StoredImages:
    """Return the normalised pixels of several images, mapped from disk when they are asked for."""
    return StoredImages([image.file for image in images])
