"""The whole suite, quick: every criterion is measured, and broken images fail theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from microcalc.simulate.exam import SimulatedMammogram, simulate_mammogram
from microcalc.simulate.scene import Annotation
from microcalc.simulate.systems import system
from microcalc.validation import files, learning, shortcut, suite, texture, thresholds, verify
from microcalc.validation.classifier import cross_validate
from microcalc.validation.criteria import CRITERIA
from microcalc.validation.images import ImageSpec, ImageStore


@pytest.fixture(scope="module")
def mammogram() -> SimulatedMammogram:
    """Tissue of a breast of 130 mm: whole regions fit into it."""
    small = files.with_small_receptor(system("ge"), 130.0)
    return simulate_mammogram(small, seed=1, density="C", intents=("raw", "processed"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a miniature has too little for some means
def test_every_criterion_is_measured_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    few = replace(learning.QUICK, train=1, steps=5, negatives=3000, shortcut_steps=5)
    small = thresholds.Effort(side=300, images=1)
    monkeypatch.setattr(suite, "QUICK", replace(suite.QUICK, thresholds=small, learning=few, reduced_mm=57.0))
    with caplog.at_level(logging.INFO, "microcalc"):
        report = verify([system("ge")], quick=True, out=tmp_path)
    assert {f.criterion for f in report.measurements} == set(CRITERIA)
    assert all(report.is_met(criterion) for criterion in range(1, 8))
    assert not report.is_met(8)  # its order takes all vendors, and so does what follows
    assert not report.is_met(17)
    assert len(report.lines()) == len(report.measurements) + len(CRITERIA) + 2
    assert len([r for r in caplog.records if r.name == suite.__name__]) == 5


def _flat(image: SimulatedMammogram) -> SimulatedMammogram:
    """Tissue without structure finer than the breast: its levels, with noise."""
    raw = image.stored["raw"].astype(np.float64)
    rng = np.random.default_rng(0)
    level = np.where(raw < 0.6 * raw.max(), np.median(raw[raw < 0.6 * raw.max()]), raw)
    noisy = np.rint(level + rng.normal(0.0, np.sqrt(0.04 * level)))
    return replace(image, stored={**image.stored, "raw": noisy.astype(np.uint16)})


def _brighter(image: SimulatedMammogram) -> SimulatedMammogram:
    return replace(image, stored={**image.stored, "raw": (3 * image.stored["raw"].astype(np.int64)).astype(np.uint16)})


@pytest.mark.parametrize(("break_it", "missed"), [(_flat, ("beta", "kurtosis")), (_brighter, ("percentile",))])
def test_images_of_broken_tissue_miss(
    mammogram: SimulatedMammogram,
    break_it: Callable[[SimulatedMammogram], SimulatedMammogram],
    missed: tuple[str, ...],
) -> None:
    tissue = [texture.tissue_of(break_it(mammogram))]
    broken = texture.measurements_of(mammogram.system, tissue, tissue)
    for figure in missed:
        assert any(figure in f.what and not f.is_met for f in broken), figure


def _twin_patches(image: SimulatedMammogram, seam: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Patches of two drawings on one flat breast: either has places of its own, a square ridge around each."""
    rng, half = np.random.default_rng(seed), round(0.95 / image.system.pitch_mm)
    level = np.rint(rng.normal(500.0, 5.0, (600, 600)))
    drawings = []
    for first in (0, 1):
        raw, places = level.copy(), []
        for r in range(60, 560, 60):
            for c in range(60 + 60 * (first ^ (r // 60 % 2)), 560, 120):
                raw[r - half : r + half + 1, [c - half, c + half]] += seam
                raw[[r - half, r + half], c - half : c + half + 1] += seam
                outline = ((r - 1.5, float(c)), (r + 1.5, float(c)))
                places.append(Annotation(float(r), float(c), 0.28, "microcalcification", outline=outline))
        drawings.append(replace(image, stored={"raw": raw.astype(np.uint16)}, annotations=tuple(places)))
    return shortcut.patches_of_twins(drawings)


def test_a_ridge_around_what_was_inserted_is_found_and_nothing_is_not(mammogram: SimulatedMammogram) -> None:
    pytest.importorskip("torch")
    found = []
    for seam in (2.0, 0.0):  # noise is 5
        patients = [_twin_patches(mammogram, seam, seed) for seed in range(6)]
        patient = np.repeat([f"p{k}" for k in range(6)], [len(i) for _, i in patients])
        patches, inserted = (np.concatenate([p[k] for p in patients]) for k in (0, 1))
        found.append(cross_validate(patches, inserted.astype(np.bool_), patient, steps=60, folds=2, seed=1).auc)
    assert found[0] > 0.6
    assert found[1] == pytest.approx(0.5, abs=0.03)


def test_an_image_is_made_once_for_the_same_job_and_again_for_another_system(tmp_path: Path) -> None:
    small = files.with_small_receptor(system("ge"), 60.0)
    images = ImageStore(tmp_path)
    first = images.measure(lambda i: int(i.stored["raw"].sum()), [ImageSpec(small, 1)])
    assert len(list(tmp_path.iterdir())) == 1
    assert images.measure(lambda i: int(i.stored["raw"].sum()), [ImageSpec(small, 1)]) == first
    assert len(list(tmp_path.iterdir())) == 1
    images.measure(lambda i: 0, [ImageSpec(replace(small, offset=9.0), 1)])
    assert len(list(tmp_path.iterdir())) == 2


def _itself(image: SimulatedMammogram) -> SimulatedMammogram:
    return image


def test_an_image_read_from_the_store_is_the_one_that_was_made(tmp_path: Path) -> None:
    spec = ImageSpec(files.with_small_receptor(system("ge"), 60.0), 1, filling="first", intents=("raw", "processed"))
    made, read = (ImageStore(tmp_path).measure(_itself, [spec])[0] for _ in range(2))
    assert made.annotations
    for name in SimulatedMammogram.__slots__:
        if name != "stored":
            assert getattr(read, name) == getattr(made, name)
    for intent in spec.intents:
        np.testing.assert_array_equal(read.stored[intent], made.stored[intent])


def test_the_two_drawings_of_a_breast_share_all_but_the_calcium(tmp_path: Path) -> None:
    small = files.with_small_receptor(system("ge"), 60.0)
    found = ImageStore(tmp_path).each(
        lambda images: [i.stored["raw"].astype(np.float64) for i in images],
        [tuple(ImageSpec(small, 2, filling=f) for f in ("tissue", "first", "second"))],
    )[0]
    tissue, first, second = found
    assert 0.0 < np.mean(first != tissue) < 0.1
    assert 0.0 < np.mean(second != tissue) < 0.1
    assert not np.array_equal(first, second)
