"""``microcalc train``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from microcalc.cli.options import Count, check_out
from microcalc.cli.output import say


def train(
    *, recipe: str, data: list[Path], out: Path, device: Literal["cpu", "cuda"] = "cpu", workers: Count = 1
) -> None:
    """Train the two networks and export them. Goes on where an earlier run with the same settings stopped.

    Parameters
    ----------
    recipe
        Name of a shipped recipe (raw, processed) or path of a TOML file.
    data
        Folder with images.csv and annotations.csv, split by patient; may be given several times.
    out
        Run folder: checkpoints, metrics, and the finished model.
    device
        What to train on.
    workers
        Processes that prepare images.
    """
    from microcalc.datasets.table import join_tables, read_table
    from microcalc.runs import training
    from microcalc.runs.recipe import load_recipe

    check_out(out)
    settings = load_recipe(recipe)
    table = join_tables([read_table(d) for d in data])
    model = training.train(settings, table, out, device=device, workers=workers, say=say)
    say(f"{model}: the trained model")
