"""Tells the breast from the background, labels and the pectoral muscle.

The background is the darkest thing in a mammogram (brighter = denser), for both
intents. It need not be 0, nor be there at all: an image cropped to the breast has
little of it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Intent
from microcalc.errors import NoBreastError

_COARSE_MM = 0.5
_OPENING_MM = 2.0
_MIN_BREAST_CM2 = 5.0
_MOST_OF_IMAGE = 0.97
_EDGE_SMOOTHING_MM = 1.5
_PERIPHERY_MM = 12.0
"""The breast thins out towards the skin line: its grey levels there say nothing about tissue."""


def breast_mask(pixels: FloatImage, *, spacing_mm: float, intent: Intent, padding: BoolImage | None) -> BoolImage:
    """Mask of the breast, pectoral muscle included.

    Parameters
    ----------
    pixels
        (rows, columns), brighter = denser, at ``spacing_mm``.
    padding
        True where the header says that there is no image.

    Raises
    ------
    NoBreastError
        Nothing of at least 5 cm² stands out from the background.
    """
    step = max(1, round(_COARSE_MM / spacing_mm))
    values = _compressed(_block_mean(pixels, step), intent)
    known = np.ones(values.shape, dtype=bool)
    if padding is not None:
        known = _block_mean(padding.astype(np.float32), step) < 0.5
    tissue = known & (values > _background_limit(values[known]))
    radius = max(1, round(_OPENING_MM / (step * spacing_mm)))
    tissue = _within_skin_line(tissue, _filled(_largest(_opened(tissue, radius))), radius)
    area_cm2 = np.count_nonzero(tissue) * (step * spacing_mm / 10) ** 2
    if area_cm2 < _MIN_BREAST_CM2:
        raise NoBreastError(f"{area_cm2:.1f} cm2 stand out from the background, expected a breast of at least 5 cm2")
    return _expanded(tissue, step, (pixels.shape[0], pixels.shape[1]))


def without_pectoral(pixels: FloatImage, breast: BoolImage, *, spacing_mm: float) -> BoolImage:
    """The breast mask of an MLO view without the pectoral muscle.

    The muscle is the bright triangle at the chest wall's upper corner. All straight
    edges that cut this corner are tried; the one with the strongest even step from
    bright (corner side) to dark is taken, and none where no step is even enough.
    """
    step = max(1, round(1.0 / spacing_mm))
    coarse = _block_mean(pixels, step)
    inside = _block_mean(breast.astype(np.float32), step) > 0.5
    left = inside[:, : inside.shape[1] // 2].sum() >= inside[:, inside.shape[1] // 2 :].sum()
    if not left:
        coarse, inside = coarse[:, ::-1], inside[:, ::-1]
    edge = _pectoral_edge(coarse, inside, step * spacing_mm)
    if edge is None:
        return breast
    top, side = edge
    rows, columns = np.mgrid[: coarse.shape[0], : coarse.shape[1]]
    muscle = columns / top + rows / side < 1.0
    if not left:
        muscle = muscle[:, ::-1]
    return breast & ~_expanded(muscle, step, (pixels.shape[0], pixels.shape[1]))


def _pectoral_edge(coarse: FloatImage, inside: BoolImage, spacing_mm: float) -> tuple[float, float] | None:
    """Where the muscle's edge meets the upper border (column) and the chest wall (row), in coarse pixels."""
    smooth = ndimage.gaussian_filter(coarse, _EDGE_SMOOTHING_MM / spacing_mm)
    deep = ndimage.binary_erosion(inside, iterations=round(_PERIPHERY_MM / spacing_mm), border_value=1)
    spread = float(np.std(smooth[deep])) if deep.any() else float(np.std(smooth[inside]))
    best, best_score = None, 0.0
    offset = 4.0 / spacing_mm
    for top_mm in range(15, 100, 3):
        for side_mm in range(40, 200, 5):
            if not 1.0 <= side_mm / top_mm <= 5.0:
                continue
            top, side = top_mm / spacing_mm, side_mm / spacing_mm
            t = np.linspace(0.05, 0.9, 40)
            row, column = t * side, (1 - t) * top
            normal = np.array([top, side]) / np.hypot(top, side)
            points = [(row + s * normal[0], column + s * normal[1]) for s in (-offset, 0.0, offset)]
            values = [ndimage.map_coordinates(smooth, p, order=1, mode="nearest") for p in points]
            within = ndimage.map_coordinates(inside.astype(np.float32), points[2], order=0, mode="constant") > 0.5
            if np.count_nonzero(within) < 24:
                continue
            contrast = (values[0] - values[2])[within]
            score = float(np.mean(contrast) - np.std(contrast)) * np.sqrt(np.hypot(top_mm, side_mm))
            if np.mean(contrast > 0) > 0.9 and np.mean(contrast) > 0.4 * spread and score > best_score:
                best, best_score = (top, side), score
    return best


def _block_mean(pixels: FloatImage, step: int) -> FloatImage:
    rows, columns = (-(-n // step) * step for n in pixels.shape)
    padded = np.pad(pixels, ((0, rows - pixels.shape[0]), (0, columns - pixels.shape[1])), mode="edge")
    blocks = padded.reshape(rows // step, step, columns // step, step)
    means: FloatImage = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means


def _compressed(values: FloatImage, intent: Intent) -> FloatImage:
    """Raw exposure in logarithms, so that air does not drown the breast's own range."""
    if intent == "processed":
        return values
    exposure = np.maximum(-values, 0)
    logs: FloatImage = -np.log(exposure + 10.0).astype(np.float32)
    return logs


def _background_limit(values: FloatImage) -> float:
    """The grey value between background and breast.

    The background is the lowest narrow peak of the histogram; where none is found in
    the lowest third, the image shows no background.
    """
    low, high = np.percentile(values, [0.05, 99.5])
    if high <= low:
        return float(low)
    counts, edges = np.histogram(values, bins=200, range=(float(low), float(high)))
    share = counts / max(1, values.size)
    lower = share[:66]
    peak = int(np.argmax(lower))
    if lower[peak] < 0.02:
        return float(low) - 1.0
    level = float(edges[peak] + edges[peak + 1]) / 2
    near = values[np.abs(values - level) < 0.05 * (high - low)]
    noise = 1.4826 * float(np.median(np.abs(near - np.median(near))))
    return level + max(4.0 * noise, 0.03 * float(high - low))


def _disc(radius: int) -> BoolImage:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc: BoolImage = x * x + y * y <= radius * radius
    return disc


def _opened(mask: BoolImage, radius: int) -> BoolImage:
    padded = np.pad(mask, radius + 1, mode="edge")
    opened = ndimage.binary_opening(padded, _disc(radius))
    return np.asarray(opened[radius + 1 : -radius - 1, radius + 1 : -radius - 1], dtype=bool)


def _closed(mask: BoolImage, radius: int) -> BoolImage:
    padded = np.pad(mask, radius + 1)
    closed = ndimage.binary_closing(padded, _disc(radius))
    return np.asarray(closed[radius + 1 : -radius - 1, radius + 1 : -radius - 1], dtype=bool)


def _largest(mask: BoolImage) -> BoolImage:
    labels, n = ndimage.label(mask)
    if n == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(np.argmax(sizes)), dtype=bool)


def _within_skin_line(tissue: BoolImage, breast: BoolImage, radius: int) -> BoolImage:
    """The breast and all that a skin line thinner than the opening encloses with it.

    Processing can turn fat as black as the background; the skin still goes around it.
    A thin frame around the image encloses the background too: it is not followed.
    """
    tissue = tissue | _closed(tissue, radius)
    labels, _ = ndimage.label(tissue)
    joined = np.isin(labels, np.unique(labels[tissue & breast])) & tissue
    whole = _largest(_opened(_filled(joined | breast), radius))
    return breast if np.mean(whole) > _MOST_OF_IMAGE else whole


def _filled(mask: BoolImage) -> BoolImage:
    """Fill holes, those that are open to the chest wall's border included.

    The chest wall is at the border that the breast touches most.
    """
    touching = [int(np.count_nonzero(edge)) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])]
    wall = int(np.argmax(touching))
    padded = np.pad(mask, 1)
    side = ((0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1))[wall]
    inner = np.flatnonzero((mask[0], mask[-1], mask[:, 0], mask[:, -1])[wall])
    if inner.size:
        line = np.zeros(padded[side].size, dtype=bool)
        line[inner[0] + 1 : inner[-1] + 2] = True
        padded[side] = line
    return np.asarray(ndimage.binary_fill_holes(padded)[1:-1, 1:-1], dtype=bool)


def _expanded(coarse: BoolImage, step: int, shape: tuple[int, int]) -> BoolImage:
    return np.repeat(np.repeat(coarse, step, axis=0), step, axis=1)[: shape[0], : shape[1]]
