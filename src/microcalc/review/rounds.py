"""Rounds of model-assisted annotation.

A review is a folder::

    reviewed.csv              every verdict so far
    images.csv                the images, and
    annotations.csv           the verdicts and earlier annotations: the folder is a table
    round-01/
        settings.json         the settings of the round
        places.csv            the places shown (do not edit)
        verdicts.csv          the table to fill in; it is written last and marks a finished round
        IMAGE-overview.png    the whole image with numbers
        IMAGE-1.png ...       contact sheets

A round that was interrupted is continued, unless its settings have changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, get_args

from microcalc.datasets.open import unusable_images
from microcalc.datasets.reviewed import CALCIUM, Reviewed, read_reviewed, write_reviewed
from microcalc.datasets.table import ImageRow, Table
from microcalc.domain import REGION, Kind
from microcalc.errors import InputError, MicrocalcError, OutputError, TableError, WorkerDiedError
from microcalc.execution.executor import SERIAL, Executor, threads_of
from microcalc.execution.progress import track
from microcalc.images.open import unforeseen
from microcalc.models.model import models_of, wherever
from microcalc.review.proposals import RoundSettings, propose
from microcalc.review.table import check_review_table, update_review_table, write_review_table
from microcalc.review.verdicts import Place, merge, read_filled, read_places, write_places
from microcalc.storage.write import write_text
from microcalc.wording import listed, quantity

_LOG = logging.getLogger("microcalc.review")

REVIEWED: Final = "reviewed.csv"
_VERDICTS, _PLACES, _SETTINGS = "verdicts.csv", "places.csv", "settings.json"


@dataclass(frozen=True, slots=True)
class Round:
    """A round of a review.

    Attributes
    ----------
    places
        The places shown.
    failed
        Name of each image that could not be rated, and the reason.
    """

    number: int
    folder: Path
    places: tuple[Place, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def table(self) -> Path:
        """The table to fill in."""
        return self.folder / _VERDICTS


@dataclass(frozen=True, slots=True)
class ImportedVerdicts:
    """Summary of verdicts that were added to a review.

    Attributes
    ----------
    counts
        Number of new verdicts of each kind.
    new_calcium
        For each image with verdicts, the number of its places that are calcifications and were not known to be.
    changed
        Number of places whose earlier verdict was superseded.
    unjudged
        Number of places shown in any round that have no verdict yet.
    reviewed
        The table of all verdicts.
    """

    counts: Mapping[Kind, int]
    new_calcium: Mapping[str, int]
    changed: int
    unjudged: int
    reviewed: Path


def make_round(
    table: Table,
    out: Path,
    model: str | Path | None = None,
    *,
    places: int = 60,
    apart_mm: float = 0.5,
    judge: str = "",
    rated_by: str = "",
    executor: Executor = SERIAL,
) -> Round:
    """Rate every image, and write contact sheets and a table of the highest-rated places without a verdict.

    An image that cannot be read or rated is logged and skipped.

    Parameters
    ----------
    table
        The images; places annotated in it count as judged.
    out
        Folder of the review.
    model
        The model that rates the images, as of ``Models``.
    places
        Largest number of places per image.
    apart_mm
        Distance in mm within which a verdict applies to other places as well.
    judge
        Name of the reader, written into the table.
    rated_by
        Name and version of the model, for the sheets and the settings.
    executor
        Where the images are rated.

    Raises
    ------
    TableError
        ``reviewed.csv`` or the places of an unfinished round are malformed.
    InputError
        No image could be read, or none could be rated.
    OutputError
        The system refused to write.
    """
    check_review_table(out)
    reviewed = _reviewed_so_far(out)
    number = _next_number(out)
    folder = out / f"round-{number:02d}"
    settings = RoundSettings(number, places, apart_mm, rated_by, len(reviewed))
    images, failed = _identify(table.images)
    if failed and not images:
        raise InputError(_none_usable("read", failed))
    judged = {sha256: _judged_pixels(table, image, reviewed, sha256) for sha256, image in images.items()}
    rated, not_rated = _rate_images(images, judged, model, folder, settings, executor)
    failed += not_rated
    if failed and not rated:
        _remove_empty(folder)
        raise InputError(_none_usable("rated", failed))
    shown = _flat(rated)
    write_review_table(images, table.of_images(images.values()).annotations, reviewed, out)
    write_places(folder / _PLACES, shown)
    write_places(folder / _VERDICTS, shown, judge=judge)
    return Round(number, folder, read_places(folder / _PLACES), tuple(failed))


def _rate_images(
    images: Mapping[str, ImageRow],
    judged_px: Mapping[str, Sequence[tuple[float, float]]],
    model: str | Path | None,
    folder: Path,
    settings: RoundSettings,
    executor: Executor,
) -> tuple[dict[str, tuple[Place, ...]], list[tuple[str, str]]]:
    """Return the places proposed in each image, and the name and reason of each image that cannot be rated.

    The places are written image by image: a round that was interrupted continues where it stopped.
    """
    done = _places_done(folder, settings)
    todo = [(sha256, image, judged_px[sha256]) for sha256, image in images.items() if sha256 not in done]
    failed: dict[str, tuple[str, str]] = {}
    one = partial(_propose, model=wherever(model), threads=threads_of(executor), folder=folder, settings=settings)
    with closing(executor.run(one, todo)) as outcomes:
        for outcome in track(outcomes, "rating images", total=len(images), before=len(images) - len(todo)):
            (sha256, image, _), raised = outcome.item, outcome.error
            if raised is None or isinstance(raised, OutputError):
                done[sha256] = outcome.result()
                write_places(folder / _PLACES, _flat(done))
                continue
            if isinstance(raised, WorkerDiedError):
                raised = WorkerDiedError(f"{image.file.name}: {raised}")
            error = raised if isinstance(raised, MicrocalcError) else unforeseen(image.file, raised)
            _LOG.warning("%s", error)
            failed[sha256] = (image.image, str(error))
    rated = {sha256: done[sha256] for sha256 in images if sha256 in done}
    return rated, [failed[sha256] for sha256 in images if sha256 in failed]


def _propose(
    job: tuple[str, ImageRow, Sequence[tuple[float, float]]],
    *,
    model: str | Path | None,
    threads: int,
    folder: Path,
    settings: RoundSettings,
) -> tuple[Place, ...]:
    """Propose places of an image, with the SHA-256 of its file and its judged pixels; called in a worker."""
    sha256, image, judged_px = job
    return propose(image, sha256, judged_px, models_of(model, "pair", threads), folder, settings)


def _identify(images: Sequence[ImageRow]) -> tuple[dict[str, ImageRow], list[tuple[str, str]]]:
    """Return the images by the SHA-256 of their files, and the name and reason of each that cannot be used."""
    by_sha256: dict[str, ImageRow] = {}
    failed: list[tuple[str, str]] = []
    unusable = unusable_images(images)
    for image in images:
        try:
            if image.image in unusable:
                raise unusable[image.image]
            sha256 = sha256_of(image.file)
            if sha256 in by_sha256:
                same = by_sha256[sha256].image
                raise TableError(f"{image.file.name}: has the same content as {same}, expected each image once")
            by_sha256[sha256] = image
        except InputError as error:
            _LOG.warning("%s", error)
            failed.append((image.image, str(error)))
    return by_sha256, failed


def _none_usable(verb: str, failed: Sequence[tuple[str, str]]) -> str:
    return f"none of {quantity(len(failed), 'image')} could be {verb}: {listed([reason for _, reason in failed])}"


def import_verdicts(files: Sequence[Path], out: Path, *, judge: str = "") -> ImportedVerdicts:
    """Add the verdicts of filled-in tables to ``reviewed.csv``: all of them, or none if there is an error.

    If a place was judged more than once, the last verdict in the order of ``files`` counts.

    Parameters
    ----------
    judge
        Name of the reader, for lines without one.

    Raises
    ------
    TableError
        A file is malformed, or does not match the places shown.
    """
    shown = {p.key: p for file in sorted(out.glob(f"round-*/{_PLACES}")) for p in read_places(file)}
    if not shown:
        raise TableError(f"{out.name}: has no round yet, expected round-01/{_PLACES}")
    check_review_table(out)
    known = _reviewed_so_far(out)
    merged: tuple[Reviewed, ...] = known
    new: list[Reviewed] = []
    for file in files:
        verdicts = read_filled(file, shown, judge=judge)
        merged = merge(merged, verdicts)
        new.extend(verdicts)
    write_reviewed(out / REVIEWED, merged)
    update_review_table(merged, out)
    return _summary(shown, known, merged, new, out / REVIEWED)


def describe_round(made: Round) -> list[str]:
    """Return the lines that tell a reader what a round contains and what to do next."""
    images = len({place.sha256 for place in made.places})
    lines = [f"round {made.number}: {quantity(len(made.places), 'place')} in {quantity(images, 'image')}"]
    lines += [f"not rated: {why}" for _, why in made.failed]
    if made.places:
        lines.append(f"look at the sheets in {made.folder} and fill in {made.table}")
    return lines


def describe_import(imported: ImportedVerdicts) -> list[str]:
    """Return the lines that tell a reader which verdicts were added."""
    counts = ", ".join(f"{imported.counts[kind]} {kind}" for kind in get_args(Kind) if imported.counts.get(kind))
    lines = [f"{quantity(sum(imported.counts.values()), 'verdict')}: {counts or 'none'}"]
    lines += [f"{image}: {quantity(n, 'new place')} of calcium" for image, n in imported.new_calcium.items()]
    lines.append(f"{imported.changed} changed, {quantity(imported.unjudged, 'place')} shown so far without a verdict")
    lines.append(f"all verdicts are in {imported.reviewed}")
    return lines


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of the content of a file, in hexadecimal.

    Raises
    ------
    InputError
        The file is missing or cannot be read.
    """
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file.name}: {error.strerror}, expected an image file") from error


def _judged_pixels(
    table: Table, image: ImageRow, reviewed: Sequence[Reviewed], sha256: str
) -> list[tuple[float, float]]:
    in_rounds = [(r.row, r.column) for r in reviewed if r.sha256 == sha256]
    return in_rounds + [(a.row, a.column) for a in table.rows_of(image) if a.kind != REGION]


def _reviewed_so_far(out: Path) -> tuple[Reviewed, ...]:
    file = out / REVIEWED
    return read_reviewed(file) if file.exists() else ()


def _next_number(out: Path) -> int:
    finished = [int(f.parent.name.removeprefix("round-")) for f in out.glob(f"round-[0-9]*/{_VERDICTS}")]
    return max(finished, default=0) + 1


def _places_done(folder: Path, settings: RoundSettings) -> dict[str, tuple[Place, ...]]:
    """Return the places of an unfinished round with the same settings, by image; else empty the round."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(settings), indent=1) + "\n"
    file, places = folder / _SETTINGS, folder / _PLACES
    if file.exists() and file.read_bytes() == text.encode() and places.exists():
        done: dict[str, tuple[Place, ...]] = {}
        for place in read_places(places):
            done[place.sha256] = (*done.get(place.sha256, ()), place)
        return done
    places.unlink(missing_ok=True)
    write_text(file, text)
    return {}


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a round that shows nothing, and the folder of the review if it is then empty."""
    (folder / _SETTINGS).unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        folder.rmdir()
        folder.parent.rmdir()


def _flat(places: Mapping[str, Sequence[Place]]) -> list[Place]:
    return [place for of_image in places.values() for place in of_image]


def _summary(
    shown: Mapping[tuple[str, int, int], Place],
    known: Sequence[Reviewed],
    merged: Sequence[Reviewed],
    new: Sequence[Reviewed],
    file: Path,
) -> ImportedVerdicts:
    image_of = {p.sha256: p.image for p in shown.values()}
    calcium_before = {(r.sha256, r.row, r.column) for r in known if r.verdict in CALCIUM}
    new_calcium = {image_of[r.sha256]: 0 for r in new}
    for r in merged:
        if r.verdict in CALCIUM and (r.sha256, r.row, r.column) not in calcium_before:
            new_calcium[image_of[r.sha256]] += 1
    judged = {(r.sha256, r.row, r.column) for r in merged}
    before = {(r.sha256, r.row, r.column): r.superseded for r in known}
    return ImportedVerdicts(
        counts=Counter(r.verdict for r in new),
        new_calcium=new_calcium,
        changed=sum(before.get((r.sha256, r.row, r.column), "") != r.superseded for r in merged),
        unjudged=sum((p.sha256, p.row, p.column) not in judged for p in shown.values()),
        reviewed=file,
    )
