"""Matching the detections on the images of a table to the annotations of the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.outlines import is_inside
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.domain import BENIGN_CALCIUM, REGION, Kind
from microcalc.evaluation.detections import DetectionSet
from microcalc.evaluation.marks import Marks
from microcalc.evaluation.match import Matches, Regions, annotated_clusters, as_regions, match, match_clusters
from microcalc.evaluation.members import Members, match_members
from microcalc.evaluation.overlap import Overlap, overlap_of, overlapping, polygons_of
from microcalc.geometry import Grid, Points

IGNORED_KINDS: tuple[Kind, ...] = (*BENIGN_CALCIUM, "unsure")
"""Kinds that are neither lesion nor background: benign calcium, and places the annotator was unsure of."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How marks are matched to annotations, and which of them are false.

    Attributes
    ----------
    hit_mm
        Largest distance in mm between a mark and the centre of a microcalcification that it hits.
    hit_px
        The same in pixels of the original image, in place of ``hit_mm``: for other publications' figures.
    hit_iou
        A mark hits also where the intersection over union of its outline with the annotated one is at least this.
    ignore_kinds
        A mark on an annotation of these kinds is neither a hit nor false.
    count_ignored
        Whether marks on these kinds are false after all.
    false_marks
        ``"all"``: every mark that is neither a hit nor ignored is false. ``"reviewed"``: only the highest-rated mark
        on each place annotated as no calcium is; images without annotations are skipped, as nobody has reviewed
        them, and clusters are not evaluated.
    false_on
        Count false marks on all images, or only on those without a microcalcification.
    outline_buffer_mm
        As in `microcalc.evaluation.match.match_clusters`.
    lesions_by
        Only the microcalcifications and regions that this judge annotated (such as ``"inserted"``) are lesions; those
        of other judges are ignored.
    min_d_prime
        Microcalcifications with a known d' below this are ignored: no reader can see them.
    max_diameter_mm
        Microcalcifications with a known diameter above this are ignored.
    ignore_regions
        Whether regions whose calcifications are not annotated one by one are ignored, instead of being clusters to
        be found. A mark in a region is never false, and never a hit either.
    mean_up_to
        The mean sensitivity is stated from 0 to so many false marks per image as well, beside that to 1.
    """

    hit_mm: float = 0.5
    hit_px: float | None = None
    hit_iou: float | None = None
    ignore_kinds: tuple[Kind, ...] = IGNORED_KINDS
    count_ignored: bool = False
    false_marks: Literal["all", "reviewed"] = "all"
    false_on: Literal["all", "lesion_free"] = "all"
    outline_buffer_mm: float = 1.0
    lesions_by: str | None = None
    min_d_prime: float = 0.0
    max_diameter_mm: float | None = None
    ignore_regions: bool = False
    mean_up_to: float | None = None

    def is_lesion(self, row: AnnotationRow) -> bool:
        """Return whether an annotated microcalcification or region is a lesion."""
        visible = row.d_prime is None or row.d_prime >= self.min_d_prime
        small = self.max_diameter_mm is None or row.kind == REGION or row.diameter_mm <= self.max_diameter_mm
        return visible and small and self.lesions_by in (None, row.judge)

    def on(self, image: ImageRow) -> Rules:
        """Return the rules for one image, with the radius of a hit in mm."""
        if self.hit_px is None:
            return self
        return replace(self, hit_px=None, hit_mm=self.hit_px * float(np.sqrt(np.prod(image.spacing_mm))))


@dataclass(frozen=True, eq=False, slots=True)
class MatchedImage:
    """The marks and annotations of one image, matched.

    Attributes
    ----------
    marks
        Matches of individual microcalcifications.
    diameter_mm, d_prime
        (n_truth,) of the microcalcifications; NaN where not known.
    clusters, findings
        Matches of all clusters, and of those at the default operating point; None where the detector gives none.
    members
        Members of the findings of found clusters; None where the detector gives no findings.
    breast_area_cm2
        None where not known.
    n_marks
        Number of marks on the image.
    n_regions
        Number of regions that are lesions: the last of the lesions of ``clusters`` and ``findings``.
    has_region
        Whether a region is annotated, even if it is ignored or holds an annotated cluster.
    overlap
        Of the marks that hit with the microcalcifications; None where the detector or the table gives no outlines.
    """

    image: ImageRow
    marks: Matches
    diameter_mm: NDArray[np.float64]
    d_prime: NDArray[np.float64]
    clusters: Matches | None
    findings: Matches | None
    breast_area_cm2: float | None
    n_marks: int
    members: Members | None = None
    n_regions: int = 0
    has_region: bool = False
    overlap: Overlap | None = None

    @property
    def has_lesion(self) -> bool:
        """Whether a microcalcification or a region is annotated."""
        return self.has_region or self.marks.lesion_rating.size > 0


@dataclass(frozen=True, slots=True)
class _Annotated:
    """The annotations of one image: lesions, what is neither a lesion nor background, and regions."""

    lesions: Sequence[AnnotationRow]
    ignored: Sequence[AnnotationRow]
    regions: Sequence[AnnotationRow]
    grid: Grid

    @property
    def truth(self) -> Points:
        return _centres(self.lesions, self.grid)

    @property
    def ignored_regions(self) -> Regions:
        radii = np.array([r.diameter_mm / 2 for r in self.ignored], dtype=np.float64)
        outlines = _outlines([*self.ignored, *self.regions], self.grid)
        return Regions(_centres(self.ignored, self.grid), radii, tuple(outlines))

    def region_lesions(self, rules: Rules) -> Sequence[AnnotationRow]:
        """Return the regions to be found: those that hold no annotated cluster, which would be the same lesion."""
        members = [(r.row, r.column) for r in self.lesions if r.cluster]
        return [
            r
            for r in self.regions
            if not rules.ignore_regions and rules.is_lesion(r) and not any(is_inside(m, r.outline) for m in members)
        ]


def match_images(detections: DetectionSet, table: Table, rules: Rules) -> list[MatchedImage]:
    """Match marks to annotations on every image of the table that has detections, in the table's order."""
    images = [i for i in table.images if i.image in detections.marks]
    if rules.false_marks == "reviewed":
        images = [i for i in images if table.rows_of(i)]
    return [match_image(detections.marks[i.image], i, table.rows_of(i), rules) for i in images]


def match_image(detected: Marks, image: ImageRow, rows: Sequence[AnnotationRow], rules: Rules) -> MatchedImage:
    """Match the marks on one image to its annotations.

    Parameters
    ----------
    rows
        The annotations of the image.
    """
    rules, grid = rules.on(image), Grid(image.spacing_mm)
    calcium = [r for r in rows if r.kind == "microcalcification"]
    lesions = [r for r in calcium if rules.is_lesion(r)]
    others = [r for r in calcium if not rules.is_lesion(r)]
    ignored = [] if rules.count_ignored else [*others, *(r for r in rows if r.kind in rules.ignore_kinds)]
    regions = [r for r in rows if r.kind == REGION]
    annotated = _Annotated(lesions, ignored, regions, grid)
    centres = grid.to_mm(detected.centres_px)
    truth_drawn = polygons_of([r.outline for r in lesions])
    drawn = polygons_of(detected.outlines if any(r.outline for r in lesions) else ())
    also = [] if rules.hit_iou is None else overlapping(drawn, truth_drawn, min_iou=rules.hit_iou)
    marks = match(
        centres, detected.likelihood, annotated.truth,
        hit_mm=rules.hit_mm, ignored=annotated.ignored_regions, also=also,
    )  # fmt: skip
    hit = marks.lesion_mark >= 0
    overlap = overlap_of(drawn[marks.lesion_mark[hit]], truth_drawn[hit]) if drawn.size else None
    clusters = findings = members = None
    if rules.false_marks == "reviewed":
        empty = _centres([r for r in rows if r.kind == "no_calcium"], grid)
        marks = _false_on_places(marks, centres, detected.likelihood, empty, rules.hit_mm)
    elif detected.finding is not None:
        clusters = _match_clusters(detected, centres, annotated, rules, np.ones_like(detected.finding))
        findings = _match_clusters(detected, centres, annotated, rules, detected.finding)
        members = _match_members(detected, centres, annotated, rules, findings)
    return MatchedImage(
        image,
        marks,
        np.array([r.diameter_mm or np.nan for r in lesions], dtype=np.float64),
        np.array([np.nan if r.d_prime is None else r.d_prime for r in lesions], dtype=np.float64),
        clusters,
        findings,
        detected.breast_area_cm2,
        len(centres),
        members,
        len(annotated.region_lesions(rules)),
        any(rules.is_lesion(r) for r in regions),
        overlap,
    )


def _match_members(
    detected: Marks, centres: Points, annotated: _Annotated, rules: Rules, findings: Matches
) -> Members | None:
    """Match the members of the findings to the microcalcifications of the clusters that these hit."""
    if detected.members is None or detected.finding is None:
        return None
    owner = np.array([r.cluster for r in annotated.lesions], dtype=np.str_)
    names = annotated_clusters(owner)
    return match_members(
        [centres[m] for m, shown in zip(detected.members, detected.finding, strict=True) if shown],
        annotated.truth,
        owner,
        [name for name, mark in zip(names, findings.lesion_mark[: len(names)], strict=True) if mark >= 0],
        hit_mm=rules.hit_mm,
        ignored=annotated.ignored_regions,
    )


def _match_clusters(
    detected: Marks, centres: Points, annotated: _Annotated, rules: Rules, chosen: NDArray[np.bool_]
) -> Matches:
    """Match those clusters of an image that are ``chosen`` (n_clusters,)."""
    if detected.members is None or detected.cluster_likelihood is None:
        raise ValueError("the detections have no clusters, expected a detector that groups its marks")
    lesions, grid = annotated.lesions, annotated.grid
    owner = np.array([r.cluster for r in lesions], dtype=np.str_)
    outlines = {
        name: np.concatenate([np.empty((0, 2)), *_outlines([r for r in lesions if r.cluster == name], grid)])
        for name in annotated_clusters(owner)
    }
    return match_clusters(
        [centres[m] for m, wanted in zip(detected.members, chosen, strict=True) if wanted],
        detected.cluster_likelihood[chosen],
        annotated.truth,
        owner,
        hit_mm=rules.hit_mm,
        outline_buffer_mm=rules.outline_buffer_mm,
        truth_outlines_mm=outlines | as_regions(_outlines(annotated.region_lesions(rules), grid)),
        ignored=annotated.ignored_regions,
    )


def _false_on_places(
    matches: Matches, centres: Points, likelihood: NDArray[np.float64], places: Points, hit_mm: float
) -> Matches:
    """Return the matches with at most one false mark on each of the places, the highest rated, and none elsewhere."""
    off = matches.nl_mark
    on_places = match(centres[off], likelihood[off], places, hit_mm=hit_mm)
    nl_mark = off[np.sort(on_places.lesion_mark[on_places.lesion_mark >= 0])]
    return Matches(matches.lesion_rating, likelihood[nl_mark], matches.lesion_mark, nl_mark)


def _centres(rows: Sequence[AnnotationRow], grid: Grid) -> Points:
    return grid.to_mm(np.array([(r.row, r.column) for r in rows], dtype=np.float64).reshape(-1, 2))


def _outlines(rows: Sequence[AnnotationRow], grid: Grid) -> list[Points]:
    return [grid.to_mm(np.array(r.outline, dtype=np.float64)) for r in rows if r.outline]
