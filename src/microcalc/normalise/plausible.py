"""Find drawn areas, such as labels and shutters, and refuse pure noise.

Ours: a drawn area has one grey value and ends abruptly; a black shutter has no noise.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Intent
from microcalc.errors import NoBreastError
from microcalc.normalise.blocks import compressed

_LEAST_CORRELATION = 0.3  # ours: of neighbouring blocks
_FLAT = 1e-4  # of the range of grey levels
_LEAST_DRAWN_CM2 = 0.1
_ABRUPT = 0.1  # of the range of grey levels
_MOST_OF_EDGE = 0.8
_MOST_OF_LABEL = 0.5  # what a label encloses is writing; what a shutter encloses is the picture
_MOST_OF_SHUTTER = 0.95
_MIRRORED = 0.5  # ours: correlation of the noise with that of the mirror image, which is 0 in a mammogram
_SIMILAR = 1.5  # ours: the corners that a shutter covers are equally large, those beside a breast are not
_MOST_OF_SIDE = 0.9
_MARGIN = 0.1  # of the picture at each border: air ends deeper inside


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


def black(pixels: FloatImage, values: FloatImage, known: BoolImage, *, step: int) -> BoolImage:
    """Return the blocks of a raw picture with the darkest value and no noise: a black shutter, or saturated air."""
    noise = noise_at_blocks(pixels, step)
    found = np.zeros_like(known)
    if not known.any():
        return found
    values, known = values[:, : noise.shape[1]], known[:, : noise.shape[1]]
    least = _FLAT * float(np.ptp(values))
    darkest = known & (np.abs(values - np.percentile(values[known], 0.5)) <= least)
    if np.count_nonzero(noise[darkest] <= least) > _MOST_OF_SHUTTER * np.count_nonzero(darkest):
        found[:, : noise.shape[1]] = darkest
    return found


def covered_corners(values: FloatImage, known: BoolImage) -> BoolImage:
    """Return the blocks at the four corners of a picture in a shutter or black frame, with those beside them.

    The corners have one grey value, are equally large or at the borders alone, and what they surround reaches all four
    borders nearly.
    """
    least = _FLAT * float(np.ptp(values))
    flat = known & (np.abs(values - values[0, 0]) <= least)
    labels, _ = ndimage.label(flat)
    corners = np.unique([labels[i, j] for i in (0, -1) for j in (0, -1)])
    covered = np.isin(labels, corners)
    rows, columns = (n // 2 for n in values.shape)
    areas = [
        np.count_nonzero(part)
        for half in (covered[:rows], covered[-rows:])
        for part in (half[:, :columns], half[:, -columns:])
    ]
    filled = ((~covered).any(axis=1).mean(), (~covered).any(axis=0).mean())
    core = tuple(slice(int(n * _MARGIN), n - int(n * _MARGIN)) for n in values.shape)
    even = max(areas) <= _SIMILAR * min(areas) or not covered[core].any()
    if corners[0] == 0 or not even or min(filled) < _MOST_OF_SIDE:
        return np.zeros_like(known)
    return np.asarray(ndimage.binary_dilation(covered, iterations=2), dtype=bool)


def refuse_mirrored(pixels: FloatImage, breast: BoolImage, *, intent: Intent, step: int) -> None:
    """Refuse a picture that is its own mirror image: two copies of a breast that meet.

    Parameters
    ----------
    pixels
        (rows, columns), at full resolution.
    breast
        Of blocks of ``step`` pixels.

    Raises
    ------
    NoBreastError
        One half of the breast is the mirror image of the other.
    """
    rows = compressed(pixels[step // 2 :: step], intent)
    fine = np.diff(rows, n=2, axis=1)  # tissue may be as smooth on both sides, its noise is not
    inside = np.repeat(breast, step, axis=1)[: fine.shape[0], 1 : fine.shape[1] + 1]
    here = fine[: inside.shape[0], : inside.shape[1]][inside]
    most = 4.0 * float(np.median(np.abs(here))) if here.size else 0.0  # edges of shutters do not outweigh the noise
    if most == 0:
        return
    here = np.clip(here, -most, most)
    for mirrored in (rows[:, ::-1], compressed(pixels[::-1][step // 2 :: step], intent)):
        there = np.diff(mirrored, n=2, axis=1)[: inside.shape[0], : inside.shape[1]][inside]
        there = np.clip(there, -most, most)
        if float(np.mean(here * there)) > _MIRRORED * float(np.sqrt(np.mean(here**2) * np.mean(there**2))):
            raise NoBreastError("the picture is its own mirror image, expected one breast")


def noise_at_blocks(pixels: FloatImage, step: int) -> FloatImage:
    """Return the magnitude of one second difference in each block of ``step`` pixels; a last column may be missing."""
    rows = pixels[::step]
    second = rows[:, 2::step] - 2 * rows[:, 1:-1:step] + rows[:, :-2:step]
    return np.asarray(np.abs(second), dtype=np.float32)


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
    bands = padded.reshape(rows // step, step, columns)
    highest, lowest = (of(of(bands, 1).reshape(rows // step, -1, step), 2) for of in (np.max, np.min))
    return np.asarray(highest - lowest <= within)
