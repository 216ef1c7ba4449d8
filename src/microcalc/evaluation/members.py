"""Which microcalcifications of a found cluster are members of its findings, on one image.

A finding belongs to a found cluster if at least one of its members hits a microcalcification of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microcalc.evaluation.match import Regions, covered, match
from microcalc.geometry import Points


@dataclass(frozen=True, eq=False, slots=True)
class Members:
    """The members of the findings of one image that belong to found clusters.

    Attributes
    ----------
    listed
        (n,) for each microcalcification of the found clusters, whether a member hits it.
    n_false
        Number of members, of the findings of found clusters, that hit no calcification.
    n_findings
        Number of findings of found clusters.
    findings_of_cluster
        Number of findings of each found cluster.
    """

    listed: NDArray[np.bool_]
    n_false: int
    n_findings: int
    findings_of_cluster: tuple[int, ...]


def match_members(
    members_mm: Sequence[Points],
    truth_mm: Points,
    truth_cluster: NDArray[np.str_],
    found: Sequence[str],
    *,
    hit_mm: float = 0.5,
    ignored: Regions,
) -> Members:
    """Match the members of findings to the microcalcifications of found clusters.

    Parameters
    ----------
    members_mm
        Members (k, 2) of each finding.
    truth_mm, truth_cluster
        (n, 2) annotated microcalcifications, and the name of the cluster of each; empty: no cluster.
    found
        Names of the clusters that are found.
    hit_mm
        As in `match`.
    ignored
        Regions of other calcium, in which a member is not false.
    """
    listed: list[NDArray[np.bool_]] = [np.zeros(0, dtype=np.bool_)]
    counts, used = [], set[int]()
    for name in found:
        own = truth_mm[truth_cluster == name]
        hits = [match(m, np.zeros(len(m)), own, hit_mm=hit_mm).lesion_mark >= 0 for m in members_mm]
        belonging = [i for i, hit in enumerate(hits) if hit.any()]
        used.update(belonging)
        counts.append(len(belonging))
        listed.append(np.any([hits[i] for i in belonging], axis=0) if belonging else np.zeros(len(own), dtype=np.bool_))
    calcium = Regions(truth_mm)
    n_false = sum(
        int(np.count_nonzero(~(covered(m, calcium, hit_mm=hit_mm) | covered(m, ignored, hit_mm=hit_mm))))
        for i, m in enumerate(members_mm)
        if i in used
    )
    return Members(np.concatenate(listed), n_false, len(used), tuple(counts))
