"""Refuse negatives: pictures whose air is brighter than the breast.

Ours: tissue is rough at 1 to 4 mm and air is smooth. In raw pictures, dense tissue receives fewer quanta than air,
so it has less noise.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from microcalc.domain import BoolImage, FloatImage, Intent
from microcalc.errors import NoBreastError
from microcalc.normalise.blocks import block_mean
from microcalc.normalise.plausible import black, covered_corners, noise_at_blocks

_FINE_MM, _COARSE_MM = 1.0, 4.0
_INNER_MM = 3.0
_SMOOTH, _SMOOTHER = 0.1, 0.02
_AIR = 0.01
_LEAST_AIR = 0.08
_LEAST_BRIGHT = 0.03
_LEAST_BORDER = 0.05
_MOST_OF_STRIP = 0.85
_REST_OF_STRIP = 0.1
_CURVED = 0.01  # ours: of the picture
_EDGE_BLOCKS = 3
_BRIGHT_EDGE = 0.4  # ours
_LESS_BORDER = 0.2  # ours: than bright air has; dark air has more
_WITHOUT_EDGE = np.s_[2:-2, 2:-2]  # blocks: a thin frame hides what the picture has at its borders
_RANGES = 4  # ours: of grey levels
_RISING = 1.5  # ours: air that receives ten times the exposure has three times the noise
_LEAST_MEDIAN = 0.3  # of the 80th percentile; it is 0.53 for Gaussian noise


def refuse_negative(
    pixels: FloatImage,
    values: FloatImage,
    known: BoolImage,
    shutter: BoolImage,
    *,
    intent: Intent,
    step: int,
    step_mm: float,
) -> None:
    """Refuse a negative.

    Parameters
    ----------
    pixels
        (rows, columns), brighter = denser, at full resolution.
    values
        Means of blocks of ``step`` pixels, ``step_mm`` wide.
    known, shutter
        Blocks that the header does not declare as padding, and those that were drawn.

    Raises
    ------
    NoBreastError
        The air is brighter than the breast.
    """
    if intent == "processed":
        corners = covered_corners(values, known)
        known, corners = (known & ~corners)[_WITHOUT_EDGE], corners[_WITHOUT_EDGE]
        _refuse_bright_air(values[_WITHOUT_EDGE], known, corners, step_mm=step_mm)  # one grey value may be air or drawn
        return
    exposed = known & ~shutter
    shut = ndimage.binary_dilation(black(pixels, values, exposed, step=step))
    if not _noise_tells(pixels, values, exposed & ~shut, step=step):
        _refuse_bright_air(values, exposed, np.zeros_like(exposed), step_mm=step_mm)


def _refuse_bright_air(values: FloatImage, known: BoolImage, corners: BoolImage, *, step_mm: float) -> None:
    """Refuse a picture whose air is brighter than the breast.

    Its brightest narrow range of grey levels is large, smooth and meets two borders, and nothing dark is as smooth.
    What is beside covered ``corners`` counts as if it went on behind them.
    """
    if not known.any():
        return
    low, high = np.percentile(values[known], [0.05, 99.95])
    if high <= low:
        return
    bright, dark = (_narrow(values, known, low, high, sign=sign) for sign in (1, -1))
    bright_air = _inner(bright, step_mm)
    if (
        np.count_nonzero(bright_air) < _LEAST_BRIGHT * np.count_nonzero(known)
        or _borders(_extended(bright, corners)) < 2
        or _is_air(~known & ~corners & (values <= low), bright)
    ):
        return
    if np.count_nonzero(dark) < _LEAST_AIR * np.count_nonzero(known) and _is_no_air(dark, bright, corners):
        known, dark = known & ~dark, np.zeros_like(dark)
    usual, air = (_roughness(values, mask, step_mm) for mask in (known & ~bright & ~dark, dark))
    if usual == np.inf:
        return
    if air < _AIR * usual and np.count_nonzero(dark) > _LEAST_AIR * np.count_nonzero(known):
        return  # what is dark is air; what is bright and even was drawn, or is saturated
    brighter = _border(_extended(bright, corners)) > _border(_extended(dark, corners))
    smooth = _SMOOTH if brighter else _SMOOTHER
    if _roughness(values, bright, step_mm) < smooth * min(usual, air):
        raise NoBreastError(
            "the even area at the borders is brighter than what it surrounds, expected air darker than the breast "
            "(inverted grey levels, or a bright shutter?)"
        )


def _is_air(padding: BoolImage, bright: BoolImage) -> bool:
    """Return whether dark padding is the air of a mammogram, whose bright area is then the pectoral muscle.

    Air ends along a curve, and mostly at the skin. In a negative, padding is a frame or a shutter, which is straight or
    ends mostly at bright air.
    """
    if np.count_nonzero(padding & ~_strips(padding)) < _CURVED * padding.size:
        return False
    edge = ndimage.binary_dilation(padding, iterations=_EDGE_BLOCKS) & ~padding
    return bool(np.count_nonzero(edge & bright) < _BRIGHT_EDGE * np.count_nonzero(edge))


def _is_no_air(dark: BoolImage, bright: BoolImage, corners: BoolImage) -> bool:
    """Return whether a small dark area was drawn or hardly meets the borders; air meets them and ends along a curve."""
    if np.count_nonzero(dark & ~_strips(dark)) < _REST_OF_STRIP * np.count_nonzero(dark):
        return True
    return _border(_extended(dark, corners)) < _LESS_BORDER * _border(_extended(bright, corners))


def _noise_tells(pixels: FloatImage, values: FloatImage, known: BoolImage, *, step: int) -> bool:
    """Refuse a raw picture whose noise rises with density; return whether the noise tells anything.

    Where the exposure is low, behind dense tissue, there are fewer quanta and their noise is lower. In a negative,
    the brightest grey levels are noisier than the darkest. Where either are saturated, the noise tells nothing.
    """
    noise = noise_at_blocks(pixels, step)
    values, known = values[:, : noise.shape[1]], known[:, : noise.shape[1]]
    if np.count_nonzero(known) < _LEAST_AIR * known.size:
        return False
    low, high = np.percentile(values[known], [0.5, 99.5])
    dark, bright = (noise[known & (depth < (high - low) / _RANGES)] for depth in (values - low, high - values))
    if not (_is_noise(dark) and _is_noise(bright)):
        return False
    if np.median(bright) > _RISING * np.median(dark):
        raise NoBreastError(
            "the noise is highest where the picture is brightest, expected air darker than the breast "
            "(inverted grey levels?)"
        )
    return True


def _is_noise(magnitudes: FloatImage) -> bool:
    """Return whether magnitudes spread as those of noise do; where most pixels are saturated, their median is low."""
    if magnitudes.size == 0:
        return False
    median, high = np.percentile(magnitudes, [50, 80])
    return bool(median > _LEAST_MEDIAN * high)


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


def _extended(mask: BoolImage, corners: BoolImage) -> BoolImage:
    """Return a mask that goes on behind the corners as it is beside them."""
    if not corners.any():
        return mask
    nearest = ndimage.distance_transform_edt(corners, return_distances=False, return_indices=True)
    return np.asarray(mask[tuple(nearest)], dtype=bool)


def _strips(mask: BoolImage) -> BoolImage:
    """Return the rows and columns along the borders of the picture that a mask fills nearly."""
    strips = np.zeros_like(mask)
    for lines, into in ((mask, strips), (mask.T, strips.T)):
        filled = np.mean(lines, axis=1) > _MOST_OF_STRIP
        into[np.logical_and.accumulate(filled)] = True
        into[np.logical_and.accumulate(filled[::-1])[::-1]] = True
    return strips


def _roughness(values: FloatImage, mask: BoolImage, step_mm: float) -> float:
    """Return how much values in the inner part of a mask vary at 1 to 4 mm; infinite if the mask has none.

    Noise counts little there, and the heel effect not at all. What lies outside the mask does not count.
    """
    reduced = max(1, round(_FINE_MM / step_mm))
    inner = block_mean(_inner(mask, step_mm).astype(np.float32), reduced) > 0.5
    if not inner.any():
        return np.inf
    offset = np.float32(np.median(values[mask]))
    weight, weighted = (block_mean(v, reduced) for v in (mask.astype(np.float32), np.where(mask, values - offset, 0)))
    fine, coarse = (
        _blurred(weighted, sigma) / np.maximum(_blurred(weight, sigma), 1e-3)
        for sigma in (mm / (reduced * step_mm) for mm in (_FINE_MM, _COARSE_MM))
    )
    return float(np.median(np.abs(fine - coarse)[inner]))


def _blurred(values: FloatImage, sigma: float) -> FloatImage:
    return np.asarray(ndimage.gaussian_filter(values, sigma, truncate=3.0), dtype=np.float32)


def _inner(mask: BoolImage, step_mm: float) -> BoolImage:
    """Return the part of a mask that is at least 3 mm from its edge; the border of the picture is no edge."""
    eroded = ndimage.binary_erosion(mask, iterations=max(1, round(_INNER_MM / step_mm)), border_value=1)
    return np.asarray(eroded, dtype=bool)
