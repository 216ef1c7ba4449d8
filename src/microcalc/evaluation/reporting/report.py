"""Evaluation of detectors on a data set, as JSON, Markdown, CSV and SVG."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microcalc.datasets.lines import write_lines
from microcalc.datasets.table import Table
from microcalc.errors import InputError
from microcalc.evaluation.bootstrap import Difference, Estimate
from microcalc.evaluation.detections import DetectionSet, read_marks
from microcalc.evaluation.folds import fold_remarks
from microcalc.evaluation.frame import frame_warnings
from microcalc.evaluation.froc import FrocCurve, froc_curve
from microcalc.evaluation.matched_images import MatchedImage, Rules, match_images
from microcalc.evaluation.metrics import (
    MetricGroup,
    MetricValue,
    areas_cm2,
    clusters_of,
    counted_images,
    estimate_differences,
    estimate_metrics,
    estimate_outlines,
    marks_of,
    metric_groups,
    rate,
)
from microcalc.evaluation.reporting.figures import Band, band, draw_froc, require_matplotlib
from microcalc.evaluation.reporting.tables import NOT_DEFINED, TextTable, estimate_text, markdown_table, p_text
from microcalc.storage.ownership import open_output_folder
from microcalc.storage.write import write_text
from microcalc.wording import quantity

SCHEMA = "microcalc/evaluation/1"
COMMAND = "evaluate"
"""The command whose mark the folder of results bears."""

_DEFAULT_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of images, lesions and marks that the metrics are based on; ``clusters`` include the ``regions``."""

    images: int
    patients: int
    microcalcifications: int
    clusters: int | None
    regions: int
    marks: int
    false_marks: int
    images_for_false_marks: int
    images_without_detections: int
    detections_not_in_table: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Every metric of one detector with its interval, and the numbers it is based on.

    Attributes
    ----------
    remarks
        Sentences that name the images that are not evaluated, or evaluated as having no marks.
    frame_warnings
        Sentences that say that marks and annotations do not share a coordinate frame; the metrics then mean nothing.
    """

    name: str
    rules: Rules
    resamples: int
    seed: int
    counts: Counts
    metrics: tuple[MetricValue, ...]
    remarks: tuple[str, ...] = ()
    frame_warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The metrics of several detectors on the same images; differences are first minus second."""

    summaries: tuple[Summary, ...]
    differences: Mapping[tuple[str, str], tuple[MetricValue, ...]]


@dataclass(frozen=True, eq=False, slots=True)
class _Run:
    """The evaluation of one detector."""

    summary: Summary
    images: list[MatchedImage]
    groups: list[MetricGroup]


def evaluate_detections(
    detections: Sequence[Path],
    table: Table,
    *,
    out: Path,
    name: str = "detections",
    rules: Rules = _DEFAULT_RULES,
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """Evaluate detections against a table; write ``summary.json``, ``summary.md``, ``froc.csv`` and ``froc.svg``.

    Parameters
    ----------
    detections
        As in `microcalc.evaluation.detections.read_marks`.
    out
        Folder for the results: new, empty, or with results of an earlier call.
    name
        Name of the detector in the results.
    rules
        How marks are matched to annotations.
    resamples, seed
        Number of bootstrap resamples of patients, and seed of the random generator.

    Raises
    ------
    InputError
        The detections cannot be used, or the images evaluated have no microcalcification.
    MissingExtraError
        matplotlib is not installed.
    """
    require_matplotlib()
    run = _run(name, read_marks(detections, table), table, rules, resamples, seed)
    _begin(out, stale=("compare.json", "compare.md"))
    _write_json(out / "summary.json", {"schema": SCHEMA, **_as_json(run.summary)})
    write_text(out / "summary.md", _markdown(run.summary))
    _write_curves(out / "froc.csv", [run])
    _draw(out / "froc.svg", [run], resamples, seed)
    return run.summary


def compare_detections(
    detections: Mapping[str, Sequence[Path]],
    table: Table,
    *,
    out: Path,
    rules: Rules = _DEFAULT_RULES,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Evaluate several detectors on the same images, with the paired differences of every two.

    Write ``compare.json``, ``compare.md``, ``froc.csv`` and ``froc.svg``.

    Parameters
    ----------
    detections
        Files of each detector, by its name.
    out, rules, resamples, seed
        As in `evaluate_detections`.

    Raises
    ------
    InputError
        As in `evaluate_detections`; or a detector lacks an image that another has.
    MissingExtraError
        matplotlib is not installed.
    """
    require_matplotlib()
    sets = {name: read_marks(paths, table) for name, paths in detections.items()}
    _refuse_unequal(sets)
    runs = [_run(name, of_detector, table, rules, resamples, seed) for name, of_detector in sets.items()]
    differences = {
        (a.summary.name, b.summary.name): tuple(
            estimate_differences(a.groups, b.groups, resamples=resamples, seed=seed)
        )
        for i, a in enumerate(runs)
        for b in runs[i + 1 :]
    }
    comparison = Comparison(tuple(run.summary for run in runs), differences)
    _begin(out, stale=("summary.json", "summary.md"))
    _write_json(out / "compare.json", _comparison_as_json(comparison))
    write_text(out / "compare.md", _comparison_markdown(comparison))
    _write_curves(out / "froc.csv", runs)
    _draw(out / "froc.svg", runs, resamples, seed)
    return comparison


def _run(name: str, detections: DetectionSet, table: Table, rules: Rules, resamples: int, seed: int) -> _Run:
    images = match_images(detections, table, rules)
    groups = metric_groups(images, rules)
    if not groups:
        regions = sum(m.n_regions for m in images)
        raise InputError(
            f"{name}: {quantity(len(images), 'image')} evaluated, without a microcalcification or without an image to "
            "count false marks on, expected at least one of each"
            + (f"; {quantity(regions, 'region')} can be found by detections in clusters alone" if regions else "")
        )
    summary = Summary(
        name,
        rules,
        resamples,
        seed,
        _counts(images, detections, rules),
        (
            *estimate_metrics(groups, resamples=resamples, seed=seed),
            *estimate_outlines(images, resamples=resamples, seed=seed),
        ),
        (*detections.remarks(), *fold_remarks(m.image for m in images)),
        frame_warnings(detections.marks, table, hit_mm=rules.hit_mm),
    )
    return _Run(summary, images, groups)


def _begin(out: Path, *, stale: Sequence[str]) -> None:
    """Make and mark the folder; remove the files that an earlier call wrote of another number of detectors."""
    open_output_folder(out, COMMAND)
    for name in stale:
        (out / name).unlink(missing_ok=True)


def _counts(images: Sequence[MatchedImage], detections: DetectionSet, rules: Rules) -> Counts:
    counted = counted_images(images, rules)
    clusters = [m.clusters.lesion_rating.size for m in images if m.clusters is not None]
    return Counts(
        images=len(images),
        patients=len({m.image.patient_or_image for m in images}),
        microcalcifications=sum(m.marks.lesion_rating.size for m in images),
        clusters=sum(clusters) if len(clusters) == len(images) else None,
        regions=sum(m.n_regions for m in images),
        marks=sum(m.n_marks for m in images),
        false_marks=sum(m.marks.nl_rating.size for m, use in zip(images, counted, strict=True) if use),
        images_for_false_marks=int(np.count_nonzero(counted)),
        images_without_detections=len(detections.images_without_detections),
        detections_not_in_table=len(detections.images_not_in_table),
    )


def _refuse_unequal(sets: Mapping[str, DetectionSet]) -> None:
    """Refuse to compare detectors that do not have detections on the same images."""
    if len(sets) < 2:
        raise InputError(f"{quantity(len(sets), 'detector')}, expected at least two to compare")
    all_images = set().union(*(of_detector.marks for of_detector in sets.values()))
    for name, of_detector in sets.items():
        missing = sorted(all_images - set(of_detector.marks))
        if missing:
            raise InputError(
                f"{name}: no detections on image {missing[0]!r}, which another detector has; "
                "expected detections on the same images"
            )


def _froc_curves(run: _Run) -> dict[str, FrocCurve]:
    """Return the exact curves of all images, by target and unit."""
    images, rules = run.images, run.summary.rules
    counted = counted_images(images, rules)
    rated = rate(images, marks_of, counted=counted)
    n_images, areas = float(np.count_nonzero(counted)), areas_cm2(images)
    curves = {}
    if rated.lesion_rating.size:
        curves["microcalcifications per image"] = froc_curve(rated.lesion_rating, rated.nl_rating, n_images)
    if rated.lesion_rating.size and areas is not None:
        area = float(areas[counted].sum())
        curves["microcalcifications per cm2"] = froc_curve(rated.lesion_rating, rated.nl_rating, area)
    if run.summary.counts.clusters:
        clusters = rate(images, clusters_of, counted=counted)
        curves["clusters per image"] = froc_curve(clusters.lesion_rating, clusters.nl_rating, n_images)
    return curves


def _write_curves(file: Path, runs: Sequence[_Run]) -> None:
    """Write the vertices at which the sensitivity rises, and the end of each curve; they define its steps."""
    rows = []
    for run in runs:
        for name, curve in _froc_curves(run).items():
            gains = np.diff(curve.llf, prepend=-1.0) > 0
            gains[-1] = True
            for t, x, y in zip(curve.threshold[gains], curve.nlf[gains], curve.llf[gains], strict=True):
                rows.append((run.summary.name, name, f"{t:.9g}", f"{x:.6g}", f"{y:.6g}"))
    write_lines(file, ("detector", "curve", "threshold", "false", "sensitivity"), rows)


def _draw(file: Path, runs: Sequence[_Run], resamples: int, seed: int) -> None:
    panels: dict[str, dict[str, Band]] = {}
    for run in runs:
        for group in run.groups:
            per_image = "per cm²" not in next(iter(group.metrics))
            if group.group == "all" and group.target in ("microcalcifications", "clusters") and per_image:
                curve = band(group.ratings, resamples=min(resamples, 500), rng=np.random.default_rng(seed))
                panels.setdefault(group.target, {})[run.summary.name] = curve
    reviewed = runs[0].summary.rules.false_marks == "reviewed"
    marks = "marks reviewed as no calcium per image" if reviewed else "false marks per image"
    draw_froc(file, panels, {"clusters": "false clusters per image", "microcalcifications": marks})


def _as_json(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "rules": asdict(summary.rules),
        "bootstrap": {"by": "patient", "resamples": summary.resamples, "seed": summary.seed},
        "counts": asdict(summary.counts),
        "remarks": [*summary.frame_warnings, *summary.remarks],
        "figures": [_value_as_json(v) for v in summary.metrics],
    }


def _value_as_json(v: MetricValue) -> dict[str, Any]:
    """Return a metric as plain values; the keys ``about`` and ``figure`` are read by other programs."""
    values = {key: value if math.isfinite(value) else None for key, value in asdict(v.estimate).items()}
    named = {"group": v.group, "about": v.target, "figure": v.metric, "lesions": v.lesions, "images": v.images}
    return {**named, **values}


def _comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    differences = [
        {"first": a, "second": b, "figures": [_value_as_json(v) for v in values]}
        for (a, b), values in comparison.differences.items()
    ]
    return {
        "schema": "microcalc/comparison/1",
        "detectors": [_as_json(s) for s in comparison.summaries],
        "differences": differences,
    }


def _write_json(file: Path, value: dict[str, Any]) -> None:
    write_text(file, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _markdown(summary: Summary) -> str:
    rows = [(v.group, v.target, str(v.lesions), v.metric, estimate_text(v.estimate)) for v in summary.metrics]
    table = TextTable(("group", "target", "lesions", "metric", "value (95 % interval)"), rows)
    return "\n".join([f"# {summary.name}", "", *_basis(summary), "", *markdown_table(table), ""])


def _comparison_markdown(comparison: Comparison) -> str:
    names = [s.name for s in comparison.summaries]
    columns = [
        {(v.group, v.target, v.metric): estimate_text(v.estimate) for v in s.metrics} for s in comparison.summaries
    ]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    values = TextTable(
        ("group", "target", "metric", *names), [(*key, *(column.get(key, "") for column in columns)) for key in keys]
    )
    lines = [f"# {', '.join(names)}", "", *_basis(comparison.summaries[0]), "", *markdown_table(values)]
    for (a, b), changes in comparison.differences.items():
        rows = [(v.group, v.target, v.metric, estimate_text(v.estimate), _p(v.estimate)) for v in changes]
        table = TextTable(("group", "target", "metric", "difference (95 % interval)", "p"), rows)
        lines += ["", f"## {a} minus {b}", "", *markdown_table(table)]
    return "\n".join([*lines, ""])


def _p(estimate: Estimate | Difference) -> str:
    return p_text(estimate.p) if isinstance(estimate, Difference) else NOT_DEFINED


def _basis(summary: Summary) -> list[str]:
    """Return a paragraph on the images, the rules and the bootstrap, and one for each warning and remark."""
    c, r = summary.counts, summary.rules
    ignored = "nothing" if r.count_ignored else ", ".join(r.ignore_kinds) or "nothing"
    invisible = f", microcalcifications of d' below {r.min_d_prime:g}" if r.min_d_prime > 0 else ""
    invisible += "" if r.max_diameter_mm is None else f", those of more than {r.max_diameter_mm:g} mm"
    radius = f"{r.hit_mm:g} mm" if r.hit_px is None else f"{r.hit_px:g} pixels"
    iou = "" if r.hit_iou is None else f", or where the outlines' IoU is at least {r.hit_iou:g}"
    clusters = "" if c.clusters is None else f" in {quantity(c.clusters - c.regions, 'cluster')}"
    if c.regions:
        clusters += f", {quantity(c.regions, 'region')} with calcifications at unknown places"
    false = "all other marks" if r.false_marks == "all" else "marks on places reviewed as no calcium only"
    lines = [
        f"{quantity(c.images, 'image')} of {quantity(c.patients, 'patient')}, "
        f"{quantity(c.microcalcifications, 'microcalcification')}{clusters}. "
        f"A mark hits within {radius}{iou}. Ignored: {ignored}{invisible}. "
        f"False marks ({false}) are counted on {quantity(c.images_for_false_marks, 'image')}"
        f"{'' if r.false_on == 'all' else ', those without microcalcifications'}; there are {c.false_marks}. "
        f"Intervals: bootstrap by patient, {summary.resamples} resamples, seed {summary.seed}.",
    ]
    remarks = (*summary.frame_warnings, *summary.remarks)
    return [*lines, *(line for remark in remarks for line in ("", f"**{remark}**"))]
