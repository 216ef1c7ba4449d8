"""Draw the benign calcium that is inserted into a mammogram: the ten kinds of ``confusers`` that are calcium.

Its bodies are those of simulated breasts. It lies anywhere in the breast, also under the skin, mostly in the denser
tissue; as in simulated breasts, some of it is too faint to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import BENIGN_CALCIUM, BoolImage, FloatImage, Kind, Mammogram
from microcalc.geometry import Grid, Points
from microcalc.simulate.bodies import Lines, discs_along, imaged_lines, laid
from microcalc.simulate.confusers import CONFUSERS, Confuser, draw_confuser
from microcalc.simulate.insertion import Imaging
from microcalc.simulate.placement import CoarseBreast, PlacedCalcification, coarse_breast, draw_centres
from microcalc.simulate.raster import add_patch, enlarge
from microcalc.simulate.scene import ANGLE_RAD
from microcalc.simulate.structure import Tubes

_SKIN_MM: Final = 1.0
_APART_MM: Final = 5.0  # from known and inserted calcifications, ours


@dataclass(frozen=True, eq=False, slots=True)
class PlacedLines:
    """Hold the walls of an artery, a rod or a thread, projected, at its place in the image.

    Attributes
    ----------
    cluster
        Name of the object that they are part of, such as ``arterial-1``.
    what
        Name of the confuser.
    """

    lines: Lines
    tubes: Tubes
    cluster: str
    kind: Kind
    what: str

    def discs(self, extent_mm: tuple[float, float]) -> NDArray[np.float64]:
        """Return discs (k, 3) along the visible parts: row, column and diameter in mm, as in simulated images.

        Where one wall of a vessel alone lies in the image, the middle between both can lie outside: the disc is then
        moved to the edge.

        Parameters
        ----------
        extent_mm
            Position of the image's last pixel.
        """
        discs = discs_along(self.tubes, every_mm=self.lines.mark_mm, together=self.lines.apart_mm > 0)
        inside = np.clip(discs[:, :2], 0.0, extent_mm)
        moved = np.hypot(*(inside - discs[:, :2]).T)
        return np.column_stack([inside, np.maximum(discs[:, 2] + 2 * moved, self.lines.mark_mm)])


PlacedBenign = PlacedCalcification | PlacedLines


def draw_benign(
    rng: np.random.Generator,
    mammogram: Mammogram,
    tissue: BoolImage,
    *,
    factor: float,
    taken_mm: Points,
    regions_mm: Sequence[Points] = (),
) -> list[PlacedBenign]:
    """Draw the benign calcium that is inserted into a mammogram.

    Parameters
    ----------
    tissue
        (rows, columns) mask of the breast.
    factor
        Factor applied to the usual number of each kind in a breast, the mean of a Poisson distribution.
    taken_mm
        (k, 2) positions of calcifications, from which the centre of each object keeps its distance.
    regions_mm
        Corners (k, 2) of regions in and near which nothing is placed.
    """
    breast = coarse_breast(mammogram, tissue, skin_mm=_SKIN_MM, regions_mm=regions_mm)
    names = [
        (name, number)
        for name, row in CONFUSERS.items()
        if row.kind in BENIGN_CALCIUM
        for number in range(1, int(rng.poisson(factor * row.rate)) + 1)
    ]
    centres = draw_centres(
        rng,
        breast.allowed,
        breast.brightness,
        n=len(names),
        spacing_mm=breast.spacing_mm,
        min_distance_mm=_APART_MM,
        taken_mm=taken_mm,
    )
    tube_rad = ANGLE_RAD["CC" if "CC" in (mammogram.view or "CC") else "MLO"]
    rng.shuffle(names)  # where there is no room for all, none is preferred
    return [
        body
        for (name, number), centre in zip(names, centres, strict=False)
        for body in _placed(draw_confuser(rng, name), centre, breast, tube_rad, cluster=f"{name}-{number}")
    ]


def _placed(
    confuser: Confuser, centre: Points, breast: CoarseBreast, tube_rad: float, *, cluster: str
) -> Iterator[PlacedBenign]:
    """Yield the bodies of a confuser that lie in the breast; lines end at its edge."""
    heading_rad = float(np.arctan2(*(breast.nipple_mm - centre))) if confuser.to_nipple else 0.0
    for body in confuser.bodies:
        if isinstance(body, Lines):
            tubes = laid(body, centre, tube_rad=tube_rad, heading_rad=heading_rad)
            inside = breast.holds(np.column_stack([tubes.rows.ravel(), tubes.columns.ravel()]))
            tubes = replace(tubes, weight=tubes.weight * inside.reshape(tubes.rows.shape))
            if tubes.weight.any():
                yield PlacedLines(body, tubes, cluster, confuser.kind, confuser.what)
            continue
        seen = replace(body.project(tube_rad), morphology=confuser.what)
        row, column = (float(v) for v in centre + np.asarray(seen.offset_mm))
        if breast.holds(np.array([[row, column]]))[0]:
            yield PlacedCalcification(seen, (row, column), cluster, confuser.kind)


def add_lines(contrast: FloatImage, placed: PlacedLines, *, grid: Grid, imaging: Imaging) -> None:
    """Add the blurred contrast of lines to that of an image (rows, columns), in place."""
    pitch_mm = min(grid.spacing_mm)
    rows, columns = (round(n * s / pitch_mm) for n, s in zip(contrast.shape, grid.spacing_mm, strict=True))
    (top, left), patch = imaged_lines(
        placed.tubes, (rows, columns), pitch_mm,
        contrast=lambda path_mm: imaging.removed(placed.lines.material, placed.lines.packing * path_mm),
        mtf=imaging.mtf,
    )  # fmt: skip
    if grid.spacing_mm[0] == grid.spacing_mm[1]:
        add_patch(contrast, (top, left), patch)
    elif patch.size:
        spans = [
            np.arange(int(np.ceil(first * pitch_mm / s)), int((first + n - 1) * pitch_mm / s) + 1)
            for first, n, s in zip((top, left), patch.shape, grid.spacing_mm, strict=True)
        ]
        at = [i * s / pitch_mm - f for i, s, f in zip(spans, grid.spacing_mm, (top, left), strict=True)]
        add_patch(contrast, (int(spans[0][0]), int(spans[1][0])), enlarge(patch, *at))
