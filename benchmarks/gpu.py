"""Measure what a GPU gives: ``python -m benchmarks.gpu [--images N] [--steps N]``, in less than ten minutes.

Detection: images per second of the shipped pair for processed images on the processor (ONNX Runtime, all cores) and on
the GPU (torch), on simulated images of 2330 x 2867 pixels that are normalised already, and the largest difference of
their likelihoods, which has to be at most 0.001. Training: patches per second of both networks of the recipe
``processed`` on either, with 512 in a batch. ``--device cpu`` runs the GPU's way on the processor: that it works.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import Parser, count, run
from microcalc.cnn.fit import Augmentation, Optimisation, TrainingSamples, fit
from microcalc.cnn.network import Network
from microcalc.cnn.precision import fast_precision
from microcalc.cnn.scorer import CnnPair, NetworkFile
from microcalc.domain import NormalisedMammogram
from microcalc.errors import InputError
from microcalc.models.model import describe_pair, shipped_model
from microcalc.sample.store import open_stored, store
from microcalc.training.recipe import load_recipe

_SHAPE = (2867, 2330)
_BATCH = 512
_LARGEST_DIFFERENCE = 1e-3


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=count, default=20, help="number of images to detect in")
    parser.add_argument("--steps", type=count, default=300, help="number of training steps of each network")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    asked = parser.parse_args(arguments)
    if asked.device == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device, expected one, or --device cpu")
    device = "cuda" if asked.device == "cuda" else "cpu:0"  # cpu:0: torch on the processor
    print(f"{torch.cuda.get_device_name() if device == 'cuda' else 'processor by torch'}, torch {torch.__version__}")
    difference = _detection(asked.images, device)
    _training(asked.steps, device)
    return 0 if difference <= _LARGEST_DIFFERENCE else 1


def _detection(number: int, device: str) -> float:
    """Print the images per second of both engines, and return the largest difference of likelihood."""
    folder = shipped_model("processed")
    description = describe_pair(folder)
    networks = [NetworkFile(folder / n.file, n.margin_px) for n in (description.cnn1, description.cnn2)]
    likelihoods: list[list[NDArray[np.float32]]] = []
    for name, where in (("processor, ONNX Runtime", "cpu"), (device, device)):
        pair = CnnPair(
            *networks, rejection_logit=description.rejection_logit, most_survivors=description.most_survivors,
            spacing_mm=description.spacing_mm, threads=torch.get_num_threads(), device=where,
        )  # fmt: skip
        pair.score(_image(0))  # the first one prepares the engine
        began = perf_counter()
        likelihoods.append([pair.score(_image(seed)).likelihood for seed in range(number)])
        seconds = (perf_counter() - began) / number
        print(f"detection, {name:25} {1 / seconds:8.2f} images/s")
    difference = max(float(np.abs(a - b).max()) for a, b in zip(*likelihoods, strict=True))
    print(f"largest difference of likelihood  {difference:.1e}")
    return difference


def _image(seed: int) -> NormalisedMammogram:
    """Return noise of one unit with specks, in half of the picture."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=_SHAPE).astype(np.float32)
    breast = np.zeros(_SHAPE, dtype=bool)
    breast[:, : _SHAPE[1] // 2] = True
    for row, column in rng.integers(20, (_SHAPE[0] - 20, _SHAPE[1] // 2 - 20), size=(300, 2)):
        pixels[row : row + 3, column : column + 3] += rng.uniform(2, 12)
    return NormalisedMammogram(np.where(breast, pixels, np.float32(0)), breast, 0.1, (0.0, 0.0), str(seed))


def _training(steps: int, device: str) -> None:
    """Print the patches per second of both networks on the processor and on the device."""
    recipe = load_recipe("processed")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{seed}.npy" for seed in range(4)]
        for seed, file in enumerate(files):
            store(_image(seed), file, border_px=32)
        images = [open_stored(file) for file in files]
        places = np.random.default_rng(0).integers(0, (len(images), *_SHAPE), size=(200_000, 3)).astype(np.int32)
        samples = TrainingSamples(images, places[:10_000], [(places, 1.0)])
        for name, settings in (("CNN1", recipe.cnn1), ("CNN2", recipe.cnn2)):
            for where in ("cpu", device):
                n = max(20, steps // 10) if where == "cpu" else steps
                precision = fast_precision("cuda" if where == "cuda" else "cpu")[0]
                began = perf_counter()
                fit(
                    Network(settings.channels, settings.dilations), samples,
                    Optimisation(n, _BATCH, settings.learning_rate, settings.weight_decay, 0.5, precision),
                    Augmentation((0.7, 1.4), 0.1, True),
                    seed=1, device=where, folder=Path(folder) / f"{name}-{where.replace(':', '-')}",
                )  # fmt: skip
                rate = n * _BATCH / (perf_counter() - began)
                print(f"training {name}, {where:6} {precision:9} {rate:10.0f} patches/s")


if __name__ == "__main__":
    sys.exit(run(main))
