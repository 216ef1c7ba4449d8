"""Read and write tables as lines of text: CSV in UTF-8 with a header line, checked value by value.

What is unambiguous is read: quoted cells, blanks around cells, blank lines, any line ends, a byte order
mark, a column without a name (R's row names). Anything else that spreadsheets write is refused with a word
on what was found. ``where`` is what a message says of a line's place: the file's name and the line's number.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

from microcalc.errors import TableError
from microcalc.storage.write import write_whole

Line = Mapping[str, str]
"""Column → text, without blanks around it."""
_Word = TypeVar("_Word", bound=str)

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
_NOT_KNOWN: Final = {"na", "n/a", "#n/a", "nan", "null", "none", "<na>"}
_ALIKE: Final = 0.8
"""How much alike (difflib) an unknown column and a known, missing one are for the former to be a slip."""


def read_lines(
    file: Path, *, required: Sequence[str], optional: Sequence[str] = (), where: str = "", separator: str = ","
) -> list[tuple[int, Line]]:
    """Return the lines of a table, each with its number in the file.

    Parameters
    ----------
    file
        CSV in UTF-8.
    required, optional
        Columns that have to be there, and that may be. Others are passed over, unless they look like one of
        these that is missing.
    where
        What messages call the file; by default its name.
    separator
        What separates the cells of files that other programs wrote.

    Raises
    ------
    TableError
        The file is no such table: not there, not in UTF-8, separated by anything else, with a required
        column missing, misspelt or there twice, or with a line of more or fewer cells than the header.
    """
    where = where or file.name
    lines = _cells(_text(file, where), where, separator)
    if not lines:
        raise TableError(f"{where}: empty, expected a header line with {', '.join(required)}")
    (_, header), *rest = lines
    _check_header(header, required, optional, where)
    for number, cells in rest:
        if len(cells) != len(header):
            raise TableError(
                f"{where} line {number}: {len(cells)} cells, expected {len(header)} as in the header"
                f"{' (decimal commas?)' if len(cells) > len(header) else ''}"
            )
    return [(number, {k: v for k, v in zip(header, cells, strict=True) if k}) for number, cells in rest]


def table_bytes(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return a table as it is written: CSV in UTF-8, lines that end in a line feed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def write_lines(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, whole or not at all; raises ``OutputError`` where the system refuses."""
    write_whole(file, table_bytes(columns, rows))


def number_in(line: Line, column: str, where: str) -> float:
    """Return a column's value as a finite number.

    Raises
    ------
    TableError
        It is none: empty, a word such as NA, with a decimal comma, beyond what a double holds.
    """
    return number_of(line.get(column, ""), column, where)


def number_of(text: str, column: str, where: str) -> float:
    """Return a text as a finite number; see ``number_in``."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        point = " with a decimal point" if "," in text else ""
        raise TableError(f"{where}: {column} is {text[:40]!r}, expected a number{point}")
    return value


def word_in(line: Line, column: str, allowed: Sequence[_Word], where: str) -> _Word:
    """Return a column's value as one of some words.

    Raises
    ------
    TableError
        It is none of them.
    """
    text = line.get(column, "")
    for word in allowed:
        if word == text:
            return word
    raise TableError(f"{where}: {column} is {text[:40]!r}, expected one of {', '.join(repr(a) for a in allowed)}")


def text_in(line: Line, column: str, where: str) -> str:
    """Return a column's text, empty where nothing is known.

    Raises
    ------
    TableError
        It is a word that programs write for nothing, such as R's NA: as a name it would be one of its own.
    """
    text = line.get(column, "")
    if text.casefold() in _NOT_KNOWN:
        raise TableError(f"{where}: {column} is {text!r}, expected an empty cell where nothing is known")
    return text


def _text(file: Path, where: str) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TableError(f"{where}: {error.strerror}, expected a table (CSV)") from error
    for mark, name in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            raise TableError(f"{where}: text in {name}, expected a table (CSV) in UTF-8")
    if b"\0" in content:
        raise TableError(f"{where}: no text, or text in UTF-16, expected a table (CSV) in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TableError(f"{where} line {line}: text that is not in UTF-8, expected a table (CSV) in UTF-8") from error


def _cells(text: str, where: str, separator: str) -> list[tuple[int, list[str]]]:
    """Return the lines that are not blank, each with the number of its first line in the file."""
    _refuse_other_separators(text, where, separator)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    lines, first = [], 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((first, [cell.strip() for cell in cells]))
            first = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{where} line {first}: {error}, expected a table (CSV)") from error
    return lines


def _refuse_other_separators(text: str, where: str, expected: str) -> None:
    header = re.sub(r'"[^"]*"', "", next((line for line in text.splitlines() if line.strip()), ""))
    for separator, name in _SEPARATORS.items():
        if separator in header and expected not in header:
            raise TableError(
                f"{where}: separated by {name}, expected a table (CSV) separated by {_SEPARATORS[expected]}"
            )


def _check_header(header: Sequence[str], required: Sequence[str], optional: Sequence[str], where: str) -> None:
    for column, count in Counter(filter(None, header)).items():
        if count > 1:
            raise TableError(f"{where}: column {column!r} occurs {count} times, expected once")
    missing = [c for c in (*required, *optional) if c not in header]
    for column in (c for c in header if c and c not in (*required, *optional)):
        meant = [c for c in missing if _plain(c) == _plain(column)] or get_close_matches(
            _plain(column), missing, n=1, cutoff=_ALIKE
        )
        if meant:
            raise TableError(f"{where}: column {column[:40]!r}, expected {meant[0]!r}")
    absent = [c for c in required if c not in header]
    if absent:
        found = ", ".join(repr(c[:40]) for c in header[:12])
        raise TableError(f"{where}: column {absent[0]!r} is missing (found {found}), expected {', '.join(required)}")


def _plain(column: str) -> str:
    """Return the name of a column in its plain spelling, for comparison."""
    return re.sub(r"[\s\-.]+", "_", column.strip("'\"`").strip()).lower()
