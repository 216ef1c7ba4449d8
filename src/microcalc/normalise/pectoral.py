"""Remove the pectoral muscle from the breast mask of an oblique view."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import BoolImage, Edge, FloatImage, Orientation
from microcalc.normalise.blocks import block_mean, expanded

T = TypeVar("T", bound=np.generic)

_LEAST_TOUCHED = 0.5  # ours: of the border that the breast is at most, for the header to be believed
_LYING = 1.25  # ours: so much more of the breast is at the upper or lower border of a picture that lies on its side
_EDGE_SMOOTHING_MM = 1.5
_PERIPHERY_MM = 12.0
"""The breast thins out towards the skin line: its grey levels there say nothing about tissue."""


def without_pectoral(
    pixels: FloatImage, breast: BoolImage, *, spacing_mm: float, orientation: Orientation | None = None
) -> BoolImage:
    """Return the breast mask of an oblique view without the pectoral muscle.

    The muscle is the bright triangle in the corner of chest wall and head. All straight
    edges that cut this corner are tried; the one with the strongest even step from
    bright (corner side) to dark is taken. Where no step is even enough, no muscle is removed.

    Parameters
    ----------
    pixels, breast
        (rows, columns) at ``spacing_mm``.
    orientation
        Where the chest wall and the head are, as the header states. If it is None or the breast does not
        reach that edge, the chest wall is at the edge that the breast touches, and the head is
        looked for at the top first, then at the other end.
    """
    step = max(1, round(1.0 / spacing_mm))
    coarse = block_mean(pixels, step)
    inside = block_mean(breast.astype(np.float32), step) > 0.5
    rows, columns = np.mgrid[: coarse.shape[0], : coarse.shape[1]]
    for wall, head in _corners(inside, orientation):
        edge = _pectoral_edge(_upright(coarse, wall, head), _upright(inside, wall, head), step * spacing_mm)
        if edge is not None:
            from_head, from_wall = (_depth(side, rows, columns) for side in (head, wall))
            muscle = from_wall / edge[0] + from_head / edge[1] < 1.0
            return breast & ~expanded(muscle, step, (pixels.shape[0], pixels.shape[1]))
    return breast


def _corners(inside: BoolImage, orientation: Orientation | None) -> list[tuple[Edge, Edge]]:
    """Return the edges of chest wall and head, the likeliest pair first."""
    touched: dict[Edge, int] = {edge: int(np.count_nonzero(line)) for edge, line in _lines(inside).items()}
    if orientation is not None:
        wall, head = orientation.edge_of("P"), orientation.edge_of("H")
        if wall is not None and head is not None and touched[wall] >= _LEAST_TOUCHED * max(touched.values()):
            return [(wall, head)]
    if max(touched["top"], touched["bottom"]) > _LYING * max(touched["left"], touched["right"]):
        wall = "top" if touched["top"] >= touched["bottom"] else "bottom"
        ends: tuple[Edge, Edge] = ("left", "right")
    else:
        middle = inside.shape[1] // 2
        wall = "left" if inside[:, :middle].sum() >= inside[:, middle:].sum() else "right"
        return [(wall, "top"), (wall, "bottom")]
    return [(wall, head) for head in sorted(ends, key=lambda end: -touched[end])]


def _lines(image: NDArray[Any]) -> dict[Edge, NDArray[Any]]:
    return {"top": image[0], "bottom": image[-1], "left": image[:, 0], "right": image[:, -1]}


def _upright(image: NDArray[T], wall: Edge, head: Edge) -> NDArray[T]:
    """Return an image turned and mirrored so that its chest wall is at the left and its head at the top."""
    if wall in ("top", "bottom"):
        image = image.T
    image = image[:, ::-1] if wall in ("right", "bottom") else image
    return image[::-1] if head in ("right", "bottom") else image


def _depth(edge: Edge, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return how many pixels each is from an edge."""
    along = rows if edge in ("top", "bottom") else columns
    return along.max() - along if edge in ("bottom", "right") else along


def _pectoral_edge(coarse: FloatImage, inside: BoolImage, spacing_mm: float) -> tuple[float, float] | None:
    """Return where the muscle's edge meets the upper border (column) and the chest wall (row), in coarse pixels."""
    smooth = ndimage.gaussian_filter(coarse, _EDGE_SMOOTHING_MM / spacing_mm)
    deep = ndimage.binary_erosion(inside, iterations=round(_PERIPHERY_MM / spacing_mm), border_value=1)
    spread = float(np.std(smooth[deep])) if deep.any() else float(np.std(smooth[inside]))
    edges_mm = [(top, side) for top in range(15, 100, 3) for side in range(40, 200, 5) if top <= side <= 5 * top]
    before, after = _beside(np.array(edges_mm) / spacing_mm, offset=4.0 / spacing_mm)
    contrasts = _at(smooth, before, order=1, mode="nearest") - _at(smooth, after, order=1, mode="nearest")
    inner = _at(inside.astype(np.float32), after, order=0, mode="constant") > 0.5
    best, best_score = None, 0.0
    for (top_mm, side_mm), differences, within in zip(edges_mm, contrasts, inner, strict=True):
        if np.count_nonzero(within) < 24:
            continue
        contrast = differences[within]
        score = float(np.mean(contrast) - np.std(contrast)) * np.sqrt(np.hypot(top_mm, side_mm))
        if np.mean(contrast > 0) > 0.9 and np.mean(contrast) > 0.4 * spread and score > best_score:
            best, best_score = (top_mm / spacing_mm, side_mm / spacing_mm), score
    return best


def _beside(edges: NDArray[np.float64], *, offset: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places along straight edges (n, 2), towards the corner and beyond them: (2, n, 40), row and column."""
    top, side = edges.T[:, :, np.newaxis]
    along = np.linspace(0.05, 0.9, 40)
    middle = np.stack([along * side, (1 - along) * top])
    shift = offset * (edges / np.hypot(*edges.T)[:, np.newaxis]).T[:, :, np.newaxis]
    return middle - shift, middle + shift


def _at(image: FloatImage, places: NDArray[np.float64], *, order: int, mode: str) -> FloatImage:
    return np.asarray(ndimage.map_coordinates(image, places, order=order, mode=mode), dtype=np.float32)
