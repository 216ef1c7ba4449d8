"""Read annotations into columns, some thousand lines at once.

What is usual is checked for all lines of a chunk at once. Where anything is not, the lines are read one by one, so that
an error is worded alike for one line and for 10^8, in CSV and in Parquet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.columns import BLOCK, NUMBERS, TEXTS, AnnotationColumns, Words
from microcalc.datasets.lines import Line, is_not_known, numbers_of
from microcalc.datasets.table import AnnotationRow
from microcalc.domain import Kind

_NEVER_NA: Final = ("cluster", "id", "when")
"""Texts in which a word such as NA is refused; see ``lines.text_in``."""
_KINDS: Final = frozenset(get_args(Kind))


@dataclass(frozen=True, eq=False, slots=True)
class Chunk:
    """Some lines of a table, column by column.

    Attributes
    ----------
    lines
        Their numbers in the file.
    texts
        Columns of texts without blanks around them.
    numbers
        Columns of numbers, NaN where a cell is empty; None where a cell is no finite number.
    line
        Function that returns the cells of the n-th of these lines as texts.
    """

    lines: Sequence[int] | NDArray[np.integer[Any]]
    texts: Mapping[str, Words]
    numbers: Mapping[str, NDArray[np.float64] | None]
    line: Callable[[int], Line]


def chunks_of_lines(header: Sequence[str], lines: Iterator[tuple[int, list[str]]]) -> Iterator[Chunk]:
    """Yield the lines of a CSV file, as ``lines.open_lines`` returns them, in chunks."""
    while True:
        numbers: list[int] = []
        flat: list[str] = []  # in place of a list per line, which the garbage collector would look at again and again
        for number, cells in islice(lines, BLOCK):
            numbers.append(number)
            flat += cells
        if not numbers:
            return
        columns = {name: flat[n :: len(header)] for n, name in enumerate(header)}
        yield Chunk(
            numbers,
            {name: words_of(columns[name]) for name in TEXTS if name in columns},
            {name: numbers_of(columns[name]) for name in NUMBERS if name in columns},
            partial(_line_of, columns),
        )


def _line_of(columns: Mapping[str, Sequence[str]], n: int) -> Line:
    return {name: column[n] for name, column in columns.items() if name}


def words_of(texts: Sequence[str]) -> Words:
    """Return a column of texts with each distinct one once."""
    code_of = {text: code for code, text in enumerate(dict.fromkeys(texts))}
    if len(code_of) == 1:
        return Words(list(code_of), np.broadcast_to(np.uint8(0), (len(texts),)))
    return Words(list(code_of), np.array([code_of[text] for text in texts], dtype=np.uint32))


def read_columns(
    chunks: Iterable[Chunk],
    images: Collection[str],
    *,
    row_of: Callable[[Line, str], AnnotationRow],
    where: Callable[[int], str],
) -> AnnotationColumns:
    """Return the annotations of a table.

    Parameters
    ----------
    images
        Names of the images of the table.
    row_of
        Function that reads one line and checks it; its second argument is what messages call the line's place.
    where
        Function that returns this, by the line's number.

    Raises
    ------
    TableError
        The first error of ``row_of``.
    """
    columns = _Columns()
    for chunk in chunks:
        if _is_usual(chunk, images):
            for n in _of_each_kind_and_outline(chunk):
                row_of(chunk.line(n), where(chunk.lines[n]))
            columns.add(chunk)
        else:
            rows = [row_of(chunk.line(n), where(chunk.lines[n])) for n in range(len(chunk.lines))]
            columns.add(_chunk_of_rows(chunk, rows))
    return columns.finished(where)


def _is_usual(chunk: Chunk, images: Collection[str]) -> bool:
    """Return whether all cells are those that any table may have; outlines are not looked at."""
    if any(_is_missing(chunk.numbers[name]) for name in ("row", "column")):
        return False
    measured = [chunk.numbers[name] for name in ("diameter_mm", "d_prime") if name in chunk.numbers]
    if any(numbers is None or (numbers < 0).any() for numbers in measured):
        return False
    if any(is_not_known(text) for name in _NEVER_NA if name in chunk.texts for text in chunk.texts[name].values):
        return False
    return all(image in images for image in chunk.texts["image"].values) and _KINDS.issuperset(
        chunk.texts["kind"].values
    )


def _is_missing(numbers: NDArray[np.float64] | None) -> bool:
    return numbers is None or bool(np.isnan(numbers).any())


def _of_each_kind_and_outline(chunk: Chunk) -> list[int]:
    """Return the first line of each kind with each outline, in the order of the lines."""
    kinds, outlines = chunk.texts["kind"], chunk.texts.get("outline")
    if outlines is None:
        return []
    pairs = kinds.codes.astype(np.int64) * len(outlines.values) + outlines.codes
    return sorted(np.unique(pairs, return_index=True)[1].tolist())


def _chunk_of_rows(chunk: Chunk, rows: Sequence[AnnotationRow]) -> Chunk:
    texts = {name: [getattr(row, name) for row in rows] for name in TEXTS if name != "outline"}
    texts["outline"] = [chunk.line(n).get("outline", "") for n in range(len(rows))]
    numbers = {name: [getattr(row, name) for row in rows] for name in NUMBERS}
    return Chunk(
        chunk.lines,
        {name: words_of(column) for name, column in texts.items()},
        {name: np.array(column, dtype=np.float64) for name, column in numbers.items()},
        chunk.line,
    )


class _Columns:
    """Columns that chunks are added to."""

    def __init__(self) -> None:
        self._code_of: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self._codes: dict[str, list[NDArray[Any]]] = {name: [] for name in TEXTS}
        self._numbers: dict[str, list[NDArray[Any]]] = {name: [] for name in NUMBERS}
        self._lines: list[NDArray[np.uint32]] = []

    def add(self, chunk: Chunk) -> None:
        n = len(chunk.lines)
        self._lines.append(np.array(chunk.lines, dtype=np.uint32))
        for name, code_of in self._code_of.items():
            words = chunk.texts.get(name, Words([""], np.zeros(n, dtype=np.uint8)))
            codes = np.array([code_of.setdefault(text, len(code_of)) for text in words.values], dtype=np.uint32)
            self._codes[name].append(_thrifty(codes[words.codes].astype(_code_type(len(code_of)))))
        for name, missing in (("row", np.nan), ("column", np.nan), ("diameter_mm", 0.0), ("d_prime", np.nan)):
            numbers = chunk.numbers.get(name)
            column = np.full(n, missing) if numbers is None else np.where(np.isnan(numbers), missing, numbers)
            self._numbers[name].append(_thrifty(column))

    def finished(self, where: Callable[[int], str]) -> AnnotationColumns:
        texts = {
            name: Words(list(code_of), _joined(self._codes.pop(name), _code_type(len(code_of))))
            for name, code_of in self._code_of.items()
        }
        numbers = {name: _joined(self._numbers.pop(name), np.float64) for name in NUMBERS}
        return AnnotationColumns(texts, numbers, _joined(self._lines, np.uint32), where)


def _code_type(n: int) -> type[np.unsignedinteger[Any]]:
    """Return the smallest type for n codes."""
    return np.uint8 if n <= 1 << 8 else np.uint16 if n <= 1 << 16 else np.uint32


def _thrifty(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column, without room of its own where all its values are one."""
    first = column[:1]
    is_one = len(column) > 0 and bool(((column == first) | ((column != column) & (first != first))).all())
    return np.broadcast_to(column[0].copy(), column.shape) if is_one else column


def _joined(parts: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    """Return one column, and empty the list on the way, so that there is never room for two."""
    n = sum(map(len, parts))
    firsts = np.array([part[0] for part in parts], dtype=dtype)
    if parts and all(part.strides == (0,) for part in parts) and _thrifty(firsts).strides == (0,):
        return np.broadcast_to(firsts[0].copy(), (n,))
    joined, start = np.empty(n, dtype=dtype), 0
    for part in parts[::-1]:
        start += len(part)
        joined[n - start : n - start + len(part)] = part
        parts.pop()
    return joined
