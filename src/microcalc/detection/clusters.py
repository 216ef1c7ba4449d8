"""Clusters: at least three microcalcifications close together, and their likelihood.

Definition, for a threshold t on the likelihood of candidates: there is a cluster of k
around a candidate if k candidates of likelihood >= t, including itself, are linked by steps
of at most ``max_gap_mm`` and lie in the disc of ``max_area_cm2`` around it. The highest
such t is t_k.

A cluster's log-odds of likelihood is the mean of the log-odds of t_k for k =
``min_members`` and the next two, where a t_k that does not exist counts as
``min_likelihood``. So one bright speck beside two doubtful ones gives a low likelihood, more
members give a higher one, and no additional or more likely candidate can lower it. This
rule is ours; the definition of a cluster (three in 1 cm²) is the usual one.

Its members are all candidates at least as likely as ``member_likelihood``, an operating point of single marks, that
are linked to it by steps of at most ``member_gap_mm``: so they do not depend on how likely the cluster's best members
are, and what a reader sees as one group is one cluster, whatever its extent. A cluster of less likely candidates
is as likely as its members have to be.

Clusters are formed in order of likelihood, the highest first, and a candidate is a member of one at most.

References
----------
Karssemeijer N. Adaptive noise equalization and recognition of microcalcification clusters in
mammograms. Int J Pattern Recogn Artif Intell 7 (1993) 1357.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, cKDTree

from microcalc.domain import Candidates, Cluster
from microcalc.geometry import Points

RATED_SIZES = 3
"""Number of sizes k over which the log-odds are averaged."""
BORDER_MM = 1.0
"""Distance of the outline from the outermost members."""


@dataclass(frozen=True, eq=False, slots=True)
class _Places:
    """Candidates that may be members, most likely first, and the neighbours of each."""

    index: NDArray[np.int64]  # into Candidates
    centres: Points
    log_odds: NDArray[np.float64]
    linked: list[list[int]]  # within max_gap_mm, without oneself
    radius_mm: float  # of the disc of max_area_cm2
    positions: list[tuple[float, float]]  # the centres as numbers, which are read one by one

    def in_disc(self, one: int, middle: int) -> bool:
        """Return whether a place lies in the disc around another."""
        (row, column), (middle_row, middle_column) = self.positions[one], self.positions[middle]
        down, across = row - middle_row, column - middle_column
        return down * down + across * across <= self.radius_mm**2


@dataclass(frozen=True, slots=True)
class _Seed:
    """The cluster around one place: its log-odds, and the t_k of the smallest cluster."""

    rating: float
    level: float
    place: int


def group(
    candidates: Candidates,
    *,
    max_gap_mm: float,
    min_members: int,
    max_area_cm2: float,
    min_likelihood: float,
    member_likelihood: float,
    member_gap_mm: float,
) -> list[Cluster]:
    """Group candidates into clusters.

    Parameters
    ----------
    candidates
        The candidates of one mammogram.
    max_gap_mm
        Largest distance between neighbouring members of the smallest cluster.
    min_members
        Smallest number of members.
    max_area_cm2
        Area of a disc around one member, in which the smallest cluster lies.
    min_likelihood
        Least likelihood of a member, above 0.
    member_likelihood
        Likelihood from which a candidate is a member of the cluster that it is linked to.
    member_gap_mm
        Largest distance between neighbouring members, at least ``max_gap_mm``.

    Returns
    -------
    list of Cluster
        Highest likelihood first. Members are linked to each other and at least as likely as ``member_likelihood``, or
        as the weakest of the smallest cluster where that is less. Other candidates inside the outline belong to
        no cluster. The outline is the convex hull of the members, ``BORDER_MM`` outside them, in mm.
    """
    places = _places(candidates, max_gap_mm=max_gap_mm, max_area_cm2=max_area_cm2, min_likelihood=min_likelihood)
    member_level, neighbours = float(_log_odds(np.float64(member_likelihood))), _linked(places.centres, member_gap_mm)
    floor = float(_log_odds(np.float64(min_likelihood)))
    free = np.ones(places.index.size, dtype=bool)
    seeds = [_seed(places, place, free, min_members=min_members, floor=floor) for place in range(free.size)]
    queue = [(-seed.rating, seed.place) for seed in seeds if seed is not None]
    heapq.heapify(queue)
    clusters = []
    while queue:
        before, place = heapq.heappop(queue)
        seed = _seed(places, place, free, min_members=min_members, floor=floor)
        if seed is None:
            continue
        if seed.rating < -before:  # another cluster has taken some of its members: it has to queue again
            heapq.heappush(queue, (-seed.rating, place))
            continue
        allowed = free & (places.log_odds >= min(seed.level, member_level))
        members = _connected(place, neighbours, allowed)
        outline, inside = _outline(places.centres[members], places.centres)
        free &= ~inside
        clusters.append(Cluster(np.sort(places.index[members]), outline, float(1 / (1 + np.exp(-seed.rating)))))
    return clusters


def _places(candidates: Candidates, *, max_gap_mm: float, max_area_cm2: float, min_likelihood: float) -> _Places:
    """Return the places sorted by likelihood, then by position, so that the order of the candidates does not matter."""
    row, column = candidates.centres.T if candidates.centres.size else np.zeros((2, 0))
    order = np.lexsort((column, row, -candidates.likelihood))
    order = order[candidates.likelihood[order] >= min_likelihood].astype(np.int64)
    centres = candidates.centres[order].reshape(-1, 2)
    linked = _linked(centres, max_gap_mm)
    radius_mm = float(np.sqrt(max_area_cm2 * 100 / np.pi))
    positions = [(row, column) for row, column in centres.tolist()]
    return _Places(order, centres, _log_odds(candidates.likelihood[order]), linked, radius_mm, positions)


def _seed(places: _Places, place: int, free: NDArray[np.bool_], *, min_members: int, floor: float) -> _Seed | None:
    """Return the cluster of free places around a free place; None if there is none.

    Growing always by the most likely of the linked places (Prim) reaches k members at the
    highest threshold possible: the weakest member then is t_k.
    """
    if not free[place]:
        return None
    queue, seen = [place], {place}  # places are sorted: the lowest number is the most likely
    weakest, levels, most = place, list[float](), min_members + RATED_SIZES - 1
    while queue and len(levels) < most:
        newest = heapq.heappop(queue)
        weakest = max(weakest, newest)
        levels.append(float(places.log_odds[weakest]))
        allowed = (n for n in places.linked[newest] if n not in seen and free[n] and places.in_disc(n, place))
        for near in islice(allowed, most - len(levels)):  # more than are still to be reached cannot be
            seen.add(near)
            heapq.heappush(queue, near)
    if len(levels) < min_members:
        return None
    rated = levels[min_members - 1 :]
    rating = (sum(rated) + floor * (RATED_SIZES - len(rated))) / RATED_SIZES
    return _Seed(rating=rating, level=levels[min_members - 1], place=place)


def _linked(centres: Points, max_gap_mm: float) -> list[list[int]]:
    """Return the places within a distance of each, in order, without itself."""
    if len(centres) == 0:
        return []
    near = cKDTree(centres).query_ball_point(centres, max_gap_mm)
    return [sorted(set(others) - {i}) for i, others in enumerate(near)]


def _connected(place: int, neighbours: list[list[int]], allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the allowed places that steps from neighbour to neighbour reach from one, in order."""
    reached, queue = {place}, [place]
    while queue:
        for near in neighbours[queue.pop()]:
            if near not in reached and allowed[near]:
                reached.add(near)
                queue.append(near)
    return np.array(sorted(reached), dtype=np.intp)


def _outline(members: Points, others: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Return a closed polygon around the members, and which of the other positions lie in it.

    The convex hull of a circle around each member: defined for one member, and for any on one line.
    """
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = BORDER_MM * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    corners = (members[:, np.newaxis] + circle).reshape(-1, 2)
    hull = ConvexHull(corners)
    ring = np.append(hull.vertices, hull.vertices[0])
    inside = np.all(others @ hull.equations[:, :2].T + hull.equations[:, 2] <= 0, axis=1)
    return corners[ring], inside


def _log_odds(likelihood: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    bounded = np.clip(likelihood, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(bounded / (1 - bounded)), dtype=np.float64)
