"""Write the report of the study: a page, a text, tables, curves and ``summary.json``."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from microcalc.evaluation.bootstrap import Difference, Estimate
from microcalc.evaluation.reporting.figures import Band, require_matplotlib
from microcalc.storage.write import saying_where, write_text
from microcalc.study.evaluation import LINEAR, LOG, StudyFigures
from microcalc.study.examples import Example
from microcalc.study.figures import draw_froc_curves, draw_means, draw_roc_curves
from microcalc.study.pages import to_html, to_markdown
from microcalc.study.provenance import Provenance, SampleCounts
from microcalc.study.sections import FROC_FILE, MEANS_FILE, ROC_FILE, WORDS, sections_of

__all__ = ["Provenance", "SampleCounts", "write_report", "summary_of"]

TITLE = "Two CNNs with hard negative mining against a cascade"
_AXES = {"linear": LINEAR, "log": LOG}

_SUMMARY_KEY = {"no_mining": "unmined"}
"""Names in ``summary.json`` that programs already read, where the study uses another name."""

Row = tuple[object, ...]


def write_report(figures: StudyFigures, provenance: Provenance, out: Path) -> None:
    """Write ``report.html`` and ``report.md``, the figures and curves as CSV and SVG, and ``summary.json``.

    Parameters
    ----------
    out
        Folder of the report, which need not exist. Files of an earlier report are replaced.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    require_matplotlib()
    with saying_where(out / "report.md"):
        out.mkdir(parents=True, exist_ok=True)
        drawn = _draw(figures, out)
    sections = sections_of(figures, provenance)
    title = f"{TITLE}: {provenance.scale}, {provenance.intent}"
    write_text(out / "report.md", to_markdown(title, sections))
    write_text(
        out / "report.html", to_html(title, sections, {f: (out / f).read_bytes() for f in drawn}, figures.examples)
    )
    write_text(out / "figures.csv", _csv(_FIGURE_COLUMNS, _figure_rows(figures)))
    write_text(out / "curves.csv", _csv(_CURVE_COLUMNS, _curve_rows(figures)))
    write_text(out / "examples.csv", _csv(_EXAMPLE_COLUMNS, map(_example_row, figures.examples)))
    summary = json.dumps(summary_of(figures, provenance), indent=1, allow_nan=False, ensure_ascii=False)
    write_text(out / "summary.json", summary + "\n")


def summary_of(figures: StudyFigures, provenance: Provenance) -> dict[str, object]:
    """Return the main figures of the study as plain values; None where a figure is undefined."""
    groups = figures.groups
    return {
        "scale": provenance.scale,
        "intent": provenance.intent,
        "samples": {
            split: {"positive": counts.positive, "negative": counts.negative}
            for split, counts in (("train", provenance.train), ("test", provenance.test))
        },
        "mean_sensitivity": {
            name: {_key(m): {axis: _plain(e[f]) for axis, f in _AXES.items()} for m, e in group.estimates.items()}
            for name, group in groups.items()
        },
        "paired": {
            name: {
                f"{_key(a)}-{_key(b)}": {axis: _plain_difference(d[f]) for axis, f in _AXES.items()}
                for (a, b), d in group.differences.items()
            }
            for name, group in groups.items()
        },
        "seconds": {_key(stage): seconds for stage, seconds in provenance.seconds.items()},
    }


def _key(method: str) -> str:
    return _SUMMARY_KEY.get(method, method)


def _draw(figures: StudyFigures, out: Path) -> list[str]:
    order = [*figures.vendors, "pooled"]
    means = {
        title: {g: {m: figures.groups[g].estimates[m][f] for m in figures.methods} for g in order}
        for title, f in (("FPF 0 to 0.1, linear", LINEAR), ("FPF 1e-6 to 1e-1, logarithmic", LOG))
    }
    draw_means(out / MEANS_FILE, means, WORDS)
    draw_roc_curves(out / ROC_FILE, {g: figures.roc_bands[g] for g in order if g in figures.roc_bands}, WORDS)
    if figures.froc is None:
        (out / FROC_FILE).unlink(missing_ok=True)
        return [MEANS_FILE, ROC_FILE]
    draw_froc_curves(out / FROC_FILE, figures.froc.bands, WORDS)
    return [MEANS_FILE, ROC_FILE, FROC_FILE]


_FIGURE_COLUMNS = (
    "part", "group", "of", "figure", "method", "minus", "positives", "images", "value", "low", "high", "p",
)  # fmt: skip
_CURVE_COLUMNS = ("curve", "group", "method", "x", "sensitivity", "low", "high")
_EXAMPLE_COLUMNS = (
    "what", "method", "image", "vendor", "row", "column", "rating", "d_prime", "diameter_mm",
)  # fmt: skip


def _figure_rows(figures: StudyFigures) -> Iterable[Row]:
    """Yield the rows of ``figures.csv``, one for each figure."""
    for part, groups in (("roc", list(figures.groups.values())), ("roc stratum", list(figures.strata))):
        for g in groups:
            where = (part, g.name, "samples")
            for method, estimates in g.estimates.items():
                for f, e in estimates.items():
                    yield (*where, f, method, "", g.positives, g.images, *_numbers(e))
            for (first, second), differences in g.differences.items():
                for f, d in differences.items():
                    yield (*where, f, first, second, g.positives, g.images, *_numbers(d))
    if figures.froc is not None:
        for method, values in figures.froc.values.items():
            for a in values:
                yield ("froc", a.group, a.target, a.metric, method, "", a.lesions, a.images, *_numbers(a.estimate))
        for (first, second), values in figures.froc.differences.items():
            for a in values:
                yield ("froc", a.group, a.target, a.metric, first, second, a.lesions, a.images, *_numbers(a.estimate))


def _curve_rows(figures: StudyFigures) -> Iterable[Row]:
    for group, bands in figures.roc_bands.items():
        yield from _band_rows("roc", group, bands)
    for lesions, bands in (figures.froc.bands if figures.froc is not None else {}).items():
        yield from _band_rows("froc", lesions, bands)


def _band_rows(curve: str, group: str, bands: Mapping[str, Band]) -> Iterable[Row]:
    for method, band in bands.items():
        for point in zip(band.x, band.value, band.low, band.high, strict=True):
            yield (curve, group, method, *(f"{v:.6g}" for v in point))


def _example_row(e: Example) -> Row:
    numbers = (e.row, e.column, e.rating, e.d_prime, e.diameter_mm)
    return (e.what, e.method, e.image, e.vendor, *(f"{v:.6g}" for v in numbers))


def _numbers(e: Estimate | Difference) -> tuple[str, ...]:
    p = f"{e.p:.4g}" if isinstance(e, Difference) and math.isfinite(e.p) else ""
    return (*(f"{v:.6g}" if math.isfinite(v) else "" for v in (e.value, e.low, e.high)), p)


def _plain(e: Estimate) -> dict[str, float | None]:
    return {"value": _finite(e.value), "low": _finite(e.low), "high": _finite(e.high)}


def _plain_difference(d: Difference) -> dict[str, float | None]:
    return {"difference": _finite(d.value), "low": _finite(d.low), "high": _finite(d.high), "p": _finite(d.p)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _csv(header: Sequence[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
