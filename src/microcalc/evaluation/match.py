"""Which marks hit which annotations.

Individual microcalcifications: marks are served from the highest rating down; each
takes the nearest annotation within ``hit_mm`` that no higher mark has taken (greedy,
so that lowering the threshold never undoes a hit). A mark near annotations that are all
taken is ignored, and so is one on a place to be ignored (benign calcium, places that the
judge was unsure of). Everything else is a false mark.

Clusters: by the same order. A cluster hits an annotated cluster when its centre (the
mean of its members) lies inside the annotated outline, or when at least two of its
members hit annotated microcalcifications of it. One cluster serves one annotated
cluster: a mark that swallows two finds one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from microcalc.evaluation.curves import Values
from microcalc.geometry import Points

_ROUNDING_MM = 1e-9
_MEMBERS_TO_HIT = 2


@dataclass(frozen=True, eq=False, slots=True)
class Matched:
    """What became of the lesions and of the marks of one image.

    Attributes
    ----------
    lesion_rating
        (n_truth,) rating of the mark that found each lesion; -inf where it was missed.
    nl_rating
        (n_false,) ratings of the false marks, highest first.
    lesion_mark
        (n_truth,) index of that mark; -1 where missed.
    nl_mark
        (n_false,) indices of the false marks. Marks in neither were ignored.
    """

    lesion_rating: Values
    nl_rating: Values
    lesion_mark: NDArray[np.int64]
    nl_mark: NDArray[np.int64]


def match(
    centres_mm: Points,
    likelihood: ArrayLike,
    truth_mm: Points,
    *,
    hit_mm: float = 0.5,
    ignore_mm: Points | None = None,
    ignore_radius_mm: ArrayLike = 0.0,
    ignore_outlines_mm: Sequence[Points] = (),
) -> Matched:
    """Match the marks of one image to its annotated microcalcifications.

    Parameters
    ----------
    centres_mm, likelihood
        (n, 2) and (n,) marks, in any order.
    truth_mm
        (n_truth, 2) annotated centres.
    hit_mm
        Largest distance of a hit, itself included.
    ignore_mm, ignore_radius_mm, ignore_outlines_mm
        Places where a mark is not false, as in `covered`. A mark within ``hit_mm`` of an
        annotation too belongs to the annotation.

    Raises
    ------
    ValueError
        The arrays do not fit, or a likelihood is not finite.
    """
    centres, rating, truth = _points(centres_mm), _finite(likelihood, len(_points(centres_mm))), _points(truth_mm)
    lesion_mark = np.full(len(truth), -1, dtype=np.int64)
    near = _annotations_near(centres, truth, hit_mm)
    for mark in _highest_first(rating, centres):
        free = [t for t in near.get(int(mark), ()) if lesion_mark[t] < 0]
        if free:
            distance = np.linalg.norm(truth[free] - centres[mark], axis=1)
            lesion_mark[free[int(np.argmin(distance))]] = mark
    off = np.ones(len(centres), dtype=np.bool_)
    off[list(near)] = False
    off &= ~covered(centres, _or_none(ignore_mm), ignore_radius_mm, ignore_outlines_mm, hit_mm=hit_mm)
    return _matched(rating, centres, lesion_mark, off)


def match_clusters(
    members_mm: Sequence[Points],
    likelihood: ArrayLike,
    truth_mm: Points,
    truth_cluster: Sequence[str] | NDArray[np.str_],
    *,
    hit_mm: float = 0.5,
    outline_buffer_mm: float = 1.0,
    truth_outlines_mm: Mapping[str, Points] | None = None,
    ignore_mm: Points | None = None,
    ignore_radius_mm: ArrayLike = 0.0,
    ignore_outlines_mm: Sequence[Points] = (),
) -> Matched:
    """Match the clusters of one image to its annotated clusters.

    Parameters
    ----------
    members_mm, likelihood
        Of each of n clusters its members (k, 2), and its rating.
    truth_mm, truth_cluster
        (n_truth, 2) annotated microcalcifications and the cluster each belongs to; empty:
        none. Those of no cluster cannot be hit here; they count as calcium.
    hit_mm
        As in `match`, for the members.
    outline_buffer_mm
        The outline of an annotated cluster is the convex hull of its microcalcifications
        (and of its drawn outline, where it has one), widened by so much.
    truth_outlines_mm
        Corners (k, 2) of drawn outlines, by cluster.
    ignore_mm, ignore_radius_mm, ignore_outlines_mm
        Places of other calcium, as in `covered`. A cluster that hits nothing is ignored
        when more than half of its members lie on them or on annotated microcalcifications.

    Returns
    -------
    Matched
        Lesions in the order of `annotated_clusters`.
    """
    members = [_points(m) for m in members_mm]
    if any(len(m) == 0 for m in members):
        raise ValueError("a cluster has no members, expected at least one")
    rating = _finite(likelihood, len(members))
    truth, owner = _points(truth_mm), np.asarray(truth_cluster, dtype=np.str_)
    names = annotated_clusters(owner)
    centres = np.array([m.mean(axis=0) for m in members]).reshape(-1, 2)
    wanted = _cluster_hits(members, centres, truth, owner, names, hit_mm, outline_buffer_mm, truth_outlines_mm or {})
    lesion_mark = np.full(len(names), -1, dtype=np.int64)
    for mark in _highest_first(rating, centres):
        free = [t for t in wanted[mark] if lesion_mark[t] < 0]
        if free:
            lesion_mark[free[0]] = mark
    off = np.array([not w for w in wanted], dtype=np.bool_)
    for i in np.flatnonzero(off):
        on = covered(members[i], truth, 0.0, hit_mm=hit_mm)
        on |= covered(members[i], _or_none(ignore_mm), ignore_radius_mm, ignore_outlines_mm, hit_mm=hit_mm)
        off[i] = bool(np.count_nonzero(on) <= len(on) / 2)
    return _matched(rating, centres, lesion_mark, off)


def covered(
    points_mm: Points,
    places_mm: Points,
    radius_mm: ArrayLike,
    outlines_mm: Sequence[Points] = (),
    *,
    hit_mm: float,
) -> NDArray[np.bool_]:
    """(n,) whether points (n, 2) lie on one of some places.

    Parameters
    ----------
    places_mm, radius_mm
        (m, 2) centres and (m,) radii, or one for all. A point within the radius is on the
        place, and so is one within ``hit_mm``, if that is more.
    outlines_mm
        Polygons (k, 2); a point inside, or within ``hit_mm``, is on the place.
    """
    points, places = _points(points_mm), _points(places_mm)
    on = np.zeros(len(points), dtype=np.bool_)
    if len(points) == 0:
        return on
    reach = np.broadcast_to(np.maximum(np.asarray(radius_mm, dtype=np.float64), hit_mm) + _ROUNDING_MM, len(places))
    if len(places):
        for marks in cKDTree(points).query_ball_point(places, reach):
            on[marks] = True
    for outline in outlines_mm:
        on |= shapely.distance(_area(outline), shapely.points(points)) <= hit_mm + _ROUNDING_MM
    return on


def annotated_clusters(truth_cluster: Sequence[str] | NDArray[np.str_]) -> list[str]:
    """The clusters that are annotated, in the order of `match_clusters`."""
    return sorted({str(name) for name in truth_cluster if str(name)})


def _cluster_hits(
    members: Sequence[Points],
    centres: Points,
    truth: Points,
    owner: NDArray[np.str_],
    names: Sequence[str],
    hit_mm: float,
    buffer_mm: float,
    outlines: Mapping[str, Points],
) -> list[list[int]]:
    """Of each cluster, the annotated clusters that it hits: most members first, then nearest."""
    ranked: list[list[tuple[int, float, int]]] = [[] for _ in members]
    for t, name in enumerate(names):
        own = truth[owner == name]
        corners = np.concatenate([own, _points(outlines.get(name, np.empty((0, 2))))])
        distance = shapely.distance(shapely.convex_hull(shapely.multipoints(corners)), shapely.points(centres))
        for i, places in enumerate(members):
            found = match(places, np.zeros(len(places)), own, hit_mm=hit_mm)
            n_hit = int(np.count_nonzero(found.lesion_mark >= 0))
            if n_hit >= _MEMBERS_TO_HIT or distance[i] <= buffer_mm + _ROUNDING_MM:
                ranked[i].append((-n_hit, float(np.linalg.norm(own.mean(axis=0) - centres[i])), t))
    return [[t for _, _, t in sorted(r)] for r in ranked]


def _area(outline_mm: Points) -> shapely.Geometry:
    """Return what an outline of corners (k, 2) encloses: a polygon, or of two corners a line, of one a point."""
    corners = _points(outline_mm)
    if len(corners) == 0:
        raise ValueError("an outline has no corners, expected at least one")
    if len(corners) < 3:
        return shapely.Point(corners[0]) if len(corners) == 1 else shapely.LineString(corners)
    return shapely.Polygon(corners)


def _annotations_near(centres: Points, truth: Points, hit_mm: float) -> dict[int, list[int]]:
    """Of each mark that has any, the annotations within ``hit_mm``."""
    near: dict[int, list[int]] = {}
    if len(centres) and len(truth):
        tree = cKDTree(centres)
        for t, marks in enumerate(tree.query_ball_point(truth, hit_mm + _ROUNDING_MM)):
            for mark in marks:
                near.setdefault(int(mark), []).append(t)
    return near


def _highest_first(rating: Values, centres: Points) -> NDArray[np.intp]:
    """Order of the marks; equal ratings by position, so that the order given does not matter."""
    return np.lexsort((centres[:, 1], centres[:, 0], -rating))


def _matched(rating: Values, centres: Points, lesion_mark: NDArray[np.int64], off: NDArray[np.bool_]) -> Matched:
    order = _highest_first(rating, centres)
    nl_mark = order[off[order]].astype(np.int64)
    lesion_rating = np.full(len(lesion_mark), -np.inf)
    hit = lesion_mark >= 0
    lesion_rating[hit] = rating[lesion_mark[hit]]
    return Matched(lesion_rating, rating[nl_mark], lesion_mark, nl_mark)


def _points(points_mm: Points) -> Points:
    return np.asarray(points_mm, dtype=np.float64).reshape(-1, 2)


def _or_none(points_mm: Points | None) -> Points:
    return np.empty((0, 2)) if points_mm is None else _points(points_mm)


def _finite(likelihood: ArrayLike, n: int) -> Values:
    rating = np.asarray(likelihood, dtype=np.float64).reshape(-1)
    if rating.size != n or not np.isfinite(rating).all():
        raise ValueError(f"{rating.size} likelihoods for {n} marks, expected as many, all finite")
    return rating
