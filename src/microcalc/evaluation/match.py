"""Matching of marks to annotations, on one image.

Individual microcalcifications: marks are taken from the highest rating down. Each hits the nearest annotation within
``hit_mm`` that no higher mark has hit (greedily, so that lowering the threshold never undoes a hit). A mark near
annotations that are all hit already is ignored, and so is a mark in a region to be ignored (benign calcium, places the
annotator was unsure of). Every other mark is false.

Clusters: in the same order. A cluster hits an annotated cluster when its centre (the mean of its members) lies inside
the annotated outline, or when at least two of its members hit microcalcifications of the annotated cluster. A cluster
hits one annotated cluster at most, even if it covers two. A region that holds a cluster whose microcalcifications are
not annotated one by one is hit in the same way: by a centre inside it, or by two members inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from microcalc.evaluation.curves import Values
from microcalc.geometry import Points

_ROUNDING_MM = 1e-9
_MEMBERS_TO_HIT = 2
_REGION = " region "  # names of clusters begin with no blank


@dataclass(frozen=True, eq=False, slots=True)
class Matches:
    """The hits, misses and false marks of one image.

    Attributes
    ----------
    lesion_rating
        (n_truth,) rating of the mark that hit each lesion; -inf where it was missed.
    nl_rating
        (n_false,) ratings of the false marks (non-lesion localisations), highest first.
    lesion_mark
        (n_truth,) index of the mark that hit each lesion; -1 where it was missed.
    nl_mark
        (n_false,) indices of the false marks. Marks in neither array were ignored.
    """

    lesion_rating: Values
    nl_rating: Values
    lesion_mark: NDArray[np.int64]
    nl_mark: NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Regions:
    """Regions of an image, as discs and as outlines.

    Attributes
    ----------
    centres_mm, radius_mm
        (m, 2) centres and (m,) radii of discs, or one radius for all.
    outlines_mm
        Corners (k, 2) of polygons, closed or not.
    """

    centres_mm: Points
    radius_mm: NDArray[np.float64] | float = 0.0
    outlines_mm: Sequence[Points] = ()


_NO_REGIONS = Regions(np.empty((0, 2)))


def match(
    centres_mm: Points,
    likelihood: ArrayLike,
    truth_mm: Points,
    *,
    hit_mm: float = 0.5,
    ignored: Regions = _NO_REGIONS,
    also: Sequence[tuple[int, int]] = (),
) -> Matches:
    """Match the marks of one image to its annotated microcalcifications.

    Parameters
    ----------
    centres_mm, likelihood
        (n, 2) and (n,) marks, in any order.
    truth_mm
        (n_truth, 2) annotated centres.
    hit_mm
        Largest distance of a hit, inclusive.
    ignored
        Regions in which a mark is not false. A mark that is also within ``hit_mm`` of an annotation belongs to the
        annotation.
    also
        Pairs (mark, annotation) that are a hit at any distance.

    Raises
    ------
    ValueError
        There is not one finite likelihood for each mark.
    """
    centres, rating, truth = _points(centres_mm), _finite(likelihood, len(_points(centres_mm))), _points(truth_mm)
    lesion_mark = np.full(len(truth), -1, dtype=np.int64)
    near = _annotations_near(centres, truth, hit_mm)
    for mark, annotation in also:
        near.setdefault(mark, []).append(annotation)
    for mark in _highest_first(rating, centres):
        free = [t for t in near.get(int(mark), ()) if lesion_mark[t] < 0]
        if free:
            distance = np.linalg.norm(truth[free] - centres[mark], axis=1)
            lesion_mark[free[int(np.argmin(distance))]] = mark
    off = np.ones(len(centres), dtype=np.bool_)
    off[list(near)] = False
    off &= ~covered(centres, ignored, hit_mm=hit_mm)
    return _matches(rating, centres, lesion_mark, off)


def match_clusters(
    members_mm: Sequence[Points],
    likelihood: ArrayLike,
    truth_mm: Points,
    truth_cluster: Sequence[str] | NDArray[np.str_],
    *,
    hit_mm: float = 0.5,
    outline_buffer_mm: float = 1.0,
    truth_outlines_mm: Mapping[str, Points] | None = None,
    ignored: Regions = _NO_REGIONS,
) -> Matches:
    """Match the clusters of one image to its annotated clusters.

    Parameters
    ----------
    members_mm, likelihood
        Members (k, 2) of each of n clusters, and the rating (n,) of each cluster.
    truth_mm, truth_cluster
        (n_truth, 2) annotated microcalcifications, and the name of the cluster of each; an empty name means no
        cluster. Those of no cluster cannot be hit here, but count as calcium.
    hit_mm
        As in `match`, for the members.
    outline_buffer_mm
        The outline of an annotated cluster is the convex hull of its microcalcifications (and of its drawn outline,
        where it has one), widened by this distance.
    truth_outlines_mm
        Corners (k, 2) of drawn outlines, by cluster. Those of `as_regions` are regions that hold a cluster whose
        microcalcifications are not annotated one by one; they are widened by ``outline_buffer_mm``, too.
    ignored
        Regions of other calcium. A cluster without a hit is ignored when more than half of its members lie in these
        regions, in those that hold a cluster, or on annotated microcalcifications.

    Returns
    -------
    Matches
        Lesions in the order of `annotated_clusters`, then the regions.

    Raises
    ------
    ValueError
        A cluster has no members, or there is not one finite likelihood for each cluster.
    """
    members = [_points(m) for m in members_mm]
    if any(len(m) == 0 for m in members):
        raise ValueError("a cluster has no members, expected at least one")
    rating = _finite(likelihood, len(members))
    truth, owner = _points(truth_mm), np.asarray(truth_cluster, dtype=np.str_)
    names = annotated_clusters(owner)
    centres = np.array([m.mean(axis=0) for m in members]).reshape(-1, 2)
    outlines = truth_outlines_mm or {}
    regions = [outline for name, outline in outlines.items() if name.startswith(_REGION)]
    hits = _cluster_hits(members, centres, truth, owner, names, hit_mm, outline_buffer_mm, outlines)
    hits += _region_hits(members, centres, regions, len(names), hit_mm, outline_buffer_mm)
    wanted: list[list[int]] = [[] for _ in members]
    for hit in sorted(hits):
        wanted[hit.mark].append(hit.lesion)
    lesion_mark = np.full(len(names) + len(regions), -1, dtype=np.int64)
    for mark in _highest_first(rating, centres):
        free = [t for t in wanted[mark] if lesion_mark[t] < 0]
        if free:
            lesion_mark[free[0]] = mark
    off = [
        not w and not _mostly_covered(m, (Regions(truth), ignored, _of_outlines(regions)), hit_mm)
        for m, w in zip(members, wanted, strict=True)
    ]
    return _matches(rating, centres, lesion_mark, np.array(off, dtype=np.bool_))


def as_regions(outlines_mm: Iterable[Points]) -> dict[str, Points]:
    """Return outlines under names that no cluster has, so that `match_clusters` takes them for regions."""
    return {f"{_REGION}{n}": outline for n, outline in enumerate(outlines_mm)}


def covered(points_mm: Points, regions: Regions, *, hit_mm: float) -> NDArray[np.bool_]:
    """Return whether points (n, 2) lie in any of some regions, as an array (n,).

    A point is in a disc within its radius or within ``hit_mm`` of its centre, whichever is more; it is in an outline
    inside or within ``hit_mm`` of the polygon.
    """
    points, places = _points(points_mm), _points(regions.centres_mm)
    on = np.zeros(len(points), dtype=np.bool_)
    if len(points) == 0:
        return on
    reach = np.broadcast_to(
        np.maximum(np.asarray(regions.radius_mm, dtype=np.float64), hit_mm) + _ROUNDING_MM, len(places)
    )
    if len(places):
        for marks in cKDTree(points).query_ball_point(places, reach):
            on[marks] = True
    for outline in regions.outlines_mm:
        on |= shapely.distance(_area(outline), shapely.points(points)) <= hit_mm + _ROUNDING_MM
    return on


def _mostly_covered(members: Points, regions: Sequence[Regions], hit_mm: float) -> bool:
    """Return whether more than half of a cluster's members lie in any of some regions."""
    on = np.any([covered(members, some, hit_mm=hit_mm) for some in regions], axis=0)
    return bool(np.count_nonzero(on) > len(on) / 2)


def annotated_clusters(truth_cluster: Sequence[str] | NDArray[np.str_]) -> list[str]:
    """Return the names of the annotated clusters, in the order in which `match_clusters` returns lesions."""
    return sorted({str(name) for name in truth_cluster if str(name)})


class _Hit(NamedTuple):
    """A cluster that hits an annotated one; in the order of preference: by the number of members, then the nearest."""

    minus_members: int
    distance_mm: float
    lesion: int
    mark: int


def _cluster_hits(
    members: Sequence[Points],
    centres: Points,
    truth: Points,
    owner: NDArray[np.str_],
    names: Sequence[str],
    hit_mm: float,
    buffer_mm: float,
    outlines: Mapping[str, Points],
) -> list[_Hit]:
    """Return which clusters hit which annotated clusters."""
    hits: list[_Hit] = []
    for t, name in enumerate(names):
        own = truth[owner == name]
        corners = np.concatenate([own, _points(outlines.get(name, np.empty((0, 2))))])
        distance = shapely.distance(shapely.convex_hull(shapely.multipoints(corners)), shapely.points(centres))
        for i, places in enumerate(members):
            matches = match(places, np.zeros(len(places)), own, hit_mm=hit_mm)
            n_hit = int(np.count_nonzero(matches.lesion_mark >= 0))
            if n_hit >= _MEMBERS_TO_HIT or distance[i] <= buffer_mm + _ROUNDING_MM:
                hits.append(_Hit(-n_hit, float(np.linalg.norm(own.mean(axis=0) - centres[i])), t, i))
    return hits


def _region_hits(
    members: Sequence[Points],
    centres: Points,
    regions: Sequence[Points],
    first: int,
    hit_mm: float,
    buffer_mm: float,
) -> list[_Hit]:
    """Return which clusters hit which regions; ``first`` is the number of the first region among the lesions."""
    hits: list[_Hit] = []
    for t, outline in enumerate(regions, first):
        distance = shapely.distance(_area(outline), shapely.points(centres))
        middle = _points(outline).mean(axis=0)
        region = _of_outlines([outline])
        for i, places in enumerate(members):
            n_hit = int(np.count_nonzero(covered(places, region, hit_mm=hit_mm)))
            if n_hit >= _MEMBERS_TO_HIT or distance[i] <= buffer_mm + _ROUNDING_MM:
                hits.append(_Hit(-n_hit, float(np.linalg.norm(middle - centres[i])), t, i))
    return hits


def _of_outlines(outlines: Sequence[Points]) -> Regions:
    return Regions(np.empty((0, 2)), outlines_mm=outlines)


def _area(outline_mm: Points) -> shapely.Geometry:
    """Return the polygon of corners (k, 2); two corners make a line, one a point."""
    corners = _points(outline_mm)
    if len(corners) == 0:
        raise ValueError("an outline has no corners, expected at least one")
    if len(corners) < 3:
        return shapely.Point(corners[0]) if len(corners) == 1 else shapely.LineString(corners)
    return shapely.Polygon(corners)


def _annotations_near(centres: Points, truth: Points, hit_mm: float) -> dict[int, list[int]]:
    """Return the annotations within ``hit_mm`` of each mark that has any."""
    near: dict[int, list[int]] = {}
    if len(centres) and len(truth):
        tree = cKDTree(centres)
        for t, marks in enumerate(tree.query_ball_point(truth, hit_mm + _ROUNDING_MM)):
            for mark in marks:
                near.setdefault(int(mark), []).append(t)
    return near


def _highest_first(rating: Values, centres: Points) -> NDArray[np.intp]:
    """Return the order of the marks by rating; ties by position, whatever the order of the input."""
    return np.lexsort((centres[:, 1], centres[:, 0], -rating))


def _matches(rating: Values, centres: Points, lesion_mark: NDArray[np.int64], off: NDArray[np.bool_]) -> Matches:
    order = _highest_first(rating, centres)
    nl_mark = order[off[order]].astype(np.int64)
    lesion_rating = np.full(len(lesion_mark), -np.inf)
    hit = lesion_mark >= 0
    lesion_rating[hit] = rating[lesion_mark[hit]]
    return Matches(lesion_rating, rating[nl_mark], lesion_mark, nl_mark)


def _points(points_mm: Points) -> Points:
    return np.asarray(points_mm, dtype=np.float64).reshape(-1, 2)


def _finite(likelihood: ArrayLike, n: int) -> Values:
    rating = np.asarray(likelihood, dtype=np.float64).reshape(-1)
    if rating.size != n or not np.isfinite(rating).all():
        raise ValueError(f"{rating.size} likelihoods for {n} marks, expected one finite likelihood for each")
    return rating
