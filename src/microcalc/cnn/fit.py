"""Train a network on patches."""

from __future__ import annotations

import io
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from microcalc.cnn.device import ImagesOnDevice, augmented_on_device, fits
from microcalc.cnn.hardware import Hardware
from microcalc.cnn.network import Network
from microcalc.cnn.precision import Precision
from microcalc.cnn.ranks import current_ranks, run_on_ranks
from microcalc.cnn.validate import Measured, Validation, ValidationSamples
from microcalc.domain import FloatImage
from microcalc.execution.progress import in_words
from microcalc.sample.store import Samples, StoredImage, gather
from microcalc.storage.write import saying_where, write_json, write_text, write_whole

METRICS, PROGRESS = "metrics.jsonl", "progress.json"
_SAVE_EVERY_S = 30.0
_LOG_EVERY = 50
_MEASUREMENTS = 20
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class TrainingSamples:
    """What patches are cut at.

    Attributes
    ----------
    positives
        (n, 3) samples in ``images``.
    negatives
        Pools of samples, each with its share of a batch's negatives (the shares sum to 1).
    """

    images: Sequence[StoredImage]
    positives: Samples
    negatives: Sequence[tuple[Samples, float]]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How patches are varied.

    Attributes
    ----------
    gain_range
        Lowest and highest factor on a patch (log-uniform).
    noise
        Standard deviation of what is added, in units of the image's own noise.
    flips
        Whether patches are flipped and turned by quarter turns.
    """

    gain_range: tuple[float, float]
    noise: float
    flips: bool


@dataclass(frozen=True, slots=True)
class Optimisation:
    """How a network is optimised, as in the recipe.

    Attributes
    ----------
    steps, batch
        Optimiser steps, and patches in each.
    learning_rate, weight_decay
        AdamW's rate at its highest, and its weight decay.
    positive_share
        Share of a batch that is positive.
    precision
        Arithmetic of the convolutions.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    positive_share: float
    precision: Precision


@dataclass(frozen=True, slots=True)
class Watch:
    """What is measured and logged while a network is trained; the weights do not depend on it.

    Attributes
    ----------
    validation
        What the network is measured on, about twenty times; None: it is not measured.
    later_steps
        Further training, in steps of this network's duration, that the time left includes.
    """

    validation: ValidationSamples | None = None
    later_steps: float = 0.0


# Longer than 40 lines: a training is read from its loop, which stands here whole.
def fit(
    network: Network,
    samples: TrainingSamples,
    optimisation: Optimisation,
    augmentation: Augmentation,
    *,
    seed: int,
    device: str,
    folder: Path,
    watch: Watch | None = None,
) -> Network:
    """Train a network on patches; go on from ``folder``'s checkpoint where there is one.

    In a process group of torch (``cnn.ranks``) each process works on its part of every batch, and the first one writes.

    Parameters
    ----------
    seed
        Seed of the batches and their augmentation; the caller sets the network's initial weights.
    folder
        Folder of ``checkpoint.pt`` (written about every half minute), ``metrics.jsonl`` (losses and measurements) and
        ``progress.json`` (the time left); its name stands in the log.
    watch
        By default only the training losses are logged.

    Returns
    -------
    The same network, trained and moved to the CPU.
    """
    with saying_where(folder):
        folder.mkdir(parents=True, exist_ok=True)
    steps, bfloat16 = optimisation.steps, optimisation.precision == "bfloat16"
    watch, ranks = watch or Watch(), current_ranks()
    network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=optimisation.learning_rate, weight_decay=optimisation.weight_decay
    )
    rng = np.random.default_rng(seed)
    start, losses = _resume(folder / "checkpoint.pt", network, optimiser, rng)
    if ranks.is_first:
        _drop_after(folder / METRICS, start)
    validation = None if start == steps or not ranks.is_first else _validation(watch, network, optimisation)
    pools = _pools(samples, optimisation)
    cut = _patches_of(samples.images, augmentation, margin_px=network.margin_px, device=device)
    labels = torch.zeros(optimisation.batch, device=device)  # (n,)
    labels[: pools[0][1]] = 1.0
    labels = ranks.own(labels)
    began = saved = time.monotonic()
    for step in range(start, steps):
        for group in optimiser.param_groups:
            group["lr"] = optimisation.learning_rate * _schedule(step / steps)
        drawn = np.concatenate([pool[rng.integers(len(pool), size=n)] for pool, n in pools if n])  # (n, 3)
        patches = ranks.own(cut(drawn, rng))  # (n, side, side)
        given = patches.unsqueeze(1).to(device, memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=bfloat16):
            logits = network.rate_patches(given).float()  # (n,)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(ranks.add_up(network, loss, share=len(labels) / optimisation.batch)))
        optimiser.step()
        if not ranks.is_first:
            continue
        if (step + 1) % _LOG_EVERY == 0 or step + 1 == steps:
            is_due = (step + 1) % measuring_interval(steps) == 0 or step + 1 == steps
            measured = validation.measure(network, device=device, bfloat16=bfloat16) if validation and is_due else None
            left_s = (time.monotonic() - began) / (step + 1 - start) * (steps - step - 1 + watch.later_steps)
            _log(folder, step + 1, steps, losses, measured, "" if validation is None else validation.at, left_s)
            losses.clear()
        if time.monotonic() - saved > _SAVE_EVERY_S or step + 1 == steps:
            _save(folder / "checkpoint.pt", network, optimiser, rng, step + 1, losses)
            saved = time.monotonic()
    return network.cpu().eval()


def fit_on_several(
    network: Network,
    samples: TrainingSamples,
    optimisation: Optimisation,
    augmentation: Augmentation,
    *,
    seed: int,
    hardware: Hardware,
    folder: Path,
    watch: Watch | None = None,
) -> Network:
    """Train a network as ``fit`` does, on several GPUs where there are several to be used.

    Raises
    ------
    WorkerDiedError
        One of several processes died; the same call goes on from the checkpoint.
    """
    train = partial(
        fit,
        samples=samples,
        optimisation=optimisation,
        augmentation=augmentation,
        seed=seed,
        folder=folder,
        watch=watch,
    )
    if hardware.gpus > 1 and not _is_done(folder / "checkpoint.pt", optimisation.steps):
        run_on_ranks(partial(_fit_copy, train, network), device=hardware.device, world=hardware.gpus)
    return train(network, device=hardware.device)


def _fit_copy(train: Callable[..., Network], network: Network, device: str) -> None:
    """Train a copy: tensors that are sent to other processes stay shared among all of them."""
    train(deepcopy(network), device=device)


def _is_done(checkpoint: Path, steps: int) -> bool:
    return checkpoint.is_file() and int(torch.load(checkpoint, weights_only=True, map_location="cpu")["step"]) == steps


def measuring_interval(steps: int) -> int:
    """Return the number of steps between two measurements on the validation samples, of a training of so many steps."""
    return _LOG_EVERY * math.ceil(steps / (_MEASUREMENTS * _LOG_EVERY))


def augmented(patches: FloatImage, rng: np.random.Generator, augmentation: Augmentation) -> FloatImage:
    """Vary patches (n, side, side): flips and quarter turns, gain, added noise."""
    if augmentation.flips:
        turn = rng.integers(8, size=len(patches))
        out = np.empty_like(patches)
        for kind in range(8):
            chosen = patches[turn == kind]
            turned = np.rot90(chosen, kind % 4, axes=(1, 2))
            out[turn == kind] = turned[:, :, ::-1] if kind >= 4 else turned
        patches = out
    low, high = np.log(augmentation.gain_range)
    gain = np.exp(rng.uniform(low, high, size=(len(patches), 1, 1))).astype(np.float32)
    patches = patches * gain
    if augmentation.noise > 0:
        patches = patches + np.float32(augmentation.noise) * rng.standard_normal(patches.shape, dtype=np.float32)
    return patches


def _patches_of(
    images: Sequence[StoredImage], augmentation: Augmentation, *, margin_px: int, device: str
) -> Callable[[Samples, np.random.Generator], Tensor]:
    """Return the function that cuts and varies patches around samples: on the device, if it holds the images."""
    a = augmentation
    if device == "cpu" or not fits(images, device):
        if torch.device(device).type != "cpu":
            _LOGGER.info("the images do not fit into the memory of the GPU: patches are cut by the processor")

        def on_processor(samples: Samples, rng: np.random.Generator) -> Tensor:
            return torch.from_numpy(augmented(gather(images, samples, margin_px=margin_px), rng, a))

        return on_processor
    held, generator = ImagesOnDevice(images, device), torch.Generator(device)

    def on_device(samples: Samples, rng: np.random.Generator) -> Tensor:
        generator.manual_seed(int(rng.integers(2**63)))  # drawn, so that a resumed training goes on alike
        patches = held.gather(samples, margin_px=margin_px)
        return augmented_on_device(patches, generator, gain_range=a.gain_range, noise=a.noise, flips=a.flips)

    return on_device


def _schedule(done: float) -> float:
    """Return the factor on the learning rate: warm-up over the first 3 %, then half a cosine down to 1 %."""
    warm = min(1.0, (done + 1e-3) / 0.03)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _pools(samples: TrainingSamples, optimisation: Optimisation) -> list[tuple[Samples, int]]:
    """Return the pools, each with the number of samples that a batch takes from it: the positives first."""
    n_positive = max(1, round(optimisation.batch * optimisation.positive_share))
    counts = _shares(optimisation.batch - n_positive, [share for _, share in samples.negatives])
    negatives = [(pool, n) for (pool, _), n in zip(samples.negatives, counts, strict=True)]
    return [(samples.positives, n_positive), *negatives]


def _shares(total: int, shares: Sequence[float]) -> list[int]:
    counts = [int(total * share / sum(shares)) for share in shares]
    counts[0] += total - sum(counts)
    return counts


def _validation(watch: Watch, network: Network, optimisation: Optimisation) -> Validation | None:
    if watch.validation is None:
        return None
    share, batch = optimisation.positive_share, optimisation.batch
    return Validation(watch.validation, margin_px=network.margin_px, positive_share=share, batch=batch)


def _log(
    folder: Path, step: int, steps: int, losses: Sequence[float], measured: Measured | None, at: str, left_s: float
) -> None:
    """Log how far a training is; add a line to ``metrics.jsonl``, and write the time left, which no result holds."""
    loss = float(np.mean(losses))
    entries: dict[str, float | str] = {"step": step, "loss": round(loss, 6)}
    words = f"{folder.name} step {step} of {steps}: loss {loss:.4f}"
    if measured is not None:
        validation_loss, sensitivity = round(measured.loss, 6), round(measured.sensitivity, 6)
        entries |= {"validation_loss": validation_loss, "sensitivity": sensitivity, "at": at}
        words += f"; validation: loss {validation_loss:.4f}, sensitivity {sensitivity:.2f} at {at}"
    if left_s > 0:
        words += f"; about {in_words(left_s)} of training left"
    with saying_where(folder / METRICS), (folder / METRICS).open("a") as handle:
        handle.write(json.dumps(entries) + "\n")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    write_json(folder / PROGRESS, {"step": step, "steps": steps, "seconds_left": round(left_s), "when": now})
    _LOGGER.info("%s", words)


def _drop_after(file: Path, step: int) -> None:
    """Remove the lines that a killed run logged after its last checkpoint; they will be logged again."""
    if not file.is_file():
        return
    lines = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    write_text(file, "".join(line for line in lines if json.loads(line)["step"] <= step))


def _save(
    file: Path,
    network: Network,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    step: int,
    losses: Sequence[float],
) -> None:
    state = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "rng": json.dumps(rng.bit_generator.state),
        "step": step,
        "losses": list(losses),
    }
    content = io.BytesIO()  # torch turns a full disk into an error of its own
    torch.save(state, content)
    write_whole(file, content.getvalue())


def _resume(
    file: Path, network: Network, optimiser: torch.optim.Optimizer, rng: np.random.Generator
) -> tuple[int, list[float]]:
    """Return the number of steps done, and the losses since the last line logged."""
    if not file.is_file():
        return 0, []
    state = torch.load(file, weights_only=True, map_location="cpu")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    rng.bit_generator.state = json.loads(state["rng"])
    return int(state["step"]), list(state["losses"])
