from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cascade.cascades import rate_samples, spotted
from tests.logs import KilledError, logged

from microcalc.cascade.boost import Boosting
from microcalc.cascade.cascade import Cascade
from microcalc.cascade.fit import CascadeSettings, draw_by_weight, fit_cascade
from microcalc.cascade.rate import places_of
from microcalc.cascade.windows import by_image
from microcalc.errors import InputError
from microcalc.sample.store import Samples, StoredImage

_SETTINGS = CascadeSettings(
    rounds=(2, 4, 10), features_per_node=80, negatives_per_node=1500, kept=0.95, least_negatives=20
)


_TRAIN, _TUNE, _TEST = spotted(12, seed=1), spotted(6, seed=2), spotted(4, seed=3)


def _fit(folder: Path, settings: CascadeSettings = _SETTINGS, *, killed_at: str = "") -> Cascade:
    with logged(kill_at=f"cascade: {killed_at}" if killed_at else None):
        return fit_cascade(
            _TRAIN[0], _TRAIN[1], _TRAIN[2], _TUNE[0], _TUNE[1], settings=settings, seed=1, folder=folder
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cascade, Path]:
    folder = tmp_path_factory.mktemp("cascade")
    return _fit(folder), folder


def _rated(cascade: Cascade, images: list[StoredImage], samples: Samples) -> np.ndarray:
    return np.concatenate(
        [rate_samples(cascade, images[i], samples[p, 1], samples[p, 2]) for i, p in by_image(samples)]
    )


@pytest.mark.parametrize("boosting", ["ranking", "classification"])
@pytest.mark.parametrize("depth", [1, 2])
def test_spots_of_other_images_rank_above_noise_and_edges(boosting: Boosting, depth: int, tmp_path: Path) -> None:
    cascade = _fit(tmp_path, replace(_SETTINGS, boosting=boosting, depth=depth))
    images, positives, negatives = _TEST
    positive, negative = _rated(cascade, images, positives), _rated(cascade, images, negatives)
    above = np.mean(positive[:, np.newaxis] > negative[np.newaxis, :])
    assert above > 0.95


def test_so_many_tune_positives_reach_the_last_node_as_the_settings_say(trained: tuple[Cascade, Path]) -> None:
    cascade, _ = trained
    reached = [places_of(cascade, _TUNE[0][i], _TUNE[1][p, 1], _TUNE[1][p, 2])[0] for i, p in by_image(_TUNE[1])]
    assert np.mean(np.concatenate(reached) == cascade.n_nodes - 1) >= _SETTINGS.kept


def test_each_node_lets_fewer_negatives_pass(trained: tuple[Cascade, Path]) -> None:
    cascade, _ = trained
    places = np.concatenate(
        [places_of(cascade, _TEST[0][i], _TEST[2][p, 1], _TEST[2][p, 2])[0] for i, p in by_image(_TEST[2])]
    )
    passing = [np.mean(places > node) for node in range(cascade.n_nodes - 1)]
    assert 1 > passing[0] > passing[1] > 0


@pytest.mark.parametrize("killed_at", ["node 1: 2", "node 2: ", "node 3: 10 trees"])
def test_a_training_killed_at_any_node_goes_on_to_the_same_bytes(
    killed_at: str, trained: tuple[Cascade, Path], tmp_path: Path
) -> None:
    with pytest.raises(KilledError):
        _fit(tmp_path, killed_at=killed_at)
    _fit(tmp_path)
    for file in sorted(trained[1].iterdir()):
        assert (tmp_path / file.name).read_bytes() == file.read_bytes()


def test_a_finished_training_is_not_run_again(trained: tuple[Cascade, Path]) -> None:
    _fit(trained[1], killed_at="node")


def test_nodes_that_are_not_deep_stop_at_their_goal(tmp_path: Path) -> None:
    cascade = _fit(tmp_path, replace(_SETTINGS, deep=False, passed=0.6))
    assert cascade.node_start[-1] < sum(_SETTINGS.rounds)


def test_no_node_is_trained_on_a_handful_of_negatives(tmp_path: Path) -> None:
    few, settings = _TRAIN[2][:300], replace(_SETTINGS, least_negatives=299)
    with logged() as messages:
        cascade = fit_cascade(_TRAIN[0], _TRAIN[1], few, _TUNE[0], _TUNE[1], settings=settings, seed=1, folder=tmp_path)
    assert cascade.n_nodes < 3
    assert messages[-1].endswith("no further node")


@pytest.mark.parametrize(("empty", "name"), [(1, "positive"), (2, "negative"), (4, "positive validation")])
def test_a_cascade_without_samples_is_refused(empty: int, name: str, tmp_path: Path) -> None:
    none = np.zeros((0, 3), dtype=np.int32)
    positives, negatives, validation = (
        none if empty == n else s for n, s in ((1, _TRAIN[1]), (2, _TRAIN[2]), (4, _TUNE[1]))
    )
    with pytest.raises(InputError, match=f"no {name} samples"):
        fit_cascade(_TRAIN[0], positives, negatives, _TUNE[0], validation, settings=_SETTINGS, seed=1, folder=tmp_path)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 300))
def test_the_drawn_negatives_count_for_all_of_them(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    score = rng.normal(scale=2, size=400).astype(np.float32)
    drawn, counts = draw_by_weight(score, n, rng)
    assert (np.diff(drawn) > 0).all()
    assert (counts >= 1).all()
    hardest = np.argmax(score)
    assert n < 10 or hardest in drawn or counts.min() > 1
    many = [draw_by_weight(score, n, rng) for _ in range(100)]
    sums = [np.sum(c * np.exp(score[d])) for d, c in many]
    mean, spread = float(np.mean(sums)), float(np.std(sums)) / 10
    assert mean == pytest.approx(np.exp(score.astype(float)).sum(), abs=6 * spread + 1e-3 * mean)
    assert np.mean([len(d) for d, _ in many]) == pytest.approx(n, abs=6 * np.sqrt(n / 100) + 1e-9)


def test_all_negatives_are_drawn_where_there_are_not_more() -> None:
    drawn, counts = draw_by_weight(np.zeros(5, dtype=np.float32), 5, np.random.default_rng(0))
    assert drawn.tolist() == [0, 1, 2, 3, 4]
    assert (counts == 1).all()
