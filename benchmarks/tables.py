"""Measure how long large tables take, and how much memory: ``python -m benchmarks tables``.

A table of many images and annotations, by default 10^6 and 10^7, is written as CSV, and converted to Parquet; with
``--parquet-only`` it is written as Parquet at once, which takes a minute for 10^8. Each is then read in a process of
its own, and the annotations of one image, of a hundredth of the images in turn, of a shard and of a split are looked
up. Seconds are those of the processor. Memory is the largest resident size of the process, with its libraries.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks import Parser, count, run
from microcalc.datasets.lines import write_cells
from microcalc.datasets.table_files import read_table
from microcalc.execution.shard import Shard
from microcalc.training.split import split_by_patient

_T = TypeVar("_T")
_IMAGES_PER_PATIENT = 4
_BLOCK = 65_536
_KIND, _JUDGE = "microcalcification", "A. Reader"
_IMAGES = ["image", "file", "patient", "intent", "row_spacing_mm", "column_spacing_mm", "sha256", "rows", "columns"]
_PLACES = ["image", "row", "column", "diameter_mm", "kind", "cluster", "judge"]


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--images", type=count, default=1_000_000)
    parser.add_argument("--annotations", type=count, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where tables are kept; by default a temporary folder")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--csv-only", action="store_true")
    forms.add_argument("--parquet-only", action="store_true")
    parser.add_argument("--measure", type=Path, help="a table to read")
    parser.add_argument("--convert", type=Path, nargs=2, help="a table, and a folder for it in Parquet")
    given = parser.parse_args(arguments)
    if given.measure:
        _measure(given.measure)
    elif given.convert:
        _convert(*given.convert)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = given.folder or Path(temporary)
            if given.parquet_only:
                _run_parquet(folder, given.images, given.annotations)
            else:
                _run(folder, given.images, given.annotations, csv_only=given.csv_only)
    return 0


def _run_parquet(folder: Path, images: int, annotations: int) -> None:
    columns = folder / f"{images}-{annotations}-made-parquet"
    if not (columns / "images.parquet").is_file():
        _write_parquet(columns, images, annotations)
    _child("--measure", columns)


def _run(folder: Path, images: int, annotations: int, *, csv_only: bool) -> None:
    name = f"{images}-{annotations}"
    text, columns = folder / f"{name}-csv", folder / f"{name}-parquet"
    if not (text / "images.csv").is_file():
        _write_csv(text, images, annotations)
    _child("--measure", text)
    if not csv_only:
        if not (columns / "images.parquet").is_file():
            _child("--convert", text, columns)
        _child("--measure", columns)


def _child(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.tables", *map(str, arguments)], check=True)


def _write_csv(folder: Path, images: int, annotations: int) -> None:
    """Write a table of images with about the same number of annotations each, without holding it."""
    folder.mkdir(parents=True)
    write_cells(folder / "annotations.csv", columns=_PLACES, rows=_annotation_lines(images, annotations))
    write_cells(folder / "images.csv", columns=_IMAGES, rows=_image_lines(images))


def _image_lines(images: int) -> Iterator[Sequence[str]]:
    for n in range(images):
        patient = f"P{n // _IMAGES_PER_PATIENT:07d}"
        file = f"{patient}/{n:07d}.dcm"
        yield f"i{n:07d}", file, patient, "raw", "0.07", "0.07", f"{n:064x}", "4096", "3328"


def _annotation_lines(images: int, annotations: int) -> Iterator[Sequence[str]]:
    for image, place, diameter, cluster in _places(images, annotations):
        places = (f"{pixel:.3f}" for pixel in place.ravel().tolist())
        rest = zip(image.tolist(), diameter.tolist(), cluster.tolist(), strict=True)
        for number, mm, name in rest:
            yield f"i{number:07d}", next(places), next(places), f"{mm:.4g}", _KIND, f"c{name}", _JUDGE


def _write_parquet(folder: Path, images: int, annotations: int) -> None:
    """Write the table as Parquet, column by column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from microcalc.datasets.parquet import write_parquet

    folder.mkdir(parents=True)
    types = [pa.string(), *[pa.float64()] * 3, *[pa.string()] * 3]
    schema = pa.schema(list(zip(_PLACES, types, strict=True)))
    with pq.ParquetWriter(folder / "annotations.parquet", schema, compression="zstd") as writer:
        for image, place, diameter, cluster in _places(images, annotations):
            names = [f"i{number:07d}" for number in image.tolist()]
            texts = [_KIND] * len(image), [f"c{name}" for name in cluster.tolist()], [_JUDGE] * len(image)
            batch = pa.record_batch([names, place[:, 0], place[:, 1], diameter, *texts], schema=schema)
            writer.write_batch(batch, row_group_size=_BLOCK)
    write_parquet(folder / "images.parquet", columns=_IMAGES, rows=_image_lines(images))


def _places(images: int, annotations: int) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield, for some annotations at once, their images, places, diameters and clusters, by number."""
    for start in range(0, annotations, _BLOCK):
        rng = np.random.default_rng(start)
        n = min(_BLOCK, annotations - start)
        number = np.arange(start, start + n)
        place = rng.integers(0, (4_095_000, 3_327_000), (n, 2)) / 1000
        yield number * images // annotations, place, rng.integers(1000, 6000, n) / 10_000, number % 3 + 1


def _convert(table: Path, out: Path) -> None:
    from microcalc.datasets.table_files import write_table

    read = read_table(table)
    _timed(f"{out.name}: written", lambda: write_table(read, out, form="parquet"))


def _measure(folder: Path) -> None:
    table = _timed(f"{folder.name}: read", lambda: read_table(folder))
    image = table.images[len(table.images) // 2]
    rows = _timed("  annotations of one image", lambda: table.rows_of(image))
    print(f"  {len(table.images):,} images, {len(table.annotations):,} annotations, {len(rows)} of {image.image}")
    some = table.images[: len(table.images) // 100]
    _timed(f"  annotations of {len(some):,} images in turn", lambda: sum(len(table.rows_of(image)) for image in some))
    shard = Shard.parse("3/64")
    _timed("  images of shard 3/64", lambda: table.of_images(i for i in table.images if shard.has(i.image)))
    split = _timed("  split by patient", lambda: split_by_patient(table, seed=1))
    _timed("  images of one split", lambda: split.of_split("validation"))


def _timed(what: str, work: Callable[[], _T]) -> _T:
    started = time.process_time()
    done = work()
    seconds = time.process_time() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {seconds:.3g} s, peak {peak_mb:,.0f} MB", flush=True)
    return done


if __name__ == "__main__":
    sys.exit(run(main))
