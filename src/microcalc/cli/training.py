"""``microcalc train`` and ``microcalc card``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from microcalc.cli.options import Workers
from microcalc.cli.output import say
from microcalc.errors import InputError


def train(
    *, recipe: str, data: list[Path], out: Path, device: Literal["cpu", "cuda"] = "cpu", workers: Workers = 1
) -> None:
    """Train the two networks and export them. Goes on where an earlier run with the same settings stopped.

    Parameters
    ----------
    recipe
        Name of a shipped recipe (raw, processed) or path of a TOML file; one that begins with base = "processed"
        needs only the entries that it changes.
    data
        Folder with images.csv and annotations.csv, split by patient; may be given several times.
    out
        Run folder: checkpoints, metrics, and the finished model.
    device
        What to train on.
    workers
        Processes that prepare images.
    """
    from microcalc.datasets.open import open_table
    from microcalc.datasets.table import join_tables
    from microcalc.extras import require_modules
    from microcalc.storage.ownership import check_output_folder
    from microcalc.training import train as training
    from microcalc.training.annotated import with_clusters
    from microcalc.training.recipe import load_recipe

    require_modules("torch", "onnx")
    settings = load_recipe(recipe)
    check_output_folder(out, training.COMMAND, inputs=data)
    tables = [open_table(d) for d in data]
    least = settings.sample.min_d_prime
    table = join_tables([with_clusters(t, settings.clusters, min_d_prime=least) for t in tables])
    model = training.train(settings, table, out, device=device, workers=workers, say=say)
    say(f"{model}: the trained model")


def card(*, run: Path, figures: Path) -> None:
    """Write a trained model's card anew, with what was measured on test.

    Parameters
    ----------
    run
        Run folder of the training; the card is written into its model folder.
    figures
        Markdown file for the section "Measured on test".
    """
    from microcalc.datasets.table import read_table
    from microcalc.storage.ownership import check_not_input, owner_of
    from microcalc.training.card import CARD, write_card
    from microcalc.training.train import COMMAND

    if owner_of(run) != COMMAND:
        raise InputError(f"{run.name}: bears no mark of microcalc {COMMAND}, expected a run folder of it")
    check_not_input(run / "model" / CARD, [figures])
    try:
        lines = figures.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{figures.name}: not readable, expected a Markdown file in UTF-8") from None
    write_card(run / "model", read_table(run / "table"), figures=lines)
    say(f"{run / 'model' / 'MODEL_CARD.md'}: the card")
