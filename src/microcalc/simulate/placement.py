"""Draw the calcifications that are inserted into a mammogram, and their places: in the breast, apart, visible."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Kind, Mammogram
from microcalc.geometry import Grid, Points, clear_polygon
from microcalc.simulate.calcification import (
    Calcification,
    Microcalcification3D,
    draw_cluster,
    draw_microcalcification,
)
from microcalc.simulate.insertion import Imaging

_SKIN_MM = 4.0
_APART_MM = 12.0
_REGION_MM = 5.0  # around a region, ours
_MIN_MEMBERS = 4
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Insertion:
    """Hold the numbers of microcalcifications that are inserted into each image, and their smallest detectability.

    Attributes
    ----------
    clusters, singles
        Numbers per image; single microcalcifications belong to no cluster.
    min_d_prime
        Smallest detectability by the ideal observer of an inserted microcalcification: no reader
        could annotate fainter ones.
    benign
        Factor applied to the usual rates of benign calcium in a breast; see ``simulate.benign``.
    """

    clusters: int = 2
    singles: int = 0
    min_d_prime: float = 4.0
    benign: float = 0.0


@dataclass(frozen=True, eq=False, slots=True)
class PlacedCalcification:
    """Hold a calcification, the position of its centre in mm, and the name of its cluster (empty if it is single)."""

    calcification: Calcification
    centre_mm: tuple[float, float]
    cluster: str
    kind: Kind = "microcalcification"


@dataclass(frozen=True, eq=False, slots=True)
class CoarseBreast:
    """Hold a breast on a raster of about a millimetre.

    Attributes
    ----------
    allowed
        (rows, columns) True where a calcification may lie: not near the skin, and not where the image is saturated.
    brightness
        (rows, columns) smoothed pixel values.
    nipple_mm
        (2,) the point of the breast farthest from the chest wall.
    spacing_mm
        Spacing of the raster.
    """

    allowed: BoolImage
    brightness: FloatImage
    nipple_mm: NDArray[np.float64]
    spacing_mm: float

    def holds(self, places_mm: Points) -> BoolImage:
        """Return (n,) whether a calcification may lie at positions (n, 2) in mm."""
        at = np.rint(places_mm / self.spacing_mm).astype(np.intp)
        last = np.array(self.allowed.shape) - 1
        row, column = np.clip(at, 0, last).T
        return np.asarray(((at >= 0) & (at <= last)).all(axis=1) & self.allowed[row, column])


def draw_calcifications(
    rng: np.random.Generator,
    mammogram: Mammogram,
    tissue: BoolImage,
    insertion: Insertion,
    *,
    imaging: Imaging,
    taken_mm: Points,
    regions_mm: Sequence[Points] = (),
) -> list[PlacedCalcification]:
    """Draw the clusters, then the single microcalcifications, that are inserted into a mammogram.

    Parameters
    ----------
    tissue
        (rows, columns) mask of the breast.
    taken_mm
        (k, 2) positions of known calcifications, from which the new ones keep their distance.
    regions_mm
        Corners (k, 2) of regions with calcifications at unknown places, in and near which nothing is placed.

    Returns
    -------
    The calcifications and their places; fewer than asked for where there is no room.
    """
    breast = coarse_breast(mammogram, tissue, skin_mm=_SKIN_MM, regions_mm=regions_mm)
    centres = draw_centres(
        rng,
        breast.allowed,
        breast.brightness,
        n=insertion.clusters + insertion.singles,
        spacing_mm=breast.spacing_mm,
        min_distance_mm=_APART_MM,
        taken_mm=taken_mm,
    )
    placed: list[PlacedCalcification] = []
    for number, centre in enumerate(centres[: insertion.clusters], 1):
        placed += _draw_cluster(rng, centre, breast, imaging, insertion.min_d_prime, name=f"c{number}")
    for centre in centres[insertion.clusters :]:
        attempts = ([draw_microcalcification(rng)] for _ in range(_ATTEMPTS))
        single = _first_visible(attempts, imaging, insertion.min_d_prime)
        placed += [PlacedCalcification(m, (float(centre[0]), float(centre[1])), "") for m in single]
    return placed


def coarse_breast(
    mammogram: Mammogram, tissue: BoolImage, *, skin_mm: float, regions_mm: Sequence[Points] = ()
) -> CoarseBreast:
    """Return where calcifications may lie in a mammogram.

    Parameters
    ----------
    tissue
        (rows, columns) mask of the breast.
    skin_mm
        Distance from the edge of the breast.
    regions_mm
        Corners (k, 2) of regions in and near which nothing may lie.
    """
    step = max(1, round(1.0 / mammogram.spacing_mm[0]))
    spacing_mm = step * mammogram.spacing_mm[0]
    inner = np.pad(tissue[::step, ::step], 1)  # the border counts as skin
    allowed = (ndimage.distance_transform_edt(inner)[1:-1, 1:-1] * spacing_mm) > skin_mm
    allowed &= ~_clipped(mammogram.pixels, tissue, step)
    for corners_mm in regions_mm:
        clear_polygon(allowed, corners_mm, Grid((spacing_mm, spacing_mm)), margin_mm=_REGION_MM)
    brightness = ndimage.gaussian_filter(mammogram.pixels, step, truncate=2.0)[::step, ::step]
    return CoarseBreast(allowed, brightness, _nipple(tissue[::step, ::step]) * spacing_mm, spacing_mm)


def _clipped(pixels: FloatImage, tissue: BoolImage, step: int) -> BoolImage:
    """Return where more than a tenth of the pixels are saturated, so that no calcification would be visible."""
    saturated = pixels == pixels.max(where=tissue, initial=-np.inf)
    share = ndimage.uniform_filter(saturated.astype(np.float32), 2 * step + 1)[::step, ::step]
    return np.asarray(share > 0.1)


def _nipple(tissue: BoolImage) -> NDArray[np.float64]:
    """Return (row, column) of the point of the breast farthest from the chest wall, the side with more tissue."""
    columns = np.flatnonzero(tissue.any(axis=0))
    half = tissue.shape[1] // 2
    column = columns[-1] if tissue[:, :half].sum() >= tissue[:, half:].sum() else columns[0]
    return np.array([np.flatnonzero(tissue[:, column]).mean(), column])


def draw_centres(
    rng: np.random.Generator,
    allowed: BoolImage,
    brightness: FloatImage,
    *,
    n: int,
    spacing_mm: float,
    min_distance_mm: float,
    taken_mm: Points,
) -> Points:
    """Draw the centres of clusters, mostly in the denser tissue and at a minimum distance from each other.

    Parameters
    ----------
    allowed
        (rows, columns) True where a centre may lie, at ``spacing_mm``.
    brightness
        (rows, columns): two thirds of the centres are drawn from the brighter half.
    taken_mm
        (k, 2) positions from which the centres keep the same distance.

    Returns
    -------
    (m, 2) positions in mm from the first pixel of that raster; m is less than n where there is no room.
    """
    index = np.flatnonzero(allowed)
    if index.size == 0:
        return np.zeros((0, 2))
    brighter = index[brightness.ravel()[index] > np.median(brightness.ravel()[index])]
    placed: list[NDArray[np.float64]] = [np.asarray(t, dtype=np.float64) for t in taken_mm]
    chosen: list[NDArray[np.float64]] = []
    for _ in range(n * 50):
        if len(chosen) == n:
            break
        pool = brighter if brighter.size and rng.random() < 2 / 3 else index
        flat = int(pool[rng.integers(pool.size)])
        point = (np.array(divmod(flat, allowed.shape[1])) + rng.uniform(-0.5, 0.5, 2)) * spacing_mm
        if all(np.hypot(*(point - other)) >= min_distance_mm for other in placed):
            placed.append(point)
            chosen.append(point)
    return np.array(chosen).reshape(-1, 2)


def _draw_cluster(
    rng: np.random.Generator, centre: Points, breast: CoarseBreast, imaging: Imaging, min_d_prime: float, *, name: str
) -> list[PlacedCalcification]:
    """Draw a cluster of at least four visible members in the breast; return none if all attempts fail."""
    towards = (0.0, float(breast.nipple_mm[0] - centre[0]), float(breast.nipple_mm[1] - centre[1]))
    for _ in range(_ATTEMPTS):
        attempts = (draw_cluster(rng, to_nipple=towards) for _ in range(_ATTEMPTS))
        members = _first_visible(attempts, imaging, min_d_prime)
        positions = [(m, centre + np.array(m.offset_mm)) for m in members]
        placed = [
            PlacedCalcification(m, (float(p[0]), float(p[1])), name) for m, p in positions if breast.holds(p[None])[0]
        ]
        if len(placed) >= _MIN_MEMBERS:
            return placed
    return []


def _first_visible(
    attempts: Iterable[list[Microcalcification3D]], imaging: Imaging, min_d_prime: float
) -> list[Calcification]:
    """Return the visible members of the first attempt that has any; none if none has."""
    for solids in attempts:
        members = [m for m in (solid.project() for solid in solids) if imaging.d_prime(m) >= min_d_prime]
        if members:
            return members
    return []
