"""Measure time and memory of choosing the hardest negatives: ``python -m benchmarks mining``.

Synthetic logits of many images, by default 10^9 in 1,000 images, are made from seeds when they are asked for, twice as
the two passes need, and never held. With ``--backwards`` the images come in the opposite order; the hash stays.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import Parser, count, run
from microcalc.sample.hardest import BINS, Hardest, count_logits
from microcalc.sample.store import Samples

_COLUMNS = 4000


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--images", type=count, default=1000)
    parser.add_argument("--per-image", type=count, default=1_000_000)
    parser.add_argument("--chosen", type=count, default=1_000_000)
    parser.add_argument("--backwards", action="store_true", help="take the images in the opposite order")
    given = parser.parse_args(arguments)
    images = range(given.images)[:: -1 if given.backwards else 1]
    before_mb, started, cpu = _peak_mb(), time.perf_counter(), time.process_time()
    counts, choosing = np.zeros(BINS, dtype=np.int64), 0.0
    for _, logits in _negatives(images, given.per_image):
        begun = time.process_time()
        counts += count_logits(logits)
        choosing += time.process_time() - begun
    hardest = Hardest(given.chosen, counts)
    for samples, logits in _negatives(images, given.per_image):
        begun = time.process_time()
        hardest.add(samples, logits)
        choosing += time.process_time() - begun
    begun = time.process_time()
    chosen = hardest.samples()
    choosing += time.process_time() - begun
    print(
        f"{given.images * given.per_image:,} negatives of {given.images:,} images: the {len(chosen):,} hardest in "
        f"{choosing:.0f} s of the processor, besides {time.process_time() - cpu - choosing:.0f} s for drawing them "
        f"({time.perf_counter() - started:.0f} s of time), {_peak_mb() - before_mb:,.0f} MB above the "
        f"{before_mb:,.0f} MB of the program; SHA-256 {hashlib.sha256(chosen.tobytes()).hexdigest()[:12]}"
    )
    return 0


def _negatives(images: Sequence[int], n: int) -> Iterator[tuple[Samples, NDArray[np.float32]]]:
    """Yield the pixels of images with their logits: normal, and rounded so that many are equal."""
    rows, columns = np.divmod(np.arange(n, dtype=np.int32), _COLUMNS)
    for image in images:
        logits = np.random.default_rng(image).standard_normal(n, dtype=np.float32).round(3) * 3 - 8
        yield np.column_stack([np.full(n, image, dtype=np.int32), rows, columns]), logits


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(run(main))
