"""Tables in Parquet: the columns of the CSV files, with numbers as numbers. Needs ``microcalc[parquet]``.

What other programs write is read as far as it has one meaning: text in any of Arrow's types of text, whole numbers
where text is expected, numbers of any width, and text in place of a number where the text is one. Null is an empty
cell. Rows are counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.columns import BLOCK, NUMBERS, TEXTS, Words
from microcalc.datasets.lines import Line, check_header, numbers_of
from microcalc.datasets.read_columns import Chunk
from microcalc.errors import TableError
from microcalc.extras import require_modules

_INTEGERS: Final = ("rows", "columns")
_FLOATS: Final = (*NUMBERS, "row_spacing_mm", "column_spacing_mm")


def parquet_lines(file: Path, *, required: Sequence[str], optional: Sequence[str], where: str) -> Iterator[Line]:
    """Yield the rows of a table as lines of text, as ``lines.read_lines`` returns them.

    Raises
    ------
    TableError
        The file is no such table: not there, no Parquet file, with a required column missing, misspelt or there twice,
        or with a column that holds neither text nor numbers.
    MissingExtraError
        ``microcalc[parquet]`` is not installed.
    """
    for _, batch in _batches(file, required, optional, where):
        columns = {name: [_text(value) for value in batch.column(name).to_pylist()] for name in batch.schema.names}
        for cells in zip(*columns.values(), strict=True):
            yield dict(zip(columns, cells, strict=True))


def parquet_chunks(
    file: Path,
    *,
    required: Sequence[str],
    optional: Sequence[str],
    where: str,
    only: NDArray[np.int64] | None = None,
    whole_images: bool = False,
) -> Iterator[Chunk]:
    """Yield the rows of a table of annotations in chunks; errors are those of ``parquet_lines``.

    Parameters
    ----------
    only
        (n, 2) parts to read, ascending: the first row of each and the row after its last, counted from 0. Row groups
        without any of them are not read.
    whole_images
        Whether a chunk ends only where the rows of an image do.
    """
    require_modules("pyarrow")
    import pyarrow as pa

    batches = _batches(file, required, optional, where, only)
    for start, batch in _of_whole_images(batches) if whole_images else batches:
        lines = np.arange(start + 1, start + 1 + len(batch))
        if only is not None:
            part = np.searchsorted(only[:, 0], lines, side="left") - 1
            wanted = (part >= 0) & (lines <= only[part, 1])
            lines, batch = lines[wanted], batch.filter(pa.array(wanted))
            if not len(lines):
                continue
        names = batch.schema.names
        yield Chunk(
            lines,
            {name: _words(batch.column(name)) for name in TEXTS if name in names},
            {name: _numbers(batch.column(name)) for name in NUMBERS if name in names},
            partial(_line, batch),
        )


def _of_whole_images(batches: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield the same rows in batches that end only where the rows of an image do."""
    held: list[tuple[int, Any]] = []
    for start, batch in batches:
        words = _words(batch.column("image"))
        is_other = np.array([value != words.values[words.codes[-1]] for value in words.values])[words.codes]
        end = int(np.flatnonzero(is_other)[-1]) + 1 if is_other.any() else 0
        if end:
            yield from _joined([*held, (start, batch.slice(0, end))])
            held = []
        held.append((start + end, batch.slice(end)))  # its image may go on
    yield from _joined(held)


def _joined(batches: Sequence[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa

    if batches:
        start = batches[0][0]
        for batch in pa.Table.from_batches([batch for _, batch in batches]).combine_chunks().to_batches():
            yield start, batch
            start += len(batch)


def row_groups(file: Path, where: str) -> NDArray[np.int64]:
    """Return the first row of each row group of a file, and the number of all rows.

    Raises
    ------
    TableError
        The file is no Parquet file.
    MissingExtraError
        ``microcalc[parquet]`` is not installed.
    """
    with _opened(file, where) as opened:
        return _starts(opened)


def write_parquet(file: Path, *, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write lines of text, as they would be written as CSV, with numbers as numbers; an empty cell is null."""
    require_modules("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {**dict.fromkeys(_INTEGERS, pa.int32()), **dict.fromkeys(_FLOATS, pa.float64())}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in columns])
    reading = {pa.int32(): int, pa.float64(): float, pa.string(): str}
    lines = iter(rows)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while block := list(islice(lines, BLOCK)):
            cells = zip(*block, strict=True)
            arrays = [
                pa.array([reading[kind](text) if text else None for text in column], kind)
                for column, kind in zip(cells, schema.types, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema), row_group_size=BLOCK)


def _batches(
    file: Path, required: Sequence[str], optional: Sequence[str], where: str, only: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, Any]]:
    """Yield the rows in batches of known columns, each with the number of rows before it."""
    with _opened(file, where) as opened:
        header = opened.schema_arrow.names
        check_header(header, required, optional, where)
        known = [name for name in header if name in (*required, *optional)]
        for name in known:
            _check_type(opened.schema_arrow.field(name).type, name, where)
        starts = _starts(opened)
        touched = np.ones(len(starts) - 1, dtype=bool) if only is None else _touched(starts, only)
        for start, groups in _runs(starts, touched):
            for batch in opened.iter_batches(BLOCK, columns=known, row_groups=groups):
                if len(batch):
                    yield start, _without_dictionaries(batch)
                start += len(batch)


def _starts(opened: Any) -> NDArray[np.int64]:
    groups = (opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups))
    return np.cumsum([0, *groups], dtype=np.int64)


def _touched(starts: NDArray[np.int64], only: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which row groups have some of the rows."""
    begun = np.searchsorted(only[:, 0], starts[1:], side="left")
    over = np.searchsorted(only[:, 1], starts[:-1], side="right")
    return np.asarray(begun > over)


def _runs(starts: NDArray[np.int64], wanted: NDArray[np.bool_]) -> list[tuple[int, list[int]]]:
    """Return wanted row groups, small neighbours together, each with the number of rows before it.

    pyarrow keeps what it has read of a file until the last of the row groups that were asked for.
    """
    runs: list[tuple[int, list[int]]] = []
    for n in np.flatnonzero(wanted).tolist():
        if runs and runs[-1][1][-1] == n - 1 and starts[n] - runs[-1][0] < BLOCK:
            runs[-1][1].append(n)
        else:
            runs.append((int(starts[n]), [n]))
    return runs


@contextmanager
def _opened(file: Path, where: str) -> Iterator[Any]:
    """Open a Parquet file; errors of reading it are errors of the table."""
    require_modules("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            yield opened
    except pa.ArrowException as error:
        raise TableError(f"{where}: damaged, or no Parquet file, expected a table (Parquet)") from error
    except OSError as error:
        raise TableError(f"{where}: {error.strerror or 'damaged'}, expected a table (Parquet)") from error


def _check_type(kind: Any, name: str, where: str) -> None:
    """Refuse a column of another type than text and numbers, or of fractions where text is expected."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    is_number = types.is_integer(kind) or (types.is_floating(kind) and name in (*_FLOATS, *_INTEGERS))
    if not (is_text or is_number or types.is_null(kind)):
        expected = "numbers" if name in (*_FLOATS, *_INTEGERS) else "text"
        raise TableError(f"{where}: column {name!r} is of type {kind}, expected {expected}")


def _words(column: Any) -> Words:
    """Return a column as texts without blanks around them, empty for null."""
    import pyarrow as pa

    encoded = column.cast(pa.string()).dictionary_encode()
    values = [text.strip() for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return Words([*values, ""] if column.null_count else values, codes)


def _numbers(column: Any) -> NDArray[np.float64] | None:
    """Return a column as numbers, NaN for null; None where one is no finite number."""
    import pyarrow as pa

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        return numbers_of([_text(value) for value in column.to_pylist()])
    numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    return numbers if np.count_nonzero(np.isfinite(numbers)) == len(numbers) - column.null_count else None


def _without_dictionaries(batch: Any) -> Any:
    """Return a batch with each value in its place."""
    import pyarrow as pa

    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.record_batch(columns, names=batch.schema.names)


def _line(batch: Any, n: int) -> Line:
    return {name: _text(batch.column(name)[n].as_py()) for name in batch.schema.names}


def _text(value: object) -> str:
    """Return what a cell would be in CSV."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value).strip()
