"""Tables that a person fills in, and taking them back.

``verdicts.csv`` of a round has one line per place shown: ``image``, ``file``,
``sha256``, ``number`` (on the image's sheets), ``row``, ``column`` (pixel centres of
the original image, 0-based), ``likelihood``, ``round``, and the two columns to fill
in: ``verdict`` and ``judge``. A line with an empty verdict is not judged yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

from microcalc.datasets.lines import Line, number_in, read_lines, write_lines
from microcalc.datasets.reviewed import Reviewed
from microcalc.domain import Kind
from microcalc.errors import TableError

LETTERS: Final[Mapping[str, Kind]] = {
    "m": "microcalcification",
    "c": "coarse",
    "v": "vascular",
    "r": "rim_or_skin",
    "o": "other_calcium",
    "n": "no_calcium",
    "u": "unsure",
}
"""The short form of each verdict that a reader is asked for; the finer kinds are taken as words."""

COLUMNS: Final = (
    "image", "file", "sha256", "number", "row", "column", "likelihood", "round", "verdict", "judge",
)  # fmt: skip
_MOVED_PX: Final = 0.01  # positions are written with three decimals


@dataclass(frozen=True, slots=True)
class Place:
    """A place that was shown: number on the image's sheets, position in pixels."""

    image: str
    file: str
    sha256: str
    number: int
    row: float
    column: float
    likelihood: float
    round: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What identifies a place shown: the image's content, the round, the number."""
        return (self.sha256, self.round, self.number)


def parse_verdict(text: str) -> Kind:
    """Turn what a person wrote into a verdict: the word, with spaces or not, or its letter.

    Raises
    ------
    ValueError
        It is none of them.
    """
    word = "_".join(text.lower().replace("_", " ").replace("-", " ").split())
    if word in LETTERS:
        return LETTERS[word]
    for kind in get_args(Kind):
        if word == kind:
            return kind  # type: ignore[no-any-return]
    raise ValueError(text)


def write_places(path: Path, places: Iterable[Place], *, judge: str = "") -> None:
    """Write a table to fill in, whole or not at all; ``judge`` fills its column."""
    write_lines(
        path,
        COLUMNS,
        [
            (
                p.image, p.file, p.sha256, str(p.number), f"{p.row:.3f}", f"{p.column:.3f}",
                f"{p.likelihood:.6g}", str(p.round), "", judge,
            )
            for p in places
        ],
    )  # fmt: skip


def read_places(path: Path) -> tuple[Place, ...]:
    """The places of a round as they were shown; whatever verdicts stand there are not read.

    Raises
    ------
    TableError
        The file or a column is missing, or a line has a value that is not allowed.
    """
    return tuple(_place(line, f"{path.name} line {n}") for n, line in read_lines(path, required=COLUMNS[:8]))


def read_filled(path: Path, shown: Mapping[tuple[str, int, int], Place], *, judge: str = "") -> list[Reviewed]:
    """Read a filled-in table and hold it against what was shown.

    Parameters
    ----------
    path
        The filled-in table; lines may be missing and stand in any order.
    shown
        The places that were shown, by their ``key``.
    judge
        Who judged, for lines that do not say.

    Raises
    ------
    TableError
        An unknown verdict, a place that was not shown or that has moved, a place
        judged twice, or a verdict without a judge; with the line's number.
    """
    reviewed: list[Reviewed] = []
    line_of: dict[tuple[str, int, int], int] = {}
    for n, line in read_lines(path, required=(*COLUMNS[2:6], "round", "verdict")):
        if not line["verdict"]:
            continue
        where = f"{path.name} line {n}"
        place = _shown_place(line, shown, where)
        if place.key in line_of:
            raise TableError(
                f"{where}: place {place.number} of {place.image} was judged on line {line_of[place.key]}, expected once"
            )
        line_of[place.key] = n
        reviewed.append(_judged(place, line, line.get("judge") or judge, where))
    return reviewed


def merge(known: Sequence[Reviewed], new: Sequence[Reviewed]) -> tuple[Reviewed, ...]:
    """Known and new verdicts together; of one place the later one wins and names the earlier.

    Taking the same verdicts a second time changes nothing.
    """
    merged = {(r.sha256, round(r.row, 3), round(r.column, 3)): r for r in known}
    for row in new:
        place = (row.sha256, round(row.row, 3), round(row.column, 3))
        before = merged.get(place)
        if before is None:
            merged[place] = row
        elif (before.verdict, before.judge) != (row.verdict, row.judge):
            earlier = f"{before.verdict} by {before.judge}"
            history = f"{before.superseded}; {earlier}" if before.superseded else earlier
            merged[place] = replace(row, superseded=history)
    return tuple(sorted(merged.values(), key=lambda r: (r.file, r.sha256, r.row, r.column)))


def _place(line: Line, where: str) -> Place:
    return Place(
        image=line["image"],
        file=line["file"],
        sha256=line["sha256"],
        number=int(number_in(line, "number", where)),
        row=number_in(line, "row", where),
        column=number_in(line, "column", where),
        likelihood=number_in(line, "likelihood", where),
        round=int(number_in(line, "round", where)),
    )


def _shown_place(line: Line, shown: Mapping[tuple[str, int, int], Place], where: str) -> Place:
    number, round_number = int(number_in(line, "number", where)), int(number_in(line, "round", where))
    place = shown.get((line["sha256"], round_number, number))
    if place is None:
        raise TableError(
            f"{where}: place {number} of {line.get('image') or line['sha256'][:12]} in round {round_number} "
            "was never shown, expected a line of a round's verdicts.csv"
        )
    row, column = number_in(line, "row", where), number_in(line, "column", where)
    if max(abs(row - place.row), abs(column - place.column)) > _MOVED_PX:
        raise TableError(
            f"{where}: place {number} of {place.image} is at row {row:g}, column {column:g}, "
            f"expected {place.row:g}, {place.column:g} as shown"
        )
    return place


def _judged(place: Place, line: Line, judge: str, where: str) -> Reviewed:
    try:
        verdict = parse_verdict(line["verdict"])
    except ValueError:
        expected = ", ".join(f"{kind} ({letter})" for letter, kind in LETTERS.items())
        raise TableError(f"{where}: verdict is {line['verdict']!r}, expected one of {expected}") from None
    if not judge:
        raise TableError(f"{where}: judge is empty, expected who judged (a column of the table, or --judge)")
    return Reviewed(place.file, place.sha256, place.row, place.column, verdict, judge, place.round)
