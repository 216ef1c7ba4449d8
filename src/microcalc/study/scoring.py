"""Every method over every test image, densely: ratings of the samples, marks and clusters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
from microcalc.geometry import Grid
from microcalc.sample.store import Samples
from microcalc.study.arrays import load_piece, save_piece
from microcalc.study.exams import vendor_of
from microcalc.study.images import StudyImage
from microcalc.study.methods import Trained
from microcalc.study.models import MEMBERS, Raters, cluster_rules, open_raters
from microcalc.study.predictions import ImagePredictions, detections_of
from microcalc.study.samples import by_image, split_samples
from microcalc.study.stage import Say, Stage, after, run_stage
from microcalc.study.workers import in_processes
from microcalc.training.recipe import Recipe

_IMAGES_AT_ONCE = 4


def scoring_stage(models: Stage, samples: Stage) -> Stage:
    """Of the models and the test samples."""
    return after(models.run, "scoring", {}, models, samples, modules=("microcalc.study.scoring",))


def score_images(
    stage: Stage,
    models: Stage,
    trained: Trained,
    samples: Stage,
    test: Sequence[StudyImage],
    recipe: Recipe,
    *,
    workers: int,
    say: Say,
) -> None:
    """Rate the images that are not rated yet."""

    def work(progress: Say) -> None:
        (stage.folder / "pieces").mkdir(exist_ok=True)
        todo = [n for n in range(len(test)) if not _piece(stage, n).is_file()]
        parts = [todo[i : i + _IMAGES_AT_ONCE] for i in range(0, len(todo), _IMAGES_AT_ONCE)]
        calls = [(_score_some, (stage, models, trained, samples, {n: test[n] for n in part}, recipe)) for part in parts]
        done = len(test) - len(todo)
        for n in in_processes(calls, workers=workers):
            done += n
            progress(f"image {done} of {len(test)}")

    run_stage(stage, work, say)


def scored_images(stage: Stage, samples: Stage, test: Sequence[StudyImage]) -> Iterator[ImagePredictions]:
    """What the evaluation takes, image by image."""
    own, start = split_samples(samples, "test"), 0
    for n, (image, positive) in enumerate(zip(test, by_image(own.positive, len(test)), strict=True)):
        piece = load_piece(_piece(stage, n))
        names = [str(name) for name in piece["methods"]]
        chosen = [image.rows[i] for i in own.place[start : start + len(positive)]]
        start += len(positive)
        yield ImagePredictions(
            row=image.row,
            annotations=image.rows,
            vendor=vendor_of(image.row),
            density=density_of(image.row),
            breast_cm2=float(piece["breast_cm2"]),
            positive={name: piece[f"{name}_positive"] for name in names},
            d_prime=np.array([np.nan if a.d_prime is None else a.d_prime for a in chosen], dtype=np.float64),
            diameter_mm=np.array([a.diameter_mm or np.nan for a in chosen], dtype=np.float64),
            negative={name: piece[f"{name}_negative"] for name in names},
            detections={name: _detections(piece, name) for name in names},
            pixels=partial(_pixels, image),
        )


def _score_some(
    stage: Stage,
    models: Stage,
    trained: Trained,
    samples: Stage,
    images: Mapping[int, StudyImage],
    recipe: Recipe,
) -> int:
    """Rate a few images, with raters that are opened once for them."""
    raters = open_raters(models, trained, recipe.data.spacing_mm)
    limits = json.loads((models.folder / MEMBERS).read_text())
    own = split_samples(samples, "test")
    positive, negative = by_image(own.positive, max(images) + 1), by_image(own.negative, max(images) + 1)
    for n, image in images.items():
        places = {"positive": positive[n], "negative": negative[n]}
        _score_one(_piece(stage, n), image, places, raters, limits, recipe)
    return len(images)


def _score_one(
    file: Path,
    image: StudyImage,
    places: Mapping[str, Samples],
    raters: Raters,
    limits: Mapping[str, float],
    recipe: Recipe,
) -> None:
    mammogram = as_normalised(image.open())
    arrays: dict[str, NDArray[Any]] = {"breast_cm2": np.array(mammogram.breast_area_cm2)}
    methods: list[str] = []
    for name, likelihood in raters.rate(mammogram):
        methods.append(name)
        for kind, found in places.items():
            arrays[f"{name}_{kind}"] = likelihood[found[:, 1], found[:, 2]]
        marks = _marks(mammogram, likelihood, image.row.grid, recipe, limits[name])
        arrays |= {f"{name}_{part}": value for part, value in marks.items()}
    save_piece(file, methods=np.array(methods), **arrays)


def _marks(
    mammogram: NormalisedMammogram, likelihood: FloatImage, grid: Grid, recipe: Recipe, member_likelihood: float
) -> dict[str, NDArray[Any]]:
    """Marks and clusters as arrays: the members of all clusters one after the other, and how many each has."""
    candidates = find_candidates(mammogram, likelihood, **recipe.detect.model_dump())
    clusters = group(candidates, **cluster_rules(recipe, member_likelihood).model_dump())
    found = detections_of(candidates, clusters, grid)
    return {
        "centres": found.centres_px,
        "likelihood": found.likelihood,
        "members": np.concatenate([np.zeros(0, np.int64), *(c.members for c in clusters)]),
        "sizes": np.array([len(c.members) for c in clusters], dtype=np.int64),
        "clusters": np.array([c.likelihood for c in clusters], dtype=np.float64),
    }


def _detections(piece: Mapping[str, NDArray[Any]], name: str) -> Marks:
    sizes = piece[f"{name}_sizes"]
    return Marks(
        piece[f"{name}_centres"],
        piece[f"{name}_likelihood"],
        tuple(np.split(piece[f"{name}_members"], np.cumsum(sizes)[:-1])) if len(sizes) else (),
        piece[f"{name}_clusters"],
        np.zeros(len(sizes), dtype=np.bool_),
        float(piece["breast_cm2"]),
    )


def _pixels(image: StudyImage) -> tuple[NDArray[np.floating], Grid]:
    """For pictures: the stored pixels with their border, and where they lie."""
    stored = image.open()
    spacing, border_mm = stored.spacing_mm, stored.border_px * stored.spacing_mm
    return stored.pixels, Grid((spacing, spacing), (stored.origin_mm[0] - border_mm, stored.origin_mm[1] - border_mm))


def _piece(stage: Stage, number: int) -> Path:
    return stage.folder / "pieces" / f"{number:05d}.npz"
