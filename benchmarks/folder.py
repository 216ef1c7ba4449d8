"""Measure ``microcalc detect FOLDER`` of this checkout, and of another one beside it: images per minute, and by stage.

``python -m benchmarks.folder FOLDER [--before CHECKOUT] [--workers N] [--repeats N] [--stages N]``

The command runs as a user starts it, for each checkout in turn, on the same images. Processor seconds are those of the
system and of all processes of the command, start included, so they hardly depend on what else the machine does; images
per minute are those of the clock, and mean nothing on a busy machine. Peak memory is that of the largest process. Where
there are two checkouts, their results are compared, too.

The stages of the first images are measured in one process for each checkout, image by image in turn, with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean, median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks import Parser, count, run, whole
from microcalc.errors import InputError

HERE = Path(__file__).parents[1]


def main(arguments: Sequence[str]) -> int:
    """Measure the whole command, compare the results, and measure the stages."""
    parser = Parser(prog="python -m benchmarks.folder", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="DICOM files, or a table of images")
    parser.add_argument("--before", type=Path, help="another checkout, such as a git worktree of an earlier commit")
    parser.add_argument("--workers", type=count, default=2)
    parser.add_argument("--repeats", type=count, default=1)
    parser.add_argument("--stages", type=whole, default=4, help="number of images whose stages are measured")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        _serve_stages(options.folder)
        return 0
    for folder in (options.folder, *([options.before / "src" / "microcalc"] if options.before else [])):
        if not folder.is_dir():
            raise InputError(f"{folder.name}: no such folder in {folder.parent.name or '.'}, expected one")
    checkouts = {**({"before": options.before.absolute()} if options.before else {}), "now": HERE}
    with tempfile.TemporaryDirectory() as made:
        out = {name: Path(made) / name for name in checkouts}
        for _ in range(options.repeats):
            for name, checkout in checkouts.items():
                _measure_command(name, checkout, options.folder, out[name], workers=options.workers)
        if options.before:
            _compare(out["before"], out["now"])
    if options.stages:
        _measure_stages(checkouts, options.folder, options.stages)
    return 0


def _environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}


def _measure_command(name: str, checkout: Path, folder: Path, out: Path, *, workers: int) -> None:
    command = [sys.executable, "-m", "microcalc", "detect", str(folder), "--out", str(out)]
    start = perf_counter()
    process = subprocess.Popen(
        [*command, "--workers", str(workers), "--again", "--quiet"], env=_environment(checkout), cwd=Path.cwd()
    )
    _, status, used = os.wait4(process.pid, 0)
    seconds = perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    images = len(_documents(out))
    if images == 0:
        raise InputError(f"{folder.name}: no result of {name}, exit code {process.returncode}, expected some")
    processor = used.ru_utime + used.ru_stime
    print(
        f"{name:8} {images} images, exit code {process.returncode}: {processor / images:.2f} processor s an image "
        f"({used.ru_stime / images:.2f} of them the system's), {60 * images / seconds:.0f} images a minute, "
        f"{used.ru_maxrss / 1024:.0f} MB",
        flush=True,
    )


def _compare(before: Path, now: Path) -> None:
    """Print by how much the results differ: candidates by likelihood and position, clusters by members."""
    largest, others, pictures = 0.0, 0, 0
    for name, other in _documents(now).items():
        one = json.loads((before / name).read_text())
        one_numbers, other_numbers = _numbers(one), _numbers(other)
        if one_numbers.shape == other_numbers.shape:
            largest = max(largest, float(np.abs(one_numbers - other_numbers).max(initial=0)))
        others += one_numbers.shape != other_numbers.shape or _groups(one) != _groups(other)
        pictures += not _same_picture(*(folder / f"{name.removesuffix('.json')}.png" for folder in (before, now)))
    print(
        f"results: likelihoods and positions differ by {largest:.1g} at most; {others} documents differ otherwise, "
        f"{pictures} overlays in a pixel"
    )


def _documents(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return file name → result of the images in a folder of results."""
    documents = {file.name: json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))}
    return {name: document for name, document in documents.items() if "candidates" in document}


def _numbers(document: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([[c["likelihood"], c["row"], c["column"]] for c in document["candidates"]], dtype=np.float64)


def _groups(document: Mapping[str, Any]) -> list[Any]:
    return [(cluster["members"], cluster["finding"]) for cluster in document["clusters"]]


def _same_picture(one: Path, other: Path) -> bool:
    from PIL import Image

    with Image.open(one) as first, Image.open(other) as second:
        return first.size == second.size and first.tobytes() == second.tobytes()


def _measure_stages(checkouts: Mapping[str, Path], folder: Path, images: int) -> None:
    """Print the processor seconds of each stage, the mean over the images."""
    command = [sys.executable, "-m", "benchmarks.folder", str(folder.absolute()), "--child"]
    children = {
        name: subprocess.Popen(
            command, env=_environment(checkout), cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, checkout in checkouts.items()
    }
    seconds: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in checkouts}
    for number in range(images):
        for name, child in children.items():
            assert child.stdin is not None
            assert child.stdout is not None
            print(number, file=child.stdin, flush=True)
            for stage, used in json.loads(child.stdout.readline() or "{}").items():
                seconds[name][stage].append(used)
    for child in children.values():
        child.communicate()
    print(f"{'processor s, mean':24}" + "".join(f"{name:>10}" for name in checkouts))
    for stage in seconds["now"]:
        print(f"{stage:24}" + "".join(f"{mean(seconds[name][stage]):10.3f}" for name in checkouts))
    totals = [[sum(image) for image in zip(*seconds[name].values(), strict=True)] for name in checkouts]
    print(f"{'sum':24}" + "".join(f"{mean(total):10.3f}" for total in totals))
    if len(totals) == 2:
        ratios = [before / now for before, now in zip(*totals, strict=True)]
        print(f"before / now: {min(ratios):.2f} to {max(ratios):.2f}, median {median(ratios):.2f}")


def _serve_stages(folder: Path) -> None:
    """Answer each number on standard input by a line of JSON: the seconds of the stages in that image of the folder."""
    from microcalc.batch.inputs import find_inputs
    from microcalc.datasets.open import open_row
    from microcalc.datasets.table import ImageRow
    from microcalc.datasets.table_files import read_table
    from microcalc.images.open import open_mammogram
    from microcalc.models.model import Models

    found = find_inputs([folder])
    items = [image.file for image in found.images] + [row for table in found.tables for row in read_table(table).images]
    models = Models(threads=1)
    with suppress(ImportError):  # not in earlier checkouts
        from microcalc.execution.memory import keep_freed_memory

        keep_freed_memory()
        from microcalc.execution.memory import keep_what_is_loaded

        keep_what_is_loaded()
    for line in sys.stdin:
        item = items[int(line) % len(items)]
        stages: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as out:
            with _timed(stages, "read"):
                mammogram = open_row(item) if isinstance(item, ImageRow) else open_mammogram(item)
            _measure_image(stages, mammogram, models, Path(out))
        print(json.dumps(stages), flush=True)


def _measure_image(stages: dict[str, float], mammogram: Any, models: Any, out: Path) -> None:
    from microcalc.detection.make_result import make_result
    from microcalc.detection.result import write_result
    from microcalc.detection.stages import find_clusters
    from microcalc.display.overlay import draw_overlay, write_overlay
    from microcalc.normalise.mammogram import normalise

    model = models.of(mammogram.intent)  # loaded at the first image, before the clock runs
    with _timed(stages, "normalise"):
        normalised = normalise(mammogram, spacing_mm=model.spacing_mm)
    with _timed(stages, "CNN1, dense"):
        logit1 = model.scorer.rate_all(normalised)
    with _timed(stages, "CNN2 on survivors"):
        scores = model.scorer.score_from(normalised, logit1)
    with _timed(stages, "candidates to clusters"):
        detected = find_clusters(mammogram, normalised, scores, model)
    with _timed(stages, "result, JSON"):
        result = make_result(mammogram, detected, model, breast_area_cm2=normalised.breast_area_cm2)
        write_result(result, out / "image.json")
    with _timed(stages, "overlay, draw"):
        page = draw_overlay(mammogram, normalised, result)
    with _timed(stages, "overlay, write"):
        write_overlay(page, out / "image.png")


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = process_time()
    yield
    stages[name] = process_time() - start


if __name__ == "__main__":
    sys.exit(run(main))
