"""Train a network on patches."""

from __future__ import annotations

import io
import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from microcalc.cnn.network import Network
from microcalc.cnn.precision import Precision
from microcalc.domain import FloatImage
from microcalc.errors import InputError
from microcalc.sample.store import Samples, StoredImage, gather
from microcalc.storage.write import saying_where, write_text, write_whole

_SAVE_EVERY_S = 30.0
_LOG_EVERY = 50
_LOGGER = logging.getLogger(__name__)


# More than eight parameters: the numbers of the recipe, each in plain view. The recipe itself belongs to ``training``.
def fit(
    network: Network,
    images: Sequence[StoredImage],
    positives: Samples,
    negatives: Sequence[tuple[Samples, float]],
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    positive_share: float,
    gain_range: tuple[float, float],
    noise: float,
    flips: bool,
    precision: Precision,
    seed: int,
    device: str,
    folder: Path,
) -> Network:
    """Train a network on patches; go on from ``folder``'s checkpoint where there is one.

    Parameters
    ----------
    positives
        (n, 3) samples.
    negatives
        Pools of samples, each with its share of a batch's negatives (the shares sum to 1).
    steps, batch, learning_rate, weight_decay, positive_share
        As in the recipe: optimiser steps, patches in each, AdamW's rate at its highest, share that is positive.
    gain_range, noise, flips
        See ``augmented``.
    precision
        Arithmetic of the convolutions.
    seed
        Seed of the batches and their augmentation; the caller sets the network's initial weights.
    folder
        Folder of ``checkpoint.pt`` (written about every half minute) and ``metrics.jsonl``; its name stands in the log.

    Returns
    -------
    The same network, trained and moved to the CPU.
    """
    with saying_where(folder):
        folder.mkdir(parents=True, exist_ok=True)
    network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs do not know it
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    rng = np.random.default_rng(seed)
    start, losses = _resume(folder / "checkpoint.pt", network, optimiser, rng)
    _drop_after(folder / "metrics.jsonl", start)
    n_positive = max(1, round(batch * positive_share))
    counts = _shares(batch - n_positive, [share for _, share in negatives])
    labels = torch.zeros(batch, device=device)  # (n,)
    labels[:n_positive] = 1.0
    saved = time.monotonic()
    for step in range(start, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * _schedule(step / steps)
        pools = [(positives, n_positive), *((pool, n) for (pool, _), n in zip(negatives, counts, strict=True))]
        samples = np.concatenate([pool[rng.integers(len(pool), size=n)] for pool, n in pools if n])  # (n, 3)
        patches = gather(images, samples, margin_px=network.margin_px)  # (n, side, side)
        patches = augmented(patches, rng, flips=flips, gain_range=gain_range, noise=noise)
        given = torch.from_numpy(patches).unsqueeze(1).to(device, memory_format=torch.channels_last)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network.rate_patches(given).float()  # (n,)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
        if (step + 1) % _LOG_EVERY == 0 or step + 1 == steps:
            _log(folder / "metrics.jsonl", step + 1, losses)
            _LOGGER.info("%s step %d of %d: loss %.4f", folder.name, step + 1, steps, np.mean(losses))
            losses.clear()
        if time.monotonic() - saved > _SAVE_EVERY_S or step + 1 == steps:
            _save(folder / "checkpoint.pt", network, optimiser, rng, step + 1, losses)
            saved = time.monotonic()
    return network.cpu().eval()


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device, expected a GPU and a CUDA build of torch")


def augmented(
    patches: FloatImage, rng: np.random.Generator, *, flips: bool, gain_range: tuple[float, float], noise: float
) -> FloatImage:
    """Vary patches (n, side, side): flips and quarter turns, gain, added noise.

    ``gain_range`` is lowest and highest factor on a patch (log-uniform); ``noise`` the standard
    deviation of what is added, in units of the image's own noise.
    """
    if flips:
        turn = rng.integers(8, size=len(patches))
        out = np.empty_like(patches)
        for kind in range(8):
            chosen = patches[turn == kind]
            turned = np.rot90(chosen, kind % 4, axes=(1, 2))
            out[turn == kind] = turned[:, :, ::-1] if kind >= 4 else turned
        patches = out
    low, high = np.log(gain_range)
    gain = np.exp(rng.uniform(low, high, size=(len(patches), 1, 1))).astype(np.float32)
    patches = patches * gain
    if noise > 0:
        patches = patches + np.float32(noise) * rng.standard_normal(patches.shape, dtype=np.float32)
    return patches


def _schedule(done: float) -> float:
    """Return the factor on the learning rate: warm-up over the first 3 %, then half a cosine down to 1 %."""
    warm = min(1.0, (done + 1e-3) / 0.03)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _shares(total: int, shares: Sequence[float]) -> list[int]:
    counts = [int(total * share / sum(shares)) for share in shares]
    counts[0] += total - sum(counts)
    return counts


def _log(file: Path, step: int, losses: Sequence[float]) -> None:
    with saying_where(file), file.open("a") as handle:
        handle.write(json.dumps({"step": step, "loss": round(float(np.mean(losses)), 6)}) + "\n")


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
