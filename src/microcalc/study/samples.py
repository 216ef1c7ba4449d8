"""The samples of the study: coordinates, the same for all methods.

Positive is the pixel nearest to the centre of each microcalcification that can be seen (the recipe's
``min_d_prime``) and lies in the breast mask. Negatives are drawn at random, without
replacement, from the breast pixels that are clear of all annotated calcium (the recipe's
clearances), from each image of a split as many as its share of the split's breast pixels: every negative
pixel of a split is as likely to be drawn as any other. Ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.errors import InputError
from microcalc.geometry import Grid
from microcalc.sample.draw import draw_negatives, positive_pixels
from microcalc.sample.store import Samples
from microcalc.study.arrays import load_array, load_piece, save_array, save_piece
from microcalc.study.images import Images, StudyImage
from microcalc.study.scale import SampleCounts
from microcalc.study.stage import Say, Stage, after, run_stage
from microcalc.study.workers import in_processes
from microcalc.training.recipe import Sample

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False, slots=True)
class SplitSamples:
    """Samples of one split, sorted by image.

    Attributes
    ----------
    positive, negative
        (n, 3) image index in the split, row, column; mapped from disk.
    place
        Of each positive sample, which line of the image's annotations it is.
    """

    positive: Samples
    place: NDArray[np.int32]
    negative: Samples


def samples_stage(normalised: Stage, counts: SampleCounts, sample: Sample, *, left_out: str | None, seed: int) -> Stage:
    """Of the normalised images."""
    rules = sample.model_dump(include={"clearance_mm", "unmeasured_clearance_mm", "min_d_prime"})
    settings = {"counts": counts.model_dump(), "rules": rules, "left_out": left_out, "seed": seed}
    return after(normalised.run, "samples", settings, normalised, modules=("microcalc.study.samples",))


def draw_samples(
    stage: Stage,
    images: Images,
    counts: SampleCounts,
    sample: Sample,
    *,
    exact: bool,
    seed: int,
    workers: int,
    say: Say,
) -> None:
    """Draw the samples of all splits.

    Parameters
    ----------
    exact
        Whether it is an error when there are fewer than the scale asks for.

    Raises
    ------
    InputError
        There are fewer, or a split has no positive sample.
    """
    wanted = {"train": counts.train_negative, "validation": 0, "test": counts.test_negative}
    least = {"train": counts.train_positive, "validation": 1, "test": counts.test_positive}

    def work(progress: Say) -> None:
        pieces = stage.folder / "pieces"
        pieces.mkdir(exist_ok=True)
        calls = []
        for split, chosen in (("train", images.train), ("validation", images.validation), ("test", images.test)):
            sizes = [_breast_px(image) for image in chosen]
            share = min(1.0, wanted[split] / max(1, sum(sizes)))
            calls += [
                (_draw_one, (pieces / f"{split}-{n:05d}.npz", image, math.ceil(share * size), sample, seed))
                for n, (image, size) in enumerate(zip(chosen, sizes, strict=True))
            ]
        todo = [(function, arguments) for function, arguments in calls if not arguments[0].is_file()]
        for number, _ in enumerate(in_processes(todo, workers=workers), len(calls) - len(todo) + 1):
            progress(f"image {number} of {len(calls)}")
        for split in SPLITS:
            _join(pieces, split, stage.folder)
            _check(split_samples(stage, split), split, least[split] if exact else 1, wanted[split] if exact else 0)

    run_stage(stage, work, say)


def split_samples(stage: Stage, split: str) -> SplitSamples:
    """The samples of ``train``, ``validation`` or ``test``, mapped from disk."""
    positive, place, negative = (
        load_array(stage.folder / f"{split}_{name}.npy") for name in ("positive", "place", "negative")
    )
    return SplitSamples(positive, place, negative)


def by_image(samples: Samples, n_images: int) -> list[Samples]:
    """The samples, sorted by image, of each image."""
    starts = np.searchsorted(np.ascontiguousarray(samples[:, 0]), np.arange(n_images + 1))
    return [samples[first:last] for first, last in pairwise(starts.tolist())]


def _draw_one(file: Path, image: StudyImage, n: int, sample: Sample, seed: int) -> None:
    """The samples of one image; they depend on nothing but the image, its name and the seed."""
    stored = image.open()
    grid = Grid((stored.spacing_mm, stored.spacing_mm), stored.origin_mm)
    positive = positive_pixels(image.annotations, stored.breast, grid, radius_mm=0.0)
    rng = np.random.default_rng([seed, *image.row.image.encode()])
    negative = draw_negatives(image.negative(stored, sample), n=n, rng=rng)
    save_piece(file, positive=positive[:, 1:], place=positive[:, 0], negative=negative[:, 1:])


def _join(pieces: Path, split: str, folder: Path) -> None:
    """One array of each kind, sorted by image."""
    files = sorted(pieces.glob(f"{split}-*.npz"))
    loaded = [load_piece(file) for file in files]
    save_array(folder / f"{split}_place.npy", np.concatenate([p["place"] for p in loaded]).astype(np.int32))
    for name in ("positive", "negative"):
        save_array(folder / f"{split}_{name}.npy", _indexed([p[name] for p in loaded]))


def _indexed(parts: Sequence[NDArray[np.int32]]) -> Samples:
    """Rows and columns of each image as (n, 3) with the image's index before them."""
    samples = np.empty((sum(len(p) for p in parts), 3), dtype=np.int32)
    start = 0
    for index, part in enumerate(parts):
        samples[start : start + len(part), 0] = index
        samples[start : start + len(part), 1:] = part
        start += len(part)
    return samples


def _check(found: SplitSamples, split: str, positive: int, negative: int) -> None:
    for kind, n, least in (("positive", len(found.positive), positive), ("negative", len(found.negative), negative)):
        if n < least:
            raise InputError(f"{n} {kind} samples in {split}, expected at least {least}: it takes more exams")


def _breast_px(image: StudyImage) -> int:
    packed = np.load(image.file.with_suffix(".breast.npy"))
    return int(np.bitwise_count(packed).sum(dtype=np.int64))
