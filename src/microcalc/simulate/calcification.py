"""Draw microcalcifications and clusters of them as irregular solids in three dimensions, and project them.

A shape is a union of ellipsoids with a rough surface, stored as the fraction of each voxel of 20 µm that is solid.
It is projected along the beam after a rotation about the axis from the chest wall to the nipple, so that both
views of a breast show the same solid. Sizes follow micro-CT of biopsies: of the 1117 microcalcifications in the
public OpenVCT set, those above 0.13 mm have a geometric mean of 0.22 mm and a logarithmic standard deviation of
0.39 (0.45 here, 0.1 of which is between clusters). Clusters have more members than in that set (median 6 in a
biopsy core, which truncates clusters): at least four, with a median of about 10.

The fractions of morphologies and layouts and the packing of the calcium have no source. They are our choice, made
so that peak contrast and detectability cover the range of real microcalcifications.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microcalc.domain import FloatImage
from microcalc.geometry import Grid, Points
from microcalc.simulate.layouts import Layout, place_members
from microcalc.simulate.raster import add_patch
from microcalc.simulate.shapes import SHAPES, Floats, Morphology, Shape, voxels
from microcalc.simulate.spectrum import Material, Receptor, removed_fraction
from microcalc.simulate.systems import Beam

PITCH_MM = 0.02
DIAMETER_MM, DIAMETER_LN_SD = 0.22, 0.45  # target sampler, after the micro-CT set
DIAMETER_RANGE_MM = (0.08, 1.0)
PACKING = (0.55, 0.9)  # at 0.22 mm; ours: see ``packing_at``

Mtf = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Modulation transfer function of spatial frequency in 1/mm, the aperture of the pixel included."""

# Shares of BI-RADS morphologies and distributions: ours.
MORPHOLOGIES: dict[Morphology, float] = {"punctate": 0.3, "amorphous": 0.15, "pleomorphic": 0.35, "fine_linear": 0.2}
LAYOUTS: dict[Layout, float] = {"grouped": 0.6, "linear": 0.15, "segmental": 0.15, "regional": 0.1}

_APATITE_SHARE = 0.8  # the rest is calcium oxalate
_LEAST, _NUMBER_SHAPE = 4, 1.5  # members, and the negative binomial's shape
_CLUSTER_LN_SD = 0.1  # of the diameters' 0.45
_THINNING = -1.1
_WITHIN = (0.5, 1.0)  # packing of members relative to their cluster's (LAVI inserts: 0.3 to 1)


@dataclass(frozen=True, eq=False, slots=True)
class Calcification:
    """Hold the projection of one calcification along the beam of a view.

    Attributes
    ----------
    offset_mm
        (row, column) from the centre of the cluster.
    height_mm
        Distance from the centre of the cluster towards the tube.
    thickness_mm
        (k, k) float32 path of the beam, at a pitch of 20 µm, with the centroid in the middle.
    material, packing
        Material, and the fraction of the path that it fills.
    diameter_mm
        Diameter of the circle of equal area.
    """

    offset_mm: tuple[float, float]
    height_mm: float
    thickness_mm: FloatImage
    material: Material
    packing: float
    diameter_mm: float
    morphology: str
    layout: str = ""

    def contrast(self, beam: Beam, receptor: Receptor, *, fat_mm: float, gland_mm: float) -> FloatImage:
        """Return the fraction of the primary signal removed, (k, k), before blur.

        Parameters
        ----------
        fat_mm, gland_mm
            Path of the beam through the surrounding breast, which hardens it.
        """
        solid_mm = self.packing * self.thickness_mm
        return removed_fraction(beam.spectrum, receptor, self.material, solid_mm, fat_mm=fat_mm, gland_mm=gland_mm)

    @property
    def outline_mm(self) -> Points:
        """Return the vertices (n, 2) of the convex outline in mm from the centre."""
        from scipy.spatial import ConvexHull

        filled = np.argwhere(_covered(self.thickness_mm))
        centre = (np.array(self.thickness_mm.shape) - 1) / 2
        corners = (filled[:, None, :] + np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])).reshape(-1, 2)
        return np.asarray((corners[ConvexHull(corners).vertices] - centre) * PITCH_MM, dtype=np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class Microcalcification3D:
    """Hold one microcalcification as a solid in the breast.

    Attributes
    ----------
    offset_mm
        (height, row, column) of the centroid from the centre of the cluster; height is
        towards the tube of a CC view.
    solid
        (h, r, c) float32, of odd sizes: fraction of each voxel of 20 µm that is solid, with
        the centroid in the middle voxel.
    """

    offset_mm: tuple[float, float, float]
    solid: NDArray[np.float32]
    material: Material
    packing: float
    morphology: Morphology
    layout: Layout = "single"

    def project(self, angle_rad: float = 0.0) -> Calcification:
        """Return the projection with the tube rotated about the column axis: CC at 0, MLO at about 45 degrees.

        A point at (height, row) appears at row ``row cos + height sin``.
        """
        height, row, column = self.offset_mm
        cosine, sine = float(np.cos(angle_rad)), float(np.sin(angle_rad))
        thickness = _centred(_turned(self.solid, angle_rad).sum(axis=0) * np.float32(PITCH_MM))
        return Calcification(
            offset_mm=(row * cosine + height * sine, column),
            height_mm=height * cosine - row * sine,
            thickness_mm=thickness,
            material=self.material,
            packing=self.packing,
            diameter_mm=_diameter_mm(thickness),
            morphology=self.morphology,
            layout=self.layout,
        )


def draw_diameters(
    rng: np.random.Generator, number: int, *, diameter_mm: float = DIAMETER_MM, ln_sd: float = DIAMETER_LN_SD
) -> Floats:
    """Draw lognormal diameters (number,) in mm within ``DIAMETER_RANGE_MM``."""
    drawn = np.empty(0)
    while drawn.size < number:
        more = diameter_mm * np.exp(rng.normal(0.0, ln_sd, 2 * number + 8))
        drawn = np.append(drawn, more[(more > DIAMETER_RANGE_MM[0]) & (more < DIAMETER_RANGE_MM[1])])
    return drawn[:number]


def draw_packing(rng: np.random.Generator, packing: tuple[float, float] = PACKING) -> float:
    """Draw the packing of a microcalcification of 0.22 mm, log-uniform over a range."""
    return float(np.exp(rng.uniform(*np.log(packing))))


def draw_microcalcification(
    rng: np.random.Generator,
    *,
    diameter_mm: float | None = None,
    morphology: Morphology | None = None,
    material: Material | None = None,
    packing: float | None = None,
    layout: Layout = "single",
    offset_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Microcalcification3D:
    """Draw one microcalcification; parameters that are None are drawn, too.

    Parameters
    ----------
    diameter_mm
        Diameter of the circle of equal area in the CC view.
    packing
        Fraction of the solid that calcium fills, at this diameter.
    offset_mm
        (height, row, column) from the centre of the cluster.
    """
    if diameter_mm is None:
        diameter_mm = float(draw_diameters(rng, 1)[0])
    morphology = morphology or _one_of(rng, MORPHOLOGIES)
    material = material or _material(rng)
    if packing is None:
        packing = packing_at(diameter_mm, draw_packing(rng) * float(rng.uniform(*_WITHIN)))
    return Microcalcification3D(
        offset_mm, _solid(SHAPES[morphology](rng), diameter_mm), material, packing, morphology, layout
    )


def packing_at(diameter_mm: float, packing: float) -> float:
    """Return the fraction of a microcalcification that calcium fills, given that of one of 0.22 mm.

    Large microcalcifications are looser and flatter than spheres of the same diameter. The exponent is our
    choice: without it, detectability would rise with the diameter to the power of 2.5, and most
    microcalcifications would be either obvious or invisible. The fraction is at most 1.
    """
    return float(np.clip(packing * (diameter_mm / DIAMETER_MM) ** _THINNING, 0.02, 1.0))


@dataclass(frozen=True, slots=True)
class ClusterPopulation:
    """Describe the population from which clusters are drawn.

    Attributes
    ----------
    members_mean
        Mean of the negative binomial number of members that is added to the minimum of four.
    members_max
        Largest number of members.
    diameter_mm, diameter_ln_sd
        Geometric mean and standard deviation of the logarithm of the lognormal diameters.
    packing
        Range of the packing at 0.22 mm: log-uniform, one draw per cluster, times 0.5 to 1 for each member.
    """

    members_mean: float = 8.0
    members_max: int = 60
    diameter_mm: float = DIAMETER_MM
    diameter_ln_sd: float = DIAMETER_LN_SD
    packing: tuple[float, float] = PACKING


_USUAL = ClusterPopulation()


def draw_cluster(
    rng: np.random.Generator,
    population: ClusterPopulation = _USUAL,
    *,
    morphology: Morphology | None = None,
    layout: Layout | None = None,
    to_nipple: tuple[float, float, float] | None = None,
) -> list[Microcalcification3D]:
    """Draw the microcalcifications of a cluster around (0, 0, 0).

    Parameters
    ----------
    morphology, layout
        Morphology of all members, and their distribution; None draws one.
    to_nipple
        (height, row, column) direction of the nipple, which segmental and linear layouts follow;
        None draws a direction.
    """
    morphology = morphology or _one_of(rng, MORPHOLOGIES)
    layout = layout or _one_of(rng, LAYOUTS)
    number = _number_of_members(rng, population, layout)
    material, base = _material(rng), draw_packing(rng, population.packing)
    size = population.diameter_mm * float(np.exp(rng.normal(0.0, _CLUSTER_LN_SD)))
    within = float(np.sqrt(max(population.diameter_ln_sd**2 - _CLUSTER_LN_SD**2, 0.0)))
    diameters = draw_diameters(rng, number, diameter_mm=size, ln_sd=within)
    offsets = place_members(rng, layout, diameters, to_nipple=to_nipple)
    return [
        draw_microcalcification(
            rng,
            diameter_mm=float(diameter),
            morphology=morphology,
            material=material,
            packing=packing_at(float(diameter), base * float(rng.uniform(*_WITHIN))),
            layout=layout,
            offset_mm=(float(offset[0]), float(offset[1]), float(offset[2])),
        )
        for diameter, offset in zip(diameters, offsets, strict=False)
    ]


def _number_of_members(rng: np.random.Generator, population: ClusterPopulation, layout: Layout) -> int:
    mean = population.members_mean * (2.0 if layout == "regional" else 1.0)
    number = _LEAST + int(rng.negative_binomial(_NUMBER_SHAPE, _NUMBER_SHAPE / (_NUMBER_SHAPE + mean)))
    return 1 if layout == "single" else min(population.members_max, number)


def render(
    contrasts: Sequence[FloatImage], centres_mm: Points, *, grid: Grid, shape: tuple[int, int], mtf: Mtf
) -> FloatImage:
    """Return the contrast of calcifications in the image of a system.

    Parameters
    ----------
    contrasts
        (k, k) each: fraction of the primary signal removed, at a pitch of 20 µm.
    centres_mm
        (n, 2) positions on ``grid``, one per calcification.
    shape
        (rows, columns) of the image.
    mtf
        Modulation transfer function of the system, the aperture of the pixel included.

    Returns
    -------
    (rows, columns) float32 fraction of the primary signal removed, blurred, sampled at the pixel
    centres and summed over the calcifications.
    """
    out = np.zeros(shape, dtype=np.float32)
    for contrast, position in zip(contrasts, grid.to_pixels(centres_mm), strict=True):
        corner, patch = render_calcification(contrast, position, spacing_mm=grid.spacing_mm, mtf=mtf)
        add_patch(out, corner, patch)
    return out


def render_calcification(
    contrast: FloatImage, position_px: Floats, *, spacing_mm: tuple[float, float], mtf: Mtf
) -> tuple[tuple[int, int], FloatImage]:
    """Return the blurred contrast of one calcification at a fractional pixel position.

    Parameters
    ----------
    contrast
        (k, k) fraction of the primary signal removed, at a pitch of 20 µm.
    position_px
        (2,) row and column of the centre.
    mtf
        Modulation transfer function of the system, the aperture of the pixel included.

    Returns
    -------
    (row, column) of the first pixel of the patch, and the patch. Glare beyond the patch is
    subtracted, so that there is no step at its border.
    """
    k = contrast.shape[0]
    reach_mm = k * PITCH_MM / 2 + 0.8
    half = [int(np.ceil(reach_mm / s)) for s in spacing_mm]
    first = [int(np.floor(p)) - h for p, h in zip(position_px, half, strict=True)]
    size = fft.next_fast_len(int(np.ceil(2.4 * reach_mm / PITCH_MM)), real=True)
    canvas = np.zeros((size, size))
    canvas[:k, :k] = contrast
    frequency = [fft.fftfreq(size, PITCH_MM), fft.rfftfreq(size, PITCH_MM)]
    radial = np.hypot(frequency[0][:, None], frequency[1][None, :])
    blurred = fft.irfft2(fft.rfft2(canvas) * mtf(radial), s=(size, size))
    centre = (k - 1) / 2
    wanted = [
        (np.arange(f, f + 2 * h + 2) - p) * s / PITCH_MM + centre
        for f, h, p, s in zip(first, half, position_px, spacing_mm, strict=True)
    ]
    rows, columns = np.meshgrid(*wanted, indexing="ij")
    patch = ndimage.map_coordinates(blurred, [rows, columns], order=1, mode="grid-wrap")
    patch -= np.mean([patch[0].mean(), patch[-1].mean(), patch[:, 0].mean(), patch[:, -1].mean()])
    return (first[0], first[1]), patch.astype(np.float32)


def _solid(shape: Shape, diameter_mm: float) -> NDArray[np.float32]:
    """Return the voxels of a shape, scaled until its projection has the area of a circle of this diameter."""
    scale = diameter_mm
    for _ in range(2):
        solid = voxels(shape, PITCH_MM / scale)
        solid_middle = (np.array(solid.shape) - 1) / 2
        moved = (np.array(ndimage.center_of_mass(solid)) - solid_middle) * PITCH_MM / scale
        shape = replace(shape, centres=shape.centres - moved)
        scale *= diameter_mm / _diameter_mm(solid.sum(axis=0) * np.float32(PITCH_MM))
    return voxels(shape, PITCH_MM / scale)


def _turned(solid: NDArray[np.float32], angle_rad: float) -> NDArray[np.float32]:
    """Rotate voxels (h, r, c) in the plane of height and row."""
    if angle_rad == 0.0:
        return solid
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    h, r = (n // 2 for n in solid.shape[:2])
    new_h, new_r = (int(np.ceil(abs(a) * h + abs(b) * r)) + 1 for a, b in ((cosine, sine), (sine, cosine)))
    # at (height', row') of the view: height = cos height' + sin row', row = cos row' - sin height'
    back = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    middle = np.array([h, r, 0]) - back @ np.array([new_h, new_r, 0])
    size = (2 * new_h + 1, 2 * new_r + 1, solid.shape[2])
    turned: NDArray[np.float32] = ndimage.affine_transform(solid, back, middle, size, order=1)
    return turned


def _covered(thickness_mm: FloatImage) -> NDArray[np.bool_]:
    """Return the pixels at least half covered by a projection: as thick as a ball is half a pixel from its rim."""
    thickest = float(thickness_mm.max())
    return np.asarray(thickness_mm >= min(0.47 * np.sqrt(thickest * PITCH_MM), thickest))


def _diameter_mm(thickness_mm: FloatImage) -> float:
    """Return the diameter of the circle of the same area as a projection."""
    return 2.0 * PITCH_MM * float(np.sqrt(np.count_nonzero(_covered(thickness_mm)) / np.pi))


def _centred(thickness: FloatImage) -> FloatImage:
    """Crop or pad to the smallest square (k, k), k odd, around the middle that holds every pixel above 0."""
    middle = np.array(thickness.shape) // 2
    filled = np.argwhere(thickness > 0)
    half = int(np.max(np.abs(filled - middle)))
    padded = np.pad(thickness, half)
    r, c = middle
    return np.ascontiguousarray(padded[r : r + 2 * half + 1, c : c + 2 * half + 1], dtype=np.float32)


def _material(rng: np.random.Generator) -> Material:
    return "hydroxyapatite" if rng.random() < _APATITE_SHARE else "calcium_oxalate"


def _one_of(rng: np.random.Generator, shares: dict):  # type: ignore[no-untyped-def, type-arg]
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]
