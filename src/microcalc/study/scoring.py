"""Rate every pixel of every test image by every method; keep the ratings of the samples, the marks and the clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microcalc.cnn.mine import as_normalised
from microcalc.detection.candidates import find_candidates
from microcalc.detection.clusters import group
from microcalc.domain import FloatImage, NormalisedMammogram
from microcalc.evaluation.marks import Marks
from microcalc.evaluation.metrics import density_of
from microcalc.execution.executor import Executor
from microcalc.execution.progress import track
from microcalc.execution.shard import Shard
from microcalc.geometry import Grid
from microcalc.sample.store import Samples
from microcalc.storage.arrays import load_arrays, save_arrays
from microcalc.storage.write import saying_where
from microcalc.study.exams import vendor_of
from microcalc.study.methods import MethodStages
from microcalc.study.models import MEMBERS, Raters, cluster_rules, open_raters
from microcalc.study.predictions import ImagePredictions, marks_of_candidates
from microcalc.study.samples import by_image, split_samples
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.images import TrainingImage
from microcalc.training.recipe import Recipe

_IMAGES_AT_ONCE = 4


def scoring_stage(models: Stage, samples: Stage) -> Stage:
    """Return the stage that rates the test images by the models."""
    return after(models.run, "scoring", {}, models, samples, modules=("microcalc.study.scoring",))


def score_images(
    stage: Stage,
    models: Stage,
    methods: MethodStages,
    samples: Stage,
    test: Sequence[TrainingImage],
    recipe: Recipe,
    *,
    executor: Executor,
    shard: Shard | None = None,
) -> None:
    """Rate the images that are not rated yet; those of a shard without waiting for the other shards."""

    def work() -> None:
        with saying_where(stage.folder / "images"):
            (stage.folder / "images").mkdir(parents=True, exist_ok=True)
        chosen = [n for n, image in enumerate(test) if shard is None or shard.has(image.row.image)]
        todo = [n for n in chosen if not _file(stage, n).is_file()]
        parts = [{n: test[n] for n in todo[i : i + _IMAGES_AT_ONCE]} for i in range(0, len(todo), _IMAGES_AT_ONCE)]
        score = partial(_score_some, stage=stage, models=models, methods=methods, samples=samples, recipe=recipe)
        with closing(executor.run(score, parts)) as outcomes:
            rated = (n for outcome in outcomes for n in outcome.result())
            for _ in track(rated, "rating images", total=len(chosen), before=len(chosen) - len(todo)):
                pass

    if shard is None:
        run_stage(stage, work)
    else:
        work()


def predictions_of(stage: Stage, samples: Stage, test: Sequence[TrainingImage]) -> Iterator[ImagePredictions]:
    """Yield the ratings, marks and clusters of all methods, image by image."""
    own, start = split_samples(samples, "test"), 0
    for n, (image, positive) in enumerate(zip(test, by_image(own.positive, len(test)), strict=True)):
        arrays = load_arrays(_file(stage, n))
        names = [str(name) for name in arrays["methods"]]
        chosen = [image.rows[i] for i in own.place[start : start + len(positive)]]
        start += len(positive)
        yield ImagePredictions(
            row=image.row,
            annotations=image.rows,
            vendor=vendor_of(image.row),
            density=density_of(image.row),
            breast_cm2=float(arrays["breast_cm2"]),
            positive={name: arrays[f"{name}_positive"] for name in names},
            d_prime=np.array([np.nan if a.d_prime is None else a.d_prime for a in chosen], dtype=np.float64),
            diameter_mm=np.array([a.diameter_mm or np.nan for a in chosen], dtype=np.float64),
            negative={name: arrays[f"{name}_negative"] for name in names},
            detections={name: _marks_from(arrays, name) for name in names},
            pixels=partial(_pixels, image),
        )


def _score_some(
    images: Mapping[int, TrainingImage],
    *,
    stage: Stage,
    models: Stage,
    methods: MethodStages,
    samples: Stage,
    recipe: Recipe,
) -> list[int]:
    """Rate a few images, given by their numbers, by methods that are opened once; return the numbers."""
    raters = open_raters(models, methods, recipe.data.spacing_mm)
    limits = json.loads((models.folder / MEMBERS).read_text())
    own = split_samples(samples, "test")
    positive, negative = by_image(own.positive, max(images) + 1), by_image(own.negative, max(images) + 1)
    for n, image in images.items():
        places = {"positive": positive[n], "negative": negative[n]}
        _score_one(_file(stage, n), image, places, raters, limits, recipe)
    return list(images)


def _score_one(
    file: Path,
    image: TrainingImage,
    places: Mapping[str, Samples],
    raters: Raters,
    limits: Mapping[str, Sequence[float]],
    recipe: Recipe,
) -> None:
    mammogram = as_normalised(image.open())
    arrays: dict[str, NDArray[Any]] = {"breast_cm2": np.array(mammogram.breast_area_cm2)}
    methods: list[str] = []
    for name, likelihood in raters.rate(mammogram):
        methods.append(name)
        for kind, chosen in places.items():
            arrays[f"{name}_{kind}"] = likelihood[chosen[:, 1], chosen[:, 2]]
        marks = _marks_to_arrays(mammogram, likelihood, image.row.grid, recipe, limits[name])
        arrays |= {f"{name}_{part}": value for part, value in marks.items()}
    save_arrays(file, methods=np.array(methods), **arrays)


def _marks_to_arrays(
    mammogram: NormalisedMammogram, likelihood: FloatImage, grid: Grid, recipe: Recipe, limits: Sequence[float]
) -> dict[str, NDArray[Any]]:
    """Return marks and clusters as arrays: the members of all clusters in one array, and the size of each cluster."""
    rules = recipe.detect.rules(recipe.detect.min_likelihood)
    candidates = find_candidates(mammogram, likelihood, **rules.model_dump())
    clusters = group(candidates, **cluster_rules(recipe, limits).model_dump())
    marks = marks_of_candidates(candidates, clusters, grid)
    return {
        "centres": marks.centres_px,
        "likelihood": marks.likelihood,
        "members": np.concatenate([np.zeros(0, np.int64), *(c.members for c in clusters)]),
        "sizes": np.array([len(c.members) for c in clusters], dtype=np.int64),
        "clusters": np.array([c.likelihood for c in clusters], dtype=np.float64),
    }


def _marks_from(arrays: Mapping[str, NDArray[Any]], name: str) -> Marks:
    """Return the marks and clusters of a method that ``_marks_to_arrays`` gave."""
    sizes = arrays[f"{name}_sizes"]
    return Marks(
        arrays[f"{name}_centres"],
        arrays[f"{name}_likelihood"],
        tuple(np.split(arrays[f"{name}_members"], np.cumsum(sizes)[:-1])) if len(sizes) else (),
        arrays[f"{name}_clusters"],
        np.zeros(len(sizes), dtype=np.bool_),
        float(arrays["breast_cm2"]),
    )


def _pixels(image: TrainingImage) -> tuple[NDArray[np.floating], Grid]:
    """Return the normalised pixels with their border, and their positions."""
    stored = image.open()
    spacing, border_mm = stored.spacing_mm, stored.border_px * stored.spacing_mm
    return stored.pixels, Grid((spacing, spacing), (stored.origin_mm[0] - border_mm, stored.origin_mm[1] - border_mm))


def _file(stage: Stage, number: int) -> Path:
    return stage.folder / "images" / f"{number:05d}.npz"
