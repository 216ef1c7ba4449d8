"""Shapes: the outline of each calcification in the original image, and which candidates lie on one calcification.

A candidate's shape is the region around it that is brighter than a fraction of its contrast against the local
background: nearly half of it, or the least larger fraction at which the region holds no brighter place and no other
calcification. The background is the median of a ring around the candidate, the narrowest one that the region
does not reach. A region that hardly differs from the band just around it is no shape.

Two candidates lie on one calcification where the brightness between their peaks does not fall by a given fraction of
the lower peak's contrast.

The outline is a contour at sub-pixel precision; the full width at half maximum of a blurred object is close to its
size, unless it is smaller than the blur.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import contourpy
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from microcalc.domain import Candidates, FloatImage, Mammogram, Shape
from microcalc.geometry import Grid, Points
from microcalc.normalise.noise import median

# All of these are ours; see docs/decisions/0018.
_SMOOTHING_MM: Final = 0.05
_CLIMB_MM: Final = 0.3
"""How far the peak may lie from the candidate."""
_SCALES: Final = ((0.4, 1), (0.8, 1), (1.6, 1), (3.2, 2), (6.4, 4))
"""Inner radius of the ring in mm, and the step in pixels at which the image is read."""
_RING: Final = 1.6
"""Outer radius of the ring in inner radii."""
_FRACTIONS: Final = (0.45, 0.55, 0.65, 0.75, 0.85)
_BAND_MM: Final = (0.1, 0.3)
"""The band around a region that it is compared with: distances from its outline."""
_SAME_MM: Final = 2.0
"""Candidates that are farther apart are not compared; long objects are joined from candidate to candidate."""
_TOLERANCE: Final = 0.02

MOST_OUTLINED: Final = 300
"""Ours: of an image. Most of the simulated images that we have hold fewer than 60 that are likely enough."""
_AT_LEAST: Final = 100
_LARGE_CM2: Final = 350.0  # larger than breasts, as in ``cnn.limit``
_FEWER_PER_CM2: Final = 0.65


@dataclass(frozen=True, eq=False, slots=True)
class Shapes:
    """The candidates without those that lie on the calcification of a more likely one, and their shapes.

    Attributes
    ----------
    candidates
        Highest likelihood first.
    shapes
        Of the first candidates, as many as were measured; None where there is no shape.
    """

    candidates: Candidates
    shapes: tuple[Shape | None, ...]


def most_outlined(area_cm2: float) -> int:
    """Return the largest number of candidates that are outlined where this area is searched.

    An outline takes up to 10 ms, so 1,000 of them would take longer than all else.
    """
    return max(_AT_LEAST, round(MOST_OUTLINED - _FEWER_PER_CM2 * max(0.0, area_cm2 - _LARGE_CM2)))


def measure_shapes(
    mammogram: Mammogram,
    candidates: Candidates,
    *,
    min_likelihood: float,
    min_contrast_to_noise: float,
    min_dip: float,
    max_outlined: int = MOST_OUTLINED,
) -> Shapes:
    """Outline the calcifications, and keep one candidate for each.

    Parameters
    ----------
    mammogram
        The original image.
    candidates
        Of this mammogram, highest likelihood first.
    min_likelihood
        Less likely candidates are kept as they are, without a shape.
    min_contrast_to_noise
        Least difference between a region and the band around it, in standard deviations of the pixel noise.
    min_dip
        Fraction of the lower peak's contrast by which the brightness between two calcifications falls at least.
    max_outlined
        Candidates beyond the first so many are kept as they are, too.
    """
    n = min(max_outlined, int(np.count_nonzero(candidates.likelihood >= min_likelihood)))
    image = _Image(mammogram.pixels, mammogram.grid)
    peaks = [image.peak(centre) for centre in candidates.centres[:n]]
    owner = _owners(image, peaks, min_dip=min_dip)
    kept = [i for i in range(n) if owner[i] == i]
    places = np.array([p.place for p in peaks]).reshape(-1, 2)
    near = cKDTree(places).query_ball_point(places, _RING * _SCALES[-1][0]) if n else []
    shapes = []
    for k in kept:
        own = np.flatnonzero(owner == k)
        others = [places[near[i]][owner[near[i]] != k] for i in own]
        regions = (_shape(image, peaks[i], o, min_contrast_to_noise) for i, o in zip(own, others, strict=True))
        shapes.append(max((r for r in regions if r is not None), key=_area_mm2, default=None))
    rows = np.array(kept + list(range(n, candidates.likelihood.size)), dtype=np.intp)
    return Shapes(Candidates(candidates.centres[rows], candidates.likelihood[rows]), tuple(shapes))


@dataclass(frozen=True, eq=False, slots=True)
class _Peak:
    """The brightest place near a candidate, in mm, its brightness and that of its background."""

    place: NDArray[np.float64]
    value: float
    background: float

    @property
    def contrast(self) -> float:
        return self.value - self.background


@dataclass(frozen=True, eq=False, slots=True)
class _Window:
    """A smoothed square of the image around a place.

    Attributes
    ----------
    pixels
        (k, k).
    before_smoothing
        (k, k).
    rows_mm, columns_mm
        (k,) positions.
    """

    pixels: FloatImage
    before_smoothing: FloatImage
    rows_mm: NDArray[np.float64]
    columns_mm: NDArray[np.float64]

    @property
    def noise(self) -> float:
        """Return the standard deviation of the pixel noise before smoothing, of which a slope is no part."""
        return _noise(self.before_smoothing)

    def distance_mm(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distance of each pixel from a place."""
        return np.asarray(np.hypot(self.rows_mm[:, None] - place[0], self.columns_mm[None, :] - place[1]))


class _Image:
    """The original image, of which smoothed windows are cut."""

    def __init__(self, pixels: FloatImage, grid: Grid) -> None:
        self._pixels, self._grid = pixels, grid
        self._spacing = np.array(grid.spacing_mm)
        self._kernels = {step: [_smoothing(s * step) for s in grid.spacing_mm] for _, step in _SCALES}

    def _grid_of(self, step: int) -> Grid:
        """Return where squares of ``step`` pixels lie."""
        first = self._grid.to_mm(np.full((1, 2), (step - 1) / 2))[0]
        row_mm, column_mm = self._grid.spacing_mm
        return Grid((row_mm * step, column_mm * step), (float(first[0]), float(first[1])))

    def _means(self, low: NDArray[np.int_], high: NDArray[np.int_], step: int) -> FloatImage:
        """Return the means of squares of ``step`` pixels, from the square ``low`` to the one before ``high``."""
        (top, left), (bottom, right) = low * step, high * step
        pixels = self._pixels[top:bottom, left:right]
        if step == 1:
            return pixels
        sums = sum(pixels[i::step, j::step] for i in range(step) for j in range(step))
        return np.asarray(sums / np.float32(step * step), dtype=np.float32)

    def window(self, centre: NDArray[np.float64], radius_mm: float, step: int = 1) -> _Window:
        """Return the window that reaches ``radius_mm`` in each direction; at the image's edge it ends there."""
        grid = self._grid_of(step)
        spacing = np.array(grid.spacing_mm)
        place, last = np.rint(grid.to_pixels(centre)[0]).astype(int), np.array(self._pixels.shape) // step - 1
        place, reach = np.clip(place, 0, last), np.ceil(radius_mm / spacing).astype(int)
        low, high = np.maximum(place - reach, 0), np.minimum(place + reach, last) + 1
        cut = self._means(low, high, step)
        smooth = cut
        if (_SMOOTHING_MM / spacing > 0.2).all():
            for axis, kernel in enumerate(self._kernels[step]):
                smooth = ndimage.correlate1d(smooth, kernel, axis=axis)
        rows, columns = (np.arange(low[i], high[i]) * spacing[i] + grid.origin_mm[i] for i in (0, 1))
        return _Window(smooth, cut, rows, columns)

    def peak(self, centre: NDArray[np.float64]) -> _Peak:
        """Climb from a candidate to the next local maximum, at most ``_CLIMB_MM`` away."""
        radius_mm = _SCALES[0][0]
        window = self.window(centre, _RING * radius_mm)
        distance = window.distance_mm(centre)
        last = np.array(window.pixels.shape) - 1
        here = np.array(np.unravel_index(int(np.argmin(distance)), distance.shape))
        while True:
            low, high = np.maximum(here - 1, 0), np.minimum(here + 1, last) + 1
            near = np.where(distance <= _CLIMB_MM, window.pixels, -np.inf)[low[0] : high[0], low[1] : high[1]]
            best = low + np.array(np.unravel_index(int(np.argmax(near)), near.shape))
            if window.pixels[tuple(best)] <= window.pixels[tuple(here)]:
                break
            here = best
        place = np.array([window.rows_mm[here[0]], window.columns_mm[here[1]]])
        ring = distance > radius_mm
        around = window.pixels[ring] if ring.any() else window.pixels  # an image may be smaller than the ring
        return _Peak(place, float(window.pixels[tuple(here)]), median(around))

    def lowest_between(self, one: _Peak, other: _Peak) -> float:
        """Return the lowest brightness on the line between two peaks."""
        middle = (one.place + other.place) / 2
        length = float(np.linalg.norm(one.place - other.place))
        window = self.window(middle, length / 2 + 0.3)
        steps = np.linspace(0, 1, max(3, int(np.ceil(length / self._spacing.min())) * 2 + 1))[:, None]
        line = one.place + steps * (other.place - one.place)
        first = np.array([window.rows_mm[0], window.columns_mm[0]])
        return float(ndimage.map_coordinates(window.pixels, ((line - first) / self._spacing).T, order=1).min())


def _smoothing(spacing_mm: float) -> NDArray[np.float64]:
    """Return the weights of the Gaussian mean; ``gaussian_filter`` would make them again for each small window."""
    sigma = _SMOOTHING_MM / spacing_mm
    impulse = np.zeros(2 * int(3.0 * sigma + 0.5) + 1)
    impulse[impulse.size // 2] = 1.0
    return np.asarray(ndimage.gaussian_filter1d(impulse, sigma, truncate=3.0, mode="constant"))


def _noise(pixels: FloatImage) -> float:
    """Return the standard deviation of the noise from the differences of neighbours in a row, robustly."""
    difference = np.diff(pixels, axis=1)
    spread = 1.4826 * median(np.abs(difference - np.float32(median(difference)))) / np.sqrt(2)
    return float(max(spread, 1e-6))


def _owners(image: _Image, peaks: list[_Peak], *, min_dip: float) -> NDArray[np.intp]:
    """Return for each candidate the most likely one that lies on the same calcification."""
    n = len(peaks)
    if n == 0:
        return np.zeros(0, dtype=np.intp)
    pairs = cKDTree(np.array([p.place for p in peaks])).query_pairs(_SAME_MM, output_type="ndarray")
    same = [(i, j) for i, j in pairs.tolist() if _on_one(image, peaks[i], peaks[j], min_dip=min_dip)]
    i, j = np.array(same, dtype=np.intp).reshape(-1, 2).T
    group = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)[1]
    first = np.full(n, n, dtype=np.intp)
    np.minimum.at(first, group, np.arange(n))
    return np.asarray(first[group])


def _on_one(image: _Image, one: _Peak, other: _Peak, *, min_dip: float) -> bool:
    if np.array_equal(one.place, other.place):
        return True
    lower = min(one, other, key=lambda peak: peak.value)
    if lower.contrast <= 0:
        return False
    return lower.value - image.lowest_between(one, other) < min_dip * lower.contrast


def _area_mm2(shape: Shape) -> float:
    return shape.area_mm2


def _shape(image: _Image, peak: _Peak, others: Points, min_contrast_to_noise: float) -> Shape | None:
    """Return the shape around a peak, without other calcifications, at the smallest scale that has one."""
    for radius_mm, step in _SCALES:
        window = image.window(peak.place, _RING * radius_mm, step)
        distance = window.distance_mm(peak.place)
        ring = (distance > radius_mm) & (distance <= _RING * radius_mm)
        if not ring.any() or min(window.pixels.shape) < 3:
            continue
        background = median(window.pixels[ring])
        top = peak.value if step == 1 else float(window.pixels[distance <= radius_mm / 2].max())
        if top <= background:
            continue
        contours = _contours(window)
        for fraction in _FRACTIONS:
            region = _region(contours, background + fraction * (top - background), peak.place, radius_mm)
            if region is None or shapely.contains_xy(region, others[:, 1], others[:, 0]).any():
                continue
            shape = _measured(window, region, top)
            if shape is not None and shape.contrast_to_noise >= min_contrast_to_noise:
                return shape
    return None


def _contours(window: _Window) -> contourpy.ContourGenerator:
    """Return the generator of a window's contours.

    It is made without ``contourpy.contour_generator``, which takes longer to look for invalid pixels, of which there
    are none, than the contours take.
    """
    columns, rows = np.meshgrid(window.columns_mm, window.rows_mm)
    return contourpy.SerialContourGenerator(
        columns,
        rows,
        window.pixels.astype(np.float64),
        cast(Any, None),
        corner_mask=True,
        line_type=contourpy.LineType.ChunkCombinedOffset,
        fill_type=contourpy.FillType.OuterOffset,
        quad_as_tri=False,
        z_interp=contourpy.ZInterp.Linear,
    )


def _region(
    contours: contourpy.ContourGenerator, level: float, place: NDArray[np.float64], radius_mm: float
) -> shapely.Polygon | None:
    """Return the region above a level that holds a place, filled; None where it reaches the ring."""
    (points,), (offsets,) = cast(Any, contours.lines(level))
    if points is None:
        return None
    corners, starts = np.asarray(points, dtype=np.float64), np.asarray(offsets, dtype=np.intp)
    low, high = np.minimum.reduceat(corners, starts[:-1]), np.maximum.reduceat(corners, starts[:-1])
    around = ((low <= place[::-1]) & (high >= place[::-1])).all(axis=1)  # few lines need a closer look
    for start, end in zip(starts[:-1][around], starts[1:][around], strict=True):
        line = corners[start:end]
        if len(line) < 4 or not np.array_equal(line[0], line[-1]):
            continue
        if np.hypot(*(line - place[::-1]).T).max() > radius_mm:
            continue
        polygon = shapely.Polygon(line)
        if polygon.contains(shapely.Point(place[1], place[0])):
            return polygon
    return None


def _measured(window: _Window, region: shapely.Polygon, top: float) -> Shape | None:
    """Measure a region; None where it is smaller than a pixel, or holds a place that is brighter than its peak."""
    height, width = window.rows_mm[1] - window.rows_mm[0], window.columns_mm[1] - window.columns_mm[0]
    reach = max(_BAND_MM[1], 1.5 * max(height, width))
    left, low, right, high = region.bounds
    i = slice(*np.searchsorted(window.rows_mm, (low - reach, high + reach)))
    j = slice(*np.searchsorted(window.columns_mm, (left - reach, right + reach)))
    columns, rows = np.meshgrid(window.columns_mm[j], window.rows_mm[i])
    pixels, distance = window.pixels[i, j], shapely.distance(region, shapely.points(columns, rows))
    inside, band = distance == 0, (distance >= _BAND_MM[0]) & (distance <= reach)
    if not inside.any() or not band.any() or region.area < height * width:
        return None
    background = float(pixels[band].mean())
    if pixels[inside].max() > top + _TOLERANCE * (top - background):
        return None
    return Shape(
        outline=np.asarray(region.exterior.coords)[:, ::-1],
        area_mm2=float(region.area),
        elongation=_elongation(region),
        contrast_to_noise=(float(pixels[inside].mean()) - background) / window.noise,
    )


def _elongation(region: shapely.Polygon) -> float:
    """Return length over width of the smallest rectangle around a region."""
    corners: Points = np.asarray(shapely.minimum_rotated_rectangle(region).exterior.coords)
    sides = np.linalg.norm(np.diff(corners[:3], axis=0), axis=1)
    return float(sides.max() / max(sides.min(), 1e-6))
