"""The content of the report: sections of sentences, tables and pictures, the same for the page and the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microcalc.evaluation.bootstrap import Difference, Estimate
from microcalc.evaluation.reporting.figures import Band
from microcalc.evaluation.reporting.tables import TextTable, difference_text, estimate_text
from microcalc.evaluation.roc import ROC_METRICS
from microcalc.study.evaluation import AREA, LINEAR, LOG, FrocFigures, RocGroup, StudyFigures
from microcalc.study.provenance import Provenance

MEANS_FILE, ROC_FILE, FROC_FILE = "mean-sensitivity.svg", "roc.svg", "froc.svg"
WORDS: Mapping[str, str] = {
    "cascade": "Cascade",
    "cnn1": "CNN1 alone",
    "pair": "CNN pair",
    "log": "LoG (floor)",
    "no_mining": "Pair without mining",
    "hologic": "Hologic",
    "ge": "GE",
    "siemens": "Siemens",
    "pooled": "Pooled",
}
"""Names of methods and groups in the report; others keep their own names."""
PAPER_FPF = 0.1
NOTHING_SHOWN = (
    "This scale only shows that everything runs: few and small images, hardly any training. Its figures mean "
    "nothing, and neither confirm nor refute a claim."
)
_P_SIGNIFICANT = 0.05
_INTERVALS = "In brackets: 95 % interval"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, then sentences, tables, pictures (files of the report) and verbatim text, in this order."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[TextTable, ...] = ()
    pictures: tuple[str, ...] = ()
    verbatim: str = ""


def sections_of(figures: StudyFigures, provenance: Provenance) -> list[Section]:
    """Return all sections except the pictures of hits and misses."""
    sections = [_data(figures, provenance), _means(figures)]
    if ("pair", "cascade") in figures.pairs:
        sections.append(_claims(figures, provenance))
    sections.append(_roc(figures))
    if figures.froc is not None:
        sections += [_froc(figures, figures.froc), _froc_strata(figures.froc)]
    return [*sections, _strata(figures), *_provenance(provenance)]


def word(name: str) -> str:
    """Return the name of a method or group in the report."""
    return WORDS.get(name, name)


def pair_words(pair: tuple[str, str]) -> str:
    """Return the name of a difference between two methods."""
    return f"{word(pair[0])} minus {word(pair[1])}"


def _data(figures: StudyFigures, provenance: Provenance) -> Section:
    pooled, rules = figures.groups["pooled"], figures.rules
    counts = TextTable(
        ("samples", "positive", "negative"),
        (
            ("train", f"{provenance.train.positive:,}", f"{provenance.train.negative:,}"),
            ("test", f"{provenance.test.positive:,}", f"{provenance.test.negative:,}"),
        ),
    )
    per_vendor = TextTable(
        ("test", "images", "patients", "positive", "negative"),
        tuple(
            (word(g.name), f"{g.images:,}", f"{g.patients:,}", f"{g.positives:,}", f"{g.negatives:,}")
            for g in _vendors_then_pooled(figures)
        ),
    )
    visible = f" Microcalcifications of d' below {rules.min_d_prime:g} are ignored." if rules.min_d_prime > 0 else ""
    return Section(
        "Data",
        (
            *([NOTHING_SHOWN] if provenance.shows_nothing else []),
            f"Scale {provenance.scale}, {provenance.intent} images; {pooled.images:,} test images of "
            f"{pooled.patients:,} patients, none of whom was trained on. All methods rate the same samples.",
            f"A mark hits within {rules.hit_mm:g} mm of a microcalcification's centre; one mark serves one. Benign "
            f"calcium is {'background' if rules.count_ignored else 'neither hit nor false'}.{visible} False marks "
            f"are counted on {'all images' if rules.false_on == 'all' else 'images without microcalcifications'}.",
            f"{_INTERVALS}, bootstrap by patient, {figures.resamples:,} resamples, seed {figures.seed}; "
            "differences are paired, p two-sided.",
            *provenance.notes,
        ),
        (counts, per_vendor),
    )


def _means(figures: StudyFigures) -> Section:
    tables = [_by_group(figures, f"mean sensitivity, {axis}", f) for axis, f in _AXES.items()]
    if figures.pairs:
        rows = [
            (word(g.name), pair_words(pair), *(difference_text(g.differences[pair][f]) for f in _AXES.values()))
            for g in _vendors_then_pooled(figures)
            for pair in figures.pairs
        ]
        tables.append(TextTable(("system", "difference", *_AXES), tuple(rows)))
    return Section("Mean sensitivity per manufacturer", (), tuple(tables), (MEANS_FILE,))


_AXES = {"FPF 0 to 0.1 (linear)": LINEAR, "FPF 1e-6 to 1e-1 (logarithmic)": LOG}


def _claims(figures: StudyFigures, provenance: Provenance) -> Section:
    pair = ("pair", "cascade")
    rows: list[tuple[str, ...]] = []
    for name, bands in figures.roc_bands.items():
        here, holds = _over_the_range(bands["pair"], bands["cascade"])
        rows.append((f"higher sensitivity over the whole specificity range, {word(name)}", here, _yes(holds)))
    for vendor in figures.vendors:
        d = figures.groups[vendor].differences[pair][LINEAR]
        holds = d.value > 0 and d.p < _P_SIGNIFICANT
        rows.append(
            (f"significantly higher mean sensitivity, FPF 0 to 0.1, {word(vendor)}", difference_text(d), _yes(holds))
        )
    sentences = [
        "The publication (Mordang et al., IWDM 2016) claims these of its two CNNs against its cascade; here the "
        f"CNN pair against ours. Significant: p below {_P_SIGNIFICANT:g}. Its own figures are not public."
    ]
    header: tuple[str, ...] = ("claim", "here", "confirmed")
    if provenance.shows_nothing:
        sentences.append(NOTHING_SHOWN)
        header, rows = header[:2], [row[:2] for row in rows]
    return Section("What the publication claims", tuple(sentences), (TextTable(header, tuple(rows)),))


def _over_the_range(pair: Band, cascade: Band) -> tuple[str, bool]:
    change = pair.value - cascade.value
    worst = int(np.argmin(change))
    higher, equal = int(np.count_nonzero(change > 0)), int(np.count_nonzero(change == 0))
    text = (
        f"higher at {higher}, equal at {equal} of {change.size} FPF from 1e-6 to 1; least {change[worst]:+.4f} at FPF "
    )
    return text + f"{pair.x[worst]:.2g}", bool((change >= 0).all() and (change[pair.x <= PAPER_FPF] > 0).all())


def _roc(figures: StudyFigures) -> Section:
    tables = [_by_group(figures, f, f) for f in list(ROC_METRICS)[2:]]
    if figures.pairs:
        rows = [
            (word(g.name), pair_words(pair), *(difference_text(g.differences[pair][f]) for f in list(ROC_METRICS)[2:]))
            for g in _vendors_then_pooled(figures)
            for pair in figures.pairs
        ]
        tables.append(TextTable(("system", "difference", *list(ROC_METRICS)[2:]), tuple(rows)))
    areas = [
        (word(g.name), *(_precise(g.estimates[m].get(AREA)) for m in figures.methods))
        for g in _vendors_then_pooled(figures)
    ]
    tables.append(TextTable((AREA, *map(word, figures.methods)), tuple(areas)))
    if figures.pairs:
        rows = [
            (word(g.name), pair_words(pair), _precise(g.differences[pair].get(AREA)))
            for g in _vendors_then_pooled(figures)
            for pair in figures.pairs
        ]
        tables.append(TextTable(("system", "difference", AREA), tuple(rows)))
    sentence = (
        "FPF 0.1 is 100,000 pixels of a mammogram, 1e-5 is ten. Areas under the whole curve with the intervals "
        "and p of DeLong, for samples of a patient that are alike (Obuchowski 1997)."
    )
    return Section("ROC of the samples", (sentence,), tuple(tables), (ROC_FILE,))


def _froc(figures: StudyFigures, froc: FrocFigures) -> Section:
    tables: list[TextTable] = []
    for lesions in ("microcalcifications", "clusters"):
        tables += [_froc_table(froc, group, lesions) for group in _froc_groups(figures, froc, lesions)]
    if froc.differences:
        tables.append(_froc_differences(froc))
    return Section("FROC of marks and clusters", (), tuple(tables), (FROC_FILE,))


def _froc_differences(froc: FrocFigures) -> TextTable:
    """Return the pooled differences, with a column for each pair of methods."""
    by_pair = {p: {(a.target, a.metric): a for a in v if a.group == "all"} for p, v in froc.differences.items()}
    keys = list(dict.fromkeys(key for of_pair in by_pair.values() for key in of_pair))
    rows = [
        (*key, *(difference_text(of[key].estimate) if key in of else "–" for of in by_pair.values())) for key in keys
    ]
    return TextTable(("Pooled", "figure", *map(pair_words, by_pair)), tuple(rows))


def _froc_groups(figures: StudyFigures, froc: FrocFigures, lesions: str) -> list[str]:
    wanted = [*(f"system {v}" for v in figures.vendors), "all"]
    there = {a.group for values in froc.values.values() for a in values if a.target == lesions}
    return [g for g in wanted if g in there]


def _froc_table(froc: FrocFigures, group: str, lesions: str) -> TextTable:
    by_method = {m: {a.metric: a for a in v if (a.group, a.target) == (group, lesions)} for m, v in froc.values.items()}
    shown = list(dict.fromkeys(f for of_method in by_method.values() for f in of_method))
    count = next(a.lesions for of_method in by_method.values() for a in of_method.values())
    rows = [
        (f, *(estimate_text(of_method[f].estimate) if f in of_method else "–" for of_method in by_method.values()))
        for f in shown
    ]
    title = f"{_group_word(group)}, {count:,} {lesions}"
    return TextTable((title, *map(word, by_method)), tuple(rows))


def _froc_strata(froc: FrocFigures) -> Section:
    figure = "sensitivity at 1 false marks per image"
    by_method = {m: {a.group: a for a in v if a.metric == figure} for m, v in froc.values.items()}
    groups = list(dict.fromkeys(g for of_method in by_method.values() for g in of_method))
    chosen = [g for g in groups if g != "all" and not g.startswith("system ")]
    lesions = {group: a.lesions for of_method in by_method.values() for group, a in of_method.items()}
    rows = [
        (g, f"{lesions[g]:,}", *(estimate_text(of[g].estimate) if g in of else "–" for of in by_method.values()))
        for g in chosen
    ]
    table = TextTable(("stratum", "microcalcifications", *map(word, by_method)), tuple(rows))
    return Section("Sensitivity at 1 false mark per image, by stratum", (), (table,) if rows else ())


def _strata(figures: StudyFigures) -> Section:
    tables = []
    for axis, f in _AXES.items():
        rows = [
            (
                s.name,
                f"{s.positives:,}",
                *(estimate_text(s.estimates[m][f]) for m in figures.methods),
                *(difference_text(s.differences[p][f]) for p in figures.pairs[:1]),
            )
            for s in figures.strata
        ]
        header = (f"mean sensitivity, {axis}", "positives", *map(word, figures.methods))
        tables.append(TextTable((*header, *map(pair_words, figures.pairs[:1])), tuple(rows)))
    sentence = (
        "By d' and diameter: positives of the stratum against all negatives. By density: images of that density alone."
    )
    return Section("Mean sensitivity by stratum", (sentence,), tuple(tables) if figures.strata else ())


_HASHES = "The hash of a model is that of its model.json as the study wrote it, which holds the hashes of its networks."


def _provenance(provenance: Provenance) -> list[Section]:
    named = {
        "seed": provenance.seeds,
        "machine": provenance.machine,
        "version": provenance.versions,
        "hash (SHA-256)": provenance.hashes,
    }
    tables = [
        TextTable((title, "value"), tuple((name, str(value)) for name, value in values.items()))
        for title, values in named.items()
        if values
    ]
    seconds = [(stage, f"{s:,.0f}") for stage, s in provenance.seconds.items()]
    seconds.append(("all", f"{sum(provenance.seconds.values()):,.0f}"))
    return [
        Section("How to repeat it", ("The command:",), (), (), provenance.command),
        Section("Seconds per stage", (), (TextTable(("stage", "seconds"), tuple(seconds)),)),
        Section("Seeds, machine, versions, hashes", (_HASHES,), tuple(tables)),
        Section("Recipe", (), (), (), provenance.recipe),
    ]


def _by_group(figures: StudyFigures, title: str, figure: str) -> TextTable:
    rows = [
        (word(g.name), *(estimate_text(g.estimates[m][figure]) for m in figures.methods))
        for g in _vendors_then_pooled(figures)
    ]
    return TextTable((title, *map(word, figures.methods)), tuple(rows))


def _vendors_then_pooled(figures: StudyFigures) -> list[RocGroup]:
    return [*(figures.groups[v] for v in figures.vendors), figures.groups["pooled"]]


def _group_word(group: str) -> str:
    return "Pooled" if group == "all" else word(group.removeprefix("system "))


def _precise(e: Estimate | Difference | None) -> str:
    if e is None:
        return "–"
    return difference_text(e, digits=6) if isinstance(e, Difference) else estimate_text(e, digits=5)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
