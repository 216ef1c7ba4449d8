from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from tests.training import toy

from microcalc.cnn.export import export_dense
from microcalc.cnn.network import Network
from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.domain import NormalisedMammogram
from microcalc.errors import WorkerDiedError
from microcalc.execution.executor import Executor, Outcome, Processes, Serial
from microcalc.sample.store import Samples, store
from microcalc.storage.arrays import load_arrays, save_array
from microcalc.training.images import TrainingImage
from microcalc.training.mining import MINED, hardest_of, mine_negatives

_N_POSITIVE = 40
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Shuffled(Serial):
    """Does the work in one order and gives the outcomes in another, as machines that are not equally fast do."""

    def run(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Generator[Outcome[_Item, _Result], None, None]:
        waiting = list(items)
        random.Random(3).shuffle(waiting)
        outcomes = list(super().run(function, waiting))
        random.Random(4).shuffle(outcomes)
        yield from outcomes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CNN1 with random weights."""
    folder = tmp_path_factory.mktemp("mining")
    torch.manual_seed(1)
    cnn1 = toy.recipe().cnn1
    export_dense(Network(cnn1.channels, cnn1.dilations), folder / "cnn1_dense.onnx")
    return folder


@pytest.fixture(scope="module")
def images(folder: Path) -> list[TrainingImage]:
    """Six images, of which two are the same and one has reviewed places, listed against their order in the raster."""
    return [_image(folder, number, seed=max(1, number)) for number in range(6)]


def _image(folder: Path, number: int, *, seed: int) -> TrainingImage:
    pixels = np.random.default_rng(seed).normal(0, 1, (90, 70)).round(1).astype(np.float32)
    breast = np.ones(pixels.shape, dtype=bool)
    file = folder / f"{number}.npy"
    store(NormalisedMammogram(pixels, breast, 0.1, (0.0, 0.0), ""), file, border_px=4)
    row = ImageRow(f"i{number}", Path(f"i{number}.png"), "processed", (0.1, 0.1))
    places = [(60, 30), (20, 30), (20, 10)] if number == 2 else []
    return TrainingImage(row, tuple(AnnotationRow(row.image, *p, kind="no_calcium") for p in places), file)


def _mined(folder: Path, images: list[TrainingImage], out: Path, executor: Executor, **given: Any) -> Samples:
    out.mkdir(exist_ok=True)
    return mine_negatives(
        folder, images, recipe=toy.recipe(), n_positive=_N_POSITIVE, out=out, executor=executor, **given
    )


@pytest.fixture(scope="module")
def mined(folder: Path, images: list[TrainingImage]) -> Path:
    """Folder of the mining in one process."""
    _mined(folder, images, folder / "serial", Serial())
    return folder / "serial"


def test_the_mined_are_the_first_of_the_candidates_by_logit_image_row_and_column(mined: Path) -> None:
    candidates = [load_arrays(file) for file in sorted((mined / "mining").iterdir())]
    rows = sorted(
        (-float(logit), *sample.tolist())
        for c in candidates
        for sample, logit in zip(c["samples"], c["logits"], strict=True)
    )
    wanted = int(toy.recipe().mining.hard_per_positive * _N_POSITIVE)
    assert len(rows) > wanted
    assert np.load(mined / MINED).tolist() == [
        place for _, _, place in sorted((row[1], row[0], list(row[1:])) for row in rows[:wanted])
    ]


def test_reviewed_negatives_are_always_mined(mined: Path) -> None:
    of_two = [place[1:] for place in np.load(mined / MINED).tolist() if place[0] == 2]
    assert of_two[:3] == [[20, 10], [20, 30], [60, 30]]


@pytest.mark.parametrize("executor", [_Shuffled(), Processes(2)], ids=["shuffled", "two"])
def test_the_mined_are_the_same_bytes_wherever_images_are_rated(
    folder: Path, images: list[TrainingImage], mined: Path, tmp_path: Path, executor: Executor
) -> None:
    _mined(folder, images, tmp_path, executor)
    assert (tmp_path / MINED).read_bytes() == (mined / MINED).read_bytes()
    for file in (mined / "mining").iterdir():
        assert (tmp_path / "mining" / file.name).read_bytes() == file.read_bytes()
    files = sorted((tmp_path / "mining").iterdir(), reverse=True)
    assert np.array_equal(hardest_of(files, n=len(np.load(mined / MINED))), np.load(mined / MINED))


def test_an_interrupted_mining_rates_only_what_is_missing(
    folder: Path, images: list[TrainingImage], mined: Path, tmp_path: Path
) -> None:
    _mined(folder, images, tmp_path, Serial())
    (tmp_path / MINED).unlink()
    (tmp_path / "mining" / "00003.npz").unlink()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "mining").iterdir()}
    _mined(folder, images, tmp_path, Serial())
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert (tmp_path / MINED).read_bytes() == (mined / MINED).read_bytes()


def test_only_the_samples_that_may_be_mined_are(folder: Path, images: list[TrainingImage], tmp_path: Path) -> None:
    allowed = np.array([(0, 5, 5), (0, 50, 60), (2, 7, 7), (5, 30, 30)], dtype=np.int32)
    save_array(tmp_path / "allowed.npy", allowed)
    mined = _mined(folder, images, tmp_path / "out", Serial(), allowed=tmp_path / "allowed.npy")
    reviewed = [[2, 20, 10], [2, 20, 30], [2, 60, 30]]
    assert sorted(mined.tolist()) == sorted([*reviewed, *allowed.tolist()])


class _DeadAtOne(Serial):
    """Loses the worker of the image of number 1, as ``Processes`` reports it."""

    def run(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Generator[Outcome[_Item, _Result], None, None]:
        one, *others = sorted(items, key=lambda item: getattr(item, "number", 0) != 1)
        yield Outcome(one, None, WorkerDiedError("its worker process died 4 times"))
        yield from super().run(function, others)


def test_an_image_that_kills_its_worker_is_named_and_the_others_are_rated(
    folder: Path, images: list[TrainingImage], tmp_path: Path
) -> None:
    with pytest.raises(WorkerDiedError, match=r"^i1\.png: its worker process died"):
        _mined(folder, images, tmp_path, _DeadAtOne())
    assert sorted(file.name for file in (tmp_path / "mining").iterdir()) == [f"0000{n}.npz" for n in (0, 2, 3, 4, 5)]
    assert not (tmp_path / MINED).exists()
