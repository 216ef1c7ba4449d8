"""A network is measured while it is trained, and trained as if it were not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from microcalc.cnn.fit import Augmentation, Optimisation, TrainingSamples, Watch, fit, measuring_interval
from microcalc.cnn.network import Network
from microcalc.cnn.validate import Validation, ValidationSamples, sensitivity
from microcalc.domain import NormalisedMammogram
from microcalc.evaluation.froc import froc_curve
from microcalc.sample.store import Samples, StoredImage, open_stored, store

Logits = st.lists(st.integers(-5, 5), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> StoredImage:
    """Noise with bright specks."""
    pixels = np.random.default_rng(1).normal(0, 1, (120, 120)).astype(np.float32)
    pixels[10:111:20, 10:111:20] += 12
    file = tmp_path_factory.mktemp("toy") / "a.npy"
    store(NormalisedMammogram(pixels, np.ones(pixels.shape, dtype=bool), 0.1, (0.0, 0.0), ""), file, border_px=5)
    return open_stored(file)


def _samples(first: int) -> Samples:
    rows, columns = (v.ravel() for v in np.mgrid[first:111:20, first:111:20])
    return np.stack([np.zeros_like(rows), rows, columns], axis=1).astype(np.int32)


def _validation(image: StoredImage) -> ValidationSamples:
    off = _samples(15)
    return ValidationSamples(
        [image], _samples(10), [(off[:9], 0.75), (off[9:], 0.25)], off, 1, "1 false mark per image"
    )


def _fit(image: StoredImage, folder: Path, watch: Watch | None, *, steps: int = 120) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return fit(
        Network([4, 4], [1, 2]),
        TrainingSamples([image], _samples(10), [(_samples(17), 1.0)]),
        Optimisation(
            steps=steps, batch=16, learning_rate=0.01, weight_decay=1e-4, positive_share=0.4, precision="float32"
        ),
        Augmentation(gain_range=(0.8, 1.2), noise=0.1, flips=True),
        seed=5, device="cpu", folder=folder, watch=watch,
    ).state_dict()  # fmt: skip


def test_the_weights_are_those_of_a_training_that_is_not_measured(image: StoredImage, tmp_path: Path) -> None:
    alone = _fit(image, tmp_path / "alone", None)
    measured = _fit(image, tmp_path / "measured", Watch(_validation(image), later_steps=100))
    assert all(torch.equal(alone[name], measured[name]) for name in alone)
    lines = [json.loads(line) for line in (tmp_path / "measured" / "metrics.jsonl").read_text().splitlines()]
    losses = [json.loads(line) for line in (tmp_path / "alone" / "metrics.jsonl").read_text().splitlines()]
    assert [{"step": line["step"], "loss": line["loss"]} for line in lines] == losses
    assert [line["at"] for line in lines] == ["1 false mark per image"] * 3
    assert lines[-1]["validation_loss"] < lines[0]["validation_loss"]
    assert lines[-1]["sensitivity"] > 0.5
    progress = json.loads((tmp_path / "measured" / "progress.json").read_text())
    assert (progress["step"], progress["steps"]) == (120, 120)
    assert progress["seconds_left"] >= 0


def test_the_loss_is_that_of_the_samples_in_their_shares(image: StoredImage) -> None:
    torch.manual_seed(3)
    network, samples = Network([4, 4], [1, 2]), _validation(image)
    measured = Validation(samples, margin_px=3, positive_share=0.4, batch=7).measure(
        network, device="cpu", bfloat16=False
    )
    logits = []
    with torch.no_grad():
        for part in (samples.positives, *(pool for pool, _ in samples.negatives)):
            patches = [
                image.pixels[5 + r - 3 : 5 + r + 4, 5 + c - 3 : 5 + c + 4].astype(np.float32) for _, r, c in part
            ]
            logits.append(network.rate_patches(torch.from_numpy(np.stack(patches)).unsqueeze(1)).numpy().astype(float))
    positive, first, second = (np.log1p(np.exp(sign * x)).mean() for sign, x in zip((-1, 1, 1), logits, strict=True))
    assert measured.loss == pytest.approx(0.4 * positive + 0.6 * (0.75 * first + 0.25 * second), rel=1e-5)
    assert network.training


@given(positive=Logits, places=Logits, most_false=st.integers(0, 5))
def test_the_sensitivity_is_that_of_the_froc_curve(positive: list[int], places: list[int], most_false: int) -> None:
    curve = froc_curve(positive, places, 1)
    strictest = np.array(positive, dtype=np.float32), np.array(places, dtype=np.float32)
    expected = curve.llf[np.flatnonzero(curve.nlf <= most_false)[-1]]
    assert sensitivity(*strictest, most_false=most_false) == pytest.approx(expected)


@pytest.mark.parametrize("steps", [1, 50, 400, 1200, 10000])
def test_a_training_is_measured_about_twenty_times(steps: int) -> None:
    interval = measuring_interval(steps)
    assert interval % 50 == 0
    assert steps / interval <= 20
    assert interval == 50 or steps / interval > 10
