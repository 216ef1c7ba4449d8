"""Microcalcifications: irregular shapes in 3-D, projected; and clusters of them.

Shapes are built of voxels of 20 µm and projected along the beam to a map of
thickness. Sizes follow what micro-CT of biopsies shows: statistics of 1117
microcalcifications in the public set of OpenVCT; equivalent diameter above 0.1 mm,
geometric mean about 0.2 mm, ln-sd 0.45 (here 0.35 within a cluster and 0.15 between
clusters). Numbers are higher than that set's (median 6 in a biopsy core, which cuts
clusters off): four and more, median about 10.

What no source gives is ours, chosen so that a cluster's peak contrasts span the range
of real ones: shares of morphologies and layouts, roughness of the shapes, packing of
the calcium, extent of a cluster, hard core between its members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from microcalc.domain import FloatImage
from microcalc.geometry import Grid, Points

PITCH_MM = 0.02
# Linear attenuation less gland's 0.07: 1.84 and 0.78 behind 53 mm of breast, W/Rh 28 kV, 21 keV on the mean
# (computed: tube spectra and tabulated coefficients, see ``systems``).
HYDROXYAPATITE_PER_MM = 1.75
CALCIUM_OXALATE_PER_MM = 0.70

Morphology = Literal["punctate", "amorphous", "pleomorphic", "fine_linear"]
Layout = Literal["grouped", "linear", "segmental"]
Mtf = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Modulation transfer over spatial frequency in 1/mm, the pixel's aperture included."""


@dataclass(frozen=True, eq=False, slots=True)
class Calcification:
    """One calcification, projected.

    Attributes
    ----------
    offset_mm
        (row, column) from the centre of its cluster.
    thickness_mm
        (k, k) float32 along the beam, at a pitch of 20 µm, centred on its centroid.
    attenuation_per_mm
        Linear attenuation less that of the tissue it replaces; the calcium's
        incomplete packing included.
    diameter_mm
        Of the circle of equal area.
    """

    offset_mm: tuple[float, float]
    thickness_mm: FloatImage
    attenuation_per_mm: float
    diameter_mm: float

    @property
    def contrast(self) -> FloatImage:
        """Fraction of the primary beam removed, (k, k), before any blur."""
        removed: FloatImage = -np.expm1(-self.attenuation_per_mm * self.thickness_mm)
        return removed

    @property
    def outline_mm(self) -> Points:
        """Convex outline (n, 2) in mm from its centre."""
        from scipy.spatial import ConvexHull, QhullError

        filled = np.argwhere(self.thickness_mm > 0)
        centre = (np.array(self.thickness_mm.shape) - 1) / 2
        corners = (filled[:, None, :] + np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])).reshape(-1, 2)
        try:
            hull = corners[ConvexHull(corners).vertices]
        except QhullError:
            hull = corners
        return np.asarray((hull - centre) * PITCH_MM, dtype=np.float64)


def draw_calcification(
    rng: np.random.Generator,
    *,
    diameter_mm: float,
    morphology: Morphology,
    attenuation_per_mm: float,
    offset_mm: tuple[float, float] = (0.0, 0.0),
) -> Calcification:
    """Draw one irregular calcification of about the given projected diameter."""
    thickness = _SHAPES[morphology](rng, diameter_mm)
    thickness = _centred(thickness)
    area = float(np.count_nonzero(thickness)) * PITCH_MM**2
    return Calcification(offset_mm, thickness, attenuation_per_mm, 2 * float(np.sqrt(area / np.pi)))


def draw_cluster(
    rng: np.random.Generator,
    *,
    number_mean: float = 8.0,
    diameter_mm: float = 0.22,
    diameter_ln_sd: float = 0.35,
    density: tuple[float, float] = (0.2, 0.7),
    morphology: Morphology | None = None,
    layout: Layout | None = None,
    max_number: int = 60,
) -> list[Calcification]:
    """Draw a cluster: its members lie around (0, 0).

    Parameters
    ----------
    number_mean
        Mean of the negative binomial number that is added to the least, 4.
    diameter_mm, diameter_ln_sd
        Geometric mean and ln-sd of the lognormal diameters, clipped to 0.08 .. 1 mm.
    density
        Range of the effective density factor (log-uniform, one draw per cluster;
        members vary within it by 0.5 .. 1).
    """
    morphology = morphology or _one_of(
        rng, ("punctate", "amorphous", "pleomorphic", "fine_linear"), (0.35, 0.15, 0.35, 0.15)
    )
    layout = layout or _one_of(rng, ("grouped", "linear", "segmental"), (0.65, 0.2, 0.15))
    number = min(max_number, 4 + int(rng.negative_binomial(1.5, 1.5 / (1.5 + number_mean))))
    offsets = _spread(rng, number, layout)
    base = HYDROXYAPATITE_PER_MM if rng.random() < 0.8 else CALCIUM_OXALATE_PER_MM
    packing = float(np.exp(rng.uniform(*np.log(density))))
    size = diameter_mm * float(np.exp(rng.normal(0, 0.15)))
    members = []
    for offset in offsets:
        diameter = float(np.clip(size * np.exp(rng.normal(0, diameter_ln_sd)), 0.08, 1.0))
        attenuation = base * packing * float(rng.uniform(0.5, 1.0))
        members.append(
            draw_calcification(
                rng, diameter_mm=diameter, morphology=morphology, attenuation_per_mm=attenuation, offset_mm=offset
            )
        )
    return members


def render(
    calcifications: Sequence[Calcification], centres_mm: Points, *, grid: Grid, shape: tuple[int, int], mtf: Mtf
) -> FloatImage:
    """Contrast of calcifications as the system images them.

    Parameters
    ----------
    centres_mm
        (n, 2) positions on the raster, one per calcification (offsets are not added).
    mtf
        Of the system, pixel aperture included.

    Returns
    -------
    ``shape`` float32: fraction of the primary beam removed, blurred, sampled at pixel
    centres, summed over the calcifications.
    """
    out = np.zeros(shape, dtype=np.float32)
    for calcification, position in zip(calcifications, grid.to_pixels(centres_mm), strict=True):
        corner, patch = render_one(calcification, position, spacing_mm=grid.spacing_mm, mtf=mtf)
        _add(out, patch, corner)
    return out


def render_one(
    calcification: Calcification, position_px: NDArray[np.float64], *, spacing_mm: tuple[float, float], mtf: Mtf
) -> tuple[tuple[int, int], FloatImage]:
    """Blurred contrast of one calcification at a fractional pixel position.

    Returns
    -------
    (row, column) of the patch's first pixel, and the patch. Glare that reaches beyond
    the patch is left out, so that its border is no step.
    """
    reach_mm = calcification.thickness_mm.shape[0] * PITCH_MM / 2 + 0.8
    half = [int(np.ceil(reach_mm / s)) for s in spacing_mm]
    first = [int(np.floor(p)) - h for p, h in zip(position_px, half, strict=True)]
    size = fft.next_fast_len(int(np.ceil(2.4 * reach_mm / PITCH_MM)), real=True)
    canvas = np.zeros((size, size))
    k = calcification.thickness_mm.shape[0]
    canvas[:k, :k] = calcification.contrast
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


def _spread(rng: np.random.Generator, number: int, layout: Layout) -> list[tuple[float, float]]:
    """Offsets in mm: a Gaussian cloud, hard-core exclusion of 0.3 mm."""
    sd = float(rng.uniform(1.0, 3.5)) * (number / 10) ** 0.3
    angle = rng.uniform(0, 2 * np.pi)
    stretch = {"grouped": (1.0, float(rng.uniform(0.5, 1.0))), "linear": (2.0, 0.15), "segmental": (2.0, 0.6)}[layout]
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    placed: list[NDArray[np.float64]] = []
    for _ in range(number * 30):
        if len(placed) == number:
            break
        point = rotation @ (rng.normal(0, sd / 1.5, 2) * stretch)
        if np.hypot(*point) < 12 and all(np.hypot(*(point - other)) > 0.3 for other in placed):
            placed.append(point)
    return [(float(p[0]), float(p[1])) for p in placed]


def _voxels(extent_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    half = int(np.ceil(extent_mm / 2 / PITCH_MM)) + 1
    axis = np.arange(-half, half + 1) * PITCH_MM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return z, y, x


def _ellipsoid(
    rng: np.random.Generator, voxels: tuple[NDArray[np.float64], ...], diameter: float, centre: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared normalised radius of a randomly turned ellipsoid: <= 1 inside."""
    ratio = np.exp(rng.normal(0, 0.25, 3))
    radii = diameter / 2 * ratio / np.cbrt(np.prod(ratio))
    basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    shifted = np.stack([v - c for v, c in zip(voxels, centre, strict=True)])
    turned = np.tensordot(basis, shifted, axes=1) / radii[:, None, None, None]
    squared: NDArray[np.float64] = np.sum(turned**2, axis=0)
    return squared


def _roughness(rng: np.random.Generator, shape: tuple[int, ...], diameter: float) -> NDArray[np.float64]:
    noise = ndimage.gaussian_filter(rng.normal(size=shape), max(1.0, diameter / PITCH_MM / 6))
    scaled: NDArray[np.float64] = noise / max(float(noise.std()), 1e-9)
    return scaled


def _punctate(rng: np.random.Generator, diameter: float) -> FloatImage:
    voxels = _voxels(diameter * 1.8)
    radius = _ellipsoid(rng, voxels, diameter, np.zeros(3))
    return _projected(radius < 1 + 0.2 * _roughness(rng, radius.shape, diameter))


def _pleomorphic(rng: np.random.Generator, diameter: float) -> FloatImage:
    voxels = _voxels(diameter * 2.2)
    filled = np.zeros(voxels[0].shape, dtype=bool)
    rough = 0.35 * _roughness(rng, filled.shape, diameter)
    for _ in range(int(rng.integers(2, 6))):
        part = diameter * float(rng.uniform(0.4, 0.75))
        filled |= _ellipsoid(rng, voxels, part, rng.normal(0, diameter / 4, 3)) < 1 + rough
    return _projected(filled)


def _amorphous(rng: np.random.Generator, diameter: float) -> FloatImage:
    """A loose heap of grains: flat and faint."""
    voxels = _voxels(diameter * 2.2)
    filled = np.zeros(voxels[0].shape, dtype=bool)
    for _ in range(int(rng.integers(4, 12))):
        filled |= _ellipsoid(rng, voxels, diameter * float(rng.uniform(0.15, 0.4)), rng.normal(0, diameter / 3, 3)) < 1
    return _projected(filled)


def _fine_linear(rng: np.random.Generator, diameter: float) -> FloatImage:
    """A bent rod whose projected area is that of the diameter's circle."""
    width = diameter * float(rng.uniform(0.35, 0.6))
    length = np.pi / 4 * diameter**2 / width
    voxels = _voxels(length + 2 * width)
    direction = rng.normal(size=3) * (0.4, 1, 1)
    filled = np.zeros(voxels[0].shape, dtype=bool)
    position = np.zeros(3)
    steps = max(2, int(length / (width / 2)))
    path = []
    for _ in range(steps):
        direction = direction / np.linalg.norm(direction) + rng.normal(0, 0.25, 3)
        position = position + direction / np.linalg.norm(direction) * length / steps
        path.append(position)
    for point in np.array(path) - np.mean(path, axis=0):
        part = width * float(rng.uniform(0.7, 1.2))
        squared = sum((v - c) ** 2 for v, c in zip(voxels, point, strict=True))
        filled |= np.asarray(squared) < (part / 2) ** 2
    return _projected(filled)


def _projected(filled: NDArray[np.bool_]) -> FloatImage:
    return np.asarray(filled.sum(axis=0) * PITCH_MM, dtype=np.float32)


def _centred(thickness: FloatImage) -> FloatImage:
    """Cut to what is filled and pad so that the centroid falls on the middle pixel."""
    if not thickness.any():
        return np.full((1, 1), PITCH_MM, dtype=np.float32)
    centre = np.rint(ndimage.center_of_mass(thickness)).astype(int)
    filled = np.argwhere(thickness > 0)
    half = int(np.max(np.abs(filled - centre)))
    out = np.zeros((2 * half + 1, 2 * half + 1), dtype=np.float32)
    shifted = filled - centre + half
    out[shifted[:, 0], shifted[:, 1]] = thickness[filled[:, 0], filled[:, 1]]
    return out


def _one_of(rng: np.random.Generator, names: tuple, shares: tuple[float, ...]):  # type: ignore[no-untyped-def, type-arg]
    return names[int(rng.choice(len(names), p=shares))]


_SHAPES: dict[Morphology, Callable[[np.random.Generator, float], FloatImage]] = {
    "punctate": _punctate,
    "amorphous": _amorphous,
    "pleomorphic": _pleomorphic,
    "fine_linear": _fine_linear,
}
