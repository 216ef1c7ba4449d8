"""Whole mammograms, on a receptor of few pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from microcalc.geometry import Grid
from microcalc.simulate.calcification import draw_calcification, render
from microcalc.simulate.contents import Amounts
from microcalc.simulate.exam import SimulatedMammogram, simulate_mammogram
from microcalc.simulate.systems import System, system

MANY = Amounts(clusters=3.0, singles=6.0, coarse=2.0, rims=2.0, arteries=2.0, crossings=6.0, specks=8.0)


def small(name: str) -> System:
    """The system with a receptor of 60 mm x 45 mm."""
    s = system(name)
    return replace(s, fields=((round(60 / s.pitch_mm), round(45 / s.pitch_mm)),))


@pytest.fixture(scope="module", params=["hologic", "ge", "siemens"])
def mammogram(request: pytest.FixtureRequest) -> SimulatedMammogram:
    return simulate_mammogram(small(request.param), seed=3, density="C", intents=("raw", "processed"), amounts=MANY)


def test_the_same_seed_gives_the_same_mammogram() -> None:
    first, second = (simulate_mammogram(small("ge"), seed=11, amounts=MANY) for _ in range(2))
    assert np.array_equal(first.stored["raw"], second.stored["raw"])
    assert first.places == second.places
    other = simulate_mammogram(small("ge"), seed=12, amounts=MANY)
    assert not np.array_equal(first.stored["raw"], other.stored["raw"])


def test_asking_for_the_processed_image_too_changes_nothing_in_the_raw_one() -> None:
    alone = simulate_mammogram(small("ge"), seed=4)
    both = simulate_mammogram(small("ge"), seed=4, intents=("raw", "processed"))
    assert np.array_equal(alone.stored["raw"], both.stored["raw"])


@pytest.mark.parametrize("view", ["CC", "MLO"])
def test_a_right_breast_is_the_mirror_image_of_a_left_one(view) -> None:  # type: ignore[no-untyped-def]
    left = simulate_mammogram(small("ge"), seed=5, view=view, laterality="L", amounts=MANY)
    right = simulate_mammogram(small("ge"), seed=5, view=view, laterality="R", amounts=MANY)
    assert np.array_equal(left.stored["raw"], right.stored["raw"][:, ::-1])
    columns = left.stored["raw"].shape[1]
    for there, here in zip(right.places, left.places, strict=True):
        back = there.mirrored(columns)
        assert (back.kind, back.cluster, back.d_prime) == (here.kind, here.cluster, here.d_prime)
        assert (back.row, back.column) == pytest.approx((here.row, here.column), abs=1e-9)
    chest, far = left.stored["raw"][:, :5].mean(), left.stored["raw"][:, -5:].mean()
    assert chest < 0.5 * far


def test_the_breast_is_darker_than_air_when_raw_and_brighter_when_processed(mammogram: SimulatedMammogram) -> None:
    raw, processed = mammogram.stored["raw"], mammogram.stored["processed"]
    breast = processed > 0
    assert 0.1 < breast.mean() < 0.9
    assert np.median(raw[breast]) < 0.6 * np.median(raw[~breast])
    assert processed.max() <= 4095
    assert len(mammogram.windows) == 3


def test_processing_keeps_denser_brighter(mammogram: SimulatedMammogram) -> None:
    raw, processed = mammogram.stored["raw"].astype(float), mammogram.stored["processed"].astype(float)
    middle = (slice(raw.shape[0] // 3, 2 * raw.shape[0] // 3), slice(10, raw.shape[1] // 3))
    assert np.corrcoef(raw[middle].ravel(), processed[middle].ravel())[0, 1] < -0.5


def test_every_kind_of_calcium_and_what_is_taken_for_it_is_in_the_truth() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(3):
        kinds += Counter(p.kind for p in simulate_mammogram(small("ge"), seed=seed, amounts=MANY).places)
    assert {"microcalcification", "coarse", "rim_or_skin", "vascular", "no_calcium"} <= set(kinds)


def test_microcalcifications_say_how_visible_they_are(mammogram: SimulatedMammogram) -> None:
    found = [p for p in mammogram.places if p.kind == "microcalcification"]
    assert found
    assert all(p.d_prime is not None and 0.0 < p.d_prime < 400.0 for p in found)
    assert all(p.outline and 0.03 < p.diameter_mm < 2.0 for p in found)
    rows, columns = mammogram.stored["raw"].shape
    assert all(0 <= p.row < rows and 0 <= p.column < columns for p in mammogram.places)


@pytest.mark.parametrize("name", ["hologic", "ge", "siemens"])
def test_a_place_is_the_centroid_of_its_shadow(name: str) -> None:
    s = system(name)
    rng = np.random.default_rng(8)
    grid = Grid((s.pitch_mm, s.pitch_mm))
    for _ in range(4):
        calcification = draw_calcification(rng, diameter_mm=0.3, morphology="pleomorphic", attenuation_per_mm=0.7)
        centre = rng.uniform(20.0, 44.0, (1, 2)) * s.pitch_mm
        shadow = render([calcification], centre, grid=grid, shape=(64, 64), mtf=s.mtf)
        row, column = np.indices(shadow.shape)
        centroid = np.array([(row * shadow).sum(), (column * shadow).sum()]) / shadow.sum()
        assert np.hypot(*(centroid - centre[0] / s.pitch_mm)) < 0.5
