"""Measure time and memory of the ROC evaluation of the study: ``python -m benchmarks.evaluate``.

There are as many samples as in the test set of the publication (5,298 positive, 18 million negative), of four methods,
for three manufacturers and pooled, in every stratum, with bootstrap by patient. The ratings are random.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import Parser, count, run
from microcalc.datasets.table import ImageRow
from microcalc.study.evaluation import evaluate_study
from microcalc.study.predictions import METHODS, VENDORS, ImagePredictions, Ratings

_IMAGES_PER_PATIENT = 4


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--positives", type=count, default=5298)
    parser.add_argument("--negatives", type=count, default=18_000_000)
    parser.add_argument("--images", type=count, default=480)
    parser.add_argument("--resamples", type=count, default=2000)
    asked = parser.parse_args(arguments)
    images = drawn_images(asked.images, asked.positives, asked.negatives, np.random.default_rng(0))
    started = time.perf_counter()
    figures = evaluate_study(images, resamples=asked.resamples)
    seconds = time.perf_counter() - started
    pooled = figures.groups["pooled"]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{pooled.positives:,} positives, {pooled.negatives:,} negatives, {len(figures.methods)} methods, "
        f"{len(figures.groups)} groups and {len(figures.strata)} strata, {asked.resamples} resamples of "
        f"{pooled.patients} patients: {seconds:.0f} s, peak {peak_mb:,.0f} MB"
    )
    return 0


def drawn_images(n_images: int, positives: int, negatives: int, rng: np.random.Generator) -> list[ImagePredictions]:
    """Return predictions on images of all manufacturers with a total number of samples."""
    return [
        _image(i, len(p), len(n), rng)
        for i, (p, n) in enumerate(
            zip(*(np.array_split(np.empty(k, np.bool_), n_images) for k in (positives, negatives)), strict=True)
        )
    ]


def _image(i: int, positives: int, negatives: int, rng: np.random.Generator) -> ImagePredictions:
    def rating(n: int, mean: float) -> Ratings:
        return rng.normal(mean, 1, n).astype(np.float32)

    patient = i // _IMAGES_PER_PATIENT
    return ImagePredictions(
        ImageRow(f"im{i}", Path(f"im{i}.dcm"), "raw", (0.1, 0.1), patient=f"p{patient}"),
        (),
        VENDORS[patient % len(VENDORS)],
        "ABCD"[patient % 4],
        100.0,
        {m: rating(positives, 3 + 0.2 * k) for k, m in enumerate(METHODS)},
        rng.uniform(2, 12, positives),
        rng.uniform(0.1, 0.6, positives),
        {m: rating(negatives, 0.0) for m in METHODS},
        {},
    )


if __name__ == "__main__":
    sys.exit(run(main))
