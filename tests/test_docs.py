"""The figures that the documentation repeats are those of the code."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pydantic import BaseModel

from microcalc.batch.summary import SummaryRow
from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.detection.entries import CandidateEntry, ClusterEntry, ImageEntry, ModelEntry, Seconds, VascularEntry
from microcalc.detection.result import Result
from microcalc.domain import Kind
from microcalc.evaluation.bootstrap import Difference
from microcalc.evaluation.matched_images import Rules
from microcalc.evaluation.reporting.report import Counts
from microcalc.models.description import (
    CandidateRules,
    CascadeDescription,
    ClusterRules,
    MeasuredOn,
    ModelDescription,
    NetworkEntry,
    OperatingPointEntry,
    ShapeRules,
)
from microcalc.models.model import model_sha256, shipped_model
from microcalc.simulate.artefacts import ARTEFACTS
from microcalc.simulate.confusers import CONFUSERS
from microcalc.simulate.systems import SYSTEMS, Beam, System
from microcalc.storage.index import IndexEntry

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "simulator.md"


def _mtf(s: System) -> str:
    return ", ".join(f"{v:.2f}" for v in s.mtf(np.array([1.0, 2.0, 5.0])))


def _neighbours(s: System) -> str:
    """Correlation of the noise of neighbours in a column and in a row."""
    f = np.fft.fftfreq(512, s.pitch_mm)
    row, column = f[:, None], f[None, :]
    power = np.broadcast_to(s.noise_power(row, column), (512, 512))
    along = (float((power * np.cos(2 * np.pi * s.pitch_mm * lag)).mean() / power.mean()) for lag in (row, column))
    return ", ".join(f"{c:.2f}" for c in along)


def _beams(s: System) -> str:
    def words(beam: Beam) -> str:
        element = {
            "TUNGSTEN": "W",
            "MOLYBDENUM": "Mo",
            "RHODIUM": "Rh",
            "SILVER": "Ag",
        }
        return f"{element[beam.anode]}/{element[beam.filter_material]} {beam.kvp:.0f} kV"

    *steps, (_, last) = s.beams
    return "; ".join([*(f"{words(beam)} to {limit:.0f} mm" for limit, beam in steps), words(last)])


_FIGURES: Mapping[str, Callable[[System], str]] = {
    "model": lambda s: f"{s.manufacturer} {s.model}",
    "converter": lambda s: s.converter,
    "pitch, mm": lambda s: f"{s.pitch_mm:.4g}",
    "matrix": lambda s: ", ".join(f"{rows} x {columns}" for rows, columns in s.fields),
    "MTF at 1, 2, 5 /mm": _mtf,
    "offset": lambda s: f"{s.offset:.0f}",
    "stored values per µGy": lambda s: f"{s.gain_per_ugy:g}",
    "saturation": lambda s: f"{s.saturation}",
    "noise variance over signal": lambda s: f"{s.variance_ratio:g}",
    "electronic noise, stored values": lambda s: f"{s.electronic_noise:g}",
    "fixed pattern, of the signal": lambda s: f"{s.fixed_pattern:g}",
    "correlation of neighbours' noise (in a column, in a row)": _neighbours,
    "kerma at the receptor behind 55 mm, µGy": lambda s: f"{s.kerma_55_ugy:.0f}",
    "its change per mm of thickness": lambda s: f"{100 * s.kerma_rise_per_mm:.1f} %",
    "scatter to primary at 30, 50, 80 mm": lambda s: ", ".join(
        f"{v:.2f}" for v in s.scatter_to_primary(np.array([30.0, 50.0, 80.0]))
    ),
    "beams by thickness": _beams,
}


def _table(head: str) -> dict[str, list[str]]:
    """The cells of each line of a table of the page, by the first; the table is found by its head's first cell."""
    lines = iter(_PAGE.read_text(encoding="utf-8").splitlines())
    rows = [next(line for line in lines if line.startswith(f"| {head} |"))]
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(line)
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {first: rest for first, *rest in cells if not first.startswith("---")}


def test_the_page_states_the_figures_of_the_systems() -> None:
    expected = {label: [figure(s) for s in SYSTEMS.values()] for label, figure in _FIGURES.items()}
    assert _table("figure") == {"figure": [f"`{name}`" for name in SYSTEMS], **expected}


def test_the_page_states_the_rates_of_the_confusers() -> None:
    stated = {name: row[:2] for name, row in _table("confuser").items() if name != "confuser"}
    assert stated == {f"`{name}`": [f"`{row.kind}`", f"{row.rate:g}"] for name, row in CONFUSERS.items()}


def test_the_page_states_the_shares_of_the_artefacts() -> None:
    stated = {name: row[0] for name, row in _table("artefact").items() if name != "artefact"}
    assert stated == {f"`{name}`": f"{100 * share:.0f} %" for name, share in ARTEFACTS.items()}


def test_the_page_shows_sheets_that_are_there() -> None:
    images = _PAGE.parents[1] / "images" / "simulator"
    text = _PAGE.read_text(encoding="utf-8")
    for file in images.glob("*.png"):
        assert f"](../images/simulator/{file.name})" in text
    assert text.count("](../images/simulator/") == len(list(images.glob("*.png"))) > 0


_FORMATS = (_PAGE.parents[1] / "reference" / "data-format.md").read_text(encoding="utf-8")
_WRITTEN_OTHERWISE = {"where", "spacing_mm", "format"}
"""Where a line stands; ``row_spacing_mm`` and ``column_spacing_mm``; ``schema``."""


@pytest.mark.parametrize(
    ("heading", "types"),
    [
        ("### `images.csv`", [ImageRow]),
        ("### `annotations.csv`", [AnnotationRow]),
        ("## Detections", [Result, ImageEntry, ModelEntry, CandidateEntry, ClusterEntry, VascularEntry, Seconds]),
        ("### `summary.csv`", [SummaryRow]),
        ("### `index.json`", [IndexEntry]),
        ("## Evaluations", [Rules, Counts, Difference]),
        ("## Models", [ModelDescription, CascadeDescription, NetworkEntry, OperatingPointEntry, MeasuredOn]),
        ("## Models", [CandidateRules, ShapeRules, ClusterRules]),
    ],
)
def test_the_page_of_formats_names_every_column_and_entry(heading: str, types: list[type]) -> None:
    _, section = re.split(rf"^{heading}(?::.*)?$", _FORMATS, flags=re.MULTILINE)
    section = re.split(r"^##", section, flags=re.MULTILINE)[0]
    for entry in types:
        for name in _entries(entry) - _WRITTEN_OTHERWISE:
            assert f"`{name}`" in section, f"{entry.__name__}.{name} is not under {heading}"


def test_the_page_of_formats_names_every_kind() -> None:
    for kind in get_args(Kind):
        assert f"`{kind}`" in _FORMATS, kind


def _entries(entry: type) -> set[str]:
    if issubclass(entry, BaseModel):
        return set(entry.model_fields)
    assert dataclasses.is_dataclass(entry)
    return {field.name for field in dataclasses.fields(entry)}


@pytest.mark.parametrize("name", ["raw", "processed"])
def test_the_card_of_a_shipped_model_states_the_figures_of_the_documentation(name: str) -> None:
    figures = (_PAGE.parents[1] / "cards" / f"{name}.md").read_text(encoding="utf-8")
    card = resources.files("microcalc") / "models" / name / "MODEL_CARD.md"
    assert figures.strip() in card.read_text(encoding="utf-8")


def test_the_notebook_shows_a_report_of_the_shipped_model() -> None:
    notebook = json.loads((_PAGE.parents[1] / "tutorials" / "notebook.ipynb").read_text(encoding="utf-8"))
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", ()))
    printed = "".join("".join(output.get("text", ())) for output in outputs)
    assert re.findall(r"model=(\w+)", printed) == [model_sha256(shipped_model("processed"))]
