"""The samples of the study: coordinates, the same for all methods.

The pixel nearest to the centre of each visible microcalcification (the recipe's ``min_d_prime``) is positive, if it
lies in the breast mask. Negatives are drawn at random, without replacement, from the breast pixels that are clear of
all annotated calcium (the recipe's clearances). The number drawn from each image of a split is proportional to its
breast pixels, so that all negative pixels of a split are equally likely to be drawn. (Ours.)

``train`` draws other samples than this: pixels around each centre, and the same number of negatives per image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.errors import InputError
from microcalc.execution.executor import Executor
from microcalc.execution.progress import track
from microcalc.sample.draw import draw_negatives, positive_pixels
from microcalc.sample.store import Samples
from microcalc.storage.arrays import load_array, load_arrays, save_array, save_arrays
from microcalc.study.images import Images
from microcalc.study.scale import SampleCounts
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.images import TrainingImage
from microcalc.training.recipe import Sample

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False, slots=True)
class SplitSamples:
    """Samples of one split, ordered by image.

    Attributes
    ----------
    positive, negative
        (n, 3) index of the image in the split, row, column; mapped from disk.
    place
        (n,) index of each positive sample in the annotations of its image.
    """

    positive: Samples
    place: NDArray[np.int32]
    negative: Samples


def samples_stage(normalised: Stage, counts: SampleCounts, sample: Sample, *, left_out: str | None, seed: int) -> Stage:
    """Return the stage that draws samples from the normalised images."""
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
    executor: Executor,
) -> None:
    """Draw the samples of all splits.

    Parameters
    ----------
    exact
        Whether fewer samples than the scale requires are an error.

    Raises
    ------
    InputError
        There are fewer samples, or a split has no positive sample.
    """
    wanted = {"train": counts.train_negative, "validation": 0, "test": counts.test_negative}
    least = {"train": counts.train_positive, "validation": 1, "test": counts.test_positive}

    def work() -> None:
        drawn = stage.folder / "images"
        drawn.mkdir(exist_ok=True)
        jobs: list[tuple[Path, TrainingImage, int]] = []
        for split, chosen in (("train", images.train), ("validation", images.validation), ("test", images.test)):
            sizes = [_breast_px(image) for image in chosen]
            share = min(1.0, wanted[split] / max(1, sum(sizes)))
            jobs += [
                (drawn / f"{split}-{n:05d}.npz", image, math.ceil(share * size))
                for n, (image, size) in enumerate(zip(chosen, sizes, strict=True))
            ]
        todo = [job for job in jobs if not job[0].is_file()]
        with closing(executor.run(partial(_draw_one, sample=sample, seed=seed), todo)) as outcomes:
            for outcome in track(outcomes, "drawing samples", total=len(jobs), before=len(jobs) - len(todo)):
                outcome.result()
        for split in SPLITS:
            _join(drawn, split, stage.folder)
            _check(split_samples(stage, split), split, least[split] if exact else 1, wanted[split] if exact else 0)

    run_stage(stage, work)


def split_samples(stage: Stage, split: str) -> SplitSamples:
    """Return the samples of ``train``, ``validation`` or ``test``, mapped from disk."""
    positive, place = (load_array(stage.folder / f"{split}_{name}.npy") for name in ("positive", "place"))
    return SplitSamples(positive, place, load_array(negative_file(stage, split)))


def negative_file(stage: Stage, split: str) -> Path:
    """Return the file of the negative samples of a split, ordered by image."""
    return stage.folder / f"{split}_negative.npy"


def by_image(samples: Samples, n_images: int) -> list[Samples]:
    """Divide samples that are ordered by image into those of each image."""
    starts = np.searchsorted(np.ascontiguousarray(samples[:, 0]), np.arange(n_images + 1))
    return [samples[first:last] for first, last in pairwise(starts.tolist())]


def _draw_one(job: tuple[Path, TrainingImage, int], *, sample: Sample, seed: int) -> None:
    """Draw the samples of one image; they depend only on the image, its name and the seed.

    Parameters
    ----------
    job
        File of the samples, image, and number of negatives.
    """
    file, image, n = job
    stored = image.open()
    positive = positive_pixels(image.annotations, stored.breast, stored.grid, radius_mm=0.0)
    rng = np.random.default_rng([seed, *image.row.image.encode()])
    negative = draw_negatives(image.negative_mask(stored, sample), n=n, rng=rng)
    save_arrays(file, positive=positive[:, 1:], place=positive[:, 0], negative=negative[:, 1:])


def _join(drawn: Path, split: str, folder: Path) -> None:
    """Write one array of each kind with the samples of all images of a split, ordered by image."""
    files = sorted(drawn.glob(f"{split}-*.npz"))
    loaded = [load_arrays(file) for file in files]
    save_array(folder / f"{split}_place.npy", np.concatenate([p["place"] for p in loaded]).astype(np.int32))
    for name in ("positive", "negative"):
        save_array(folder / f"{split}_{name}.npy", _indexed([p[name] for p in loaded]))


def _indexed(parts: Sequence[NDArray[np.int32]]) -> Samples:
    """Return the rows and columns of all images as (n, 3), with the index of the image in the first column."""
    samples = np.empty((sum(len(p) for p in parts), 3), dtype=np.int32)
    start = 0
    for index, part in enumerate(parts):
        samples[start : start + len(part), 0] = index
        samples[start : start + len(part), 1:] = part
        start += len(part)
    return samples


def _check(samples: SplitSamples, split: str, positive: int, negative: int) -> None:
    counts = (("positive", len(samples.positive), positive), ("negative", len(samples.negative), negative))
    for kind, n, least in counts:
        if n < least:
            raise InputError(f"{n} {kind} samples in {split}, expected at least {least}; use more exams")


def _breast_px(image: TrainingImage) -> int:
    """Return the number of pixels of the breast mask."""
    packed = np.load(image.file.with_suffix(".breast.npy"))
    return int(np.bitwise_count(packed).sum(dtype=np.int64))
