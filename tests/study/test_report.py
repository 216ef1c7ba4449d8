from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests.study.synthetic import scored_images

from microcalc.study import report as report_module
from microcalc.study.evaluation import LINEAR, LOG, StudyFigures, evaluate_study
from microcalc.study.report import Provenance, SampleCounts, summary_of, write_report
from microcalc.study.scale import load_scale

ABOUT = Provenance(
    scale="smoke",
    intent="raw",
    command="microcalc study --scale smoke --out RUN",
    recipe='[network]\nname = "a < b"\n',
    seeds={"study": 1},
    hashes={"pair": "0f" * 32},
    machine={"cores": "2"},
    versions={"numpy": "2"},
    train=SampleCounts(11, 27),
    test=SampleCounts(5, 18),
    seconds={"exams": 10.0, "cascade": 2.5},
    notes=("GE was left out of the training.",),
)
_FILES = {
    "report.html", "report.md", "figures.csv", "curves.csv", "examples.csv", "summary.json",
    "roc.svg", "froc.svg", "mean-sensitivity.svg",
}  # fmt: skip


@pytest.fixture(scope="module")
def figures() -> StudyFigures:
    images = scored_images(np.random.default_rng(0), patients=3, negatives=500, pictures=True)
    return evaluate_study(images, resamples=40, seed=1)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is said in words alone: curves are no pictures, only files."""
    for name in ("draw_means", "draw_roc_curves", "draw_froc_curves"):
        monkeypatch.setattr(report_module, name, lambda file, *_: file.write_text("<svg></svg>"))


@pytest.fixture(scope="module")
def report(figures: StudyFigures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "results"
    write_report(figures, ABOUT, out)
    return out


def test_the_report_is_a_page_a_text_tables_curves_and_a_summary(report: Path) -> None:
    assert {f.name for f in report.iterdir()} == _FILES


def test_the_summary_has_the_structure_that_is_promised(report: Path, figures: StudyFigures) -> None:
    summary = json.loads((report / "summary.json").read_text())
    assert list(summary) == ["scale", "intent", "samples", "mean_sensitivity", "paired", "seconds"]
    assert summary["samples"] == {
        "train": {"positive": 11, "negative": 27},
        "test": {"positive": 5, "negative": 18},
    }
    assert summary["seconds"] == {"exams": 10.0, "cascade": 2.5}
    everyone = {"pooled", "hologic", "ge", "siemens"}
    assert set(summary["mean_sensitivity"]) == set(summary["paired"]) == everyone
    for group in everyone:
        assert set(summary["mean_sensitivity"][group]) == {"cascade", "cnn1", "pair", "log"}
        assert set(summary["paired"][group]) == {"pair-cascade", "pair-cnn1"}
        for axis, figure in (("linear", LINEAR), ("log", LOG)):
            value = summary["mean_sensitivity"][group]["pair"][axis]
            assert set(value) == {"value", "low", "high"}
            assert value["value"] == figures.groups[group].estimates["pair"][figure].value
            assert set(summary["paired"][group]["pair-cascade"][axis]) == {"difference", "low", "high", "p"}


def test_all_fractions_lie_between_zero_and_one(report: Path) -> None:
    summary = json.loads((report / "summary.json").read_text())
    values = [e[k] for g in summary["mean_sensitivity"].values() for m in g.values() for e in m.values() for k in e]
    assert all(0 <= v <= 1 for v in values)


def test_what_is_not_defined_is_null_in_the_summary(figures: StudyFigures) -> None:
    group = figures.groups["ge"]
    nothing = {m: {f: replace(e, low=np.nan) for f, e in v.items()} for m, v in group.estimates.items()}
    bare = replace(figures, groups={**figures.groups, "ge": replace(group, estimates=nothing)})
    assert '"low": null' in json.dumps(summary_of(bare, ABOUT), allow_nan=False)


class _Page(HTMLParser):
    """Collects what a page loads, and refuses tags that do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [v or "" for k, v in attrs if k in ("src", "href", "srcset")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_loads_nothing(report: Path) -> None:
    text = (report / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert all(source.startswith("data:") for source in page.loaded)
    assert "url(" not in text
    assert "@import" not in text


def test_page_and_text_say_the_same(report: Path) -> None:
    text, page = (report / "report.md").read_text(), (report / "report.html").read_text()
    for needed in ("CNN pair", "Hologic", "GE was left out", ABOUT.command, "0f" * 32, "What the publication claims"):
        assert needed in text
        assert needed in page
    numbers = r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)"
    assert re.findall(numbers, text) == re.findall(numbers, page)


def test_words_of_the_recipe_are_no_markup(report: Path) -> None:
    assert 'name = "a < b"' in (report / "report.md").read_text()
    assert "a < b" not in (report / "report.html").read_text()


def test_the_pages_name_no_image(report: Path) -> None:
    for name in ("report.html", "report.md"):
        assert "hologic-0-0" not in (report / name).read_text()
    assert "hologic-" in (report / "examples.csv").read_text()


def test_every_picture_of_the_text_is_there(report: Path) -> None:
    named = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (report / "report.md").read_text())
    assert named
    assert all((report / name).is_file() for name in named)


def test_rows_of_all_tables_have_as_many_cells_as_their_heads(report: Path) -> None:
    width = 0
    for line in (report / "report.md").read_text().splitlines():
        cells = line.count("|") if line.startswith("|") else 0
        assert width in (0, cells) or cells == 0
        width = cells


def test_figures_in_the_table_are_those_of_the_study(report: Path, figures: StudyFigures) -> None:
    with (report / "figures.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    (row,) = [
        r
        for r in rows
        if (r["part"], r["group"], r["figure"], r["method"], r["minus"]) == ("roc", "ge", LOG, "pair", "")
    ]
    assert float(row["value"]) == pytest.approx(figures.groups["ge"].estimates["pair"][LOG].value, abs=1e-5)
    assert {r["part"] for r in rows} == {"roc", "roc stratum", "froc"}
    assert all(r["p"] for r in rows if r["minus"] and r["part"] == "roc")


def test_the_same_figures_give_the_same_bytes(report: Path, figures: StudyFigures, tmp_path: Path) -> None:
    write_report(figures, ABOUT, tmp_path)
    for name in _FILES:
        assert (tmp_path / name).read_bytes() == (report / name).read_bytes(), name


@pytest.mark.usefixtures("undrawn")
def test_a_report_without_marks_drops_the_curves_of_an_earlier_one(figures: StudyFigures, tmp_path: Path) -> None:
    (tmp_path / "froc.svg").write_text("old")
    write_report(replace(figures, froc=None, examples=()), ABOUT, tmp_path)
    assert not (tmp_path / "froc.svg").exists()
    assert "FROC" not in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_claim_that_is_not_confirmed_is_marked_so(figures: StudyFigures, tmp_path: Path) -> None:
    group = figures.groups["ge"]
    worse = {p: {f: replace(d, value=-0.1) for f, d in v.items()} for p, v in group.differences.items()}
    lost = replace(figures, groups={**figures.groups, "ge": replace(group, differences=worse)})
    write_report(lost, ABOUT, tmp_path)
    lines = (tmp_path / "report.md").read_text().splitlines()
    (claim,) = [line for line in lines if "significantly higher" in line and "GE" in line]
    assert claim.endswith("| no |")


@pytest.mark.usefixtures("undrawn")
def test_a_scale_that_only_shows_that_all_runs_confirms_nothing_and_says_so(
    figures: StudyFigures, tmp_path: Path
) -> None:
    write_report(figures, replace(ABOUT, shows_nothing=True), tmp_path)
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert "confirmed" not in text
        assert text.count("Its figures mean nothing") == 2
        assert "significantly higher mean sensitivity" in text
    assert load_scale("smoke").evaluation.shows_nothing
    assert not load_scale("tenth").evaluation.shows_nothing
