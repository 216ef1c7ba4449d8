"""``microcalc study``: the publication's experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from microcalc.cli.options import (
    CountOrNone,
    Workers,
)
from microcalc.cli.output import say

TrainingSpacing = Annotated[float, Parameter(validator=Number(gte=0.03, lte=0.2))]


def study(
    *,
    scale: str,
    out: Path,
    data: list[Path] | None = None,
    intent: Literal["raw", "processed"] = "raw",
    leave_out: str | None = None,
    no_normalising: bool = False,
    spacing: TrainingSpacing | None = None,
    recipe: str | None = None,
    seed: CountOrNone = 1,
    workers: Workers | None = None,
) -> None:
    """Repeat the publication's experiment: two networks with hard negative mining against the cascade.

    Simulates exams, draws samples, trains all methods on the same ones, scores, and writes a report to OUT/report.
    The same command goes on where an earlier start stopped; what is done is not done again.

    Parameters
    ----------
    scale
        paper (the published sample counts), tenth, smoke, or path of a TOML file.
    out
        Run folder; studies of several options may share it.
    data
        Folders with images.csv and annotations.csv in place of simulated exams; may be given several times.
    intent
        raw or processed images.
    leave_out
        Vendor (hologic, ge, siemens) that is not trained on, and alone is tested on.
    no_normalising
        Bring images to one mean and standard deviation only, for comparison.
    spacing
        Pixel spacing in mm in place of the recipe's.
    recipe
        Name or path of a recipe in place of the intent's.
    seed
        Of exams, samples, networks and intervals.
    workers
        Processes; by default one per core. The results do not depend on their number.
    """
    import os

    from microcalc.study.options import Options
    from microcalc.study.run import run_study
    from microcalc.study.scale import load_scale

    options = Options(intent, leave_out, not no_normalising, spacing, recipe, seed)
    report = run_study(
        load_scale(scale), out, options=options, data=data or (), workers=workers or os.cpu_count() or 1, say=say
    )
    say(f"{report}: the report")
