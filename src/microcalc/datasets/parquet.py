"""Tables in Parquet: the columns of the CSV files, with numbers as numbers. Needs ``microcalc[parquet]``.

What other programs write is read as far as it has one meaning: text in any of Arrow's types of text, whole numbers
where text is expected, numbers of any width, and text in place of a number where the text is one. Null is an empty
cell. Rows are counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


def parquet_chunks(file: Path, *, required: Sequence[str], optional: Sequence[str], where: str) -> Iterator[Chunk]:
    """Yield the rows of a table of annotations in chunks; errors are those of ``parquet_lines``."""
    for start, batch in _batches(file, required, optional, where):
        names = batch.schema.names
        yield Chunk(
            range(start + 1, start + 1 + len(batch)),
            {name: _words(batch.column(name)) for name in TEXTS if name in names},
            {name: _numbers(batch.column(name)) for name in NUMBERS if name in names},
            partial(_line, batch),
        )


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


def _batches(file: Path, required: Sequence[str], optional: Sequence[str], where: str) -> Iterator[tuple[int, Any]]:
    """Yield the rows in batches of known columns, each with the number of rows before it."""
    require_modules("pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = 0
    try:
        with pq.ParquetFile(file) as opened:
            header = opened.schema_arrow.names
            check_header(header, required, optional, where)
            known = [name for name in header if name in (*required, *optional)]
            for name in known:
                _check_type(opened.schema_arrow.field(name).type, name, where)
            for batch in opened.iter_batches(BLOCK, columns=known):
                yield start, batch
                start += len(batch)
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

    encoded = _plain(column).cast(pa.string()).dictionary_encode()
    values = [text.strip() for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return Words([*values, ""] if column.null_count else values, codes)


def _numbers(column: Any) -> NDArray[np.float64] | None:
    """Return a column as numbers, NaN for null; None where one is no finite number."""
    import pyarrow as pa

    column = _plain(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        return numbers_of([_text(value) for value in column.to_pylist()])
    numbers = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    return numbers if np.count_nonzero(np.isfinite(numbers)) == len(numbers) - column.null_count else None


def _plain(column: Any) -> Any:
    """Return a column with each value in its place, in place of a dictionary."""
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _line(batch: Any, n: int) -> Line:
    return {name: _text(batch.column(name)[n].as_py()) for name in batch.schema.names}


def _text(value: object) -> str:
    """Return what a cell would be in CSV."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value).strip()
