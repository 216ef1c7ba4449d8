"""Compare kinds of cascade with each other, with LightGBM, with the LoG filter and with the pair.

``python -m benchmarks.cascade [--data TABLE] [--exams N] [--negatives N] [--scale F] [--speed-only]``

Ranking and classification nodes, deep and plain cascades, trees of depth 2 and stumps, LightGBM with the same kind of
features and the same positives but without a cascade, and the LoG filter are evaluated on the same samples of other
patients. Then the time at every breast pixel of one 2330 x 2867 image is measured, beside the pair. The data are
simulated (raw, three vendors) unless a table is given. The scale is small: compare only results of one run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks import Parser, amount, count, run

if TYPE_CHECKING:
    from microcalc.cascade.cascade import Cascade
    from microcalc.cascade.fit import CascadeSettings
    from microcalc.datasets.table import Table
    from microcalc.domain import NormalisedMammogram, PixelScorer
    from microcalc.sample.store import Samples, StoredImage
    from microcalc.training.recipe import Recipe

ROWS, COLUMNS = 2867, 2330
_LIGHTGBM_FEATURES = 1000
_LIGHTGBM_LEAVES = (2, 4, 16)

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Split:
    """The images of one split, and samples in them."""

    images: Sequence[StoredImage]
    positive: Samples
    negative: Samples


def main(arguments: Sequence[str]) -> int:
    """Train every kind of cascade on one set of samples, evaluate it on another, then measure speed."""
    from microcalc.models.model import load_model

    options = _parser().parse_args(arguments)
    if options.model:
        load_model(options.model, threads=1)  # a model that cannot be loaded is named before all else
    with tempfile.TemporaryDirectory() as folder:
        if not options.speed_only:
            _compare(options, Path(folder))
        _measure_speed(Path(folder), options)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.cascade", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a table of raw images with splits; by default one is simulated")
    parser.add_argument("--exams", type=count, default=6, help="simulated exams per vendor")
    parser.add_argument("--negatives", type=count, default=100_000, help="negative samples drawn per image")
    parser.add_argument("--scale", type=amount, default=0.25, help="share of the default numbers of trees and features")
    parser.add_argument("--model", type=Path, help="a pair's folder for the speed; by default the shipped one")
    parser.add_argument("--speed-only", action="store_true", help="a random cascade of the default size is timed")
    return parser


def _settings(scale: float) -> CascadeSettings:
    from microcalc.cascade.fit import CascadeSettings

    full = CascadeSettings()
    return replace(
        full,
        rounds=tuple(max(2, round(r * scale)) for r in full.rounds),
        features_per_node=round(full.features_per_node * scale),
        negatives_per_node=round(full.negatives_per_node * scale),
    )


def _compare(options: argparse.Namespace, folder: Path) -> None:
    train, validation, test = _splits(options, folder)
    counts = (len(s) for s in (train.positive, train.negative, test.positive, test.negative))
    print("train {} positive, {} negative; test {} positive, {} negative samples".format(*counts))
    print(f"{'':34}{'CPU s':>7}{'trees':>7}{'linear':>8}{'log':>8}{'1e-4':>8}{'1e-3':>8}", flush=True)
    usual = _settings(options.scale)
    longer = tuple(3 * r for r in usual.rounds)
    kinds = {
        "ranking, deep": usual,
        "classification, deep": replace(usual, boosting="classification"),
        "ranking, plain": replace(usual, deep=False, passed=0.9),  # so visible a share keeps 40 % out of reach
        "ranking, deep, three times as many stumps": replace(usual, depth=1, rounds=longer),
    }
    for name, settings in kinds.items():
        start = process_time()
        cascade = _fitted(settings, train, validation, folder / name)
        seconds = process_time() - start
        _say(name, seconds, int(cascade.node_start[-1]), *_rated(_rater(cascade), test))
    _compare_lightgbm(usual, train, test)
    _say("LoG filter", 0.0, 0, *_rated(_filtered(), test))


def _fitted(settings: CascadeSettings, train: Split, validation: Split, folder: Path) -> Cascade:
    from microcalc.cascade.fit import fit_cascade

    return fit_cascade(
        train.images, train.positive, train.negative, validation.images, validation.positive,
        settings=settings, seed=1, folder=folder,
    )  # fmt: skip


def _compare_lightgbm(settings: CascadeSettings, train: Split, test: Split) -> None:
    """Train one ensemble without nodes on the same positives, with as many random negatives as all nodes together."""
    import lightgbm

    from microcalc.cascade.haar import draw_features
    from microcalc.cascade.windows import feature_values, integral_windows

    rng = np.random.default_rng(1)
    features = draw_features(round(_LIGHTGBM_FEATURES * settings.features_per_node / 1500), rng)
    n = min(len(train.negative), settings.negatives_per_node * len(settings.rounds))
    drawn = train.negative[np.sort(rng.choice(len(train.negative), n, replace=False))]
    every = np.repeat(train.positive, settings.turns, axis=0)
    turns = np.tile(np.arange(settings.turns, dtype=np.uint8), len(train.positive))
    windows = np.concatenate(
        [integral_windows(train.images, every, turns=turns), integral_windows(train.images, drawn)], axis=1
    )
    values = feature_values(windows, features).T.astype(np.float32)
    label = np.arange(len(values)) < len(every)
    trees = sum(settings.rounds)
    for leaves in _LIGHTGBM_LEAVES:
        start = process_time()
        model = lightgbm.LGBMClassifier(
            num_leaves=leaves, n_estimators=trees, learning_rate=0.15, max_bin=127, colsample_bytree=0.3,
            is_unbalance=True, n_jobs=1, random_state=1, verbose=-1,
        ).fit(values, label)  # fmt: skip
        seconds = process_time() - start

        def rate(image: StoredImage, samples: Samples, model: lightgbm.LGBMClassifier = model) -> Floats:
            found: list[Floats] = []
            for part in np.array_split(samples, max(1, len(samples) // 50_000)):
                own = np.column_stack([np.zeros(len(part), dtype=np.int32), part[:, 1:]])
                asked = feature_values(integral_windows([image], own), features).T.astype(np.float32)
                found.append(np.asarray(model.booster_.predict(asked, raw_score=True), dtype=np.float32))
            return np.concatenate(found)

        _say(f"LightGBM, {leaves} leaves, no cascade", seconds, trees, *_rated(rate, test))


def _rater(cascade: Cascade) -> Callable[[StoredImage, Samples], Floats]:
    from microcalc.cascade.cascade import likelihood_of
    from microcalc.cascade.rate import places_of

    return lambda image, samples: likelihood_of(
        *places_of(cascade, image, samples[:, 1], samples[:, 2]), cascade.bounds
    )


def _filtered() -> Callable[[StoredImage, Samples], Floats]:
    from microcalc.cnn.mine import as_normalised
    from microcalc.models.laplacian import LaplacianFilter

    def rate(image: StoredImage, samples: Samples) -> Floats:
        return LaplacianFilter().score(as_normalised(image)).likelihood[samples[:, 1], samples[:, 2]]

    return rate


def _rated(rate: Callable[[StoredImage, Samples], Floats], test: Split) -> tuple[Floats, Floats]:
    from microcalc.cascade.windows import by_image

    positive, negative = (
        np.concatenate([rate(test.images[i], samples[part]) for i, part in by_image(samples)])
        for samples in (test.positive, test.negative)
    )
    return positive, negative


def _say(name: str, seconds: float, trees: int, positive: Floats, negative: Floats) -> None:
    from microcalc.evaluation.roc import log_mean_sensitivity, mean_sensitivity, roc_curve, sensitivity_at_fpf

    curve = roc_curve(positive, negative)
    figures = (
        mean_sensitivity(curve),
        log_mean_sensitivity(curve),
        *(sensitivity_at_fpf(curve, f) for f in (1e-4, 1e-3)),
    )
    print(f"{name[:34]:34}{seconds:7.0f}{trees:7}" + "".join(f"{value:8.3f}" for value in figures), flush=True)


def _splits(options: argparse.Namespace, folder: Path) -> list[Split]:
    from microcalc.datasets.simulated import Settings, simulate_data_set
    from microcalc.datasets.table_files import read_table
    from microcalc.execution.executor import Processes
    from microcalc.simulate.exam import RAW_ONLY
    from microcalc.training.recipe import load_recipe

    if options.data:
        table = read_table(options.data)
    else:
        table = simulate_data_set(
            folder / "images",
            Settings(seed=5, intents=RAW_ONLY),
            systems=("hologic", "ge", "siemens"),
            exams=options.exams,
            executor=Processes(2),
        )
    recipe, rng = load_recipe("raw"), np.random.default_rng(1)
    return [_split(table.of_split(s), recipe, folder, options.negatives, rng) for s in ("train", "validation", "test")]


def _split(table: Table, recipe: Recipe, folder: Path, n_negatives: int, rng: np.random.Generator) -> Split:
    from microcalc.datasets.open import open_row
    from microcalc.normalise.mammogram import normalise
    from microcalc.sample.draw import draw_negatives, negative_mask, positive_pixels
    from microcalc.sample.store import open_stored, store
    from microcalc.training.annotated import ignore_invisible

    images: list[StoredImage] = []
    positive: list[Samples] = []
    negative: list[Samples] = []
    table = ignore_invisible(table, min_d_prime=recipe.sample.min_d_prime)
    for row in (i for i in table.images if i.intent == "raw"):
        file = folder / "normalised" / f"{row.image}.npy"
        store(normalise(open_row(row), spacing_mm=recipe.data.spacing_mm), file, border_px=8)
        stored, annotations = open_stored(file), table.annotations_of(row)
        grid = stored.grid
        mask = negative_mask(
            annotations, stored.breast, grid, clearance_mm=recipe.sample.clearance_mm,
            unmeasured_clearance_mm=recipe.sample.unmeasured_clearance_mm,
        )  # fmt: skip
        for found, into in (
            (positive_pixels(annotations, stored.breast, grid, radius_mm=0.0), positive),
            (draw_negatives(mask, n=n_negatives, rng=rng), negative),
        ):
            found[:, 0] = len(images)
            into.append(found)
        images.append(stored)
    return Split(images, np.concatenate(positive), np.concatenate(negative))


def _measure_speed(folder: Path, options: argparse.Namespace) -> None:
    """Measure the time at every breast pixel, of the last trained deep cascade or else of a random one."""
    from microcalc.cascade.cascade import load_cascade
    from microcalc.cascade.rate import CascadeScorer
    from microcalc.models.model import load_model, shipped_model

    mammogram = _image()
    trained = sorted((folder / "ranking, deep").glob("node_*.npz"))
    cascade = load_cascade(trained[-1]) if trained else _random()
    print(
        f"{mammogram.pixels.shape[0]} x {mammogram.pixels.shape[1]} px, {np.count_nonzero(mammogram.breast)} of the "
        f"breast; cascade of {cascade.node_start[-1]} trees; best of 3"
    )
    model = options.model or shipped_model("raw")
    for threads in (1, 2):
        _time(f"cascade, {threads} threads", CascadeScorer(cascade, threads=threads), mammogram)
        _time(f"pair, {threads} threads", load_model(model, threads=threads).scorer, mammogram)


def _time(name: str, scorer: PixelScorer, mammogram: NormalisedMammogram) -> None:
    scorer.score(mammogram)  # compiles, or reads what was compiled
    wall, work = [], []
    for _ in range(3):
        start = perf_counter(), process_time()
        scorer.score(mammogram)
        wall.append(perf_counter() - start[0])
        work.append(process_time() - start[1])
    print(f"{name:24} {min(wall):6.2f} s, {min(work):6.2f} s of the processor", flush=True)


def _image() -> NormalisedMammogram:
    """Return a normalised simulated Hologic image of 2330 x 2867 pixels."""
    from microcalc.datasets.open import open_row
    from microcalc.datasets.simulated import Settings, make_exam
    from microcalc.normalise.mammogram import normalise
    from microcalc.simulate.systems import system

    with tempfile.TemporaryDirectory() as folder:
        large = replace(system("hologic"), fields=((round(ROWS / 0.7), round(COLUMNS / 0.7)),))
        settings = Settings(intents=("raw",), views=("CC",), lateralities=("L",))
        return normalise(open_row(make_exam(Path(folder), large, 0, settings).images[0]), spacing_mm=0.1)


def _random() -> Cascade:
    """Return a cascade of the default size in which every pixel passes every node: the slowest case."""
    from microcalc.cascade.cascade import Cascade
    from microcalc.cascade.haar import draw_features

    rng, settings = np.random.default_rng(0), _settings(1.0)
    n, leaves = sum(settings.rounds), 2**settings.depth
    return Cascade(
        spacing_mm=0.1,
        features=draw_features(n * (leaves - 1), rng),
        threshold=rng.integers(-200, 200, n * (leaves - 1)).astype(np.int32),
        vote=rng.normal(size=(n, leaves)).astype(np.float32),
        node_start=np.cumsum([0, *settings.rounds], dtype=np.int32),
        pass_score=np.full(len(settings.rounds), -np.inf, dtype=np.float32),
    )


if __name__ == "__main__":
    sys.exit(run(main))
