"""``microcalc study``: the published experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from microcalc.cli.options import EVERYTHING_HERE, CountOrNone, Flag, Where
from microcalc.cli.output import print_line

TrainingSpacing = Annotated[float, Parameter(validator=Number(gte=0.03, lte=0.2))]


def study(
    *,
    scale: str,
    out: Path,
    data: list[Path] | None = None,
    intent: Literal["raw", "processed"] = "raw",
    leave_out: str | None = None,
    no_normalising: Flag = False,
    spacing: TrainingSpacing | None = None,
    recipe: str | None = None,
    seed: CountOrNone = 1,
    where: Where = EVERYTHING_HERE,
) -> None:
    """Repeat the published experiment: two networks with hard negative mining, compared to the cascade.

    Simulates exams, draws samples, trains all methods on the same samples, rates the test images, and writes a report
    to OUT/report. The same command continues where an earlier one stopped. A shard simulates and normalises its part of
    the images, and, once the models are there, rates its part of the test images.

    Parameters
    ----------
    scale
        paper (the published numbers of samples), tenth, smoke, or the path of a TOML file.
    out
        Run folder. Studies with different options may share it.
    data
        Folder with images.csv and annotations.csv, used in place of simulated exams. Repeat for several.
    intent
        Kind of images.
    leave_out
        Vendor (hologic, ge or siemens) that is excluded from training and is the only one tested on.
    no_normalising
        Scale images to the same mean and standard deviation only, without noise equalisation, for comparison.
    spacing
        Pixel spacing in mm, in place of the recipe's.
    recipe
        Name or path of a recipe, in place of the default for the intent.
    seed
        Seed of the random numbers of exams, samples, networks and confidence intervals.
    """
    from microcalc.study.options import Options
    from microcalc.study.run import run_study
    from microcalc.study.scale import load_scale

    options = Options(intent, leave_out, not no_normalising, spacing, recipe, seed)
    shard = where.part()
    with where.executor() as executor:
        made = run_study(load_scale(scale), out, options=options, data=data or (), executor=executor, shard=shard)
    print_line(f"{made}: the report" if shard is None else f"shard {shard}: done; a call without --shard continues")
