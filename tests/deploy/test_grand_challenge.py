"""The grand-challenge entry, run on folders as the platform lays them."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

import microcalc

sitk: Any = pytest.importorskip("SimpleITK")

_ENTRY = Path(__file__).resolve().parents[2] / "deploy" / "grand-challenge" / "process.py"
_SLUG = "left-breast-cc-view-stacked"
_ORIGIN = (3.0, -4.0, 7.0)


@pytest.fixture(scope="module")
def entry() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grand_challenge_process", _ENTRY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.uint16], float]:
    """A small simulated raw mammogram of 64 x 48 mm with clusters: its file, stored values and pixel spacing."""
    from microcalc.datasets.simulated import Settings, make_exam
    from microcalc.simulate.lesions import LesionRates
    from microcalc.simulate.systems import system

    small = replace(system("ge"), fields=((640, 480),))
    rates = LesionRates(clusters=2.5, diameter_mm=0.3, packing=(1.5, 2.5))
    settings = Settings(intents=("raw",), views=("CC",), lateralities=("L",), rates=rates)
    image = make_exam(tmp_path_factory.mktemp("grand-challenge"), small, 5, settings).images[0]
    values: NDArray[np.uint16] = pydicom.dcmread(image.file).pixel_array
    return image.file, values, image.spacing_mm[0]


def _job(
    folder: Path, stack: NDArray[np.uint16], spacing_mm: float, attributes: object, *, key: str = "socket"
) -> Path:
    """Lay a job with one stack of images and its attributes."""
    path = folder / "images" / _SLUG
    path.mkdir(parents=True)
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((spacing_mm, spacing_mm, 1.0)[: stack.ndim])
    image.SetOrigin(_ORIGIN[: stack.ndim])
    sitk.WriteImage(image, str(path / "b2c1.mha"), True)
    header = "left-breast-cc-view-metadata-stacked"
    (folder / f"{header}.json").write_text(json.dumps(attributes))
    sockets = [(_SLUG, f"images/{_SLUG}"), (header, f"{header}.json")]
    inputs = [{key: {"slug": slug, "relative_path": relative}} for slug, relative in sockets]
    (folder / "inputs.json").write_text(json.dumps(inputs))
    return folder


def _run(entry: ModuleType, job: Path, out: Path) -> int:
    arguments = ["--input", str(job), "--output", str(out), "--model", str(job / "model")]
    return int(entry.main(arguments))


@pytest.mark.parametrize("key", ["socket", "interface"])
def test_a_stack_gives_the_calcifications_of_each_slice_in_world_coordinates(
    entry: ModuleType, view: tuple[Path, NDArray[np.uint16], float], tmp_path: Path, key: str
) -> None:
    file, values, spacing_mm = view
    raw = {"PresentationIntentType": "FOR PROCESSING"}
    job = _job(tmp_path / "input", np.stack([np.full_like(values, 500), values]), spacing_mm, [raw, raw], key=key)
    assert _run(entry, job, tmp_path / "output") == 0
    blank, found = json.loads((tmp_path / "output" / "microcalcification-detections.json").read_text())
    assert "breast" in blank["error"]  # the slice without a breast costs only itself
    expected = microcalc.detect(microcalc.read(file))
    assert len(expected.findings) >= 1
    assert [c["row"] for c in found["result"]["candidates"]] == [c.row for c in expected.candidates]
    points = json.loads((tmp_path / "output" / "microcalcifications.json").read_text())
    assert points["type"] == "Multiple points"
    marks = [c for f in expected.findings for c in f.calcifications] + list(expected.singles)
    x, y, z = np.array([p["point"] for p in points["points"]]).T
    np.testing.assert_allclose(x, [_ORIGIN[0] + spacing_mm * m.column for m in marks], atol=1e-6)
    np.testing.assert_allclose(y, [_ORIGIN[1] + spacing_mm * m.row for m in marks], atol=1e-6)
    np.testing.assert_allclose(z, _ORIGIN[2] + 1.0)
    assert [p["probability"] for p in points["points"]] == [m.likelihood for m in marks]
    polygons = json.loads((tmp_path / "output" / "microcalcification-clusters.json").read_text())["polygons"]
    assert [len(p["path_points"]) for p in polygons] == [len(f.outline) for f in expected.findings]


def test_inverted_processed_values_are_turned_round(
    entry: ModuleType, view: tuple[Path, NDArray[np.uint16], float], tmp_path: Path
) -> None:
    values = view[1]
    header = {"PresentationIntentType": "FOR PRESENTATION", "PhotometricInterpretation": "MONOCHROME1"}
    (one,) = entry.slices_of(_job(tmp_path, values, view[2], header))
    mammogram = entry._read(one, "raw")
    assert mammogram.intent == "processed"
    np.testing.assert_array_equal(mammogram.pixels, values.max() - values.astype(np.float32))
    assert (mammogram.laterality, mammogram.view) == ("L", "CC")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda job: (job / "inputs.json").unlink(), "inputs.json: no list of inputs"),
        (lambda job: (job / "inputs.json").write_text("[]"), "no image among 0 inputs"),
        (lambda job: (job / "images" / _SLUG / "b2c1.mha").write_text("no"), "an unreadable image"),
        (lambda job: (job / "images" / _SLUG / "b2c1.mha").unlink(), f"{_SLUG}: 0 images"),
        (
            lambda job: (job / "left-breast-cc-view-metadata-stacked.json").write_text("[{}, {}]"),
            "attributes of 2 images, expected those of 1",
        ),
        (
            lambda job: ((job / "model").mkdir(), (job / "model" / "model.json").write_text("{}")),
            "model/model.json",
        ),
    ],
)
def test_a_job_that_cannot_be_read_is_refused_in_one_line(
    entry: ModuleType,
    view: tuple[Path, NDArray[np.uint16], float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    break_it: Any,
    words: str,
) -> None:
    job = _job(tmp_path / "input", view[1], view[2], {})
    break_it(job)
    assert _run(entry, job, tmp_path / "output") == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "output").exists()
