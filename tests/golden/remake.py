"""Make the golden files again, or compare them: what the code computes from seeds, in summaries. See README.md.

python -m tests.golden.remake [--check] [PART ...]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from tests.evaluation.reporting import test_report as detectors
from tests.reports import exams
from tests.study import small
from tests.training import toy

from microcalc.batch.analyse import detect_in
from microcalc.batch.demo import demo
from microcalc.datasets.inserted import insert_data_set
from microcalc.datasets.open import open_row
from microcalc.datasets.simulated import Settings, make_exam
from microcalc.datasets.table import ImageRow, Table
from microcalc.datasets.table_files import read_table
from microcalc.detection.result import Result, read_result
from microcalc.domain import Intent
from microcalc.evaluation.reporting.report import evaluate_detections
from microcalc.models.model import Models
from microcalc.reports.cad_report import cad_report
from microcalc.simulate.lesions import LesionRates
from microcalc.simulate.placement import Insertion
from microcalc.simulate.systems import system
from microcalc.study.options import Options
from microcalc.study.run import run_study
from microcalc.study.scale import load_scale

Part = Mapping[str, Any]
"""What a part holds, as JSON can write it."""

FOLDER: Final = Path(__file__).parent
_GRID: Final = 8
_LISTED: Final = 20
_SPECKS: Final = tuple((300 + 17 * n % 60, 120 + 13 * n % 55) for n in range(12))
_SAID_TWICE: Final = ("CodeMeaning", "CodingSchemeDesignator")  # by the code's value


def remake(part: str) -> Part:
    """Compute one part, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return PARTS[part](Path(folder))


def _simulated(folder: Path) -> Part:
    """Two images of a simulated breast of 64 x 48 mm, raw and processed, and their reference annotations."""
    table = _exam(folder)
    return {
        "images": {row.image: _pixels(open_row(row).pixels) for row in table.images},
        "annotations": [
            [a.image, a.kind, a.cluster, *_rounded(a.row, a.column, a.diameter_mm, a.d_prime)]
            for a in table.annotations
        ],
    }


def _detected(folder: Path) -> Part:
    """What each shipped model, and the Laplacian, finds in a half disc of breast with twelve specks."""
    rows = {intent: _half_disc(folder, intent, specks=_SPECKS) for intent in ("raw", "processed")}
    models: Mapping[str, Intent] = {"raw": "raw", "processed": "processed", "cascade": "raw", "log": "raw"}
    return {name: _found(detect_in(rows[intent], Models(name)).result) for name, intent in models.items()}


def _inserted(folder: Path) -> Part:
    """Microcalcifications inserted into a half disc of breast."""
    table, refused = insert_data_set(
        Table((_half_disc(folder, "raw"),), ()),
        folder / "out",
        insertion=Insertion(clusters=1, singles=1),
        variants=2,
        seed=4,
    )
    return {
        "refused": len(refused),
        "images": {row.image: _pixels(open_row(row).pixels) for row in table.images},
        "annotations": [
            [a.image, a.kind, a.cluster, *_rounded(a.row, a.column, a.diameter_mm)] for a in table.annotations
        ],
    }


def _report(_folder: Path) -> Part:
    """The content items of a CAD SR about an image with a cluster, and one that could not be analysed."""
    dataset = cad_report([exams.result(clusters=[0.95], members=2), exams.failed(1)], made=exams.MADE)
    return {"content": list(_items(dataset, 0))}


def _evaluated(folder: Path) -> Part:
    """The summary of a detector that misses a third and marks a vessel, over four images."""
    marks = [(r, c, 0.9 - 0.1 * n) for n, (r, c) in enumerate(detectors.CLUSTER[:2])]
    for n in range(4):
        false = [(400.0 + 10 * n, 200.0, 0.85 - 0.1 * n), (*detectors.VESSEL, 0.7)]
        detectors.detected(folder / "d", f"image{n}.dcm", [*marks, *false], [((0, 1), 0.9, n < 2)])
    evaluate_detections([folder / "d"], detectors.table(), out=folder / "out", resamples=200, seed=1)
    return _document(folder / "out" / "summary.json")


def _study(folder: Path) -> Part:
    """The report of a study of five small pictures: samples, networks, mining, cascade, ROC and FROC."""
    small.make_table(folder / "data")
    recipe = toy.recipe_file(folder)
    recipe.write_text(recipe.read_text().replace('"auto"', '"float32"'))  # bfloat16 is not of every processor
    options = Options(intent="processed", recipe=str(recipe))
    report = run_study(load_scale(small.scale_file(folder)), folder / "out", data=[folder / "data"], options=options)
    document = _document(report / "summary.json")
    return {"samples": document["samples"], "mean_sensitivity": document["mean_sensitivity"]["pooled"]}


def _demo(folder: Path) -> Part:
    """What is found in the whole simulated mammograms of the demonstration."""
    for _ in demo(folder, seed=4):
        pass
    results = {row.image: read_result(folder / f"{row.image}.json") for row in read_table(folder / "images").images}
    return {image: _found(result) for image, result in results.items()}


PARTS: Final[Mapping[str, Callable[[Path], Part]]] = {
    "simulated": _simulated,
    "detected": _detected,
    "inserted": _inserted,
    "report": _report,
    "evaluated": _evaluated,
    "study": _study,
    "demo": _demo,
}
TOLERANCE: Final = 1e-3
"""What floating-point numbers may differ by, and a tenth of it of their size besides: between processors they do."""
SLOW: Final = ("study", "demo")
"""Parts that take more than ten seconds: the script alone makes and compares them."""


def _exam(folder: Path) -> Table:
    small_ge = replace(system("ge"), fields=((640, 480),))
    lesions = LesionRates(clusters=2.5, diameter_mm=0.3, packing=(1.5, 2.5))
    return make_exam(folder, small_ge, 5, Settings(views=("CC",), lateralities=("L",), rates=lesions))


def _half_disc(folder: Path, intent: Intent, *, specks: Sequence[tuple[int, int]] = ()) -> ImageRow:
    """A picture of a breast in whole numbers, so that every processor draws it alike."""
    rows, columns = np.indices((640, 420))
    noise = np.random.default_rng(3).integers(-12, 13, (4, 640, 420)).sum(axis=0)
    breast = (rows - 320) ** 2 + columns**2 < 300**2
    tissue, air, speck = (600 + columns // 4, 7000, -120) if intent == "raw" else (2400 - columns, -100, 400)
    pixels = np.where(breast, tissue, air) + noise
    for row, column in specks:
        pixels[row : row + 2, column : column + 2] += speck
    file = folder / f"{intent}.png"
    Image.fromarray(pixels.clip(0).astype(np.uint16)).save(file)
    return ImageRow(intent, file, intent, (0.1, 0.1), patient="p1", system="GE", view="CC", laterality="L")


def _pixels(pixels: NDArray[Any]) -> Part:
    """The size, and the means of 8 x 8 tiles: a grey level more in some pixels changes them by next to nothing."""
    tiles = [[float(tile.mean()) for tile in np.array_split(band, _GRID, 1)] for band in np.array_split(pixels, _GRID)]
    return {
        "shape": list(pixels.shape),
        "means": np.round(tiles, 2).tolist(),
        "deviation": round(float(pixels.std()), 2),
    }


def _found(result: Result) -> Part:
    """The clusters with their numbers of members, and the candidates that are rated highest."""
    return {
        "breast_area_cm2": result.breast_area_cm2,
        "clusters": [[len(c.members), c.likelihood, c.finding] for c in result.clusters if c.finding],
        "candidates": [[c.row, c.column, c.likelihood] for c in result.candidates[:_LISTED]],
    }


def _items(dataset: Dataset, depth: int) -> Iterator[str]:
    """A line for each content item: its relationship and type, and the values of its attributes."""
    for item in dataset.get("ContentSequence", ()):
        yield " ".join([" " * depth, *_values(item)])
        yield from _items(item, depth + 1)


def _values(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.keyword == "ContentSequence":
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from _values(item)
        elif element.keyword not in _SAID_TWICE:
            yield str(element.value)


def _document(file: Path) -> Part:
    document: Part = json.loads(file.read_text(encoding="utf-8"))
    return document


def _rounded(*numbers: float | None) -> list[float | None]:
    return [None if number is None else round(number, 4) for number in numbers]


def stored(part: str) -> Part:
    """Read a golden file."""
    return _document(FOLDER / f"{part}.json")


def differences(made: object, golden: object, at: str = "") -> Iterator[str]:
    """Yield where two parts differ: floating-point numbers by more than ``TOLERANCE``, all else at all."""
    if isinstance(made, Mapping) and isinstance(golden, Mapping) and set(made) == set(golden):
        for key, value in made.items():
            yield from differences(value, golden[key], f"{at}.{key}")
    elif isinstance(made, list) and isinstance(golden, list) and len(made) == len(golden):
        for number, pair in enumerate(zip(made, golden, strict=True)):
            yield from differences(*pair, f"{at}[{number}]")
    elif isinstance(made, float) and isinstance(golden, float):
        if abs(made - golden) > TOLERANCE + TOLERANCE / 10 * abs(golden):
            yield f"{at}: {made}, expected {golden}"
    elif made != golden:
        yield f"{at}: {str(made)[:60]}, expected {str(golden)[:60]}"


def _text(part: Part) -> str:
    """Return a part as JSON with short lists on one line."""
    text = json.dumps(part, indent=1, sort_keys=True, ensure_ascii=False)
    return re.sub(r"\[\n[^\[\]{}]{,150}\n *\]", lambda match: re.sub(r"\n *", " ", match[0]), text) + "\n"


def main() -> int:
    """Write or compare the parts that are named, by default all; return the number of differences."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.remake", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    given = parser.parse_args()
    found = 0
    for part in given.parts or PARTS:
        made = remake(part)
        if not given.check:
            (FOLDER / f"{part}.json").write_text(_text(made), encoding="utf-8")
            continue
        for line in differences(made, stored(part)):
            found += 1
            sys.stdout.write(f"{part}{line}\n")
    return found


if __name__ == "__main__":
    sys.exit(min(main(), 1))
