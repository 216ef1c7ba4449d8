"""The demonstration: detection in one simulated mammogram per vendor, compared with its known calcifications."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from microcalc.batch.analyse import detect_file
from microcalc.datasets.table import ImageRow
from microcalc.detection.result import Result
from microcalc.domain import Annotations
from microcalc.evaluation.match import Regions, match
from microcalc.evaluation.matched_images import IGNORED_KINDS
from microcalc.execution.cores import core_count
from microcalc.execution.executor import executor_of
from microcalc.models.model import Models
from microcalc.storage.ownership import open_output_folder


def demo(out: Path, *, seed: int) -> Iterator[str]:
    """Simulate one raw mammogram per vendor, detect in it, and compare the marks with the known calcifications.

    Marks are the members of findings, that is of clusters at the default operating point.

    Yields
    ------
    str
        Lines for the user: what is being done, then a table with one line for each mammogram.

    Raises
    ------
    InputError
        The folder exists, and is not that of an earlier demonstration.
    OutputError
        A file cannot be written.
    """
    from microcalc.batch.folder import remove_results
    from microcalc.datasets.simulated import Settings, simulate_data_set
    from microcalc.simulate.exam import RAW_ONLY
    from microcalc.simulate.lesions import LesionRates
    from microcalc.simulate.systems import VENDORS

    start, models = perf_counter(), Models()
    open_output_folder(out, "demo")
    remove_results(out)  # such as those of another seed
    yield f"simulating {len(VENDORS)} mammograms with known microcalcifications"
    solid = LesionRates(clusters=2.5, diameter_mm=0.3, packing=(1.5, 2.5))  # a person sees them too
    settings = Settings(seed, RAW_ONLY, views=("CC",), lateralities=("L",), rates=solid)
    executor = executor_of(min(len(VENDORS), core_count()))
    table = simulate_data_set(out / "images", settings, systems=VENDORS, exams=1, executor=executor)
    yield f"{'system':34} {'clusters':>9} {'microcalcifications':>20} {'':>7} {'false':>6} {'':>8}"
    yield f"{'':34} {'hit':>9} {'hit':>12} {'missed':>7} {'marks':>14} {'seconds':>9}"
    for row in table.images:
        result = detect_file(row.file, models, stem=row.image, out=out)
        yield _line(row, table.annotations_of(row), result)
    yield f"{out}: overlays (PNG) and detections (JSON); {perf_counter() - start:.0f} s"


def _line(row: ImageRow, truth: Annotations, result: Result) -> str:
    """Return the table's line for one mammogram: what was hit, what was missed, and how many marks are false."""
    members = sorted({m for cluster in result.clusters if cluster.finding for m in cluster.members})
    real, ignored = truth.kind == "microcalcification", np.isin(truth.kind, IGNORED_KINDS)
    matched = match(
        row.grid.to_mm(result.places[members]),
        np.array([result.candidates[m].likelihood for m in members]),
        truth.centres[real],
        ignored=Regions(truth.centres[ignored], truth.diameter_mm[ignored] / 2),
    )
    hit = np.isfinite(matched.lesion_rating)
    clusters = set(truth.cluster[real]) - {""}
    clusters_hit = len(set(truth.cluster[real][hit]) & clusters)
    return (
        f"{row.system[:34]:34} {clusters_hit:>4} of {len(clusters)} {hit.sum():>12} {(~hit).sum():>7} "
        f"{len(matched.nl_rating):>14} {result.total_seconds:>9.1f}"
    )
