from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from tests.logs import KilledError, logged
from torch.multiprocessing.spawn import ProcessRaisedException

from microcalc.cnn import fit as fitting
from microcalc.cnn.device import check_device
from microcalc.cnn.fit import Augmentation, Optimisation, TrainingSamples, augmented, fit, fit_on_several
from microcalc.cnn.hardware import Hardware
from microcalc.cnn.network import Network
from microcalc.cnn.ranks import _reason, current_ranks, run_on_ranks
from microcalc.domain import NormalisedMammogram
from microcalc.errors import InputError, WorkerDiedError
from microcalc.sample.store import Samples, StoredImage, open_stored, store

_STEPS = 12


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[StoredImage], Samples, Samples]:
    """Noise with bright specks: images, positives on the specks, negatives off them."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(0, 1, (120, 120)).astype(np.float32)
    rows, columns = (v.ravel() for v in np.mgrid[10:111:20, 10:111:20])
    pixels[rows, columns] += 12
    file = tmp_path_factory.mktemp("toy") / "a.npy"
    store(NormalisedMammogram(pixels, np.ones(pixels.shape, dtype=bool), 0.1, (0.0, 0.0), ""), file, border_px=5)
    image = np.zeros_like(rows)
    positives = np.stack([image, rows, columns], axis=1).astype(np.int32)
    return [open_stored(file)], positives, (positives + np.array([0, 7, 5])).astype(np.int32)


def _fit(
    toy: tuple[list[StoredImage], Samples, Samples],
    folder: Path,
    *,
    steps: int = _STEPS,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> dict[str, torch.Tensor]:
    images, positives, negatives = toy
    torch.manual_seed(3)
    network = fit(
        Network([4, 4], [1, 2]),
        TrainingSamples(images, positives, [(negatives, 0.75), (negatives[:9], 0.25)]),
        Optimisation(
            steps=steps, batch=16, learning_rate=0.01, weight_decay=1e-4, positive_share=0.4, precision=precision,
        ),
        Augmentation(gain_range=(0.8, 1.2), noise=0.1, flips=True),
        seed=5, device="cpu", folder=folder,
    )  # fmt: skip
    return network.state_dict()


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_loss_falls_until_the_specks_are_told_from_the_noise(
    toy: tuple[list[StoredImage], Samples, Samples], tmp_path: Path, precision: Literal["float32", "bfloat16"]
) -> None:
    with logged() as messages:
        _fit(toy, tmp_path, steps=150, precision=precision)
    assert [m.split(":")[0] for m in messages] == [f"{tmp_path.name} step {n} of 150" for n in (50, 100, 150)]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150]
    assert lines[0]["loss"] > 3 * lines[-1]["loss"]
    assert lines[-1]["loss"] < 0.25  # 0.67 where nothing is told


@pytest.mark.parametrize("killed_at", [1, 5, _STEPS])
@pytest.mark.parametrize("save_every_s", [-1.0, 1e9])
def test_a_training_killed_at_any_step_ends_in_the_weights_of_one_that_was_not(
    toy: tuple[list[StoredImage], Samples, Samples],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_at: int,
    save_every_s: float,
) -> None:
    monkeypatch.setattr(fitting, "_LOG_EVERY", 1)
    whole = _fit(toy, tmp_path / "whole")
    monkeypatch.setattr(fitting, "_SAVE_EVERY_S", save_every_s)
    with pytest.raises(KilledError), logged(kill_at=f"killed step {killed_at} "):
        _fit(toy, tmp_path / "killed")
    assert _same(_fit(toy, tmp_path / "killed"), whole)
    logs = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("whole", "killed")]
    assert logs[0] == logs[1]
    assert logs[0].count("\n") == _STEPS


def test_the_precision_is_that_of_the_products_not_of_the_weights(
    toy: tuple[list[StoredImage], Samples, Samples], tmp_path: Path
) -> None:
    whole = _fit(toy, tmp_path / "whole", steps=3)
    half = _fit(toy, tmp_path / "half", steps=3, precision="bfloat16")
    for name, weight in half.items():
        assert weight.dtype == torch.float32
        assert not torch.equal(weight, whole[name])
        torch.testing.assert_close(weight, whole[name], atol=0.05, rtol=0)


def test_killed_between_two_lines_of_the_log_it_writes_the_same_log(
    toy: tuple[list[StoredImage], Samples, Samples], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_LOG_EVERY", 5)
    whole = _fit(toy, tmp_path / "whole")
    monkeypatch.setattr(fitting, "_SAVE_EVERY_S", -1.0)
    save, steps = fitting._save, iter(range(100))

    def kill_after_saving(*arguments: Any) -> None:
        save(*arguments)
        if next(steps) == 7:
            raise KilledError

    monkeypatch.setattr(fitting, "_save", kill_after_saving)
    with pytest.raises(KilledError):
        _fit(toy, tmp_path / "killed")
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 9, "lo')  # a line that the kill cut off
    assert _same(_fit(toy, tmp_path / "killed"), whole)
    assert (tmp_path / "killed" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_a_finished_training_is_not_trained_again(
    toy: tuple[list[StoredImage], Samples, Samples], tmp_path: Path
) -> None:
    whole = _fit(toy, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    with logged() as messages:
        assert _same(_fit(toy, tmp_path), whole)
    assert messages == []
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_flips_and_turns_are_the_eight_symmetries_of_the_square() -> None:
    patch = np.arange(9, dtype=np.float32).reshape(3, 3)
    given = np.repeat(patch[None], 400, axis=0)
    out = augmented(given, np.random.default_rng(1), Augmentation((1.0, 1.0), 0.0, flips=True))
    turns = [np.rot90(p, k) for p in (patch, patch[:, ::-1]) for k in range(4)]
    assert {o.tobytes() for o in out} == {t.astype(np.float32).tobytes() for t in turns}
    assert (out[:, 1, 1] == 4).all()  # the rated pixel stays where it is
    assert np.array_equal(given[7], patch)


def test_gain_stays_in_its_range_and_noise_has_its_deviation() -> None:
    rng = np.random.default_rng(1)
    ones = np.ones((500, 5, 5), dtype=np.float32)
    gains = augmented(ones, rng, Augmentation((0.7, 1.4), 0.0, flips=False))
    assert (gains == gains[:, :1, :1]).all()
    assert 0.7 * (1 - 1e-6) <= gains.min() < 0.72
    assert 1.37 < gains.max() <= 1.4 * (1 + 1e-6)
    noisy = augmented(ones, rng, Augmentation((1.0, 1.0), 0.2, flips=False))
    assert noisy.dtype == np.float32
    assert np.std(noisy) == pytest.approx(0.2, rel=0.03)  # 12,500 draws: 0.6 % standard error


def test_every_batch_holds_the_shares_asked_for() -> None:
    assert fitting._shares(10, [1.0]) == [10]
    assert fitting._shares(10, [0.8, 0.2]) == [8, 2]
    assert fitting._shares(7, [0.5, 0.5]) == [4, 3]
    assert fitting._shares(7, [0.0, 1.0]) == [0, 7]


def test_the_learning_rate_warms_up_and_dies_down() -> None:
    assert fitting._schedule(0.0) < 0.05
    assert fitting._schedule(0.03) == pytest.approx(1.0, abs=0.01)
    assert fitting._schedule(1.0) == pytest.approx(0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused() -> None:
    check_device("cpu")
    with pytest.raises(InputError, match="--device cuda"):
        check_device("cuda")


def test_two_processes_train_the_network_that_one_trains(
    toy: tuple[list[StoredImage], Samples, Samples], tmp_path: Path
) -> None:
    images, positives, negatives = toy
    networks, losses = [], []
    for gpus in (1, 2):  # gloo on the processor in place of GPUs
        torch.manual_seed(3)
        folder = tmp_path / str(gpus)
        network = fit_on_several(
            Network([4, 4], [1, 2]),
            TrainingSamples(images, positives, [(negatives, 0.75), (negatives[:9], 0.25)]),
            Optimisation(
                steps=20, batch=15, learning_rate=0.01, weight_decay=1e-4, positive_share=0.4, precision="float32"
            ),
            Augmentation(gain_range=(0.8, 1.2), noise=0.1, flips=True),
            seed=5, hardware=Hardware("cpu", gpus), folder=folder,
        )  # fmt: skip
        networks.append(network.state_dict())
        losses.append([json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for name, weight in networks[0].items():
        torch.testing.assert_close(networks[1][name], weight, atol=1e-4, rtol=0)


def test_a_process_that_is_killed_ends_the_training_in_one_line_and_the_other_processes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(WorkerDiedError, match=r"^a process of the training ended \(SIGKILL\), expected all to finish$"):
        run_on_ranks(_kill_the_second, device="cpu", world=2)
    assert multiprocessing.active_children() == []
    assert caplog.records == []


def test_what_went_wrong_in_a_process_is_said_in_the_same_line() -> None:
    trace = "\n\n-- Process 0 terminated with the following error:\nTraceback ...\nValueError: no such sample\n"
    assert _reason(ProcessRaisedException(trace, 0, 1), ()) == "ValueError: no such sample"


def test_an_interrupt_ends_every_process_of_the_training() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_on_ranks(_interrupt_the_parent, device="cpu", world=1)
    assert multiprocessing.active_children() == []


def _kill_the_second(_device: str) -> None:
    if not current_ranks().is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(3600)


def _interrupt_the_parent(_device: str) -> None:
    os.kill(os.getpid(), signal.SIGINT)  # as from the keyboard, which interrupts all; this one goes on
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(3600)
