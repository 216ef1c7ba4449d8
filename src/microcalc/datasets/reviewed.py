"""Read and write positions that a person has judged, one line each, in images identified by their content.

``reviewed.csv`` (UTF-8, comma, header line): ``file`` (name, for people), ``sha256``
(of the whole file: what identifies the image, so that a renamed file keeps its
verdicts and a changed one does not), ``row``, ``column`` (pixel centres of the
original image, 0-based), ``verdict`` (a ``Kind`` of a place), ``judge`` (who says so), and,
where they are known, ``round`` and ``superseded`` (earlier verdicts of this place,
oldest first, ``verdict by judge`` joined by ``; ``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from microcalc.datasets.lines import Line, number_in, read_lines, word_in, write_lines
from microcalc.domain import BENIGN_CALCIUM, PLACE_KINDS, Kind
from microcalc.errors import TableError

CALCIUM: Final[frozenset[Kind]] = frozenset(("microcalcification", *BENIGN_CALCIUM))
"""Verdicts for calcium of any kind; ``unsure`` is neither for nor against."""

_REQUIRED = ("file", "sha256", "row", "column", "verdict", "judge")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Hold one judged position; ``round`` is 0 where it was not shown in a round."""

    file: str
    sha256: str
    row: float
    column: float
    verdict: Kind
    judge: str
    round: int = 0
    superseded: str = ""


def read_reviewed(path: Path) -> tuple[Reviewed, ...]:
    """Read ``reviewed.csv``.

    Raises
    ------
    TableError
        The file or a column is missing, or a line has a value that is not allowed.
    """
    return tuple(_row(line, f"{path.name} line {n}") for n, line in read_lines(path, required=_REQUIRED))


def write_reviewed(path: Path, rows: Iterable[Reviewed]) -> None:
    """Write ``reviewed.csv``, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, [f.name for f in fields(Reviewed)], [_texts(row) for row in rows])


def _texts(row: Reviewed) -> Sequence[str]:
    return (
        row.file, row.sha256, f"{row.row:.3f}", f"{row.column:.3f}",
        row.verdict, row.judge, str(row.round), row.superseded,
    )  # fmt: skip


def _row(line: Line, where: str) -> Reviewed:
    for column in ("sha256", "judge"):
        if not line[column]:
            raise TableError(f"{where}: {column} is empty, expected a value")
    return Reviewed(
        file=line["file"],
        sha256=line["sha256"].lower(),
        row=number_in(line, "row", where),
        column=number_in(line, "column", where),
        verdict=word_in(line, "verdict", PLACE_KINDS, where),
        judge=line["judge"],
        round=int(number_in(line, "round", where)) if line.get("round") else 0,
        superseded=line.get("superseded", ""),
    )
