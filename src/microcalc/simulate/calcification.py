"""Microcalcifications: irregular solids in 3-D, projected; and clusters of them.

A shape is a union of ellipsoids with a rough surface, held as the share of each 20 µm
voxel that is solid. It is projected along the beam after a rotation about the axis
from chest wall to nipple, so that both views of a breast show the same solid. Sizes
follow micro-CT of biopsies: 1117 microcalcifications in the public set of OpenVCT,
those above 0.13 mm of geometric mean 0.22 mm and ln-sd 0.39 (0.45 here, 0.1 of it
between clusters). Numbers are higher than that set's (median 6 in a biopsy core, which
cuts clusters off): four and more, median about 10.

What no source gives is ours, chosen so that peak contrasts and visibility span the
range of real ones: shares of morphologies and layouts, packing of the calcium.
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
from microcalc.simulate.shapes import SHAPES, Floats, Morphology, Shape, voxels
from microcalc.simulate.spectrum import Material, Receptor, removed_fraction
from microcalc.simulate.systems import Beam

PITCH_MM = 0.02
DIAMETER_MM, DIAMETER_LN_SD = 0.22, 0.45  # target sampler, after the micro-CT set
DIAMETER_RANGE_MM = (0.08, 1.0)
PACKING = (0.55, 0.9)  # at 0.22 mm; ours: see ``packing_at``

Mtf = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Modulation transfer over spatial frequency in 1/mm, the pixel's aperture included."""

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
    """One calcification, projected along the beam of a view.

    Attributes
    ----------
    offset_mm
        (row, column) from the centre of its cluster.
    height_mm
        Towards the tube, from the centre of its cluster.
    thickness_mm
        (k, k) float32 along the beam, at a pitch of 20 µm, centred on its centroid.
    material, packing
        The solid, and the share of the thickness that it fills.
    diameter_mm
        Of the circle of equal area.
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
        """Fraction of the primary signal removed, (k, k), before any blur.

        Parameters
        ----------
        fat_mm, gland_mm
            Path through the breast around it, which hardens the beam.
        """
        solid_mm = self.packing * self.thickness_mm
        return removed_fraction(beam.spectrum, receptor, self.material, solid_mm, fat_mm=fat_mm, gland_mm=gland_mm)

    @property
    def outline_mm(self) -> Points:
        """Convex outline (n, 2) in mm from its centre."""
        from scipy.spatial import ConvexHull

        filled = np.argwhere(_covered(self.thickness_mm))
        centre = (np.array(self.thickness_mm.shape) - 1) / 2
        corners = (filled[:, None, :] + np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])).reshape(-1, 2)
        return np.asarray((corners[ConvexHull(corners).vertices] - centre) * PITCH_MM, dtype=np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class Microcalcification3D:
    """One microcalcification as a solid in the breast.

    Attributes
    ----------
    offset_mm
        (height, row, column) of its centroid from the centre of its cluster; height is
        towards the tube of a CC view.
    solid
        (h, r, c) float32, odd sizes: share of each voxel of 20 µm that lies inside, the
        centroid in the middle voxel.
    """

    offset_mm: tuple[float, float, float]
    solid: NDArray[np.float32]
    material: Material
    packing: float
    morphology: Morphology
    layout: Layout = "single"

    def project(self, angle_rad: float = 0.0) -> Calcification:
        """Its projection with the tube turned about the column axis: CC at 0, MLO at about 45 degrees.

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
    """Draw (number,) lognormal diameters, those out of range drawn again."""
    drawn = np.empty(0)
    while drawn.size < number:
        more = diameter_mm * np.exp(rng.normal(0.0, ln_sd, 2 * number + 8))
        drawn = np.append(drawn, more[(more > DIAMETER_RANGE_MM[0]) & (more < DIAMETER_RANGE_MM[1])])
    return drawn[:number]


def draw_packing(rng: np.random.Generator, packing: tuple[float, float] = PACKING) -> float:
    """Draw the packing of a microcalcification of 0.22 mm, log-uniform in a range."""
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
    """Draw one microcalcification; what is None is drawn as in clusters.

    Parameters
    ----------
    diameter_mm
        Of the circle of equal area in the CC view.
    packing
        Of the solid, at this diameter.
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
    """Share of a microcalcification that calcium fills, given that of one of 0.22 mm.

    Larger ones are looser heaps, and flatter, than spheres of their diameter. Ours: without
    it visibility would rise with the diameter's power of 2.5, and most would be either
    obvious or invisible. Small ones are at most solid.
    """
    return float(np.clip(packing * (diameter_mm / DIAMETER_MM) ** _THINNING, 0.02, 1.0))


def draw_cluster(
    rng: np.random.Generator,
    *,
    number_mean: float = 8.0,
    diameter_mm: float = DIAMETER_MM,
    diameter_ln_sd: float = DIAMETER_LN_SD,
    packing: tuple[float, float] = PACKING,
    morphology: Morphology | None = None,
    layout: Layout | None = None,
    to_nipple: tuple[float, float, float] | None = None,
    max_number: int = 60,
) -> list[Microcalcification3D]:
    """Draw a cluster: its members lie around (0, 0, 0).

    Parameters
    ----------
    number_mean
        Mean of the negative binomial number that is added to the least, 4.
    diameter_mm, diameter_ln_sd
        Geometric mean and ln-sd of the lognormal diameters.
    packing
        Range of the packing at 0.22 mm (log-uniform, one draw per cluster; members vary
        within it by 0.5 .. 1).
    to_nipple
        (height, row, column) direction of the nipple: segmental and linear layouts follow
        it. None: any.
    """
    morphology = morphology or _one_of(rng, MORPHOLOGIES)
    layout = layout or _one_of(rng, LAYOUTS)
    if layout == "regional":
        number_mean *= 2.0
    number = _LEAST + int(rng.negative_binomial(_NUMBER_SHAPE, _NUMBER_SHAPE / (_NUMBER_SHAPE + number_mean)))
    number = 1 if layout == "single" else min(max_number, number)
    material, base = _material(rng), draw_packing(rng, packing)
    size = diameter_mm * float(np.exp(rng.normal(0.0, _CLUSTER_LN_SD)))
    within = float(np.sqrt(max(diameter_ln_sd**2 - _CLUSTER_LN_SD**2, 0.0)))
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


def render(
    contrasts: Sequence[FloatImage], centres_mm: Points, *, grid: Grid, shape: tuple[int, int], mtf: Mtf
) -> FloatImage:
    """Contrast of calcifications as the system images them.

    Parameters
    ----------
    contrasts
        (k, k) each: fraction of the primary removed, at a pitch of 20 µm.
    centres_mm
        (n, 2) positions on the raster, one per calcification.
    mtf
        Of the system, pixel aperture included.

    Returns
    -------
    ``shape`` float32: fraction of the primary beam removed, blurred, sampled at pixel
    centres, summed over the calcifications.
    """
    out = np.zeros(shape, dtype=np.float32)
    for contrast, position in zip(contrasts, grid.to_pixels(centres_mm), strict=True):
        corner, patch = render_calcification(contrast, position, spacing_mm=grid.spacing_mm, mtf=mtf)
        _add(out, patch, corner)
    return out


def render_calcification(
    contrast: FloatImage, position_px: Floats, *, spacing_mm: tuple[float, float], mtf: Mtf
) -> tuple[tuple[int, int], FloatImage]:
    """Blurred contrast of one calcification at a fractional pixel position.

    Parameters
    ----------
    contrast
        (k, k) fraction of the primary removed, at a pitch of 20 µm.

    Returns
    -------
    (row, column) of the patch's first pixel, and the patch. Glare that reaches beyond
    the patch is left out, so that its border is no step.
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


def _add(out: FloatImage, patch: FloatImage, corner: tuple[int, int]) -> None:
    r0, c0 = max(corner[0], 0), max(corner[1], 0)
    r1, c1 = min(corner[0] + patch.shape[0], out.shape[0]), min(corner[1] + patch.shape[1], out.shape[1])
    if r0 < r1 and c0 < c1:
        out[r0:r1, c0:c1] += patch[r0 - corner[0] : r1 - corner[0], c0 - corner[1] : c1 - corner[1]]


def _solid(shape: Shape, diameter_mm: float) -> NDArray[np.float32]:
    """Voxels of a shape, scaled until its projection has the area of the diameter's circle."""
    scale = diameter_mm
    for _ in range(2):
        solid = voxels(shape, PITCH_MM / scale)
        solid_middle = (np.array(solid.shape) - 1) / 2
        moved = (np.array(ndimage.center_of_mass(solid)) - solid_middle) * PITCH_MM / scale
        shape = replace(shape, centres=shape.centres - moved)
        scale *= diameter_mm / _diameter_mm(solid.sum(axis=0) * np.float32(PITCH_MM))
    return voxels(shape, PITCH_MM / scale)


def _turned(solid: NDArray[np.float32], angle_rad: float) -> NDArray[np.float32]:
    """Voxels rotated in the plane of height and row."""
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
    """Pixels that a projection covers by half at least: as thick as a ball is half a pixel from its rim."""
    thickest = float(thickness_mm.max())
    return np.asarray(thickness_mm >= min(0.47 * np.sqrt(thickest * PITCH_MM), thickest))


def _diameter_mm(thickness_mm: FloatImage) -> float:
    """Of the circle of equal area."""
    return 2.0 * PITCH_MM * float(np.sqrt(np.count_nonzero(_covered(thickness_mm)) / np.pi))


def _centred(thickness: FloatImage) -> FloatImage:
    """Cut or pad to the smallest square (k, k), k odd, around the middle that holds all that is filled."""
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
