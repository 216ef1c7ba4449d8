"""What is put into a breast besides its tissue: calcium of every kind, and the truth about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage, Kind
from microcalc.geometry import Points
from microcalc.simulate.acquisition import Exposure, noise_variance, visibility
from microcalc.simulate.anatomy import Anatomy
from microcalc.simulate.breast import Breast
from microcalc.simulate.calcification import (
    HYDROXYAPATITE_PER_MM,
    Calcification,
    Morphology,
    draw_calcification,
    draw_cluster,
    render_one,
)
from microcalc.simulate.confusers import arterial_calcium, draw_coarse, draw_rim
from microcalc.simulate.raster import filtered
from microcalc.simulate.structure import draw_tubes
from microcalc.simulate.systems import System


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is put into an image, on average.

    Attributes
    ----------
    clusters, singles
        Of microcalcifications; Poisson means. At most three clusters.
    cluster_members
        Mean number beyond the least, four.
    diameter_mm, diameter_ln_sd, density
        Lognormal diameters, and the range of the effective density factor.
    coarse, rims, arteries
        Benign calcium; Poisson means.
    crossings, specks
        Ligament crossings, and sharp faults of the receptor (in one image of four).
    """

    clusters: float = 1.2
    singles: float = 3.0
    cluster_members: float = 8.0
    diameter_mm: float = 0.22
    diameter_ln_sd: float = 0.40
    density: tuple[float, float] = (0.34, 0.7)
    coarse: float = 0.8
    rims: float = 0.4
    arteries: float = 0.15
    crossings: float = 12.0
    specks: float = 6.0


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the truth; ``row``, ``column`` and ``outline`` in pixels of the image.

    ``d_prime`` is the visibility to the ideal observer in the system's noise; None
    where it was not computed.
    """

    row: float
    column: float
    diameter_mm: float
    kind: Kind
    cluster: str = ""
    outline: tuple[tuple[float, float], ...] = ()
    d_prime: float | None = None
    contrast: float | None = None

    def mirrored(self, columns: int) -> Place:
        """The place in the image with its columns reversed."""
        last = columns - 1
        return replace(self, column=last - self.column, outline=tuple((r, last - c) for r, c in self.outline))


@dataclass(frozen=True, eq=False, slots=True)
class Contents:
    """``contrast``: (rows, columns) fraction of the primary that calcium removes, blurred."""

    contrast: FloatImage
    places: tuple[Place, ...]


def draw_contents(
    rng: np.random.Generator, system: System, breast: Breast, anatomy: Anatomy, exposure: Exposure, amounts: Amounts
) -> Contents:
    """Draw the calcium of one image and where it lies."""
    wanted = [
        *_clusters(rng, system, anatomy, amounts),
        *_singles(rng, system, anatomy, amounts),
        *_benign(rng, system, anatomy, amounts),
    ]
    contrast = np.zeros_like(anatomy.depth)
    places = [_insert(contrast, system, exposure, *item) for item in wanted]
    for number in range(int(rng.poisson(amounts.arteries))):
        places += _artery(rng, contrast, system, breast, anatomy, f"artery-{number + 1}")
    return Contents(contrast, tuple(p for p in places if p is not None))


_Wanted = tuple[Calcification, NDArray[np.float64], Kind, str]


def _clusters(rng: np.random.Generator, system: System, anatomy: Anatomy, amounts: Amounts) -> list[_Wanted]:
    wanted: list[_Wanted] = []
    for number in range(min(int(rng.poisson(amounts.clusters)), 3)):
        centre = _somewhere(rng, anatomy, system.pitch_mm, n=1, at_least_mm=10.0)
        if not len(centre):
            break
        members = draw_cluster(
            rng,
            number_mean=amounts.cluster_members,
            diameter_mm=amounts.diameter_mm,
            diameter_ln_sd=amounts.diameter_ln_sd,
            density=amounts.density,
        )
        wanted += [
            (_thinned(m), centre[0] + m.offset_mm, "microcalcification", f"cluster-{number + 1}") for m in members
        ]
    return wanted


def _singles(rng: np.random.Generator, system: System, anatomy: Anatomy, amounts: Amounts) -> list[_Wanted]:
    wanted: list[_Wanted] = []
    shapes: tuple[Morphology, ...] = ("punctate", "pleomorphic", "amorphous", "fine_linear")
    for place in _somewhere(rng, anatomy, system.pitch_mm, n=int(rng.poisson(amounts.singles)), at_least_mm=5.0):
        calcification = draw_calcification(
            rng,
            diameter_mm=float(np.clip(rng.lognormal(np.log(amounts.diameter_mm), amounts.diameter_ln_sd), 0.1, 0.8)),
            morphology=shapes[int(rng.choice(4, p=(0.6, 0.2, 0.1, 0.1)))],
            attenuation_per_mm=HYDROXYAPATITE_PER_MM * float(np.exp(rng.uniform(*np.log(amounts.density)))),
        )
        wanted.append((_thinned(calcification), place, "microcalcification", ""))
    return wanted


def _thinned(calcification: Calcification) -> Calcification:
    """Larger microcalcifications are flatter and looser than spheres of their diameter.

    Without this, visibility would rise with the diameter's power of 2.5, and most
    would be either obvious or invisible.
    """
    factor = float(np.clip((calcification.diameter_mm / 0.22) ** -1.3, 0.2, 2.5))
    return replace(calcification, attenuation_per_mm=factor * calcification.attenuation_per_mm)


def _benign(rng: np.random.Generator, system: System, anatomy: Anatomy, amounts: Amounts) -> list[_Wanted]:
    n_coarse, n_rims = int(rng.poisson(amounts.coarse)), int(rng.poisson(amounts.rims))
    wanted: list[_Wanted] = [
        (draw_coarse(rng), place, "coarse", "")
        for place in _somewhere(rng, anatomy, system.pitch_mm, n=n_coarse, at_least_mm=6.0)
    ]
    for place in _somewhere(rng, anatomy, system.pitch_mm, n=n_rims, at_least_mm=3.0):
        wanted.append((draw_rim(rng, skin=bool(rng.random() < 0.5)), place, "rim_or_skin", ""))
    return wanted


def _somewhere(rng: np.random.Generator, anatomy: Anatomy, pitch_mm: float, *, n: int, at_least_mm: float) -> Points:
    """Random places (n, 2) in mm inside the breast, four times as likely in gland as in fat."""
    step = 8
    depth = anatomy.depth[::step, ::step]
    edge = int(min(8.0, 0.1 * depth.shape[0] * pitch_mm * step) / pitch_mm / step) + 1  # whole clusters in the image
    inner = np.zeros(depth.shape, dtype=np.bool_)
    inner[edge:-edge, edge:-edge] = ~anatomy.muscle[::step, ::step][edge:-edge, edge:-edge]
    allowed = inner & (depth > min(at_least_mm, 0.5 * float(depth[inner].max(initial=0.0))))
    rows, columns = np.nonzero(allowed)
    if n == 0 or not len(rows):
        return np.empty((0, 2))
    share = anatomy.gland[::step, ::step][allowed] / np.maximum(anatomy.thickness[::step, ::step][allowed], 1.0)
    weight = 0.25 + np.clip(share, 0.0, 0.75)
    chosen = rng.choice(len(rows), size=n, p=weight / weight.sum())
    pixel = np.column_stack([rows[chosen], columns[chosen]]) * step + rng.uniform(-4.0, 4.0, (n, 2))
    return pixel * pitch_mm


def _insert(
    contrast: FloatImage,
    system: System,
    exposure: Exposure,
    calcification: Calcification,
    centre_mm: NDArray[np.float64],
    kind: Kind,
    cluster: str,
) -> Place | None:
    """Add one calcification's contrast; its place, or None where it lies outside the image."""
    pixel = np.asarray(centre_mm) / system.pitch_mm
    inside = all(2 <= p < n - 3 for p, n in zip(pixel, contrast.shape, strict=True))
    if not inside or exposure.primary[int(pixel[0]), int(pixel[1])] > 8.0 * float(
        np.median(exposure.primary[::64, :8])
    ):
        return None
    spacing = (system.pitch_mm, system.pitch_mm)
    (r0, c0), patch = render_one(calcification, pixel, spacing_mm=spacing, mtf=system.mtf)
    r1, c1 = max(r0, 0), max(c0, 0)
    here = contrast[r1 : r0 + patch.shape[0], c1 : c0 + patch.shape[1]]
    patch = patch[r1 - r0 : r1 - r0 + here.shape[0], c1 - c0 : c1 - c0 + here.shape[1]]
    primary = exposure.primary[r1 : r1 + patch.shape[0], c1 : c1 + patch.shape[1]]
    here += patch
    row, column = int(pixel[0]), int(pixel[1])
    behind = exposure.primary[row : row + 1, column : column + 1] + exposure.scatter[row : row + 1, column : column + 1]
    noise_sd = float(np.sqrt(noise_variance(system, behind))[0, 0])
    outline = tuple((float(r), float(c)) for r, c in pixel + calcification.outline_mm / system.pitch_mm)
    return Place(
        row=float(pixel[0]),
        column=float(pixel[1]),
        diameter_mm=calcification.diameter_mm,
        kind=kind,
        cluster=cluster,
        outline=outline,
        d_prime=visibility(system, patch * primary, noise_sd),
        contrast=float(patch.max()),
    )


def _artery(
    rng: np.random.Generator,
    contrast: FloatImage,
    system: System,
    breast: Breast,
    anatomy: Anatomy,
    name: str,
) -> Sequence[Place]:
    start = _somewhere(rng, anatomy, system.pitch_mm, n=1, at_least_mm=15.0)
    if not len(start):
        return ()
    to_nipple = np.asarray(breast.nipple_mm) - start[0]
    tubes, along = arterial_calcium(rng, start, float(np.arctan2(*to_nipple) + rng.normal(0.0, 0.6)))
    path = draw_tubes([tubes], contrast.shape, system.pitch_mm)
    removed = -np.expm1(-HYDROXYAPATITE_PER_MM * 0.6 * path)
    contrast += np.clip(filtered(removed, system.pitch_mm, lambda r, c: system.mtf(np.hypot(r, c))), 0.0, None)
    pixels = along / system.pitch_mm
    inside = [p for p in pixels if all(0 <= x < n for x, n in zip(p, contrast.shape, strict=True))]
    return [Place(float(r), float(c), 3.0, "vascular", name) for r, c in inside]
