"""Draw the positions of the members of a cluster, in mm from its centre.

The distributions are those of BI-RADS. Their extents, and the minimum distance between members, are our choice,
for which there is no source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from microcalc.simulate.shapes import Floats, rotation

Layout = Literal["grouped", "linear", "segmental", "regional", "single"]
_HARD_CORE_MM = 0.3
_REACH_MM = 12.0
_VIEWS_RAD = (0.0, np.pi / 4, -np.pi / 4)  # CC and MLO of either side: members keep apart in all


def place_members(
    rng: np.random.Generator, layout: Layout, diameters: Floats, *, to_nipple: tuple[float, float, float] | None
) -> Floats:
    """Draw the offsets (m, 3) in height, row and column of the members of a cluster, in mm.

    Parameters
    ----------
    diameters
        (n,) diameters of the members in mm.
    to_nipple
        (height, row, column) direction that the ducts follow; None draws a direction.

    Returns
    -------
    (m, 3) offsets; m is less than n where there is no room for all members.
    """
    return _PLACES[layout](rng, diameters, _direction(rng, to_nipple))


def _grouped(rng: np.random.Generator, diameters: Floats, axis: Floats) -> Floats:
    """Draw a Gaussian cloud whose extent grows with the number of members."""
    sd = float(rng.uniform(0.7, 2.3)) * (len(diameters) / 10) ** 0.3 * rng.uniform(0.5, 1.0, 3)
    turn = rotation(rng)
    return _kept_apart(diameters, lambda: turn @ (rng.normal(0.0, 1.0, 3) * sd))


def _linear(rng: np.random.Generator, diameters: Floats, axis: Floats) -> Floats:
    """Draw offsets along a slightly bent duct."""
    length = float(rng.uniform(4.0, 12.0)) * (len(diameters) / 10) ** 0.3
    bend = np.cross(axis, rng.normal(0.0, 0.03, 3))

    def place() -> Floats:
        t = length * float(rng.uniform(-0.5, 0.5))
        return np.asarray(axis * t + bend * t**2 + rng.normal(0.0, 0.2, 3))

    return _kept_apart(diameters, place)


def _segmental(rng: np.random.Generator, diameters: Floats, axis: Floats) -> Floats:
    """Draw offsets in a wedge with its tip towards the nipple."""
    length = float(rng.uniform(7.0, 14.0)) * (len(diameters) / 10) ** 0.2
    opening = float(rng.uniform(0.3, 0.6))

    def place() -> Floats:
        t = length * float(np.sqrt(rng.uniform()))  # from the tip
        across = rng.normal(0.0, 0.5 * opening * t, 3)
        return np.asarray(axis * (0.6 * length - t) + across - axis * float(across @ axis))

    return _kept_apart(diameters, place)


def _regional(rng: np.random.Generator, diameters: Floats, axis: Floats) -> Floats:
    """Draw offsets over a large part of the breast, independent of the ducts."""
    return _kept_apart(diameters, lambda: _REACH_MM * rng.uniform(-0.9, 0.9, 3) * (0.5, 1.0, 1.0))


def _single(rng: np.random.Generator, diameters: Floats, axis: Floats) -> Floats:
    return np.zeros((1, 3))


def _kept_apart(diameters: Floats, place: Callable[[], Floats]) -> Floats:
    """Draw offsets one by one, each at a minimum distance from the others in every view."""
    turns = np.array([[np.sin(a), np.cos(a)] for a in _VIEWS_RAD])  # (views, height and row)
    seen: list[Floats] = []
    placed: list[Floats] = []
    for _ in range(30 * len(diameters)):
        if len(placed) == len(diameters):
            break
        point = place()
        if np.hypot(*point[1:]) > _REACH_MM:
            continue
        views = np.column_stack([turns @ point[:2], np.full(len(turns), point[2])])
        least = [max(_HARD_CORE_MM, 0.6 * (diameters[len(placed)] + d)) for d in diameters[: len(placed)]]
        if all(np.hypot(*(views - other).T).min() > apart for other, apart in zip(seen, least, strict=True)):
            placed.append(point)
            seen.append(views)
    return np.array(placed).reshape(-1, 3)


def _direction(rng: np.random.Generator, to_nipple: tuple[float, float, float] | None) -> Floats:
    """Draw the unit vector (height, row, column) along the ducts."""
    if to_nipple is None:
        angle = rng.uniform(0.0, 2 * np.pi)
        to_nipple = (0.3 * rng.normal(), float(np.sin(angle)), float(np.cos(angle)))
    axis = np.asarray(to_nipple, dtype=np.float64)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-9) + rng.normal(0.0, 0.15, 3)
    return np.asarray(axis / np.linalg.norm(axis))


_PLACES: dict[Layout, Callable[[np.random.Generator, Floats, Floats], Floats]] = {
    "grouped": _grouped,
    "linear": _linear,
    "segmental": _segmental,
    "regional": _regional,
    "single": _single,
}
