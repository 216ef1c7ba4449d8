from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cascade.cascades import random_cascade, random_mammogram
from tests.detection.networks import description, write_model

from microcalc.cascade.cascade import save_cascade
from microcalc.cascade.rate import CascadeScorer
from microcalc.detection.stages import find_clusters
from microcalc.domain import Mammogram, NormalisedMammogram
from microcalc.errors import InputError
from microcalc.models.model import Models, load_model

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with a random cascade."""
    folder = write_model(tmp_path / "c", intent="raw")
    entries = description(folder, intent="raw")
    del entries["cnn1"], entries["cnn2"], entries["rejection_logit"], entries["most_survivors"]
    save_cascade(random_cascade(np.random.default_rng(1), depth=2), folder / "cascade.npz")
    digest = hashlib.sha256((folder / "cascade.npz").read_bytes()).hexdigest()
    entries |= {"schema": "microcalc/cascade-model/1", "cascade": {"file": "cascade.npz", "sha256": digest}}
    (folder / "model.json").write_text(json.dumps(entries))
    return folder


def _original(normalised: NormalisedMammogram) -> Mammogram:
    return Mammogram(normalised.pixels, (normalised.spacing_mm, normalised.spacing_mm), "raw", "1")


def test_a_cascade_detects_as_any_model_does(folder: Path) -> None:
    model = load_model(folder, threads=1)
    mammogram = random_mammogram(np.random.default_rng(2))
    assert isinstance(model.scorer, CascadeScorer)
    scores = model.scorer.score(mammogram)
    found = find_clusters(_original(mammogram), mammogram, scores, model, min_likelihood=0.5)
    assert found.candidates.likelihood.min() >= 0.5
    assert found.candidates.likelihood[0] == pytest.approx(scores.likelihood.max())


def test_the_shipped_cascade_rates_a_speck_above_all_noise() -> None:
    pixels = np.random.default_rng(3).normal(0.0, 1.0, (220, 180)).astype(np.float32)
    rows, columns = np.indices(pixels.shape)
    pixels += np.float32(9.0) * np.exp(-((rows - 120) ** 2 + (columns - 70) ** 2) / 3.0).astype(np.float32)
    mammogram = NormalisedMammogram(pixels, np.ones(pixels.shape, dtype=bool), 0.1, (0.0, 0.0), "")
    models = Models("cascade", threads=1)
    model = models.of("raw")
    found = find_clusters(_original(mammogram), mammogram, model.scorer.score(mammogram), model)
    assert np.abs(found.candidates.centres[0] - (12.0, 7.0)).max() < 0.2
    assert found.candidates.likelihood[0] > found.candidates.likelihood[1]
    with pytest.raises(InputError, match="a model for raw images, expected one for processed images"):
        models.of("processed")


def test_without_numba_the_extra_is_named_in_one_line(folder: Path) -> None:
    code = f"""
import sys
sys.modules["numba"] = None
from microcalc.cli import run
sys.exit(run(["detect", "any.dcm", "--model", {str(folder)!r}, "--out", {str(folder / "out")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("numba is not installed, expected microcalc[cascade]")
    assert len(done.stderr.strip().splitlines()) == 1
