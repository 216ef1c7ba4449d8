"""One view of a breast between exposure and read-out, to which lesions are added, and its annotations.

Every lesion has a location in three dimensions, from which its position in each view follows: the distance
behind the nipple is the same in both views, and the row changes with the angle of the tube. Compression changes
the shape of the breast; a location keeps its relative distance between the axis of the nipple and the skin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage, Kind
from microcalc.geometry import Points
from microcalc.simulate.acquisition import Exposure, noise_variance
from microcalc.simulate.anatomy import Anatomy
from microcalc.simulate.breast import Breast, View, half_width
from microcalc.simulate.systems import Beam, System

ANGLE_RAD: Mapping[View, float] = {"CC": 0.0, "MLO": -np.pi / 4}
"""Angle of the tube in radians. The upper outer quadrant is at the top of an oblique image."""
_GROUND_STEP = 8
_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Annotation:
    """Annotate one simulated object in an image.

    Attributes
    ----------
    row, column, outline
        Position of the centre and vertices of the outline, in pixels of the stored image.
    cluster
        Name of the cluster or group; empty for a single object.
    d_prime
        Detectability by the ideal observer in the noise of the system; None where it was not computed.
    contrast
        Largest fraction of the primary signal removed, after blur; None where it was not computed.
    morphology
        Morphology and distribution in words; for objects without calcium, what the object is.
    """

    row: float
    column: float
    diameter_mm: float
    kind: Kind
    cluster: str = ""
    outline: tuple[tuple[float, float], ...] = ()
    d_prime: float | None = None
    contrast: float | None = None
    morphology: str = ""

    def mirrored(self, columns: int) -> Annotation:
        """Return the annotation in the image with its columns reversed."""
        last = columns - 1
        return replace(self, column=last - self.column, outline=tuple((r, last - c) for r, c in self.outline))


@dataclass(frozen=True, eq=False, slots=True)
class TissueMaps:
    """Hold maps of the tissue and the noise at every eighth pixel of an image.

    Attributes
    ----------
    depth
        (rows, columns) distance to the outline of the breast in mm, positive inside.
    share
        (rows, columns) fraction of the thickness that is fibroglandular.
    fat_mm, gland_mm
        (rows, columns) path of the beam in mm; see ``anatomy.Anatomy``.
    muscle
        (rows, columns) True in the pectoral muscle.
    noise_sd
        (rows, columns) standard deviation of the noise in stored values.
    step_mm
        Spacing of the maps.
    """

    depth: FloatImage
    share: FloatImage
    fat_mm: FloatImage
    gland_mm: FloatImage
    muscle: NDArray[np.bool_]
    noise_sd: FloatImage
    step_mm: float

    def at(self, image: NDArray[_Value], place_mm: Points) -> NDArray[_Value]:
        """Return the values (n,) of one of the maps at positions (n, 2) in mm; outside the map, those at its border."""
        index = np.rint(np.asarray(place_mm) / self.step_mm).astype(np.int64)
        rows, columns = (np.clip(index[:, k], 0, image.shape[k] - 1) for k in (0, 1))
        return np.asarray(image[rows, columns])


def tissue_maps(system: System, anatomy: Anatomy, exposure: Exposure) -> TissueMaps:
    """Return the maps of an exposed anatomy at every eighth pixel."""
    some = (slice(None, None, _GROUND_STEP), slice(None, None, _GROUND_STEP))
    return TissueMaps(
        depth=anatomy.depth[some].copy(),
        share=np.asarray(anatomy.gland[some] / np.maximum(anatomy.thickness[some], 1.0), dtype=np.float32),
        fat_mm=anatomy.fat_mm[some].copy(),
        gland_mm=anatomy.gland_mm[some].copy(),
        muscle=anatomy.muscle[some].copy(),
        noise_sd=np.sqrt(noise_variance(system, exposure.primary[some] + exposure.scatter[some])),
        step_mm=_GROUND_STEP * system.pitch_mm,
    )


class BreastCoordinates:
    """Convert locations in a breast, which both of its views share, to positions in one view.

    A location is (distance behind the nipple in mm, height, row). Height and row are relative to the distance
    between the axis of the nipple and the skin, so that height² + row² <= 1.
    """

    def __init__(self, breast: Breast, height_mm: float) -> None:
        self.nipple_mm = breast.nipple_mm
        self.view = breast.view
        columns = np.arange(0.0, breast.nipple_mm[1] + 1.0)
        reach = np.array([half_width(breast, breast.nipple_mm[0], float(c)) for c in columns])
        # the axilla, at the top, is not in a craniocaudal view
        reach[:, 0] = np.minimum(reach[:, 0], min(1.3 * float(np.median(reach[:, 1])), 0.5 * height_mm))
        self._columns, self._reach = columns, reach

    def locate(self, places: NDArray[np.float64]) -> Points:
        """Return the positions (n, 2) in mm of locations (n, 3)."""
        angle = ANGLE_RAD[self.view]
        column = self.nipple_mm[1] - places[:, 0]
        row = places[:, 2] * np.cos(angle) + places[:, 1] * np.sin(angle)
        up, down = (np.interp(column, self._columns, self._reach[:, k]) for k in (0, 1))
        return np.column_stack([self.nipple_mm[0] + row * np.where(row < 0, up, down), column])


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """Hold one view between exposure and read-out, while lesions are added.

    Attributes
    ----------
    exposure
        Noise-free image of the breast without calcium.
    contrast
        (rows, columns) fraction of the primary signal that calcium removes, after blur; changed in place.
    motion_mm
        (row, column) displacement of the breast during the exposure.
    annotations
        The objects added so far; changed in place.
    """

    system: System
    beam: Beam
    breast: Breast
    space: BreastCoordinates
    ground: TissueMaps
    exposure: Exposure
    contrast: FloatImage
    motion_mm: tuple[float, float] = (0.0, 0.0)
    annotations: list[Annotation] = field(default_factory=list)

    @property
    def angle_rad(self) -> float:
        """Return the angle of the tube in radians."""
        return ANGLE_RAD[self.breast.view]

    def holds(self, place_mm: Points, *, depth_mm: float) -> NDArray[np.bool_]:
        """Return (n,) whether positions (n, 2) in mm lie in the image and at least this deep in the breast."""
        pixel = place_mm / self.system.pitch_mm
        inside = ((pixel >= 3.0) & (pixel <= np.array(self.contrast.shape) - 4.0)).all(axis=1)
        return np.asarray(inside & (self.ground.at(self.ground.depth, place_mm) >= depth_mm))

    def behind(self, centre_mm: Points) -> tuple[float, float]:
        """Return the paths in mm through fat and gland at a position (2,) in mm."""
        ground, at = self.ground, np.asarray(centre_mm)[None]
        return float(ground.at(ground.fat_mm, at)[0]), float(ground.at(ground.gland_mm, at)[0])
