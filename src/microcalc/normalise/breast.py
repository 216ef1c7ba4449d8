"""Segment the breast: separate it from the background, from labels and from frames around the picture.

The background is the darkest part of a mammogram (brighter = denser), for both
intents. It need not be 0, and it may be missing: an image cropped to the breast has
little of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Intent
from microcalc.errors import NoBreastError
from microcalc.normalise.blocks import block_mean, compressed, expanded
from microcalc.normalise.frame import picture_box
from microcalc.normalise.negative import refuse_negative
from microcalc.normalise.plausible import black, drawn, refuse_mirrored, refuse_noise

_COARSE_MM = 0.5
_OPENING_MM = 2.0
_MIN_BREAST_CM2 = 5.0
_MOST_OF_IMAGE = 0.97
_LEAST_AIR = 0.05  # of the picture
_NARROW = 0.03  # of the range of grey levels; air differs by its noise and the heel effect alone
_FACING = 0.3  # ours: of each of two opposite borders
_WAIST = 0.8  # ours
_SECOND_BREAST = 0.5  # ours: a smaller area beside the breast is an arm, a fold or a label


@dataclass(frozen=True, eq=False, slots=True)
class Breast:
    """The segmented breast and the borders of the picture.

    Attributes
    ----------
    mask
        (rows, columns) bool: the breast, pectoral muscle included.
    picture
        Rows and columns of the picture, without frames and strips at its borders.
    """

    mask: BoolImage
    picture: tuple[slice, slice]


def breast_mask(pixels: FloatImage, *, spacing_mm: float, intent: Intent, padding: BoolImage | None) -> BoolImage:
    """Return the mask of the breast alone; see ``find_breast``."""
    return find_breast(pixels, spacing_mm=spacing_mm, intent=intent, padding=padding).mask


def find_breast(pixels: FloatImage, *, spacing_mm: float, intent: Intent, padding: BoolImage | None) -> Breast:
    """Return the breast, pectoral muscle included, and the borders of the picture.

    Parameters
    ----------
    pixels
        (rows, columns), brighter = denser, at ``spacing_mm``.
    padding
        True where the header declares padding.

    Raises
    ------
    NoBreastError
        No area of at least 5 cm² stands out from the background, two areas do, all pixels are padding
        or noise, or the grey levels are inverted.
    """
    picture = picture_box(pixels, spacing_mm=spacing_mm, intent=intent)
    inside = pixels[picture]
    step = max(1, round(_COARSE_MM / spacing_mm))
    blocks = block_mean(inside, step)
    known = np.ones(blocks.shape, dtype=bool)
    if padding is not None:
        known = block_mean(padding[picture].astype(np.float32), step) < 0.5
    if not known.any():
        raise NoBreastError("the header says that all pixels are padding, expected a breast")
    shutter = _shutter(inside, blocks, known, intent=intent, step=step, step_mm=step * spacing_mm)
    tissue = _tissue(compressed(blocks, intent), known & ~shutter, step * spacing_mm)
    breast = _one_breast(tissue, step * spacing_mm) & ~shutter
    refuse_mirrored(inside, breast, intent=intent, step=step)
    area_cm2 = _area_cm2(breast, step * spacing_mm)
    if area_cm2 < _MIN_BREAST_CM2:
        raise NoBreastError(f"{area_cm2:.1f} cm2 stand out from the background, expected a breast of at least 5 cm2")
    mask = np.zeros(pixels.shape, dtype=bool)
    mask[picture] = expanded(breast, step, (inside.shape[0], inside.shape[1]))
    return Breast(mask, picture)


def _shutter(
    pixels: FloatImage, blocks: FloatImage, known: BoolImage, *, intent: Intent, step: int, step_mm: float
) -> BoolImage:
    """Return the blocks that were drawn, such as shutters and labels; refuse noise and negatives."""
    values = compressed(blocks, intent)
    refuse_noise(blocks, known)
    shutter = drawn(pixels, values, known, step=step, step_mm=step_mm)
    refuse_negative(pixels, blocks, known, shutter, intent=intent, step=step, step_mm=step_mm)
    if intent == "raw":
        shutter |= _black_corners(black(pixels, blocks, known & ~shutter, step=step))
    return shutter


def _tissue(values: FloatImage, known: BoolImage, step_mm: float) -> BoolImage:
    """Return what is brighter than the background, and than air inside a shutter where there is any."""
    tissue = known & (values > _background_limit(values[known]))
    without_air = tissue & ~_second_background(values, tissue, known)
    return without_air if _area_cm2(without_air, step_mm) >= _MIN_BREAST_CM2 else tissue


def _one_breast(tissue: BoolImage, step_mm: float) -> BoolImage:
    """Return the largest area of tissue, with all that its skin line encloses; refuse two breasts."""
    radius = max(1, round(_OPENING_MM / step_mm))
    opened = _opened(tissue, radius)
    breast = _largest(opened)
    _refuse_two(opened & ~breast, breast, step_mm)
    whole = _within_skin_line(tissue, _filled(breast), radius)
    _refuse_facing(whole)
    return whole


def _area_cm2(mask: BoolImage, step_mm: float) -> float:
    return float(np.count_nonzero(mask) * (step_mm / 10) ** 2)


def _black_corners(shutter: BoolImage) -> BoolImage:
    """Return a black area and what is beside it, if it is too small to stand out as a background."""
    if not 0 < np.mean(shutter) < _LEAST_AIR:
        return np.zeros_like(shutter)
    return np.asarray(ndimage.binary_dilation(shutter), dtype=bool)


def _second_background(values: FloatImage, tissue: BoolImage, known: BoolImage) -> BoolImage:
    """Return air that is brighter than the background: under the compression paddle, or inside a black shutter.

    Its histogram has the lowest peak of what is not background; the peak is large, and narrower than that of tissue.
    """
    apart = ndimage.binary_erosion(tissue, iterations=2, border_value=1)  # from blocks that are partly background
    if not apart.any():
        return np.zeros_like(tissue)
    darker = apart & (values <= _background_limit(values[apart]))
    if np.count_nonzero(darker) < _LEAST_AIR * np.count_nonzero(known):
        return np.zeros_like(tissue)
    low, high = np.percentile(values[known], [0.05, 99.5])
    first, last = np.percentile(values[darker], [10, 90])
    if last - first > _NARROW * (high - low) or last > (low + high) / 2:
        return np.zeros_like(tissue)
    grown = ndimage.binary_dilation(darker, iterations=2)
    return np.asarray(grown & ~(apart & ~darker), dtype=bool)


def _refuse_two(others: BoolImage, breast: BoolImage, step_mm: float) -> None:
    areas = [_area_cm2(mask, step_mm) for mask in (breast, _largest(others))]
    if areas[1] > max(_SECOND_BREAST * areas[0], _MIN_BREAST_CM2):
        raise NoBreastError(
            f"two areas of {areas[0]:.0f} and {areas[1]:.0f} cm2 stand out from the background, expected one breast"
        )


def _refuse_facing(breast: BoolImage) -> None:
    """Refuse one area that is wide at two opposite borders and narrow between them: two breasts that meet."""
    for side, opposite, extents in (
        (breast[:, 0], breast[:, -1], np.count_nonzero(breast, axis=0)),
        (breast[0], breast[-1], np.count_nonzero(breast, axis=1)),
    ):
        least = min(np.count_nonzero(side), np.count_nonzero(opposite))
        if least > _FACING * side.size and extents.min() < _WAIST * least:
            raise NoBreastError(
                "an area stands out that is wide at two borders and narrow between them, expected one breast"
            )


def _background_limit(values: FloatImage) -> float:
    """Return the grey value that separates background and breast.

    The background is the lowest narrow peak of the histogram. If the lowest third has no
    such peak, the image shows no background.
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
    """Return the breast and all tissue that a skin line thinner than the opening encloses.

    Processing can make fat as black as the background, but the skin line still encloses it.
    A thin frame around the image, which encloses the background too, is ignored.
    """
    tissue = tissue | _closed(tissue, radius)
    labels, _ = ndimage.label(tissue)
    joined = np.isin(labels, np.unique(labels[tissue & breast])) & tissue
    whole = _largest(_opened(_filled(joined | breast), radius))
    return breast if np.mean(whole) > _MOST_OF_IMAGE else whole


def _filled(mask: BoolImage) -> BoolImage:
    """Fill holes, including those that are open towards the chest wall.

    The chest wall is at the border of the image that the breast touches most.
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
