"""Judging the detections on one image against its annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.domain import BENIGN_CALCIUM, Kind
from microcalc.evaluation.detections import DetectionSet
from microcalc.evaluation.marks import Marks
from microcalc.evaluation.match import Matched, annotated_clusters, match, match_clusters
from microcalc.geometry import Grid, Points

IGNORED_KINDS: tuple[Kind, ...] = (*BENIGN_CALCIUM, "unsure")
"""Neither lesion nor background: benign calcium, and what nobody knows."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How marks are judged.

    Attributes
    ----------
    hit_mm
        Largest distance of a hit.
    ignore_kinds
        Marks on annotations of these kinds are neither hits nor false.
    count_ignored
        They are false after all.
    lesions_by
        Only the microcalcifications that this judge annotated (``"inserted"``, say) are
        lesions; those of other judges are ignored like other calcium.
    min_d_prime
        Only microcalcifications of at least this d' are lesions, where d' is known; those that
        nobody can see are ignored like other calcium.
    false_marks
        ``"all"``: every other mark is false. ``"reviewed"``: only the highest mark on each
        place annotated as no calcium is; images without any annotation are not judged, as
        nobody looked at them, and clusters are not judged at all.
    false_on
        Count false marks on all images, or only on those without a microcalcification.
    outline_buffer_mm
        As in `microcalc.evaluation.match.match_clusters`.
    """

    hit_mm: float = 0.5
    ignore_kinds: tuple[Kind, ...] = IGNORED_KINDS
    count_ignored: bool = False
    false_marks: Literal["all", "reviewed"] = "all"
    false_on: Literal["all", "lesion_free"] = "all"
    outline_buffer_mm: float = 1.0
    lesions_by: str | None = None
    min_d_prime: float = 0.0

    def takes(self, row: AnnotationRow) -> bool:
        """Whether an annotated microcalcification is a lesion."""
        visible = row.d_prime is None or row.d_prime >= self.min_d_prime
        return visible and self.lesions_by in (None, row.judge)


@dataclass(frozen=True, eq=False, slots=True)
class JudgedImage:
    """One image with what was found, missed and falsely marked.

    Attributes
    ----------
    marks
        Individual microcalcifications; `diameter_mm` and `d_prime` (n_truth,) are theirs,
        NaN where not known.
    clusters, findings
        All clusters, and those at the default operating point; None where the detector
        lists none.
    breast_area_cm2
        None where not known.
    """

    image: ImageRow
    marks: Matched
    diameter_mm: NDArray[np.float64]
    d_prime: NDArray[np.float64]
    clusters: Matched | None
    findings: Matched | None
    breast_area_cm2: float | None
    n_marks: int


def judge_all(found: DetectionSet, table: Table, rules: Rules) -> list[JudgedImage]:
    """Judge every image of the table that has detections, in the table's order."""
    images = [i for i in table.images if i.image in found.of]
    if rules.false_marks == "reviewed":
        images = [i for i in images if table.rows_of(i)]
    return [judge(found.of[i.image], i, table.rows_of(i), rules) for i in images]


def judge(found: Marks, image: ImageRow, rows: Sequence[AnnotationRow], rules: Rules) -> JudgedImage:
    """Judge the detections on one image against its annotations."""
    grid = Grid(image.spacing_mm)
    calcium = [r for r in rows if r.kind == "microcalcification"]
    lesions = [r for r in calcium if rules.takes(r)]
    others = [r for r in calcium if not rules.takes(r)]
    ignored = [] if rules.count_ignored else [*others, *(r for r in rows if r.kind in rules.ignore_kinds)]
    truth = _centres(lesions, grid)
    centres = grid.to_mm(found.centres_px)
    marks = match(
        centres,
        found.likelihood,
        truth,
        hit_mm=rules.hit_mm,
        ignore_mm=_centres(ignored, grid),
        ignore_radius_mm=_radii(ignored),
        ignore_outlines_mm=_outlines(ignored, grid),
    )
    clusters = findings = None
    if rules.false_marks == "reviewed":
        empty = _centres([r for r in rows if r.kind == "no_calcium"], grid)
        marks = _false_only_on(marks, centres, found.likelihood, empty, rules.hit_mm)
    elif found.finding is not None:
        clusters = _judge_clusters(found, centres, lesions, ignored, grid, rules, np.ones_like(found.finding))
        findings = _judge_clusters(found, centres, lesions, ignored, grid, rules, found.finding)
    return JudgedImage(
        image,
        marks,
        np.array([r.diameter_mm or np.nan for r in lesions], dtype=np.float64),
        np.array([np.nan if r.d_prime is None else r.d_prime for r in lesions], dtype=np.float64),
        clusters,
        findings,
        found.breast_area_cm2,
        len(centres),
    )


def _judge_clusters(
    found: Marks,
    centres: Points,
    lesions: Sequence[AnnotationRow],
    ignored: Sequence[AnnotationRow],
    grid: Grid,
    rules: Rules,
    chosen: NDArray[np.bool_],
) -> Matched:
    if found.members is None or found.cluster_likelihood is None:
        raise ValueError("the detections have no clusters, expected a detector that groups")
    owner = np.array([r.cluster for r in lesions], dtype=np.str_)
    outlines = {
        name: np.concatenate([np.empty((0, 2)), *_outlines([r for r in lesions if r.cluster == name], grid)])
        for name in annotated_clusters(owner)
    }
    return match_clusters(
        [centres[m] for m, wanted in zip(found.members, chosen, strict=True) if wanted],
        found.cluster_likelihood[chosen],
        _centres(lesions, grid),
        owner,
        hit_mm=rules.hit_mm,
        outline_buffer_mm=rules.outline_buffer_mm,
        truth_outlines_mm=outlines,
        ignore_mm=_centres(ignored, grid),
        ignore_radius_mm=_radii(ignored),
        ignore_outlines_mm=_outlines(ignored, grid),
    )


def _false_only_on(
    marks: Matched, centres: Points, likelihood: NDArray[np.float64], empty: Points, hit_mm: float
) -> Matched:
    """The same, with one false mark at most on each place judged to be free of calcium, and none elsewhere."""
    off = marks.nl_mark
    places = match(centres[off], likelihood[off], empty, hit_mm=hit_mm)
    nl_mark = off[np.sort(places.lesion_mark[places.lesion_mark >= 0])]
    return Matched(marks.lesion_rating, likelihood[nl_mark], marks.lesion_mark, nl_mark)


def _centres(rows: Sequence[AnnotationRow], grid: Grid) -> Points:
    return grid.to_mm(np.array([(r.row, r.column) for r in rows], dtype=np.float64).reshape(-1, 2))


def _radii(rows: Sequence[AnnotationRow]) -> NDArray[np.float64]:
    return np.array([r.diameter_mm / 2 for r in rows], dtype=np.float64)


def _outlines(rows: Sequence[AnnotationRow], grid: Grid) -> list[Points]:
    return [grid.to_mm(np.array(r.outline, dtype=np.float64)) for r in rows if r.outline]
