"""Rounds of model-assisted annotation.

A review is a folder::

    reviewed.csv              every verdict taken back so far
    round-01/
        settings.json         what the round was made with
        places.csv            what was shown (leave it alone)
        verdicts.csv          the table to fill in; written last, so it marks a finished round
        IMAGE-overview.png    the whole view with numbers
        IMAGE-1.png ...       contact sheets

A round that was stopped goes on where it was, unless its settings have changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microcalc.datasets.reviewed import CALCIUM, Reviewed, read_reviewed, write_reviewed
from microcalc.datasets.table import ImageRow, Table
from microcalc.display.contact_sheets import LAYOUT, draw_overview, draw_sheet
from microcalc.domain import Candidates, Kind, Mammogram
from microcalc.errors import InputError, OutputError, TableError
from microcalc.geometry import Points
from microcalc.images.open import unforeseen
from microcalc.review.verdicts import Place, merge, read_filled, read_places, write_places
from microcalc.storage.write import write_text, writing

Rate = Callable[[ImageRow], tuple[Mammogram, Candidates]]
"""Reads an image and rates it; candidates highest likelihood first."""

REVIEWED: Final = "reviewed.csv"
_MOST_BYTES: Final = 100
_VERDICTS, _PLACES, _SETTINGS = "verdicts.csv", "places.csv", "settings.json"


@dataclass(frozen=True, slots=True)
class Round:
    """A round that was made: its folder, the places shown, and the images that failed."""

    number: int
    folder: Path
    places: tuple[Place, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def table(self) -> Path:
        """The table to fill in."""
        return self.folder / _VERDICTS


@dataclass(frozen=True, slots=True)
class Taken:
    """Verdicts that were taken back.

    Attributes
    ----------
    verdicts
        How many of each.
    new_calcium
        Per image with verdicts, how many of its places turned out to be calcium that were not before.
    changed
        Places whose earlier verdict was superseded.
    unjudged
        Places shown so far, in any round, that have no verdict yet.
    reviewed
        The table that now holds all verdicts.
    """

    verdicts: Mapping[Kind, int]
    new_calcium: Mapping[str, int]
    changed: int
    unjudged: int
    reviewed: Path


@dataclass(frozen=True, slots=True)
class _Settings:
    """What a round is made with; an unfinished round made with anything else starts afresh."""

    round: int
    places: int
    apart_mm: float
    rated_by: str
    judged: int


def make_round(
    table: Table,
    out: Path,
    rate: Rate,
    *,
    places: int = 60,
    apart_mm: float = 0.5,
    judge: str = "",
    rated_by: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Round:
    """Rate every image and lay out its highest-rated places that nobody has judged.

    Parameters
    ----------
    table
        The images; places annotated in it count as judged.
    out
        The review's folder.
    rate
        Reads and rates one image.
    places
        At most so many places per image.
    apart_mm
        A verdict stands for everything nearer than this.
    judge
        Fills the judge's column.
    rated_by
        The model's name and version, for the sheets and the settings.
    progress
        Given one line per image.

    Raises
    ------
    TableError
        ``reviewed.csv`` or an unfinished round's places break their format.
    InputError
        Not one image could be rated.
    OutputError
        The system refused to write.
    """
    reviewed = _reviewed_so_far(out)
    number = _next_number(out)
    folder = out / f"round-{number:02d}"
    settings = _Settings(number, places, apart_mm, rated_by, len(reviewed))
    done = _places_done(folder, settings)
    failed: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    for n, image in enumerate(table.images, 1):
        try:
            sha256 = sha256_of(image.file)
            if sha256 in seen:
                raise TableError(f"{image.file.name}: the same content as {seen[sha256]}, expected each image once")
            if sha256 not in done:
                judged_px = _judged_pixels(table, image, reviewed, sha256)
                done[sha256] = _propose(image, sha256, judged_px, rate, folder, settings)
                write_places(folder / _PLACES, _flat(done))
        except OutputError:
            raise
        except Exception as raised:
            error = raised if isinstance(raised, InputError) else unforeseen(image.file, raised)
            failed.append((image.image, str(error)))
            progress(f"{n}/{len(table.images)} {error}")
        else:
            seen[sha256] = image.image
            progress(f"{n}/{len(table.images)} {image.image}: {len(done[sha256])} places")
    if failed and not seen:
        _take_away(folder)
        raise InputError(f"none of {len(failed)} images could be rated; the first: {failed[0][1]}")
    shown = tuple(_flat({sha256: done[sha256] for sha256 in seen}))
    write_places(folder / _PLACES, shown)
    write_places(folder / _VERDICTS, shown, judge=judge)
    return Round(number, folder, read_places(folder / _PLACES), tuple(failed))


def take(files: Sequence[Path], out: Path, *, judge: str = "") -> Taken:
    """Take filled-in tables back into ``reviewed.csv``: all of them, or none on an error.

    Of a place judged more than once the later verdict wins, in the order of ``files``.

    Raises
    ------
    TableError
        A file breaks its format, or does not fit what was shown.
    """
    shown = {p.key: p for file in sorted(out.glob(f"round-*/{_PLACES}")) for p in read_places(file)}
    if not shown:
        raise TableError(f"{out.name}: no round to take verdicts back to, expected round-01/{_PLACES}")
    known = _reviewed_so_far(out)
    merged: tuple[Reviewed, ...] = known
    new: list[Reviewed] = []
    for file in files:
        verdicts = read_filled(file, shown, judge=judge)
        merged = merge(merged, verdicts)
        new.extend(verdicts)
    write_reviewed(out / REVIEWED, merged)
    return _summary(shown, known, merged, new, out / REVIEWED)


def describe_round(made: Round) -> list[str]:
    """What a person reads when a round has been made, line by line."""
    images = len({place.sha256 for place in made.places})
    lines = [f"round {made.number}: {len(made.places)} places in {images} images"]
    lines += [f"not rated: {why}" for _, why in made.failed]
    if made.places:
        lines.append(f"look at the sheets in {made.folder} and fill in {made.table}")
    return lines


def describe_taken(taken: Taken) -> list[str]:
    """What a person reads when verdicts have been taken back, line by line."""
    counts = ", ".join(f"{taken.verdicts[kind]} {kind}" for kind in get_args(Kind) if taken.verdicts.get(kind))
    lines = [f"{sum(taken.verdicts.values())} verdicts: {counts or 'none'}"]
    lines += [f"{image}: {n} new places of calcium" for image, n in taken.new_calcium.items()]
    lines.append(f"{taken.changed} changed, {taken.unjudged} places shown so far have no verdict")
    lines.append(f"all verdicts are in {taken.reviewed}")
    return lines


def new_places(candidates: Candidates, judged: Points, *, n: int, apart_mm: float) -> NDArray[np.int64]:
    """Indices of the ``n`` highest-rated candidates that no verdict stands for.

    Parameters
    ----------
    candidates
        Of one image, in any order.
    judged
        (k, 2) positions in mm that are judged already.
    apart_mm
        A candidate nearer than this to a judged place, or to one chosen before it, is
        left out: that place's verdict stands for it.

    Returns
    -------
    (m,) indices into ``candidates``, m <= n, highest likelihood first.
    """
    taken = [np.asarray(point, dtype=np.float64) for point in judged.reshape(-1, 2)]
    chosen: list[int] = []
    for index in np.argsort(-candidates.likelihood, kind="stable"):
        if len(chosen) == n:
            break
        centre = candidates.centres[index]
        if not taken or float(np.min(np.linalg.norm(np.asarray(taken) - centre, axis=1))) >= apart_mm:
            chosen.append(int(index))
            taken.append(centre)
    return np.array(chosen, dtype=np.int64)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

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
    return in_rounds + [(a.row, a.column) for a in table.rows_of(image)]


def _propose(
    image: ImageRow,
    sha256: str,
    judged_px: Sequence[tuple[float, float]],
    rate: Rate,
    folder: Path,
    settings: _Settings,
) -> tuple[Place, ...]:
    mammogram, candidates = rate(image)
    judged = mammogram.grid.to_mm(np.array(judged_px, dtype=np.float64))
    chosen = new_places(candidates, judged, n=settings.places, apart_mm=settings.apart_mm)
    last = np.array(mammogram.pixels.shape) - 0.5  # the last pixel searched may reach beyond the image's edge
    centres = mammogram.grid.to_pixels(candidates.centres[chosen]).clip(-0.5, last).round(3)
    shown = tuple(
        Place(
            image.image, image.file.name, sha256, number, float(row), float(column), float(likelihood), settings.round
        )
        for number, ((row, column), likelihood) in enumerate(
            zip(centres, candidates.likelihood[chosen], strict=True), 1
        )
    )
    _draw(mammogram, shown, folder / _file_stem(image.image))
    return shown


def _draw(mammogram: Mammogram, shown: Sequence[Place], stem: Path) -> None:
    for first in range(0, len(shown), LAYOUT.per_sheet):
        part = shown[first : first + LAYOUT.per_sheet]
        sheet = draw_sheet(
            mammogram,
            [(p.row, p.column) for p in part],
            [f"{p.number}  ({p.likelihood:.3g})" for p in part],
            header=f"{_header(mammogram, part[0])}   places {part[0].number}-{part[-1].number} of {len(shown)}",
        )
        _save(sheet, stem.with_name(f"{stem.name}-{first // LAYOUT.per_sheet + 1}.png"))
    if shown:
        overview = draw_overview(
            mammogram, [(p.row, p.column) for p in shown], [p.number for p in shown],
            header=_header(mammogram, shown[0]),
        )  # fmt: skip
        _save(overview, stem.with_name(f"{stem.name}-overview.png"))


def _save(picture: Image.Image, path: Path) -> None:
    with writing(path) as temporary:
        picture.save(temporary)


def _header(mammogram: Mammogram, place: Place) -> str:
    row_mm, column_mm = mammogram.spacing_mm
    spacing = f"{row_mm:.4g} mm" if row_mm == column_mm else f"{row_mm:.4g} x {column_mm:.4g} mm"
    return f"{place.image}   round {place.round}   {spacing}"


def _file_stem(image: str) -> str:
    """The image's name as a file name that every file system takes; told apart by a hash where that changes it."""
    safe = re.sub(r"[^\w.-]", "_", image).encode()[-_MOST_BYTES:].decode(errors="ignore")
    return safe if safe == image else f"{safe}-{hashlib.sha256(image.encode()).hexdigest()[:6]}"


def _reviewed_so_far(out: Path) -> tuple[Reviewed, ...]:
    file = out / REVIEWED
    return read_reviewed(file) if file.exists() else ()


def _next_number(out: Path) -> int:
    finished = [int(f.parent.name.removeprefix("round-")) for f in out.glob(f"round-[0-9]*/{_VERDICTS}")]
    return max(finished, default=0) + 1


def _places_done(folder: Path, settings: _Settings) -> dict[str, tuple[Place, ...]]:
    """Places of an unfinished round made with the same settings, by image; else a fresh start."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(settings), indent=1) + "\n"
    file, places = folder / _SETTINGS, folder / _PLACES
    if file.exists() and file.read_text(encoding="utf-8") == text and places.exists():
        done: dict[str, tuple[Place, ...]] = {}
        for place in read_places(places):
            done[place.sha256] = (*done.get(place.sha256, ()), place)
        return done
    places.unlink(missing_ok=True)
    write_text(file, text)
    return {}


def _take_away(folder: Path) -> None:
    """Remove the folder of a round that shows nothing, and the review's if that is all it holds."""
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
) -> Taken:
    image_of = {p.sha256: p.image for p in shown.values()}
    calcium_before = {(r.sha256, r.row, r.column) for r in known if r.verdict in CALCIUM}
    new_calcium = {image_of[r.sha256]: 0 for r in new}
    for r in merged:
        if r.verdict in CALCIUM and (r.sha256, r.row, r.column) not in calcium_before:
            new_calcium[image_of[r.sha256]] += 1
    judged = {(r.sha256, r.row, r.column) for r in merged}
    before = {(r.sha256, r.row, r.column): r.superseded for r in known}
    return Taken(
        verdicts=Counter(r.verdict for r in new),
        new_calcium=new_calcium,
        changed=sum(before.get((r.sha256, r.row, r.column), "") != r.superseded for r in merged),
        unjudged=sum((p.sha256, p.row, p.column) not in judged for p in shown.values()),
        reviewed=file,
    )
