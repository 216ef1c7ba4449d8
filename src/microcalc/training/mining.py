"""Mine hard negatives: those of all training images that CNN1 rates highest.

Each image gives its candidates, one per neighbourhood (``recipe.mining.min_distance_mm``) and at most four times its
share of the whole, so that no image fills the result; and those of all images that are rated highest are taken. Each
image's candidates are a file that one task writes whole, and that is not made again: tasks may run in any order, in
any number of processes, and be killed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from microcalc.domain import BoolImage
from microcalc.errors import WorkerDiedError
from microcalc.execution.executor import Executor
from microcalc.execution.progress import track
from microcalc.sample.hardest import BINS, Hardest, count_logits
from microcalc.sample.store import Samples
from microcalc.storage.arrays import load_array, load_arrays, save_array, save_arrays
from microcalc.storage.write import saying_where
from microcalc.training.images import TrainingImage
from microcalc.training.networks import CNN1_DENSE
from microcalc.training.recipe import Recipe

MINED: Final = "mined.npy"


@dataclass(frozen=True, eq=False, slots=True)
class _Job:
    """One image: its number, the file of its candidates, and what may be mined.

    Attributes
    ----------
    allowed
        File of samples, and the first and one past the last of this image; None: every negative pixel.
    """

    number: int
    image: TrainingImage
    file: Path
    allowed: tuple[Path, int, int] | None


def mine_negatives(
    cnn1: Path,
    images: Sequence[TrainingImage],
    *,
    recipe: Recipe,
    n_positive: int,
    out: Path,
    executor: Executor,
    allowed: Path | None = None,
) -> Samples:
    """Return the negatives that CNN1 rates highest, and those that were reviewed as hard; write ``out/mined.npy``.

    Parameters
    ----------
    cnn1
        Folder with the dense form of CNN1.
    n_positive
        Number of positive samples, which decides how many negatives are mined.
    out
        Folder of the result and, in ``out/mining``, of one file per image, from which an interrupted mining resumes.
    executor
        Where images are rated; the result does not depend on it.
    allowed
        File of the samples that may be mined, ordered by image; by default every negative pixel may.

    Returns
    -------
    (n, 3) samples, ordered by image, and within an image by falling logit, row and column.

    Raises
    ------
    WorkerDiedError
        The process that rated an image died, also when it was tried again; the message names the images. The files of
        the others stay.
    """
    if (out / MINED).is_file():
        return load_array(out / MINED)
    wanted, per_image = wanted_negatives(recipe, n_positive, len(images))
    with saying_where(out / "mining"):
        (out / "mining").mkdir(exist_ok=True)
    jobs = _jobs(images, out / "mining", allowed)
    todo = [job for job in jobs if not job.file.is_file()]
    rate = partial(_write_candidates, network=cnn1 / CNN1_DENSE, recipe=recipe, n=per_image)
    died: list[str] = []
    with closing(executor.run(rate, todo)) as outcomes:
        for outcome in track(outcomes, "mining images", total=len(jobs), before=len(jobs) - len(todo)):
            if isinstance(outcome.error, WorkerDiedError):
                died.append(f"{outcome.item.image.row.file.name}: {outcome.error}")
            else:
                outcome.result()
    if died:
        raise WorkerDiedError("; ".join(sorted(died)))
    save_array(out / MINED, hardest_of([job.file for job in jobs], n=wanted))
    return load_array(out / MINED)


def hardest_of(files: Sequence[Path], *, n: int) -> Samples:
    """Return the n hardest of the candidates in files, alike for any order of the files."""
    counts = np.zeros(BINS, dtype=np.int64)
    for file in files:
        counts += count_logits(load_arrays(file)["logits"])
    hardest = Hardest(n, counts)
    for file in files:
        candidates = load_arrays(file)
        hardest.add(candidates["samples"], candidates["logits"])
    return hardest.samples()


def _jobs(images: Sequence[TrainingImage], folder: Path, allowed: Path | None) -> list[_Job]:
    files = [folder / f"{number:05d}.npz" for number in range(len(images))]
    if allowed is None:
        return [_Job(number, image, file, None) for number, (image, file) in enumerate(zip(images, files, strict=True))]
    of_image = load_array(allowed)[:, 0]
    starts = [bisect_left(of_image, number) for number in range(len(images) + 1)]
    return [
        _Job(number, image, file, (allowed, first, last))
        for number, (image, file, (first, last)) in enumerate(zip(images, files, pairwise(starts), strict=True))
    ]


def _write_candidates(job: _Job, *, network: Path, recipe: Recipe, n: int) -> None:
    """Write the candidates of one image with their logits; what a reader judged to be hard has the logit inf."""
    from microcalc.cnn.mine import mine_hard_negatives
    from microcalc.cnn.scorer import open_network

    if job.file.is_file():  # of another worker that was taken for dead
        return
    stored = job.image.open()
    negative = job.image.negative_mask(stored, recipe.sample)
    mined, logits = mine_hard_negatives(
        open_network(network, threads=1),
        stored,
        negative if job.allowed is None else _mask(job.allowed, negative.shape),
        margin_px=sum(recipe.cnn1.dilations),
        n=n,
        min_distance_mm=recipe.mining.min_distance_mm,
    )
    reviewed = job.image.reviewed_negatives(stored, negative)
    samples = np.concatenate([reviewed, mined])
    samples[:, 0] = job.number
    always = np.full(len(reviewed), np.inf, dtype=np.float32)
    save_arrays(job.file, samples=samples, logits=np.concatenate([always, logits]))


def wanted_negatives(recipe: Recipe, n_positive: int, n_images: int) -> tuple[int, int]:
    """Return how many negatives are mined in all, and how many at most in each image."""
    wanted = max(1, int(recipe.mining.hard_per_positive * n_positive))
    return wanted, max(50, 4 * wanted // n_images)


def _mask(allowed: tuple[Path, int, int], shape: tuple[int, ...]) -> BoolImage:
    """Return a mask that is true at the samples of one image."""
    file, first, last = allowed
    samples = load_array(file)[first:last]
    mask = np.zeros(shape, dtype=bool)
    mask[samples[:, 1], samples[:, 2]] = True
    return mask
