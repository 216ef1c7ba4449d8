"""Find where a processed mammogram is clipped to white: nothing can be seen there, and its edges look like calcium."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from microcalc.domain import BoolImage, Mammogram
from microcalc.normalise.resample import resample_mask

_SMALLEST_MM2 = 20.0  # ours: far above any calcification that is itself clipped
_EDGE_MM = 0.5  # ours


def saturated(mammogram: Mammogram, tissue: BoolImage, *, spacing_mm: float) -> BoolImage | None:
    """Return (rows, columns) where tissue is clipped to its brightest value, and within 0.5 mm of there.

    Letters outside the breast may be brighter. Areas below 20 mm² do not count: they may be a calcification. None where
    there is no such area.

    Parameters
    ----------
    tissue
        (rows, columns) at ``spacing_mm``.
    """
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * s / spacing_mm).astype(np.intp), size - 1)
        for n, s, size in zip(mammogram.pixels.shape, mammogram.spacing_mm, tissue.shape, strict=True)
    )
    inside = tissue[rows].take(columns, axis=1)
    top = mammogram.pixels == mammogram.pixels.max(where=inside, initial=-np.inf)
    smallest = _SMALLEST_MM2 / math.prod(mammogram.spacing_mm)
    if np.count_nonzero(top) < smallest:
        return None
    labels, _ = ndimage.label(top)
    large = np.bincount(labels.ravel()) >= smallest
    large[0] = False  # everything below the brightest value
    if not large.any():
        return None
    clipped = resample_mask(large[labels], mammogram.grid, spacing_mm)
    near = np.zeros_like(clipped)
    margin = math.ceil(_EDGE_MM / spacing_mm)
    for box in ndimage.find_objects(ndimage.label(clipped)[0]):
        around = tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)
        near[around] |= ndimage.distance_transform_edt(~clipped[around]) * spacing_mm <= _EDGE_MM
    return near
