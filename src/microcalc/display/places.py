"""What the overlay enlarges of a result: findings, then single calcifications, then the most likely of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.detection.entries import CandidateEntry, ClusterEntry
from microcalc.detection.result import Result
from microcalc.domain import CalcificationKind
from microcalc.wording import quantity

Colour = tuple[int, int, int]
Pixels = NDArray[np.float64]
"""Positions (n, 2), (row, column) in pixels of the original image."""

FINDING: Final[Colour] = (255, 150, 30)
SET_APART: Final[Colour] = (225, 130, 235)
SINGLE: Final[Colour] = (120, 235, 120)
OTHER: Final[Colour] = (80, 190, 255)

_SPELLED: Final[Mapping[CalcificationKind | None, str]] = {
    "vascular": "vascular", "coarse": "coarse", "rod_like": "rod-like", "rim_or_skin": "rim or skin",
}  # fmt: skip

MOST: Final = 16
MOST_SINGLES: Final = 4
APART_MM: Final = 4.0
"""Single calcifications that are closer together share a panel, which is 10 mm wide at least."""
FILLED: Final = 4
"""The most likely of the rest are shown where there are fewer findings and single calcifications than this."""


@dataclass(frozen=True, eq=False, slots=True)
class Mark:
    """A calcification: its place (2,), and its outline (n, 2) in pixels, empty where there is none."""

    place: Pixels
    outline: Pixels


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """A numbered place: it has a panel with a caption of two lines, and an outline in the whole view.

    Attributes
    ----------
    outline
        Of a cluster, in pixels; empty for a single mark.
    """

    title: str
    detail: str
    marks: tuple[Mark, ...]
    outline: Pixels
    colour: Colour


def mark_of(entry: CandidateEntry) -> Mark:
    """Return where a candidate is drawn."""
    return Mark(np.array([entry.row, entry.column]), np.array(entry.outline or ()).reshape(-1, 2))


def colour_of(cluster: ClusterEntry) -> Colour:
    """Return the colour that a cluster is drawn in."""
    return (SET_APART if cluster.apart else FINDING) if cluster.finding else OTHER


def places_to_show(result: Result, spacing_mm: tuple[float, float]) -> list[Place]:
    """Return the numbered places, in the order of their numbers.

    The findings (the ``MOST`` most likely) come first, then the most likely single calcifications. Where these do not
    fill the first column, the most likely of the rest do: candidates outside clusters that are more likely than every
    cluster, and clusters below the threshold.
    """
    clusters = sorted(result.clusters, key=lambda cluster: -cluster.likelihood)
    places = [_of_cluster(cluster, result, spacing_mm) for cluster in clusters if cluster.finding][:MOST]
    singles = _apart([result.candidates[index] for index in result.single_calcifications], spacing_mm)
    places += [_of_single(entry) for entry in singles[: min(MOST_SINGLES, MOST - len(places))]]
    included = {member for cluster in clusters for member in cluster.members}.union(result.single_calcifications)
    loose = [entry for index, entry in enumerate(result.candidates) if index not in included]
    least = clusters[0].likelihood if clusters else 0.0
    rest = [_of_candidate(entry) for entry in loose[:FILLED] if entry.likelihood > least]
    rest += [_of_cluster(cluster, result, spacing_mm) for cluster in clusters if not cluster.finding]
    return places + rest[: max(0, FILLED - len(places))]


def _apart(entries: Sequence[CandidateEntry], spacing_mm: tuple[float, float]) -> list[CandidateEntry]:
    """Return the first marks, without those that the panel of one before them shows."""
    kept: list[CandidateEntry] = []
    for entry in entries:
        offsets = [((entry.row - k.row) * spacing_mm[0], (entry.column - k.column) * spacing_mm[1]) for k in kept]
        if all(max(abs(row), abs(column)) > APART_MM for row, column in offsets):
            kept.append(entry)
    return kept


def _of_cluster(cluster: ClusterEntry, result: Result, spacing_mm: tuple[float, float]) -> Place:
    members = [result.candidates[index] for index in cluster.members]
    centres = np.array([(entry.row, entry.column) for entry in members])
    high, wide = np.ptp(centres, axis=0) * spacing_mm
    row, column = centres.mean(axis=0)
    word = "calcification" if cluster.finding else "mark"
    words = [f"{quantity(len(members), word)} in {wide:.1f} x {high:.1f} mm"]
    if cluster.kind in _SPELLED:
        words.append(f"likely {_SPELLED[cluster.kind]}")
    if cluster.distribution is not None:
        words.append(cluster.distribution)
    if any(entry.diameter_mm for entry in members):
        words.append(f"largest {_largest_mm(members):.2f} mm")
    kind = "FINDING" if cluster.finding else "cluster below the threshold"
    return Place(
        title=f"{kind}, likelihood {cluster.likelihood:.3f}, row {row:.0f}, column {column:.0f}",
        detail=", ".join(words),
        marks=tuple(mark_of(entry) for entry in members),
        outline=np.array(cluster.outline).reshape(-1, 2),
        colour=colour_of(cluster),
    )


def _largest_mm(entries: Sequence[CandidateEntry]) -> float:
    return max(entry.diameter_mm or 0.0 for entry in entries)


def _of_single(entry: CandidateEntry) -> Place:
    return _of_mark(entry, "single calcification", SINGLE)


def _of_candidate(entry: CandidateEntry) -> Place:
    return _of_mark(entry, "candidate outside clusters", OTHER)


def _of_mark(entry: CandidateEntry, kind: str, colour: Colour) -> Place:
    words = ["without an outline" if entry.diameter_mm is None else f"{entry.diameter_mm:.2f} mm"]
    if entry.kind in _SPELLED:
        words.append(f"likely {_SPELLED[entry.kind]}")
    return Place(
        title=f"{kind}, likelihood {entry.likelihood:.3f}, row {entry.row:.0f}, column {entry.column:.0f}",
        detail=", ".join(words),
        marks=(mark_of(entry),),
        outline=np.zeros((0, 2)),
        colour=colour,
    )
