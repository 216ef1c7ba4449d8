"""Measure the time of simulation: ``python -m benchmarks.simulate``.

A raw image at the matrix of each system is measured beside the reference computation of criterion 20 of
``microcalc simulate --verify``, and the projection of a cluster of microcalcifications.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from time import process_time

import numpy as np

from benchmarks import Parser, count, run
from microcalc.simulate.calcification import draw_cluster
from microcalc.simulate.exam import simulate_mammogram
from microcalc.simulate.systems import SYSTEMS
from microcalc.validation.files import reference_seconds


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--systems", nargs="*", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--repeats", type=count, default=3)
    asked = parser.parse_args(arguments)
    reference = min(reference_seconds() for _ in range(asked.repeats))
    print(f"reference of point 20: {reference:.2f} s of the processor")
    for name in asked.systems:
        seconds = _best(asked.repeats, partial(simulate_mammogram, SYSTEMS[name], seed=1, density="C"))
        print(f"raw image of {name}: {seconds:.1f} s, {seconds / reference:.0f} times the reference")
    cluster = draw_cluster(np.random.default_rng(4))
    seconds = _best(asked.repeats, lambda: [m.project(np.pi / 4) for m in cluster])
    print(f"projection of a cluster of 12: {seconds * 12 / len(cluster):.3f} s")
    return 0


def _best(repeats: int, work: Callable[[], object]) -> float:
    def once() -> float:
        start = process_time()
        work()
        return process_time() - start

    return min(once() for _ in range(repeats))


if __name__ == "__main__":
    sys.exit(run(main))
