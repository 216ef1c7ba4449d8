from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.detection.networks import write_dense_network, write_model, write_patch_network

from microcalc.cnn import scorer
from microcalc.cnn.export import average_orientations, export_patches
from microcalc.cnn.limit import SurvivorLimit, most_averaged
from microcalc.cnn.network import Network
from microcalc.cnn.scorer import (
    CnnPair,
    NetworkFile,
    apply_densely,
    open_network,
    rejected_likelihood,
    survivor_likelihood,
)
from microcalc.domain import BoolImage, FloatImage, NormalisedMammogram, Stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def _pair(
    folder: Path, *, rejection_logit: float = 0.5, stage: Stage = "pair", most: SurvivorLimit | None = None
) -> CnnPair:
    return CnnPair(
        NetworkFile(folder / "cnn1.onnx", 3),
        NetworkFile(folder / "cnn2.onnx", 5),
        rejection_logit=rejection_logit,
        most_survivors=most,
        spacing_mm=0.1,
        threads=1,
        stage=stage,
    )


def _mammogram(
    shape: tuple[int, int] = (150, 170), *, seed: int = 0, breast: BoolImage | None = None
) -> NormalisedMammogram:
    pixels = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    inside = np.ones(shape, dtype=bool) if breast is None else breast
    return NormalisedMammogram(np.where(inside, pixels, np.float32(0)), inside, 0.1, (0.0, 0.0), "uid")


def _round_breast(shape: tuple[int, int]) -> BoolImage:
    rows, columns = np.indices(shape)
    return np.asarray(np.hypot(rows - shape[0] / 2, columns) < 0.45 * shape[0])


@pytest.mark.parametrize("tile_px", [16, 37, 64])
@pytest.mark.parametrize("whole", [True, False])
def test_tiles_leave_no_seam(folder: Path, tile_px: int, whole: bool) -> None:
    shape = (150, 170)
    mammogram = _mammogram(breast=None if whole else _round_breast(shape))
    session = open_network(folder / "cnn1.onnx", threads=1)
    in_one_piece = session.run(["logit"], {"patch": np.pad(mammogram.pixels, 3)[np.newaxis, np.newaxis]})[0][0, 0]
    tiled = apply_densely(session, mammogram, margin_px=3, tile_px=tile_px)
    np.testing.assert_allclose(tiled[mammogram.breast], in_one_piece[mammogram.breast], atol=1e-4)
    assert np.all(tiled[~mammogram.breast] == -np.inf)


def test_a_shifted_mammogram_has_shifted_likelihoods(folder: Path) -> None:
    breast = np.zeros((120, 120), dtype=bool)
    breast[20:80, 20:90] = True
    mammogram = _mammogram((120, 120), breast=breast)
    shift = (17, 13)
    shifted = NormalisedMammogram(
        np.roll(mammogram.pixels, shift, (0, 1)), np.roll(breast, shift, (0, 1)), 0.1, (0.0, 0.0), "uid"
    )
    pair = _pair(folder)
    expected = np.roll(pair.score(mammogram).likelihood, shift, (0, 1))
    np.testing.assert_allclose(pair.score(shifted).likelihood, expected, atol=1e-5)


@pytest.mark.parametrize("stage", ["pair", "cnn1"])
def test_the_likelihood_is_nought_outside_the_breast_and_between_nought_and_one_inside(
    folder: Path, stage: Stage
) -> None:
    breast = _round_breast((100, 80))
    likelihood = _pair(folder, stage=stage).score(_mammogram((100, 80), breast=breast)).likelihood
    assert likelihood.dtype == np.float32
    assert np.all(likelihood[~breast] == 0)
    assert np.all((likelihood[breast] > 0) & (likelihood[breast] < 1))


def test_an_image_without_breast_is_nought_everywhere(folder: Path) -> None:
    empty = np.zeros((40, 50), dtype=bool)
    assert not _pair(folder).score(_mammogram((40, 50), breast=empty)).likelihood.any()


def test_survivors_are_rated_by_the_second_network_and_the_rest_by_the_first(folder: Path) -> None:
    mammogram = _mammogram((60, 70))
    pair = _pair(folder)
    logit1, likelihood = pair.rate_all(mammogram), pair.score(mammogram).likelihood
    survived = logit1 >= 0.5
    assert 0 < survived.sum() < survived.size
    assert likelihood[survived].min() >= 0.5 > likelihood[~survived].max()
    order = np.argsort(logit1[~survived])
    assert np.all(np.diff(likelihood[~survived][order]) >= 0)
    logit2 = pair.rate_survivors(mammogram, pair.survivors(logit1))
    assert np.all(np.diff(likelihood[survived][np.argsort(logit2)]) >= 0)


def test_of_too_many_survivors_those_that_the_first_network_rates_highest_are_rated(folder: Path) -> None:
    mammogram = _mammogram((60, 70))
    bounded = _pair(folder, most=SurvivorLimit(per_cm2=1.0, per_image=300))
    logit1, likelihood = bounded.rate_all(mammogram), bounded.score(mammogram).likelihood
    rated = likelihood >= 0.5
    assert np.count_nonzero(logit1 >= 0.5) > 300 == np.count_nonzero(rated)
    assert logit1[rated].min() >= logit1[~rated].max()
    assert np.all(np.diff(likelihood[~rated][np.argsort(logit1[~rated])]) >= 0)
    np.testing.assert_array_equal(likelihood[rated], _pair(folder).score(mammogram).likelihood[rated])


def test_where_few_survive_the_limit_changes_nothing(folder: Path) -> None:
    mammogram = _mammogram((60, 70))
    bounded = _pair(folder, most=SurvivorLimit(per_cm2=1e5, per_image=10**6))
    np.testing.assert_array_equal(bounded.score(mammogram).likelihood, _pair(folder).score(mammogram).likelihood)


def test_where_the_limit_is_reached_the_scores_say_so(folder: Path) -> None:
    mammogram = _mammogram((60, 70))
    assert not _pair(folder).score(mammogram).limit_reached
    assert _pair(folder, most=SurvivorLimit(per_cm2=1.0, per_image=300)).score(mammogram).limit_reached


@pytest.fixture(scope="module")
def averaging(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks of which the second averages the higher half of the survivors over eight orientations."""
    out = tmp_path_factory.mktemp("averaging")
    shutil.copyfile(folder / "cnn1.onnx", out / "cnn1.onnx")
    torch.manual_seed(4)
    export_patches(Network([3, 3, 3], [1, 2, 2]), out / "cnn2.onnx")
    mammogram, pair = _mammogram((60, 70)), _pair(out)
    single = pair.rate_survivors(mammogram, pair.survivors(pair.rate_all(mammogram)))
    average_orientations(out / "cnn2.onnx", out / "cnn2.onnx", orientations=8, above=float(np.median(single)))
    return out


def test_of_too_many_patches_those_rated_highest_are_averaged_over_orientations(
    averaging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mammogram, pair = _mammogram((60, 70)), _pair(averaging)
    survivors = pair.survivors(pair.rate_all(mammogram))
    single, all_averaged = (pair.rate_survivors(mammogram, survivors, average=a) for a in (False, True))
    reaches = single >= np.median(single)
    assert np.array_equal(single != all_averaged, reaches)
    most = np.count_nonzero(reaches) // 2
    monkeypatch.setattr(scorer, "most_averaged", lambda _: most)
    scores = pair.score(mammogram)
    chosen = np.argsort(-single, kind="stable")[:most]
    expected = single.copy()
    expected[chosen] = all_averaged[chosen]
    np.testing.assert_array_equal(scores.likelihood[survivors], survivor_likelihood(expected))
    assert scores.limit_reached


def test_where_few_patches_reach_the_threshold_the_limit_on_averaging_changes_nothing(
    averaging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mammogram, pair = _mammogram((60, 70)), _pair(averaging)
    survivors = pair.survivors(pair.rate_all(mammogram))
    single = pair.rate_survivors(mammogram, survivors, average=False)
    n_reaching = np.count_nonzero(single >= np.median(single))
    expected = survivor_likelihood(pair.rate_survivors(mammogram, survivors))
    assert n_reaching < single.size
    monkeypatch.setattr(scorer, "most_averaged", lambda _: n_reaching)
    scores = pair.score(mammogram)
    np.testing.assert_array_equal(scores.likelihood[survivors], expected)
    assert not scores.limit_reached


@pytest.mark.parametrize(
    ("area_cm2", "most"), [(0.1, 200), (100.0, 2000), (200.0, 3000), (350.0, 3000), (600.0, 1250), (9000.0, 200)]
)
def test_how_many_patches_are_averaged_depends_on_the_area_alone(area_cm2: float, most: int) -> None:
    assert most_averaged(area_cm2) == most


@pytest.mark.parametrize(
    "limit", [SurvivorLimit(per_cm2=100, per_image=25000), SurvivorLimit(per_cm2=160, per_image=40000)]
)
def test_what_a_larger_picture_takes_before_the_second_network_is_taken_off_it(limit: SurvivorLimit) -> None:
    def most_ms(area_cm2: float) -> float:
        return 5.0 * area_cm2 + 0.09 * limit.of(area_cm2) + 0.65 * most_averaged(area_cm2)

    assert all(most_ms(area_cm2) <= 1.05 * most_ms(350.0) for area_cm2 in (20.0, 100.0, 350.0, 500.0, 668.0, 750.0))


def test_the_second_network_sees_the_patch_around_its_pixel(tmp_path: Path) -> None:
    weights = np.random.default_rng(3).normal(size=(11, 11))
    write_dense_network(tmp_path / "cnn1.onnx", margin_px=3, seed=0)
    write_patch_network(tmp_path / "cnn2.onnx", margin_px=5, weights=weights)
    mammogram = _mammogram((30, 40))
    rows, columns = np.array([0, 12, 29]), np.array([39, 20, 0])
    padded: FloatImage = np.pad(mammogram.pixels, 5)
    expected = [np.sum(padded[r : r + 11, c : c + 11] * weights) for r, c in zip(rows, columns, strict=True)]
    found = _pair(tmp_path).rate_survivors(mammogram, (rows, columns))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_one_stage_alone_ranks_every_pixel_as_the_first_network_does(folder: Path) -> None:
    mammogram = _mammogram((60, 70))
    alone = _pair(folder, stage="cnn1")
    order = np.argsort(alone.rate_all(mammogram).ravel())
    assert np.all(np.diff(alone.score(mammogram).likelihood.ravel()[order]) >= 0)


@given(
    logit1=st.floats(-400, 400, width=32),
    rejection_logit=st.floats(-20, 20, width=32),
    logit2=st.floats(-400, 400, width=32),
)
@settings(derandomize=True)
def test_any_rejected_pixel_rates_below_any_survivor(logit1: float, rejection_logit: float, logit2: float) -> None:
    rejected = rejected_likelihood(np.array([min(logit1, rejection_logit)], dtype=np.float32), rejection_logit)
    survivor = survivor_likelihood(np.array([logit2], dtype=np.float32))
    assert 0 < rejected[0] < 0.5 <= survivor[0] < 1


def test_logits_of_twenty_and_of_forty_do_not_tie() -> None:
    likelihood = survivor_likelihood(np.array([-40, -20, 20, 40], dtype=np.float32))
    assert np.all(np.diff(likelihood) > 0)
