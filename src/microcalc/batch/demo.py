"""The demonstration: one simulated mammogram per vendor, detected in and judged against its truth."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from microcalc.batch.analyse import detect_file
from microcalc.models.model import Models
from microcalc.storage.ownership import open_output_folder


def demo(out: Path, *, seed: int, say: Callable[[str], None]) -> None:
    """Simulate one raw mammogram per vendor, detect, and say what was hit, missed and marked falsely.

    Marks are the members of findings, that is of clusters at the default operating point.

    Raises
    ------
    InputError
        The folder is not new, and not one of an earlier demonstration.
    OutputError
        The system refused to write.
    """
    import numpy as np

    from microcalc.batch.folder import remove_results
    from microcalc.datasets.simulated import simulate_data_set
    from microcalc.evaluation.match import Regions, match
    from microcalc.evaluation.matched_images import IGNORED_KINDS
    from microcalc.simulate.exam import RAW_ONLY
    from microcalc.simulate.lesions import LesionRates
    from microcalc.simulate.systems import VENDORS

    start, models = perf_counter(), Models()
    open_output_folder(out, "demo")
    remove_results(out)  # of another seed, say
    say(f"simulating {len(VENDORS)} mammograms with known microcalcifications")
    table = simulate_data_set(
        out / "images",
        systems=VENDORS,
        exams=1,
        seed=seed,
        intents=RAW_ONLY,
        views=("CC",),
        lateralities=("L",),
        rates=LesionRates(clusters=2.5, diameter_mm=0.3, packing=(1.5, 2.5)),  # solid ones: a person sees them too
        workers=min(len(VENDORS), os.cpu_count() or 1),
    )
    say(f"{'system':34} {'clusters':>9} {'microcalcifications':>20} {'':>7} {'false':>6} {'':>8}")
    say(f"{'':34} {'hit':>9} {'hit':>12} {'missed':>7} {'marks':>14} {'seconds':>9}")
    for row in table.images:
        found = detect_file(row.file, models, stem=row.image, out=out)
        grid, truth = row.grid, table.annotations_of(row)
        members = sorted({m for c in found.clusters if c.finding for m in c.members})
        marks = grid.to_mm(np.array([(found.candidates[m].row, found.candidates[m].column) for m in members]))
        real, ignored = truth.kind == "microcalcification", np.isin(truth.kind, IGNORED_KINDS)
        matched = match(
            marks,
            np.array([found.candidates[m].likelihood for m in members]),
            truth.centres[real],
            ignored=Regions(truth.centres[ignored], truth.diameter_mm[ignored] / 2),
        )
        hit = np.isfinite(matched.lesion_rating)
        clusters = set(truth.cluster[real]) - {""}
        clusters_hit = len(set(truth.cluster[real][hit]) & clusters)
        say(
            f"{row.system[:34]:34} {clusters_hit:>4} of {len(clusters)} {hit.sum():>12} {(~hit).sum():>7} "
            f"{len(matched.nl_rating):>14} {found.total_seconds:>9.1f}"
        )
    say(f"{out}: overlays (PNG) and detections (JSON); {perf_counter() - start:.0f} s")
