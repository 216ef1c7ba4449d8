"""Evaluating detectors on a data set, and writing what came out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from microcalc.datasets.lines import write_lines
from microcalc.datasets.table import Table
from microcalc.domain import Kind
from microcalc.errors import InputError
from microcalc.evaluation.bootstrap import Difference, Estimate
from microcalc.evaluation.detections import DetectionSet, read_marks
from microcalc.evaluation.frame import frame_remarks
from microcalc.evaluation.froc import FrocCurve, froc_curve
from microcalc.evaluation.judge import IGNORED_KINDS, JudgedImage, Rules, judge_all
from microcalc.evaluation.reporting.figures import Band, band, draw_froc, require_matplotlib
from microcalc.evaluation.summary import (
    Answer,
    Question,
    answer,
    answer_difference,
    areas_cm2,
    clusters_of,
    counted_images,
    marks_of,
    questions,
    rate,
)
from microcalc.storage.ownership import open_output_folder
from microcalc.storage.write import write_text, writing

SCHEMA = "microcalc/evaluation/1"
COMMAND = "evaluate"
"""Whose mark the folder of results bears."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the figures stand on."""

    images: int
    patients: int
    microcalcifications: int
    clusters: int | None
    marks: int
    false_marks: int
    images_for_false_marks: int
    images_without_detections: int
    detections_not_in_table: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Every figure of one detector with its interval, and what it stands on."""

    name: str
    rules: Rules
    resamples: int
    seed: int
    counts: Counts
    answers: tuple[Answer, ...]
    remarks: tuple[str, ...] = ()
    """Which images are not judged, or judged as without marks, in words."""
    misfits: tuple[str, ...] = ()
    """Why the figures mean nothing, in words: marks and annotations are not of one frame."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several detectors on the same images; differences are first minus second."""

    summaries: tuple[Summary, ...]
    differences: Mapping[tuple[str, str], tuple[Answer, ...]]


@dataclass(frozen=True, eq=False, slots=True)
class _Run:
    summary: Summary
    judged: list[JudgedImage]
    asked: list[Question]


def evaluate_detections(
    detections: Sequence[Path],
    table: Table,
    *,
    out: Path,
    name: str = "detections",
    hit_mm: float = 0.5,
    ignore_kinds: Sequence[Kind] = IGNORED_KINDS,
    count_ignored: bool = False,
    false_marks: Literal["all", "reviewed"] = "all",
    false_on: Literal["all", "lesion_free"] = "all",
    lesions_by: str | None = None,
    min_d_prime: float = 0.0,
    outline_buffer_mm: float = 1.0,
    resamples: int = 2000,
    seed: int = 0,
) -> Summary:
    """Judge detections against a table and write ``summary.json``, ``summary.md``, ``froc.csv``, ``froc.svg``.

    Parameters
    ----------
    detections
        As in `microcalc.evaluation.detections.read_marks`.
    out
        Folder for the results: new, empty, or with results of an earlier call.
    name
        What the detector is called in the results.
    hit_mm, ignore_kinds, count_ignored, false_marks, false_on, lesions_by, min_d_prime, outline_buffer_mm
        As in `microcalc.evaluation.judge.Rules`.
    resamples, seed
        Of the bootstrap by patient.

    Raises
    ------
    InputError
        The detections cannot be used, or there is no microcalcification in the images judged.
    MissingExtraError
        matplotlib is not installed.
    """
    rules = Rules(
        hit_mm, tuple(ignore_kinds), count_ignored, false_marks, false_on, outline_buffer_mm, lesions_by, min_d_prime
    )
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
    hit_mm: float = 0.5,
    ignore_kinds: Sequence[Kind] = IGNORED_KINDS,
    count_ignored: bool = False,
    false_marks: Literal["all", "reviewed"] = "all",
    false_on: Literal["all", "lesion_free"] = "all",
    lesions_by: str | None = None,
    min_d_prime: float = 0.0,
    outline_buffer_mm: float = 1.0,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Judge several detectors on the same images, with paired differences of every two.

    Writes ``compare.json``, ``compare.md``, ``froc.csv`` and ``froc.svg``. Parameters as in
    `evaluate_detections`, but for ``detections``, which maps names to files.

    Raises
    ------
    InputError
        As there; or one detector has an image that another lacks.
    """
    rules = Rules(
        hit_mm, tuple(ignore_kinds), count_ignored, false_marks, false_on, outline_buffer_mm, lesions_by, min_d_prime
    )
    require_matplotlib()
    found = {name: read_marks(paths, table) for name, paths in detections.items()}
    _refuse_unequal(found)
    runs = [_run(name, these, table, rules, resamples, seed) for name, these in found.items()]
    differences = {
        (a.summary.name, b.summary.name): tuple(answer_difference(a.asked, b.asked, resamples=resamples, seed=seed))
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


def _run(name: str, found: DetectionSet, table: Table, rules: Rules, resamples: int, seed: int) -> _Run:
    judged = judge_all(found, table, rules)
    asked = questions(judged, rules)
    if not asked:
        raise InputError(
            f"{name}: {len(judged)} images judged have no microcalcification or no image to count false marks on, "
            "expected at least one of each"
        )
    counts = _counts(judged, found, rules)
    answers = tuple(answer(asked, resamples=resamples, seed=seed))
    misfits = frame_remarks(found.of, table, hit_mm=rules.hit_mm)
    return _Run(Summary(name, rules, resamples, seed, counts, answers, found.remarks(), misfits), judged, asked)


def _begin(out: Path, *, stale: Sequence[str]) -> None:
    """Make and mark the folder; remove what an earlier call wrote of another number of detectors."""
    open_output_folder(out, COMMAND)
    for name in stale:
        (out / name).unlink(missing_ok=True)


def _counts(judged: Sequence[JudgedImage], found: DetectionSet, rules: Rules) -> Counts:
    counted = counted_images(judged, rules)
    clusters = [j.clusters.lesion_rating.size for j in judged if j.clusters is not None]
    return Counts(
        images=len(judged),
        patients=len({j.image.patient_or_image for j in judged}),
        microcalcifications=sum(j.marks.lesion_rating.size for j in judged),
        clusters=sum(clusters) if len(clusters) == len(judged) else None,
        marks=sum(j.n_marks for j in judged),
        false_marks=sum(j.marks.nl_rating.size for j, use in zip(judged, counted, strict=True) if use),
        images_for_false_marks=int(np.count_nonzero(counted)),
        images_without_detections=len(found.without),
        detections_not_in_table=len(found.not_in_table),
    )


def _refuse_unequal(found: Mapping[str, DetectionSet]) -> None:
    if len(found) < 2:
        raise InputError(f"{len(found)} detectors, expected at least two to compare")
    everywhere = set().union(*(these.of for these in found.values()))
    for name, these in found.items():
        lacking = sorted(everywhere - set(these.of))
        if lacking:
            raise InputError(f"{name}: no detections on image {lacking[0]!r}, which another detector has")


def _froc_curves(run: _Run) -> dict[str, FrocCurve]:
    """Exact curves of all images, by what they show."""
    judged, rules = run.judged, run.summary.rules
    counted = counted_images(judged, rules)
    rated = rate(judged, marks_of, counted=counted)
    n_images, areas = float(np.count_nonzero(counted)), areas_cm2(judged)
    curves = {"microcalcifications per image": froc_curve(rated.lesion_rating, rated.nl_rating, n_images)}
    if areas is not None:
        area = float(areas[counted].sum())
        curves["microcalcifications per cm2"] = froc_curve(rated.lesion_rating, rated.nl_rating, area)
    if run.summary.counts.clusters:
        clusters = rate(judged, clusters_of, counted=counted)
        curves["clusters per image"] = froc_curve(clusters.lesion_rating, clusters.nl_rating, n_images)
    return curves


def _write_curves(file: Path, runs: Sequence[_Run]) -> None:
    """The points where a lesion is gained, and the end of each curve: all that its steps need."""
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
        for q in run.asked:
            if q.group == "all" and q.about != "findings" and "per cm²" not in next(iter(q.figures)):
                drawn = band(q.ratings, resamples=min(resamples, 500), rng=np.random.default_rng(seed))
                panels.setdefault(q.about, {})[run.summary.name] = drawn
    reviewed = runs[0].summary.rules.false_marks == "reviewed"
    per = {"microcalcifications": "marks reviewed as no calcium per image" if reviewed else "false marks per image"}
    with writing(file) as temporary:
        draw_froc(temporary, panels, {**{about: f"false {about} per image" for about in panels}, **per})


def _as_json(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "rules": asdict(summary.rules),
        "bootstrap": {"by": "patient", "resamples": summary.resamples, "seed": summary.seed},
        "counts": asdict(summary.counts),
        "remarks": [*summary.misfits, *summary.remarks],
        "figures": [_answer_as_json(a) for a in summary.answers],
    }


def _answer_as_json(a: Answer) -> dict[str, Any]:
    values = {k: v if math.isfinite(v) else None for k, v in asdict(a.estimate).items()}
    named = {"group": a.group, "about": a.about, "figure": a.figure, "lesions": a.lesions, "images": a.images}
    return {**named, **values}


def _comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    differences = [
        {"first": a, "second": b, "figures": [_answer_as_json(x) for x in answers]}
        for (a, b), answers in comparison.differences.items()
    ]
    return {
        "schema": "microcalc/comparison/1",
        "detectors": [_as_json(s) for s in comparison.summaries],
        "differences": differences,
    }


def _write_json(file: Path, value: dict[str, Any]) -> None:
    write_text(file, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _markdown(summary: Summary) -> str:
    rows = [f"| {a.group} | {a.about} | {a.lesions} | {a.figure} | {_text(a)} |" for a in summary.answers]
    head = ["| group | about | lesions | figure | value (95 % interval) |", "|---|---|---|---|---|"]
    return "\n".join([f"# {summary.name}", "", *_basis(summary), "", *head, *rows, ""])


def _comparison_markdown(comparison: Comparison) -> str:
    names = [s.name for s in comparison.summaries]
    columns: list[dict[tuple[str, str, str], Answer]] = [
        {(a.group, a.about, a.figure): a for a in s.answers} for s in comparison.summaries
    ]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    lines = [f"# {', '.join(names)}", "", *_basis(comparison.summaries[0]), ""]
    lines += ["| group | about | figure | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"]
    for key in keys:
        lines.append("| " + " | ".join([*key, *(_text(c[key]) if key in c else "" for c in columns)]) + " |")
    for (a, b), answers in comparison.differences.items():
        lines += ["", f"## {a} minus {b}", "", "| group | about | figure | difference (95 % interval) | p |"]
        lines += ["|---|---|---|---|---|"]
        lines += [f"| {x.group} | {x.about} | {x.figure} | {_text(x)} | {_p(x.estimate)} |" for x in answers]
    return "\n".join([*lines, ""])


def _basis(summary: Summary) -> list[str]:
    c, r = summary.counts, summary.rules
    ignored = "nothing" if r.count_ignored else ", ".join(r.ignore_kinds) or "nothing"
    invisible = f", microcalcifications of d' below {r.min_d_prime:g}" if r.min_d_prime > 0 else ""
    clusters = "" if c.clusters is None else f" in {c.clusters} clusters"
    lines = [
        f"{c.images} images of {c.patients} patients, {c.microcalcifications} microcalcifications{clusters}. "
        f"A mark hits within {r.hit_mm:g} mm. Ignored: {ignored}{invisible}. "
        f"False marks ({'all others' if r.false_marks == 'all' else 'on places reviewed as no calcium only'}) "
        f"are counted on {c.images_for_false_marks} images"
        f"{'' if r.false_on == 'all' else ', those without microcalcifications'}; {c.false_marks} are listed. "
        f"Intervals: bootstrap by patient, {summary.resamples} resamples, seed {summary.seed}.",
    ]
    return [*lines, *(line for remark in (*summary.misfits, *summary.remarks) for line in ("", f"**{remark}**"))]


def _text(a: Answer) -> str:
    e = a.estimate
    texts = [f"{v:.3f}" if math.isfinite(v) else "–" for v in (e.value, e.low, e.high)]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def _p(estimate: Estimate | Difference) -> str:
    return f"{estimate.p:.4f}" if isinstance(estimate, Difference) and math.isfinite(estimate.p) else "–"
