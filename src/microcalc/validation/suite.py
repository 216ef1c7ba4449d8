"""The measurement of all acceptance criteria."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from microcalc.execution.executor import SERIAL, Executor, run_in_order
from microcalc.simulate.systems import SYSTEMS, VENDORS, System
from microcalc.validation import files, learning, receptor, thresholds
from microcalc.validation.beams import measure_beams
from microcalc.validation.calcium import measure_calcium
from microcalc.validation.criteria import Measurement, Report, report_of
from microcalc.validation.images import ImageSpec, ImageStore
from microcalc.validation.learning import learning_images, measure_learning
from microcalc.validation.texture import measure_texture
from microcalc.wording import quantity

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Effort:
    """Size of the measurements.

    Attributes
    ----------
    breasts
        Number of breasts per view and system.
    reduced_mm
        Height of the receptor in mm for whole images; None for the size of the system.
    """

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
    executor: Executor = SERIAL,
) -> Report:
    """Measure the simulator against its twenty acceptance criteria.

    Parameters
    ----------
    systems
        By default all. Criteria that compare vendors are not met where a vendor is missing.
    quick
        Use fewer and smaller images, which shows that everything runs, not that the criteria are met.
    out
        Folder that keeps the images for later calls; by default they are deleted.
    executor
        Where the images are simulated and measured.
    """
    effort = QUICK if quick else FULL
    chosen = tuple(SYSTEMS.values()) if systems is None else tuple(systems)
    with nullcontext(str(out)) if out else tempfile.TemporaryDirectory() as folder:
        return report_of(_measured(chosen, effort, ImageStore(Path(folder) / "images", executor), seed))


def _measured(systems: tuple[System, ...], effort: Effort, store: ImageStore, seed: int) -> list[Measurement]:
    _LOG.info("measuring beams and receptors of %s", quantity(len(systems), "system"))
    measurements = [*measure_beams(systems), *_receptors(systems, effort, store.executor, seed)]
    whole = (
        systems
        if effort.reduced_mm is None
        else tuple(files.with_small_receptor(s, effort.reduced_mm) for s in systems)
    )
    vendors = [s for s in whole if s.name in VENDORS]
    _LOG.info("measuring tissue")
    measurements += measure_texture(whole, store, breasts=effort.breasts, seed=seed)
    _LOG.info("measuring calcium")
    train, test = learning_images(vendors, effort=effort.learning, seed=seed)
    others = [ImageSpec(s, seed, filling="first") for s in whole if s not in vendors]
    measurements += measure_calcium(whole, store, specs=[*train, *test, *others], twins=[*test, *others], seed=seed)
    _LOG.info("measuring filters and networks")
    measurements += measure_learning(vendors, store, effort=effort.learning, seed=seed)
    _LOG.info("measuring files, time and memory")
    return [*measurements, *files.measure_cost(whole, seed=seed), *files.measure_files(whole, seed=seed)]


def _receptors(systems: Sequence[System], effort: Effort, executor: Executor, seed: int) -> list[Measurement]:
    work = [
        spec
        for s in systems
        for spec in (
            partial(thresholds.measure_thresholds, s, effort=effort.thresholds, seed=seed),
            partial(receptor.measure_receptor, s, effort=effort.receptor, seed=seed),
        )
    ]
    parts = run_in_order(executor, _call, work, work="measuring receptors")
    measurements = [f for part in parts for f in part]
    return [*measurements, *thresholds.order_of_systems(measurements, tolerance=_ORDER_TOLERANCE)]


def _call(measure: Callable[[], list[Measurement]]) -> list[Measurement]:
    return measure()
