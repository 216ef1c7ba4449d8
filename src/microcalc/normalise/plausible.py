"""Find drawn areas, such as labels and shutters, and refuse negatives and pure noise.

Ours: tissue is rough at 1 to 4 mm and air is smooth; a drawn area has one grey value and ends abruptly.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage
from microcalc.errors import NoBreastError

_FINE_MM, _COARSE_MM = 1.0, 4.0
_INNER_MM = 3.0
_SMOOTH, _AIR = 0.1, 0.01
_LEAST_AIR = 0.08
_LEAST_BORDER = 0.05
_LEAST_CORRELATION = 0.3  # ours: of neighbouring blocks
_FLAT = 1e-4  # of the range of grey levels
_LEAST_DRAWN_CM2 = 0.1
_ABRUPT = 0.1  # of the range of grey levels
_MOST_OF_EDGE = 0.8
_MOST_OF_LABEL = 0.5  # what a label encloses is writing; what a shutter encloses is the picture


def _roughness(values: FloatImage, step_mm: float) -> FloatImage:
    """Return how much values vary at 1 to 4 mm; noise counts little there, and the heel effect not at all."""
    fine, coarse = (ndimage.gaussian_filter(values, mm / step_mm) for mm in (_FINE_MM, _COARSE_MM))
    return np.asarray(np.abs(fine - coarse), dtype=np.float32)


def _inner(mask: BoolImage, step_mm: float) -> BoolImage:
    """Return the part of a mask that is at least 3 mm from its edge; the border of the picture is no edge."""
    eroded = ndimage.binary_erosion(mask, iterations=max(1, round(_INNER_MM / step_mm)), border_value=1)
    return np.asarray(eroded, dtype=bool)


def refuse_noise(values: FloatImage, known: BoolImage) -> None:
    """Refuse a picture of noise, whose neighbouring blocks are as different as any others.

    Parameters
    ----------
    values
        (rows, columns) means of blocks.
    known
        Where the header declares no padding.

    Raises
    ------
    NoBreastError
        Neighbouring blocks are hardly correlated.
    """
    both = known[:, 1:] & known[:, :-1]
    left, right = values[:, :-1][both].astype(np.float64), values[:, 1:][both].astype(np.float64)
    if left.size == 0 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return
    if np.corrcoef(left, right)[0, 1] < _LEAST_CORRELATION:
        raise NoBreastError("the picture is noise without structure, expected a breast")


def refuse_inverted(values: FloatImage, known: BoolImage, *, step_mm: float) -> None:
    """Refuse a picture whose air is brighter than the breast.

    Its brightest narrow range of grey levels is large, smooth and meets two borders, and nothing dark is as smooth.

    Parameters
    ----------
    values
        (rows, columns), brighter = denser, linear, at ``step_mm``.
    known
        Where the header declares no padding.

    Raises
    ------
    NoBreastError
        The picture is a negative.
    """
    low, high = np.percentile(values[known], [0.05, 99.95])
    if high <= low:
        return
    bright, dark = (_narrow(values, known, low, high, sign=sign) for sign in (1, -1))
    bright_air = _inner(bright, step_mm)
    if np.count_nonzero(bright_air) < _LEAST_AIR * np.count_nonzero(known) or _borders(bright) < 2:
        return
    rough = _roughness(values, step_mm)
    others = (_inner(known & ~bright & ~dark, step_mm), _inner(dark, step_mm))
    if not others[0].any():
        return
    usual, air = (float(np.median(rough[mask])) if mask.any() else np.inf for mask in others)
    if air < _AIR * usual and np.count_nonzero(dark) > _LEAST_AIR * np.count_nonzero(known):
        return  # what is dark is air; what is bright and even was drawn, or is saturated
    if float(np.median(rough[bright_air])) < _SMOOTH * min(usual, air) and _border(bright) > _border(dark):
        raise NoBreastError(
            "the even area at the borders is brighter than what it surrounds, expected air darker than the breast "
            "(inverted grey levels, or a bright shutter?)"
        )


def _narrow(values: FloatImage, known: BoolImage, low: float, high: float, *, sign: int) -> BoolImage:
    """Return where values lie in the fullest narrow range of the brightest (or darkest) third."""
    end = high if sign > 0 else low
    depth = sign * (end - values) / (high - low)  # 0 at the end
    counts, edges = np.histogram(depth[known], bins=66, range=(0.0, 0.33))
    counts[0] += np.count_nonzero(depth[known] < 0)
    peak = (edges[int(np.argmax(counts))] + edges[int(np.argmax(counts)) + 1]) / 2
    return np.asarray(known & (depth < peak + 0.04), dtype=bool)


def _borders(mask: BoolImage) -> int:
    """Return how many borders of the picture a mask touches."""
    return sum(float(np.mean(edge)) > _LEAST_BORDER for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def _border(mask: BoolImage) -> int:
    """Return how many blocks along the borders of the picture a mask contains."""
    return sum(int(np.count_nonzero(edge)) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def drawn(pixels: FloatImage, values: FloatImage, known: BoolImage, *, step: int, step_mm: float) -> BoolImage:
    """Return the blocks of ``step`` pixels that were drawn, such as shutters and labels.

    They are bright, have one grey value and end abruptly. Saturated tissue or an implant fades into its surroundings.
    """
    low, high = np.percentile(values[known], [0.05, 99.95])
    flat = known & _even(pixels, step, within=_FLAT * float(np.ptp(pixels)))
    nothing = np.zeros(known.shape, dtype=bool)
    if high <= low or flat.all() or not (known & ~flat).any():
        return nothing
    flat &= values > np.median(values[known & ~flat])
    labels, _ = ndimage.label(flat)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        area = labels[box] == label
        if np.count_nonzero(area) * (step_mm / 10) ** 2 < _LEAST_DRAWN_CM2:
            continue
        grown = tuple(slice(max(0, s.start - 3), s.stop + 3) for s in box)
        area = labels[grown] == label
        near = ndimage.binary_dilation(area, iterations=1)
        ring = ndimage.binary_dilation(near, iterations=1) & ~near & known[grown]
        if not ring.any():
            continue
        level = float(np.median(values[grown][area]))
        if np.mean(np.abs(values[grown][ring] - level) > _ABRUPT * float(high - low)) > _MOST_OF_EDGE:
            filled = ndimage.binary_fill_holes(near)
            nothing[grown] |= filled if np.mean(near[filled]) > _MOST_OF_LABEL else near
    return nothing


def _even(pixels: FloatImage, step: int, *, within: float) -> BoolImage:
    """Return which blocks of ``step`` pixels have grey values that differ by ``within`` at most."""
    rows, columns = (-(-n // step) * step for n in pixels.shape)
    padded = np.pad(pixels, ((0, rows - pixels.shape[0]), (0, columns - pixels.shape[1])), mode="edge")
    blocks = padded.reshape(rows // step, step, columns // step, step).swapaxes(1, 2)
    even: BoolImage = _range(blocks[:, :, 0]) <= within  # few blocks need more than their first row
    even[even] = _range(blocks[even].reshape(-1, step * step)) <= within
    return even


def _range(values: FloatImage) -> FloatImage:
    """Return the range of values along the last axis, which is short."""
    parts = [values[..., i] for i in range(values.shape[-1])]
    return np.asarray(reduce(np.maximum, parts) - reduce(np.minimum, parts), dtype=np.float32)
