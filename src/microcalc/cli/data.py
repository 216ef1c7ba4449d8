"""``microcalc simulate``, ``insert`` and ``table``: the commands that make data sets."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from microcalc.cli.options import (
    EVERYTHING_HERE,
    Amount,
    Count,
    CountOrNone,
    DPrime,
    Factor,
    Flag,
    LateralityOption,
    PerImage,
    SimulatedIntent,
    SplitOption,
    Where,
    WhereItRuns,
    refuse_beside,
    table_of,
)
from microcalc.cli.output import print_error, print_line
from microcalc.cli.tables import print_sources
from microcalc.errors import InputError
from microcalc.storage.ownership import check_output_folder, output_folder
from microcalc.wording import quantity

if TYPE_CHECKING:
    from microcalc.datasets.table import Table
    from microcalc.execution.shard import Shard


def simulate(
    *,
    out: Path | None = None,
    system: list[str] | None = None,
    intent: SimulatedIntent | None = None,
    view: list[Literal["CC", "MLO"]] | None = None,
    laterality: list[LateralityOption] | None = None,
    exams: Count | None = None,
    clusters: Amount | None = None,
    singles: Amount | None = None,
    confusers: Amount | None = None,
    min_d_prime: DPrime | None = None,
    dose: Factor | None = None,
    seed: CountOrNone = 1,
    verify: Flag = False,
    quick: Flag = False,
    where: Where = EVERYTHING_HERE,
) -> int:
    """Simulate mammograms with exact reference annotations, as DICOM files and a table.

    With --verify, measure the simulator itself instead.

    Parameters
    ----------
    out
        Folder for the data set. Exams that it already holds, made with the same settings, are kept.
    system
        Short name of a system: hologic, ge, siemens, ge-pristina or ge-ds. Repeat for several. By default all.
    intent
        raw (for processing), processed (for presentation) or both. By default both.
    view
        View. Repeat for several. By default both.
    laterality
        Laterality. Repeat for several. By default both.
    exams
        Number of patients per system. By default 1.
    clusters
        Mean number of clusters of microcalcifications per breast. By default 1.2.
    singles
        Mean number of single microcalcifications per breast. By default 3.
    confusers
        Factor applied to the usual rates of benign calcifications, artefacts and crossing tissue. By default 1.
    min_d_prime
        Leave out microcalcifications that the ideal observer detects with a lower d' in any view. By default 0.
    dose
        Factor applied to the usual exposure. By default 1.
    seed
        Seed of the random numbers: the same seed gives the same files.
    verify
        Measure the images against the twenty acceptance criteria and print target, measured value and result. The exit
        code is 0 where all hold, else 1. Takes --system, --seed, --workers, --cluster, and --out to keep the images.
    quick
        With --verify: use fewer and smaller images. This shows that everything runs, not that the criteria hold.
    """
    if verify:
        refuse_beside(
            "--verify", intent=intent, view=view, laterality=laterality, exams=exams, clusters=clusters,
            singles=singles, confusers=confusers, min_d_prime=min_d_prime, dose=dose,
            shard=where.shard,
        )  # fmt: skip
        if where.cluster is not None and out is None:
            raise InputError("--cluster beside --verify: no --out, expected a folder that all workers see")
        return _verified(system, quick=quick, seed=seed, out=out, where=where)
    if out is None:
        raise InputError("--out is missing, expected a folder for the data set")
    if quick:
        raise InputError("--quick: has no effect without --verify, expected both")
    from microcalc.datasets.simulated import BOTH, COMMAND, Settings, simulate_data_set
    from microcalc.simulate.exam import LATERALITIES, VIEWS
    from microcalc.simulate.lesions import usual_rates

    check_output_folder(out, COMMAND)
    settings = Settings(
        seed=seed,
        intents=BOTH if intent is None or intent == "both" else [intent],
        views=view or VIEWS,
        lateralities=laterality or LATERALITIES,
        dose=1.0 if dose is None else dose,
        rates=usual_rates(
            clusters=clusters,
            singles=singles,
            confusers=1.0 if confusers is None else confusers,
            min_d_prime=min_d_prime or 0.0,
        ),
    )
    shard = where.part()
    with where.executor() as executor:
        table = simulate_data_set(
            out, settings, systems=system or ["all"], exams=exams or 1, executor=executor, shard=shard
        )
    print_line(_described(table, out, shard))
    return 0


def _verified(names: list[str] | None, *, quick: bool, seed: int, out: Path | None, where: WhereItRuns) -> int:
    """Print the acceptance report; return 0 where all criteria hold, else 1."""
    from microcalc.simulate.systems import system
    from microcalc.validation import verify

    systems = [system(name) for name in dict.fromkeys(names or ())] or None
    with where.executor() as executor, nullcontext() if out is None else output_folder(out, "simulate --verify"):
        report = verify(systems, quick=quick, seed=seed, out=out, executor=executor)
    for line in report.lines():
        print_line(line)
    return 0 if report.all_met else 1


def insert(
    table: Path,
    /,
    *,
    out: Path,
    clusters: PerImage = 2,
    singles: PerImage = 0,
    benign: Amount = 0.0,
    min_d_prime: DPrime = 4.0,
    variants: Count = 1,
    twins: Flag = False,
    split: SplitOption = "all",
    tag: str | None = None,
    others: Flag = False,
    seed: CountOrNone = 1,
    where: Where = EVERYTHING_HERE,
) -> int:
    """Insert simulated microcalcifications, and benign calcium, into the images of a table.

    Parameters
    ----------
    table
        Folder with images.csv.
    out
        Folder for the new images and their table.
    clusters
        Number of clusters per image.
    singles
        Number of single microcalcifications per image, in addition to the clusters.
    benign
        Factor applied to the usual rates of benign calcium in a breast: arteries, coarse and popcorn calcifications,
        rods, rims, skin, milk of calcium and others, each annotated with its kind. With 1, an image has 1.3 objects on
        average. By default none.
    min_d_prime
        Insert only microcalcifications that the ideal observer detects in the system's noise with at least this d'.
    variants
        Number of copies of each image, each with different microcalcifications.
    twins
        Write each copy a second time without half of its microcalcifications, to train with: the places that lack
        one are hard negatives beside calcium.
    split
        Use the images of this split only.
    tag
        Use the images with this tag only.
    others
        With --split or --tag: the new table also has the other images of the table, as they are, such as annotated
        ones beside normal ones that are inserted into.
    seed
        Seed of the random numbers: the same seed gives the same images.
    """
    from microcalc.datasets.inserted import COMMAND, insert_data_set
    from microcalc.datasets.table_files import table_folder
    from microcalc.simulate.placement import Insertion

    check_output_folder(out, COMMAND, inputs=[table])
    if out.resolve() == table_folder(table).resolve():
        raise InputError(f"{out.name}: the folder of the table itself, expected a different one for the new images")
    chosen = table_of(table, split, tag)
    rest = _others(table, chosen) if others else None
    if clusters + singles + benign == 0:
        raise InputError("--clusters 0 and --singles 0 without --benign, expected something to insert")
    insertion = Insertion(clusters=clusters, singles=singles, min_d_prime=min_d_prime, benign=benign)
    shard = where.part()
    with where.executor(items=variants * len(chosen.images)) as executor:
        made, refused = insert_data_set(
            chosen,
            out,
            insertion=insertion,
            others=rest,
            variants=variants,
            twins=twins,
            seed=seed,
            executor=executor,
            shard=shard,
        )
    print_line(_described(made, out, shard))
    if not refused:
        return 0
    return print_error(f"{len(refused)} of {quantity(len(chosen.images), 'image')} could not be used", code=1)


def _others(path: Path, chosen: Table) -> Table:
    """Return the images of a table that are not chosen."""
    from microcalc.datasets.open import open_table

    whole, names = open_table(path), {image.image for image in chosen.images}
    rest = whole.of_images(image for image in whole.images if image.image not in names)
    if not rest.images:
        raise InputError("--others: every image is inserted into, expected --split or --tag that leaves others")
    return rest


def _described(table: Table, out: Path, shard: Shard | None = None) -> str:
    """Return what a folder holds, or what a shard has made, for a person."""
    text = f"{quantity(len(table.images), 'image')}, {quantity(len(table.annotations), 'annotation')}"
    if shard is None:
        return f"{out}: {text}"
    return f"shard {shard}: {text}; when all shards are done, the same command without --shard completes {out}"


def table_cdd_cesm(folder: Path, /, *, out: Path, reviewed: Path | None = None, rounds: Count | None = None) -> None:
    """Make the table of the CDD-CESM images, with this project's splits and the reviewed places.

    Parameters
    ----------
    folder
        Folder with the published images.csv and the JPEG files.
    out
        Folder for images.csv and annotations.csv.
    reviewed
        Table of the reviewed places. By default data/cdd-cesm/reviewed.csv of the source tree, where microcalc runs
        from one.
    rounds
        Use only the reviewed places of the first rounds, up to this one, such as those that a model was trained with.
    """
    from microcalc.datasets.cdd_cesm import read_cdd_cesm, reviewed_in_source_tree
    from microcalc.datasets.table_files import write_table

    file = reviewed or reviewed_in_source_tree()
    if file is None and rounds is not None:
        raise InputError("--rounds without reviewed places, expected --reviewed FILE as well")
    inputs = [folder] if reviewed is None else [folder, reviewed]
    check_output_folder(out, "table cdd-cesm", inputs=inputs)
    table = read_cdd_cesm(folder, reviewed=file, rounds=rounds)
    with output_folder(out, "table cdd-cesm", inputs=inputs):
        write_table(table, out)
    print_line(_described(table, out))
    print_sources(table.images)
    if file is None:
        print_line(
            "No reviewed places: they are not part of the installed package. They are in data/cdd-cesm/reviewed.csv of "
            "the source tree and of the sdist; pass that file as --reviewed FILE."
        )
    else:
        print_line(f"{quantity(len(table.annotations), 'reviewed place')} taken from {file.name}")
