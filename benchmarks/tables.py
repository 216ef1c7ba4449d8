"""Measure how long large tables take, and how much memory: ``python -m benchmarks tables``.

A table of many images and annotations, by default 10^6 and 10^7, is written as CSV, and converted to Parquet. Each is
then read in a process of its own, the annotations of one image are looked up, and the patients are split. Seconds are
those of the processor. Memory is the largest resident size of the process, with its libraries.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks import Parser, count, run
from microcalc.datasets.table_files import read_table
from microcalc.training.split import split_by_patient

_T = TypeVar("_T")
_IMAGES_PER_PATIENT = 4


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__)
    parser.add_argument("--images", type=count, default=1_000_000)
    parser.add_argument("--annotations", type=count, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where tables are kept; by default a temporary folder")
    parser.add_argument("--csv-only", action="store_true")
    parser.add_argument("--measure", type=Path, help="a table to read")
    parser.add_argument("--convert", type=Path, nargs=2, help="a table, and a folder for it in Parquet")
    given = parser.parse_args(arguments)
    if given.measure:
        _measure(given.measure)
    elif given.convert:
        _convert(*given.convert)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            _run(given.folder or Path(temporary), given.images, given.annotations, csv_only=given.csv_only)
    return 0


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
    with (folder / "annotations.csv").open("w") as file:
        file.write("image,row,column,diameter_mm,kind,cluster,judge\n")
        file.writelines(_annotation_lines(images, annotations))
    with (folder / "images.csv").open("w") as file:
        file.write("image,file,patient,intent,row_spacing_mm,column_spacing_mm,sha256,rows,columns\n")
        for n in range(images):
            patient = f"P{n // _IMAGES_PER_PATIENT:07d}"
            file.write(f"i{n:07d},{patient}/{n:07d}.dcm,{patient},raw,0.07,0.07,{n:064x},4096,3328\n")


def _annotation_lines(images: int, annotations: int) -> Iterator[str]:
    for start in range(0, annotations, 100_000):
        rng = np.random.default_rng(start)
        n = min(100_000, annotations - start)
        places = zip(rng.uniform(0, 4095, n).tolist(), rng.uniform(0, 3327, n).tolist(), strict=True)
        diameters = rng.uniform(0.1, 0.6, n).tolist()
        for number, ((row, column), diameter) in enumerate(zip(places, diameters, strict=True), start):
            image = number * images // annotations
            yield f"i{image:07d},{row:.3f},{column:.3f},{diameter:.4g},microcalcification,c{number % 3 + 1},A. Reader\n"


def _convert(table: Path, out: Path) -> None:
    from microcalc.datasets.table_files import write_table

    read = read_table(table)
    _timed(f"{out.name}: written", lambda: write_table(read, out, form="parquet"))


def _measure(folder: Path) -> None:
    table = _timed(f"{folder.name}: read", lambda: read_table(folder))
    image = table.images[len(table.images) // 2]
    rows = _timed("  annotations of one image", lambda: table.rows_of(image))
    print(f"  {len(table.images):,} images, {len(table.annotations):,} annotations, {len(rows)} of {image.image}")
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
