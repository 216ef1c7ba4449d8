"""Tables as lines of text: CSV in UTF-8 with a header line, checked value by value.

``where`` is what a message says of a line's place: the file's name and the line's number.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from microcalc.errors import TableError

Line = Mapping[str, str]
"""Column → text, without blanks around it."""
_Word = TypeVar("_Word", bound=str)


def read_lines(file: Path, *, required: Sequence[str]) -> list[tuple[int, Line]]:
    """The lines of a table, each with its number in the file; columns that are not required may be there.

    Raises
    ------
    TableError
        The file cannot be read as CSV, or a required column is missing.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            missing = [c for c in required if c not in (reader.fieldnames or ())]
            if missing:
                raise TableError(f"{file.name}: column {missing[0]!r} is missing, expected {', '.join(required)}")
            return [(n, {k: (v or "").strip() for k, v in line.items() if k}) for n, line in enumerate(reader, 2)]
    except OSError as error:
        raise TableError(f"{file.name}: {error.strerror}, expected a table (CSV)") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{file.name}: no CSV in UTF-8 ({type(error).__name__}), expected a table") from error


def write_lines(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, whole or not at all."""
    temporary = file.with_suffix(".csv.part")
    with temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(file)


def number_in(line: Line, column: str, where: str) -> float:
    """A column's value as a finite number.

    Raises
    ------
    TableError
        It is none.
    """
    text = line.get(column, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TableError(f"{where}: {column} is {text!r}, expected a number")
    return value


def word_in(line: Line, column: str, allowed: Sequence[_Word], where: str) -> _Word:
    """A column's value as one of some words.

    Raises
    ------
    TableError
        It is none of them.
    """
    text = line.get(column, "")
    for word in allowed:
        if word == text:
            return word
    raise TableError(f"{where}: {column} is {text!r}, expected one of {', '.join(repr(a) for a in allowed)}")
