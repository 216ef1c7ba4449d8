"""Convex hulls and distances to polygons, points and lines among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microcalc.geometry import Points


def convex_hull(points_mm: Points) -> Points:
    """Corners (k, 2) of the smallest convex polygon around points (n, 2), n >= 1.

    One point gives itself, points on a line its two ends.

    References
    ----------
    A. M. Andrew, Inf. Process. Lett. 9 (1979) 216 (monotone chain).
    """
    points = np.unique(np.asarray(points_mm, dtype=np.float64).reshape(-1, 2), axis=0)
    if len(points) < 3:
        return points
    return np.array(_half_hull(points)[:-1] + _half_hull(points[::-1])[:-1])


def distance_to_polygon(points_mm: Points, corners_mm: Points) -> NDArray[np.float64]:
    """(n,) distance in mm of points (n, 2) to a polygon (k, 2), closed or not; 0 inside.

    A polygon of one corner is a point, one of two a line.
    """
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 1, 2)
    start = np.asarray(corners_mm, dtype=np.float64).reshape(1, -1, 2)
    if start.shape[1] == 0:
        raise ValueError("an outline has no corners, expected at least one")
    edge = np.roll(start, -1, axis=1) - start
    length2 = np.sum(edge**2, axis=2)
    share = np.sum((points - start) * edge, axis=2) / np.where(length2 > 0, length2, 1.0)
    nearest = start + np.clip(share, 0.0, 1.0)[:, :, None] * edge
    distance = np.sqrt(np.sum((points - nearest) ** 2, axis=2)).min(axis=1)
    return np.where(_inside(points, start, edge), 0.0, distance)


def _half_hull(points: Points) -> list[NDArray[np.float64]]:
    """Lower half of the hull of sorted points; of points sorted the other way, the upper one."""
    chain: list[NDArray[np.float64]] = []
    for point in points:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _inside(points: NDArray[np.float64], start: NDArray[np.float64], edge: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) by the even-odd rule: how many edges a ray along the rows' axis crosses."""
    end = start + edge
    crosses = (start[..., 1] > points[..., 1]) != (end[..., 1] > points[..., 1])
    across = np.where(edge[..., 1] != 0, edge[..., 1], 1.0)
    row = start[..., 0] + (points[..., 1] - start[..., 1]) * edge[..., 0] / across
    odd: NDArray[np.bool_] = np.count_nonzero(crosses & (points[..., 0] < row), axis=1) % 2 == 1
    return odd
