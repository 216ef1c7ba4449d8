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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from microcalc.errors import TableError
from microcalc.storage.write import writing

Line = Mapping[str, str]
"""Column → text, without blanks around it."""
_Word = TypeVar("_Word", bound=str)

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NUMERALS: Final = re.compile(r"[0-9eE.+-]*")
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip
_HEAD_BYTES: Final = 65_536
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
    header, lines = open_lines(file, required=required, optional=optional, where=where, separator=separator)
    return [(number, {k: v for k, v in zip(header, cells, strict=True) if k}) for number, cells in lines]


def open_lines(
    file: Path, *, required: Sequence[str], optional: Sequence[str] = (), where: str = "", separator: str = ","
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Return the header of a table, and an iterator over its lines, which are read as they are asked for.

    Each line has as many cells as the header. Parameters and errors are those of ``read_lines``.
    """
    where = where or file.name
    lines = _cells(_texts(file, where), where, separator)
    first = next(lines, None)
    if first is None:
        of = f" with {', '.join(required)}" if required else ""
        raise TableError(f"{where}: empty, expected a header line{of}")
    header = first[1]
    check_header(header, required, optional, where)
    return header, _as_long_as(header, lines, where)


def _as_long_as(
    header: Sequence[str], lines: Iterable[tuple[int, list[str]]], where: str
) -> Iterator[tuple[int, list[str]]]:
    for number, cells in lines:
        if len(cells) != len(header):
            raise TableError(
                f"{where} line {number}: {len(cells)} cells, expected {len(header)} as in the header"
                f"{' (decimal commas?)' if len(cells) > len(header) else ''}"
            )
        yield number, cells


def write_cells(file: Path, *, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table as CSV in UTF-8, with lines that end in a line feed; rows are taken one by one."""
    with file.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_lines(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table, whole or not at all; raises ``OutputError`` where the system refuses."""
    with writing(file) as temporary:
        write_cells(temporary, columns=columns, rows=rows)


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
    if is_not_known(text):
        raise TableError(f"{where}: {column} is {text!r}, expected an empty cell where nothing is known")
    return text


def is_not_known(text: str) -> bool:
    """Return whether a text is a word that programs write for nothing; see ``text_in``."""
    return text.casefold() in _NOT_KNOWN


def outline_of(text: str, where: str) -> tuple[tuple[float, float], ...]:
    """Return the corners (row, column) of an outline, ``row column; row column; ...``.

    Raises
    ------
    TableError
        The text is no such outline.
    """
    try:
        pairs = [
            tuple(number_of(v, "outline", where) for v in pair.split()) for pair in text.split(";") if pair.strip()
        ]
        return tuple((row, column) for row, column in pairs)
    except (ValueError, TableError):
        raise TableError(f"{where}: outline is {text[:40]!r}, expected 'row column; row column; ...'") from None


def numbers_of(texts: Sequence[str]) -> NDArray[np.float64] | None:
    """Return texts as finite numbers, NaN where one is empty; None where ``number_of`` would refuse one."""
    if not _NUMERALS.fullmatch("".join(texts)):
        return None
    try:
        numbers = np.array([float(text) if text else math.nan for text in texts], dtype=np.float64)
    except ValueError:
        return None
    return None if np.isinf(numbers).any() else numbers


def _texts(file: Path, where: str) -> Iterator[str]:
    """Yield the text of a file line by line, each with its end."""
    try:
        with file.open("rb") as handle:
            head = handle.read(_HEAD_BYTES)
            for mark, name in _BYTE_ORDER_MARKS.items():
                if head.startswith(mark):
                    raise TableError(f"{where}: text in {name}, expected a table (CSV) in UTF-8")
            _refuse_binary(head, where)
            handle.seek(len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0)
            for number, line in enumerate(handle, 1):
                _refuse_binary(line, where)
                try:
                    text = line.decode()
                except UnicodeDecodeError as error:
                    raise TableError(
                        f"{where} line {number}: text that is not in UTF-8, expected a table (CSV) in UTF-8"
                    ) from error
                if "\r" in text[:-2]:
                    yield from io.StringIO(text, newline="")  # carriage returns alone end lines, too
                else:
                    yield text
    except OSError as error:
        raise TableError(f"{where}: {error.strerror}, expected a table (CSV)") from error


def _refuse_binary(content: bytes, where: str) -> None:
    if b"\0" in content:
        raise TableError(f"{where}: no text, or text in UTF-16, expected a table (CSV) in UTF-8")


def _cells(texts: Iterator[str], where: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not blank, each with the number of its first line in the file."""
    reader = csv.reader(_separated(texts, where, separator), delimiter=separator, skipinitialspace=True, strict=True)
    first = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield first, stripped
            first = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{where} line {first}: {error}, expected a table (CSV)") from error


def _separated(texts: Iterator[str], where: str, separator: str) -> Iterator[str]:
    """Yield the texts; refuse a first line that is separated by anything else."""
    for text in texts:
        if text.strip():
            _refuse_other_separators(text, where, separator)
            yield text
            break
        yield text
    yield from texts


def _refuse_other_separators(first: str, where: str, expected: str) -> None:
    header = re.sub(r'"[^"]*"', "", first)
    for separator, name in _SEPARATORS.items():
        if separator in header and expected not in header:
            raise TableError(
                f"{where}: separated by {name}, expected a table (CSV) separated by {_SEPARATORS[expected]}"
            )


def check_header(header: Sequence[str], required: Sequence[str], optional: Sequence[str], where: str) -> None:
    """Refuse a header with a required column missing, a column misspelt, or a column that is there twice.

    Raises
    ------
    TableError
        Names the column.
    """
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
