"""How well two readers agree, and where they differ.

Places of two readers are matched on each image that both have finished: the nearest pairs within ``APART_MM`` first,
each place once. From the pairs follow the free-response agreement (of the microcalcifications of one reader, the
fraction that the other marked as one, and the specific agreement 2ab / (a + b)) and Cohen's kappa: over the kinds of
the pairs, and over images, of which each reader says whether they hold a microcalcification.

References
----------
J. Cohen, A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20 (1960) 37.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from scipy.spatial import cKDTree

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.viewer.annotations import AnnotationFolder

APART_MM: Final = 0.5
Pair = tuple[AnnotationRow, AnnotationRow]


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cohen's kappa of two sequences of categories; NaN where chance alone leaves nothing to agree on.

    Raises
    ------
    ValueError
        The sequences are of different lengths, or empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} categories, expected as many and at least one")
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    counts, others = Counter(first), Counter(second)
    by_chance = sum(counts[category] * others[category] for category in counts) / n**2
    return float("nan") if by_chance == 1 else (observed - by_chance) / (1 - by_chance)


def paired(first: Sequence[AnnotationRow], second: Sequence[AnnotationRow], image: ImageRow) -> list[Pair]:
    """Return pairs of places of two readers on one image, nearest first, each place in one pair at most."""
    if not first or not second:
        return []
    places = [image.grid.to_mm(np.array([(r.row, r.column) for r in rows])) for rows in (first, second)]
    near = cKDTree(places[0]).sparse_distance_matrix(cKDTree(places[1]), APART_MM, output_type="ndarray")
    pairs: list[Pair] = []
    free = [set(range(len(first))), set(range(len(second)))]
    for entry in np.sort(near, order=["v", "i", "j"]):
        i, j = int(entry["i"]), int(entry["j"])
        if i in free[0] and j in free[1]:
            free[0].remove(i)
            free[1].remove(j)
            pairs.append((first[i], second[j]))
    return pairs


def agreed_and_different(
    notes: AnnotationFolder, image: ImageRow
) -> tuple[list[AnnotationRow], list[list[AnnotationRow]]]:
    """Return the places of an image on which the other readers agree, and those on which they differ.

    Returns
    -------
    agreed
        One annotation of each place that all other readers gave one kind.
    different
        For each other place the annotations of the readers who marked it.
    """
    readers = [reader for reader in notes.readers() if reader != notes.judge and image.image in notes.done_by(reader)]
    by_reader = [[r for r in notes.rows_by(reader) if r.image == image.image] for reader in readers]
    if len(readers) < 2:
        return [], []
    groups = [[row] for row in by_reader[0]]
    for rows in by_reader[1:]:
        pairs = {id(a): b for a, b in paired([g[0] for g in groups], rows, image)}
        taken = {id(b) for b in pairs.values()}
        for of_place in groups:
            if id(of_place[0]) in pairs:
                of_place.append(pairs[id(of_place[0])])
        groups += [[row] for row in rows if id(row) not in taken]
    agreed = [g[0] for g in groups if len(g) == len(readers) and len({row.kind for row in g}) == 1]
    chosen = {id(row) for row in agreed}
    return agreed, [g for g in groups if id(g[0]) not in chosen]


def agreement_entry(notes: AnnotationFolder, table: Table, key_of: Mapping[str, str]) -> dict[str, Any]:
    """Return the agreement of every two readers, as the page takes it, and where the differences lie."""
    readers = notes.readers()
    pairs = [_of_two(notes, table, one, other) for one, other in combinations(readers, 2)]
    shared = Counter(image for reader in readers if reader != notes.judge for image in notes.done_by(reader))
    settled = {image for image, state in notes.marked().items() if state == "settled"}
    to_settle = []
    for row in table.images:
        if shared[row.image] >= 2 and row.image in key_of:
            different = len(agreed_and_different(notes, row)[1])
            to_settle.append({"image": key_of[row.image], "different": different, "settled": row.image in settled})
    return {"readers": readers, "pairs": pairs, "to_settle": to_settle}


def _of_two(notes: AnnotationFolder, table: Table, one: str, other: str) -> dict[str, Any]:
    both = notes.done_by(one) & notes.done_by(other)
    kinds: list[tuple[str, str]] = []
    positive: list[tuple[str, str]] = []
    marked, hits = [0, 0], 0
    for image in (row for row in table.images if row.image in both):
        first, second = ([r for r in notes.rows_by(reader) if r.image == image.image] for reader in (one, other))
        kinds += [(a.kind, b.kind) for a, b in paired(first, second, image)]
        calcium = [[r for r in rows if r.kind == "microcalcification"] for rows in (first, second)]
        hits += len(paired(calcium[0], calcium[1], image))
        marked = [n + len(rows) for n, rows in zip(marked, calcium, strict=True)]
        positive.append((str(bool(calcium[0])), str(bool(calcium[1]))))
    return {
        "readers": [one, other], "images": len(both), "microcalcifications": marked, "both": hits,
        "of_first": _ratio(hits, marked[0]), "of_second": _ratio(hits, marked[1]),
        "specific": _ratio(2 * hits, sum(marked)), "pairs": len(kinds),
        "kappa_kinds": _kappa(kinds), "kappa_images": _kappa(positive),
    }  # fmt: skip


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    if not pairs:
        return None
    value = cohens_kappa([a for a, _ in pairs], [b for _, b in pairs])
    return None if np.isnan(value) else value
