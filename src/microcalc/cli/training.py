"""``microcalc train``, ``card`` and ``operating-points``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from microcalc.cli.options import (
    EVERYTHING_HERE,
    IN_PROCESSES,
    Count,
    SplitOption,
    Where,
    WhereItRuns,
    refuse_beside,
    table_of,
)
from microcalc.cli.output import print_line, print_text
from microcalc.cli.tables import print_sources
from microcalc.errors import InputError
from microcalc.storage.ownership import check_output_folder

if TYPE_CHECKING:
    from microcalc.datasets.table import Table


def train(
    *,
    recipe: str | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    data: list[Path],
    out: Path,
    device: Literal["cpu", "cuda"] = "cpu",
    gpus: Count | None = None,
    where: Where = EVERYTHING_HERE,
) -> None:
    """Train the two networks and export them as a model. Needs microcalc[train].

    The same command continues where an earlier one with the same settings stopped. A shard prepares its part of the
    images only.

    Parameters
    ----------
    recipe
        Name of a shipped recipe (raw or processed), or the path of a TOML file. A file that begins with
        base = "processed" needs only the entries that it changes. By default, with --from, processed-fine-tune or
        raw-fine-tune.
    from_
        Train the networks of a model further: raw or processed (shipped), or a folder with a model. The recipe has to
        have the same networks; processed-fine-tune takes few steps with a small learning rate.
    data
        Folder with images.csv and annotations.csv, split by patient. Repeat for several.
    out
        Run folder for checkpoints, metrics and the finished model.
    device
        Where the networks are trained.
    gpus
        Number of GPUs that train a network together. By default 1.
    """
    from microcalc.cnn.hardware import Hardware
    from microcalc.datasets.open import open_table
    from microcalc.datasets.table import join_tables
    from microcalc.datasets.table_files import read_table
    from microcalc.extras import require_modules
    from microcalc.training import train as training
    from microcalc.training.annotated import with_clusters
    from microcalc.training.recipe import load_recipe
    from microcalc.training.start import fine_tuning_recipe, start_from

    require_modules("torch", "onnx")
    if device == "cpu":
        refuse_beside("--device cpu", gpus=gpus)
    if recipe is None and from_ is None:
        raise InputError("--recipe is missing, expected a recipe, or --from with a model to train further")
    settings = load_recipe(recipe or fine_tuning_recipe(from_ or ""))
    start = None if from_ is None else start_from(from_, settings)
    check_output_folder(out, training.COMMAND, inputs=data)
    tables = [open_table(d) for d in data]
    least = settings.sample.min_d_prime
    table = join_tables([with_clusters(t, settings.clusters, min_d_prime=least) for t in tables])
    shard = where.part()
    with where.executor() as executor:
        made = training.train(
            settings, table, out, start=start, hardware=Hardware(device, gpus or 1), executor=executor, shard=shard
        )
    if shard is not None:
        print_line(f"shard {shard}: images prepared; when all shards are done, the same command without --shard trains")
        return
    print_line(f"{made}: the trained model")
    used = [i for i in read_table(out / "table").images if i.split in ("train", "validation")]
    print_sources(used)


def card(*, run: Path, figures: Path) -> None:
    """Rewrite the card of a trained model, with the figures measured on the test set.

    Parameters
    ----------
    run
        Run folder of microcalc train; the card is written to its model folder.
    figures
        Markdown file with the text of the section "Measured on test".
    """
    from microcalc.datasets.table_files import read_table
    from microcalc.storage.ownership import check_not_input, owner_of
    from microcalc.training.card import CARD, write_card
    from microcalc.training.train import COMMAND

    if owner_of(run) != COMMAND:
        raise InputError(f"{run.name}: not a folder made by microcalc {COMMAND}, expected its run folder")
    check_not_input(run / "model" / CARD, [figures])
    try:
        lines = figures.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{figures.name}: not readable, expected a Markdown file in UTF-8") from None
    write_card(run / "model", read_table(run / "table"), figures=lines)
    print_line(f"{run / 'model' / 'MODEL_CARD.md'}: the card")


def operating_points(
    model: str,
    /,
    *,
    data: list[Path],
    normals: list[Path] | None = None,
    out: Path,
    split: SplitOption | None = None,
    where: WhereItRuns = IN_PROCESSES,
) -> None:
    """Measure the thresholds of a model on other images, and write it with these thresholds into a new folder.

    The networks stay as they are. Needs at least 20 images of 5 patients with 10 clusters, and 10 of the images in
    --data.

    Parameters
    ----------
    model
        raw, processed or cascade (shipped), or a folder with a model.
    data
        Folder with images.csv and annotations.csv. Repeat for several. A mark where nothing is annotated is false.
    normals
        Folder with images.csv of further normal images, on which clusters alone are measured, as their single
        calcifications are not annotated. Repeat for several.
    out
        New folder for the model, which microcalc detect --model takes.
    split
        Use the images of this split only, validation or test. By default the validation images of a table with splits,
        and all images of a table without.
    """
    from microcalc.datasets.table import join_tables
    from microcalc.evaluation.reporting.tables import markdown_table
    from microcalc.training.remeasure import COMMAND, changes, remeasure

    if split == "train":
        raise InputError("--split train: images to learn from, expected validation, test or all")
    check_output_folder(out, COMMAND, inputs=[*data, *(normals or ())])
    tables = [_of_thresholds(d, split) for d in data]
    alone = join_tables([_of_thresholds(d, split) for d in normals or ()])
    with where.executor() as executor:
        made = remeasure(model, tables, out, normals=alone, executor=executor)
    print_text("\n".join(markdown_table(changes(made))))
    print_line(f"{out}: the model with these operating points")
    print_sources(image for table in (*tables, alone) for image in table.images)


def _of_thresholds(folder: Path, split: Literal["validation", "test", "all"] | None) -> Table:
    """Return the images of a split; by default those of validation, or all where no image of the table has a split."""
    from microcalc.datasets.open import open_table

    table = open_table(folder)
    if split is None:
        split = "validation" if any(image.split for image in table.images) else "all"
    return table_of(folder, split)
