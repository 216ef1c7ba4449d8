"""All twenty points, measured."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from microcalc.execution.executor import executor_of, run_in_order
from microcalc.simulate.systems import SYSTEMS, VENDORS, System
from microcalc.validation import files, learning, receptor, thresholds
from microcalc.validation.beams import measure_beams
from microcalc.validation.calcium import measure_calcium
from microcalc.validation.images import Job, Store
from microcalc.validation.learning import learning_jobs, measure_learning
from microcalc.validation.points import Figure, Report, ordered
from microcalc.validation.texture import measure_texture

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured; ``reduced_mm``: height of the receptors where whole images are made, None: their own."""

    receptor: receptor.Effort
    thresholds: thresholds.Effort
    learning: learning.Effort
    breasts: int
    reduced_mm: float | None


FULL = Effort(receptor.FULL, thresholds.FULL, learning.FULL, breasts=3, reduced_mm=None)
QUICK = Effort(receptor.QUICK, thresholds.QUICK, learning.QUICK, breasts=1, reduced_mm=80.0)
_ORDER_TOLERANCE = 0.03  # two standard errors of the ratio of two thresholds


def verify(
    systems: Sequence[System] | None = None,
    *,
    quick: bool = False,
    seed: int = 1,
    out: Path | None = None,
    workers: int = 2,
) -> Report:
    """Measure the simulator against the twenty acceptance points.

    Parameters
    ----------
    systems
        By default all. Points that compare vendors miss where a vendor is left out.
    quick
        Fewer and smaller images: says that all runs, not that the points hold.
    out
        Folder that keeps the images, for the next time; by default they are thrown away.
    workers
        Number of processes.
    """
    effort = QUICK if quick else FULL
    chosen = tuple(SYSTEMS.values()) if systems is None else tuple(systems)
    with nullcontext(str(out)) if out else tempfile.TemporaryDirectory() as folder:
        return ordered(_measured(chosen, effort, Store(Path(folder) / "images", workers), seed))


def _measured(systems: tuple[System, ...], effort: Effort, store: Store, seed: int) -> list[Figure]:
    _LOG.info("measuring beams and receptors of %d systems", len(systems))
    figures = [*measure_beams(systems), *_receptors(systems, effort, store.workers, seed)]
    whole = systems if effort.reduced_mm is None else tuple(files.reduced(s, effort.reduced_mm) for s in systems)
    vendors = [s for s in whole if s.name in VENDORS]
    _LOG.info("measuring tissue")
    figures += measure_texture(whole, store, breasts=effort.breasts, seed=seed)
    _LOG.info("measuring calcium")
    train, test = learning_jobs(vendors, effort=effort.learning, seed=seed)
    others = [Job(s, seed, filling="first") for s in whole if s not in vendors]
    figures += measure_calcium(whole, store, jobs=[*train, *test, *others], twins=[*test, *others], seed=seed)
    _LOG.info("measuring filters and networks")
    figures += measure_learning(vendors, store, effort=effort.learning, seed=seed)
    _LOG.info("measuring files, time and memory")
    return [*figures, *files.measure_making(whole, seed=seed), *files.measure_files(whole, seed=seed)]


def _receptors(systems: Sequence[System], effort: Effort, workers: int, seed: int) -> list[Figure]:
    work = [
        job
        for s in systems
        for job in (
            partial(thresholds.measure_thresholds, s, effort=effort.thresholds, seed=seed),
            partial(receptor.measure_receptor, s, effort=effort.receptor, seed=seed),
        )
    ]
    parts = run_in_order(executor_of(workers), _call, work, work="measuring receptors")
    figures = [f for part in parts for f in part]
    return [*figures, *thresholds.order_of_systems(figures, tolerance=_ORDER_TOLERANCE)]


def _call(measure: Callable[[], list[Figure]]) -> list[Figure]:
    return measure()
