"""A suspicion that rows and columns are exchanged, in the table or in the detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from microcalc.datasets.table import Table
from microcalc.evaluate.detections import DetectionSet
from microcalc.geometry import Points

_MARKS_PER_LESION: Final = 4
_LEAST: Final = 3


def axes_remark(found: DetectionSet, table: Table, *, hit_mm: float) -> tuple[str, ...]:
    """Return a remark where exchanging rows and columns would hit many more microcalcifications; else nothing.

    Places within the image say nothing of themselves, so this is told by the marks: of each image the best
    rated, four for each microcalcification. The remark is given where exchanged axes hit three or more, and
    more than twice as many as the axes as they are (all of these numbers are ours).
    """
    straight = exchanged = lesions = 0
    for image in table.images:
        marks = found.of.get(image.image)
        truth = np.array([(a.row, a.column) for a in table.rows_of(image) if a.kind == "microcalcification"])
        if marks is None or not len(truth):
            continue
        lesions += len(truth)
        best = np.argsort(-marks.likelihood, kind="stable")[: _MARKS_PER_LESION * len(truth)]
        centres = marks.centres_px[best]
        straight += _hits(centres, truth, image.spacing_mm, hit_mm)
        exchanged += _hits(centres, truth[:, ::-1], image.spacing_mm, hit_mm)
    if exchanged < _LEAST or exchanged <= 2 * straight:
        return ()
    return (
        f"the best marks hit {straight} of {lesions} microcalcifications, and {exchanged} with rows and columns "
        "exchanged: are they exchanged in the table or in the detections?",
    )


def _hits(centres: Points, truth: Points, spacing_mm: Sequence[float], hit_mm: float) -> int:
    if not len(centres):
        return 0
    apart = np.linalg.norm((centres[:, None] - truth[None]) * np.asarray(spacing_mm), axis=2)
    return int((apart.min(axis=0) <= hit_mm).sum())
