"""Group the annotated microcalcifications of an image into clusters, by the rule that detections are grouped by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.detection.clusters import group
from microcalc.domain import Candidates

_MAX_GAP_MM: Final = 5.0  # as the shipped models group
_MIN_MEMBERS: Final = 3
_MAX_AREA_CM2: Final = 1.0
_MIN_LIKELIHOOD: Final = 0.1


def grouped(rows: Sequence[AnnotationRow], image: ImageRow) -> list[AnnotationRow]:
    """Return the microcalcifications whose cluster is another one by the rule, with that cluster.

    A cluster keeps its name where its members have one name, or one and none; others are named ``cluster 1``,
    ``cluster 2`` and so on.
    """
    calcium = [row for row in rows if row.kind == "microcalcification"]
    places = image.grid.to_mm(np.array([(r.row, r.column) for r in calcium], dtype=np.float64))
    clusters = group(
        Candidates(places, np.ones(len(calcium))),
        max_gap_mm=_MAX_GAP_MM, min_members=_MIN_MEMBERS, max_area_cm2=_MAX_AREA_CM2, min_likelihood=_MIN_LIKELIHOOD,
        member_likelihood=_MIN_LIKELIHOOD, member_gap_mm=_MAX_GAP_MM,
    )  # fmt: skip
    name_of: dict[int, str] = {}
    used: set[str] = set()
    for number, cluster in enumerate(clusters, 1):
        former = {calcium[m].cluster for m in cluster.members} - {""}
        name = former.pop() if len(former) == 1 else ""
        if not name or name in used:
            name = next(n for n in (f"cluster {k}" for k in range(number, 10_000)) if n not in used)
        used.add(name)
        name_of |= {int(m): name for m in cluster.members}
    return [
        replace(row, cluster=name_of.get(n, "")) for n, row in enumerate(calcium) if row.cluster != name_of.get(n, "")
    ]
