"""Tables of places that a reader fills in with verdicts.

``verdicts.csv`` of a round has one line for each place shown: ``image``, ``file``, ``sha256``, ``number`` (on the
sheets of the image), ``row``, ``column`` (pixel centres of the original image, 0-based), ``likelihood``, ``round``,
and the two columns to fill in: ``verdict`` and ``judge``. A line with an empty verdict is not judged yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from microcalc.datasets.lines import Line, number_in, read_lines, write_lines
from microcalc.datasets.reviewed import Reviewed
from microcalc.domain import PLACE_KINDS, Kind
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
"""The letter of each verdict; more specific kinds are accepted as words."""

COLUMNS: Final = (
    "image", "file", "sha256", "number", "row", "column", "likelihood", "round", "verdict", "judge",
)  # fmt: skip
_MOVED_PX: Final = 0.01  # positions are written with three decimals


@dataclass(frozen=True, slots=True)
class Place:
    """A place that was shown to a reader.

    Attributes
    ----------
    number
        Number on the sheets of the image.
    row, column
        Position in pixels of the original image.
    """

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
        """Identify the place by the content of the image, the round and the number."""
        return (self.sha256, self.round, self.number)


def parse_verdict(text: str) -> Kind:
    """Return the verdict of a word (with spaces, hyphens or underscores) or of its letter.

    Raises
    ------
    ValueError
        The text is not a verdict.
    """
    word = "_".join(text.lower().replace("_", " ").replace("-", " ").split())
    if word in LETTERS:
        return LETTERS[word]
    for kind in PLACE_KINDS:
        if word == kind:
            return kind
    raise ValueError(text)


def write_places(path: Path, places: Iterable[Place], *, judge: str = "") -> None:
    """Write a table to fill in, whole or not at all; ``judge`` is written into every line."""
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
    """Return the places of a round as they were shown, without verdicts.

    Raises
    ------
    TableError
        The file or a column is missing, or a value is not allowed.
    """
    return tuple(_place(line, f"{path.name} line {n}") for n, line in read_lines(path, required=COLUMNS[:8]))


def read_filled(path: Path, shown: Mapping[tuple[str, int, int], Place], *, judge: str = "") -> list[Reviewed]:
    """Read the verdicts of a filled-in table and check them against the places shown.

    Parameters
    ----------
    path
        The filled-in table; lines may be missing, and in any order.
    shown
        The places shown, by their ``key``.
    judge
        Name of the reader, for lines without one.

    Raises
    ------
    TableError
        A verdict is unknown or has no judge, a place was not shown, has moved or is judged twice; the message names the
        line.
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
                f"{where}: place {place.number} of {place.image} is judged on line {line_of[place.key]} already, "
                "expected once"
            )
        line_of[place.key] = n
        reviewed.append(_judged(place, line, line.get("judge") or judge, where))
    return reviewed


def merge(known: Sequence[Reviewed], new: Sequence[Reviewed]) -> tuple[Reviewed, ...]:
    """Return known and new verdicts together; a new verdict supersedes the known one of its place and records it.

    Adding the same verdicts a second time changes nothing.
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
            "was not shown, expected a line of the verdicts.csv of a round"
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
        raise TableError(f"{where}: judge is empty, expected the name of the reader (in the table, or with --judge)")
    return Reviewed(place.file, place.sha256, place.row, place.column, verdict, judge, place.round)
