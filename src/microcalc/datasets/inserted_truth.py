"""What the table says of inserted calcifications."""

from __future__ import annotations

import numpy as np

from microcalc.datasets.table import AnnotationRow
from microcalc.domain import Mammogram
from microcalc.geometry import Grid
from microcalc.simulate.benign import PlacedBenign, PlacedLines
from microcalc.simulate.insertion import Imaging
from microcalc.simulate.placement import PlacedCalcification

_JUDGE = "inserted"


def annotation_of(placed: PlacedCalcification, grid: Grid, imaging: Imaging) -> AnnotationRow:
    """Return what the table says of an inserted calcification; the name of the image is still empty."""
    row, column = grid.to_pixels(np.array([placed.centre_mm]))[0]
    seen = placed.calcification
    outline = grid.to_pixels(seen.outline_mm + np.array(placed.centre_mm))
    return AnnotationRow(
        image="", row=float(row), column=float(column), diameter_mm=seen.diameter_mm, kind=placed.kind,
        cluster=placed.cluster, outline=tuple((float(a), float(b)) for a, b in outline), d_prime=imaging.d_prime(seen),
        judge=_JUDGE, morphology=f"{seen.morphology} {seen.layout}".strip(),
    )  # fmt: skip


def annotations_of(placed: PlacedBenign, mammogram: Mammogram, imaging: Imaging) -> list[AnnotationRow]:
    """Return what the table says of one body of benign calcium: of lines, a disc for each visible segment."""
    if isinstance(placed, PlacedCalcification):
        return [annotation_of(placed, mammogram.grid, imaging)]
    return _along(placed, mammogram)


def _along(placed: PlacedLines, mammogram: Mammogram) -> list[AnnotationRow]:
    grid = mammogram.grid
    last = grid.to_mm(np.array(mammogram.pixels.shape) - 1)[0]
    discs = placed.discs((float(last[0]), float(last[1])))
    return [
        AnnotationRow(
            image="",
            row=float(row),
            column=float(column),
            diameter_mm=float(diameter),
            kind=placed.kind,
            cluster=placed.cluster,
            judge=_JUDGE,
            morphology=placed.what,
        )
        for (row, column), diameter in zip(grid.to_pixels(discs[:, :2]), discs[:, 2], strict=True)
    ]
