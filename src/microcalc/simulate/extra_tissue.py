"""Lymph nodes, moles and skin folds: tissue that is added to an anatomy, at the same place in both views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microcalc.simulate import artefacts
from microcalc.simulate.anatomy import Anatomy
from microcalc.simulate.artefacts import Patch
from microcalc.simulate.bodies import lines_path
from microcalc.simulate.breast import Breast
from microcalc.simulate.lesions import LesionRates, draw_locations
from microcalc.simulate.raster import overlap
from microcalc.simulate.scene import BreastCoordinates


@dataclass(frozen=True, eq=False, slots=True)
class ExtraTissue:
    """Hold the locations (n, 3), in ``BreastCoordinates``, of lymph nodes and moles, which both views show."""

    nodes: NDArray[np.float64]
    moles: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, rates: LesionRates) -> ExtraTissue:
        """Draw the locations, as many as the rates give on average."""
        nodes = draw_locations(rng, int(rng.poisson(rates.nodes)), "axilla", 1.0)
        nodes[:, 1:] *= rng.uniform(0.6, 0.9)
        return cls(nodes, draw_locations(rng, int(rng.poisson(rates.moles)), "skin", 1.0))


def add_tissue(
    rng: np.random.Generator,
    anatomy: Anatomy,
    breast: Breast,
    space: BreastCoordinates,
    extra: ExtraTissue,
    pitch_mm: float,
    *,
    folds: int,
) -> None:
    """Add lymph nodes in place of fat, moles and skin folds to the paths of an anatomy, in place."""
    depth_mm = np.array([space.nipple_mm[1], 1.0, 1.0])
    for centre in space.locate(extra.nodes * depth_mm) / pitch_mm:
        _replace_fat(anatomy, artefacts.lymph_node(rng, centre, pitch_mm))
    for centre in space.locate(extra.moles * depth_mm) / pitch_mm:
        corner, path = artefacts.mole(rng, centre, pitch_mm)
        here, part = overlap(anatomy.depth.shape, corner, path.shape)
        total = anatomy.gland_mm[here] + path[part] * (anatomy.depth[here] > 0.0)
        anatomy.gland_mm[here] = np.maximum(total, 0.0)
    for _ in range(folds):
        tubes = artefacts.skin_fold(rng, breast)
        corner, path = lines_path(tubes, anatomy.depth.shape, pitch_mm)
        here, part = overlap(anatomy.depth.shape, corner, path.shape)
        anatomy.gland_mm[here] += path[part] * (anatomy.depth[here] > 0.0)


def _replace_fat(anatomy: Anatomy, patch: Patch) -> None:
    """Replace fat by gland along the paths of a patch, in place."""
    corner, path = patch
    here, part = overlap(anatomy.depth.shape, corner, path.shape)
    inside = np.minimum(path[part], anatomy.fat_mm[here])
    anatomy.fat_mm[here] -= inside
    anatomy.gland_mm[here] += inside
