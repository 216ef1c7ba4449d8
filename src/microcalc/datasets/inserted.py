"""Make a data set by inserting simulated microcalcifications, and benign calcium, into the images of another.

The annotations are exact and the background is real. Annotations of the source table, such as reviewed benign
calcifications, are kept.

What was made of one image of the table is written whole, with its lines of the new table in ``.made/NAME.json``. An
interrupted run continues where it stopped; an image whose source or settings have changed is made again.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import TypeAdapter

from microcalc.datasets.inserted_pixels import grey_slope, with_calcium, write_png
from microcalc.datasets.inserted_truth import annotation_of, annotations_of
from microcalc.datasets.open import open_row, refuse_images, unusable_images
from microcalc.datasets.table import AnnotationRow, ImageRow, Table, check_places, refuse_repeated
from microcalc.datasets.table_files import ANNOTATIONS, IMAGES, write_table
from microcalc.datasets.twins import TWIN, as_left_out, draw_left_out
from microcalc.domain import REGION, BoolImage, Mammogram
from microcalc.errors import InputError, WorkerDiedError
from microcalc.execution.executor import SERIAL, Executor
from microcalc.execution.progress import track
from microcalc.execution.shard import Shard
from microcalc.images.open import naming
from microcalc.normalise.breast import breast_mask
from microcalc.simulate.benign import PlacedBenign, draw_benign
from microcalc.simulate.insertion import Imaging, draw_imaging
from microcalc.simulate.placement import Insertion, PlacedCalcification, draw_calcifications
from microcalc.storage.key import code_version, file_sha256, key_of
from microcalc.storage.ownership import check_editable, output_folder
from microcalc.storage.write import saying_where, write_whole

_LOG = logging.getLogger(__name__)
COMMAND: Final = "insert"
_MADE: Final = ".made"
_TWIN, _BENIGN = 1, 2
"""Streams of random numbers of their own, so that the microcalcifications are the same with and without."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One image to make.

    Attributes
    ----------
    image, known
        The image that is inserted into, and its annotations.
    folder, name
        Folder and name of the new image.
    twin
        Whether its twin is made, too; see ``datasets.twins``.
    """

    image: ImageRow
    known: tuple[AnnotationRow, ...]
    folder: Path
    name: str
    insertion: Insertion
    seed: tuple[int, int, int]
    twin: bool


_Made = tuple[ImageRow, list[AnnotationRow]]
"""What the table says of a new image."""


# Nine parameters: each is an option of the command, or says where the work runs.
def insert_data_set(
    table: Table,
    out: Path,
    *,
    insertion: Insertion,
    others: Table | None = None,
    variants: int = 1,
    twins: bool = False,
    seed: int = 0,
    executor: Executor = SERIAL,
    shard: Shard | None = None,
) -> tuple[Table, tuple[InputError, ...]]:
    """Insert into every image of a table and write images (PNG) and table to ``out``.

    An image that cannot be used does not stop the insertion into the others.

    Parameters
    ----------
    others
        Images, with their annotations, that the new table also has, as they are.
    variants
        Number of copies of each image, each with different microcalcifications.
    twins
        Whether each new image is followed by its twin, which lacks half of the microcalcifications.
    seed
        The same seed gives the same bytes, wherever the work runs.
    executor
        Where the images are made.
    shard
        The part of the table's images that is used, by their names, while other calls may use the others. The table
        of the new images is left to the call without a shard.

    Returns
    -------
    table
        Table of the new images, and of ``others``; of a shard, of its new images alone.
    refused
        Errors of the images that cannot be used, in the order of the table, one per image.

    Raises
    ------
    InputError
        No image can be used, or ``out`` is the folder of an image or a folder that microcalc did not make.
    OutputError
        The system refused to write, or a table in the folder has been edited since it was made.
    """
    if any(image.file.resolve().parent == out.resolve() for image in table.images):
        raise InputError(f"{out.name}: holds images of the table, expected another folder for the new ones")
    if shard is not None:
        table = table.of_images(image for image in table.images if shard.has(image.image))
    with output_folder(out, COMMAND, is_shared=shard is not None):
        for name in (IMAGES, ANNOTATIONS):
            check_editable(out / name)
        refused = unusable_images(table.images)
        if len(refused) == len(table.images) and shard is None:
            refuse_images(tuple(refused.values()), of=len(refused))
        for error in refused.values():
            _LOG.warning("%s", error)
        usable = table.of_images(i for i in table.images if i.image not in refused)
        jobs = _jobs(usable, out, insertion, variants, seed, twins=twins)
        made, failed_later = _inserted(jobs, executor)
        refused |= failed_later
        failed = tuple(refused[i.image] for i in table.images if i.image in refused)
        if not made and shard is None:
            refuse_images(failed, of=len(table.images))
        rows = [image for job in jobs for image in made.get(job.name, ())]
        kept = Table(()) if others is None or shard is not None else others
        new = Table(
            (*(image for image, _ in rows), *kept.images),
            (*(a for _, annotations in rows for a in annotations), *kept.annotations),
        )
        refuse_repeated(new.images, "the new images and the others together")
        if shard is None:
            write_table(new, out)
    return new, failed


def _jobs(table: Table, out: Path, insertion: Insertion, variants: int, seed: int, *, twins: bool) -> list[_Job]:
    return [
        _Job(
            image,
            table.rows_of(image),
            out,
            f"{image.image}-{variant}" if variants > 1 else image.image,
            insertion,
            (seed, variant, int(hashlib.sha256(image.image.encode()).hexdigest()[:8], 16)),
            twins,
        )
        for image in table.images
        for variant in range(variants)
    ]


def _inserted(jobs: Sequence[_Job], executor: Executor) -> tuple[dict[str, list[_Made]], dict[str, InputError]]:
    """Return the new images by their names, and what was wrong with the images that cannot be used, by theirs."""
    made: dict[str, list[_Made]] = {}
    refused: dict[str, InputError] = {}
    with closing(executor.run(_insert_once, jobs)) as outcomes:
        for outcome in track(outcomes, "inserting microcalcifications", total=len(jobs)):
            image, error = outcome.item.image, outcome.error
            if isinstance(error, WorkerDiedError):
                error = InputError(f"{image.file.name}: {error}")
            if isinstance(error, InputError):
                if image.image not in refused:  # once for all variants
                    _LOG.warning("%s", error)
                refused[image.image] = error
            else:
                made[outcome.item.name] = outcome.result()
    return made, refused


@dataclass(frozen=True, slots=True)
class _Part:
    """What was made of a job: its key, and the lines of the new table; the files are beside the folder ``.made``."""

    key: str
    made: list[_Made]


_PART: Final = TypeAdapter(_Part)


def _insert_once(job: _Job) -> list[_Made]:
    """Return what was made of a job at an earlier start, or make it."""
    file = job.folder / _MADE / f"{_file_stem(job.name)}.json"
    with naming(job.image.file):
        source = file_sha256(job.image.file)
    stated = replace(job.image, file=Path(job.image.file.name), sha256=source)
    settings = repr((stated, job.known, job.name, job.insertion, job.seed, job.twin))
    key = key_of([settings, code_version(__name__)])
    with suppress(OSError, ValueError):
        part = _PART.validate_json(file.read_bytes())
        made = [(replace(row, file=job.folder / row.file.name), list(places)) for row, places in part.made]
        if part.key == key and all(row.file.is_file() for row, _ in made):
            return made
    made = _insert_one(job)
    with saying_where(file):
        file.parent.mkdir(exist_ok=True)
    named = [(replace(row, file=Path(row.file.name)), places) for row, places in made]
    write_whole(file, _PART.dump_json(_Part(key, named)))
    return made


def _insert_one(job: _Job) -> list[_Made]:
    """Write the new image of a job, and its twin where one is asked for and differs from it."""
    rng = np.random.default_rng(job.seed)
    mammogram = open_row(job.image)
    rows, columns = mammogram.pixels.shape
    check_places(Table((replace(job.image, rows=rows, columns=columns),), job.known))
    with naming(job.image.file):
        tissue = breast_mask(
            mammogram.pixels,
            spacing_mm=float(np.mean(mammogram.spacing_mm)),
            intent=mammogram.intent,
            padding=mammogram.padding,
        )
    imaging = draw_imaging(rng, mammogram)
    placed, benign = _drawn(rng, job, mammogram, tissue, imaging)
    truth = [annotation_of(p, mammogram.grid, imaging) for p in placed]
    beside = [a for body in benign for a in annotations_of(body, mammogram, imaging)]
    changed = partial(
        with_calcium, job.image.file, mammogram, benign=benign, imaging=imaging,
        slope=grey_slope(mammogram, tissue, imaging), sharpening=float(rng.uniform(0, 0.5)),
    )  # fmt: skip
    full = changed(placed)
    made = [_written(job, job.name, full, [*truth, *beside])]
    if job.twin:
        left_out = draw_left_out([p.cluster for p in placed], np.random.default_rng((*job.seed, _TWIN)))
        twin = changed([p for i, p in enumerate(placed) if i not in left_out])
        if not np.array_equal(twin.pixels, full.pixels):  # with nothing left out it would be the same image twice
            its = [as_left_out(a) if i in left_out else a for i, a in enumerate(truth)]
            made.append(_written(job, f"{job.name}-{TWIN}", twin, [*its, *beside], tag=TWIN))
    return made


def _drawn(
    rng: np.random.Generator, job: _Job, mammogram: Mammogram, tissue: BoolImage, imaging: Imaging
) -> tuple[list[PlacedCalcification], list[PlacedBenign]]:
    """Return the microcalcifications that are inserted, and the benign calcium."""
    taken = [(a.row, a.column) for a in job.known if a.kind not in ("no_calcium", REGION)]
    taken_mm = mammogram.grid.to_mm(np.array(taken))
    regions_mm = [mammogram.grid.to_mm(np.array(a.outline)) for a in job.known if a.kind == REGION]
    placed = draw_calcifications(
        rng, mammogram, tissue, job.insertion, imaging=imaging, taken_mm=taken_mm, regions_mm=regions_mm
    )
    benign = draw_benign(
        np.random.default_rng((*job.seed, _BENIGN)),
        mammogram,
        tissue,
        factor=job.insertion.benign,
        taken_mm=np.concatenate([taken_mm, np.array([p.centre_mm for p in placed]).reshape(-1, 2)]),
        regions_mm=regions_mm,
    )
    return placed, benign


def _written(job: _Job, name: str, mammogram: Mammogram, truth: Sequence[AnnotationRow], *, tag: str = "") -> _Made:
    """Write a new image, and return what the table says of it: the truth, and what was known of the source.

    What was known has no ``id`` any more: copied into several images, it would be there several times.
    """
    file = job.folder / f"{_file_stem(name)}.png"
    write_png(file, mammogram)
    row = replace(
        job.image,
        image=name,
        patient=job.image.patient_or_image,
        file=file,
        sha256=file_sha256(file),
        sop_instance_uid="",  # the source's, which the picture no longer is
        rows=mammogram.pixels.shape[0],
        columns=mammogram.pixels.shape[1],
        tags=f"{job.image.tags} {tag}".strip(),
    )
    return row, [replace(a, image=name, id="") for a in (*truth, *job.known)]


def _file_stem(name: str) -> str:
    """Return the name of an image as that of its file; one with a path in it gets a hash in the path's place."""
    plain = re.sub(r"[/\\\0]", "_", name)
    if plain == name and not name.startswith("."):
        return name
    return f"{plain.lstrip('.')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
