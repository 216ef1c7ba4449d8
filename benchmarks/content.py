"""Measure how the time of detection depends on what an image shows: ``python -m benchmarks.content [--data FOLDER]``.

Mammograms of one size are analysed as ``microcalc detect`` does it, from the file to the written overlay
and JSON, on one thread; then images of the same size full of noise, squares or specks, framed, and with every pixel
treated as breast (``--whole-image``). One line is printed for each: model, content, seconds of the processor, and
how many times the median of the mammograms this is. The exit code is 1 if one exceeds 3 times. ``--models raw``
takes a third of the time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import Parser, count, run

if TYPE_CHECKING:
    from microcalc.models.model import Models

Levels = NDArray[np.float64]

ROWS: Final = 4096
COLUMNS: Final = 3328
MOST: Final = 3.0
FRAME_PX: Final = 60
N_SPECKS: Final = 120_000
MODELS: Final = ("processed", "raw", "cascade")


def main(arguments: Sequence[str]) -> int:
    """Measure in a separate process with one thread."""
    options = _parser().parse_args(arguments)
    if options.measure:
        return _measure(options)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.content", "--measure", *arguments]
    return subprocess.run(command, check=False, env=environment).returncode


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.content", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--data",
        type=Path,
        help="a folder that `microcalc simulate` made, of one size; by default an exam of 3328 x 4096",
    )
    parser.add_argument("--repeats", type=count, default=1, help="the shortest counts")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return parser


def _measure(options: argparse.Namespace) -> int:
    from microcalc.errors import InputError
    from microcalc.models.model import Models

    worst = 0.0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        files = sorted(options.data.rglob("*.dcm")) if options.data else _simulated(folder)
        plain = {name: [file for file in files if file.stem.endswith(_intent(name))] for name in options.models}
        if missing := [name for name, images in plain.items() if not images]:
            raise InputError(f"{options.data.name}: no {_intent(missing[0])} image of microcalc simulate, expected one")
        print("| model | the image shows | seconds | times the median |\n|---|---|---|---|")
        for name in options.models:
            worst = max(worst, _table(name, Models(name, threads=1), plain[name], folder, options.repeats))
    print(f"The most is {worst:.1f} times the median; the limit is {MOST:g}.")
    return int(worst > MOST)


def _intent(model: str) -> str:
    return "raw" if model == "cascade" else model


def _simulated(folder: Path) -> list[Path]:
    from microcalc.datasets.simulated import Settings, make_exam
    from microcalc.simulate.systems import system

    large = replace(system("hologic"), fields=((ROWS, COLUMNS),))
    return [image.file for image in make_exam(folder, large, 0, Settings()).images]


def _table(name: str, models: Models, plain: list[Path], folder: Path, repeats: int) -> float:
    """Print the lines of a model and return the largest ratio."""
    _seconds(models, plain[0], folder)  # the first image also pays for loading and compiling
    usual = median(min(_seconds(models, file, folder) for _ in range(repeats)) for file in plain)
    print(f"| {name} | one of {len(plain)} mammograms, median | {usual:.2f} | 1.0 |", flush=True)
    worst = 1.0
    for content, change in CONTENTS.items():
        file = _changed(plain[0], change, folder / "changed.dcm")
        for whole in (False, True) if content in BREASTS else (True,):  # the others are refused at once
            seconds = min(_seconds(models, file, folder, whole_image=whole) for _ in range(repeats))
            shown = content + (" (--whole-image)" if whole else "")
            print(f"| {name} | {shown} | {seconds:.2f} | {seconds / usual:.1f} |", flush=True)
            worst = max(worst, seconds / usual)
    return worst


def _changed(file: Path, change: Callable[[Levels, np.random.Generator], Levels], out: Path) -> Path:
    """Write a copy of a mammogram whose stored values are changed."""
    import numpy as np
    import pydicom

    dataset = pydicom.dcmread(file)
    levels = change(dataset.pixel_array.astype(np.float64), np.random.default_rng(0))
    dataset.PixelData = np.clip(np.round(levels), 0, 2**dataset.BitsStored - 1).astype("<u2").tobytes()
    dataset.save_as(out)
    return out


def _seconds(models: Models, file: Path, out: Path, *, whole_image: bool = False) -> float:
    """Return seconds of the processor from the file to the written result, or to the error that refuses it."""
    from microcalc.batch.analyse import detect_in
    from microcalc.batch.options import ImageOptions
    from microcalc.errors import NoBreastError

    start = process_time()
    with suppress(NoBreastError):
        detect_in(file, models, ImageOptions(whole_image=whole_image)).write("result", out)
    return process_time() - start


def _as_it_is(levels: Levels, _: np.random.Generator) -> Levels:
    return levels


def _framed(levels: Levels, _: np.random.Generator) -> Levels:
    """Return the picture in a frame as bright as its brightest pixel, with a label in the middle."""
    rows, columns = levels.shape
    framed = levels.copy()
    for strip in (np.s_[:FRAME_PX], np.s_[-FRAME_PX:], np.s_[:, :FRAME_PX], np.s_[:, -FRAME_PX:]):
        framed[strip] = levels.max()
    framed[rows // 2 : rows // 2 + 200, columns // 3 : columns // 3 + 300] = levels.max()
    return framed


def _noise(levels: Levels, rng: np.random.Generator) -> Levels:
    return rng.normal(2000.0, 100.0, levels.shape)


def _checkerboard(levels: Levels, rng: np.random.Generator) -> Levels:
    row, column = (np.arange(n) // 4 for n in levels.shape)
    squares = (row[:, np.newaxis] + column) % 2
    return rng.normal(2000.0 + 500.0 * squares, 5.0)


def _specks(levels: Levels, rng: np.random.Generator) -> Levels:
    """Return specks of one pixel in noise: in raw values they are dense where they are low."""
    specks = rng.normal(2000.0, 20.0, levels.shape)
    specks[tuple(rng.integers(0, n, N_SPECKS) for n in levels.shape)] += 400.0
    return specks


def _dark_specks(levels: Levels, rng: np.random.Generator) -> Levels:
    return 4000.0 - _specks(levels, rng)


def _speckled_breast(levels: Levels, rng: np.random.Generator) -> Levels:
    """Return the mammogram with specks everywhere, in both directions."""
    speckled = levels.copy()
    speckled[tuple(rng.integers(0, n, N_SPECKS) for n in levels.shape)] += 0.2 * np.ptp(levels)
    speckled[tuple(rng.integers(0, n, N_SPECKS) for n in levels.shape)] -= 0.2 * np.ptp(levels)
    return speckled


CONTENTS: Final[dict[str, Callable[[Levels, np.random.Generator], Levels]]] = {
    "a breast": _as_it_is,
    "a breast in a bright frame, with a label": _framed,
    "a breast with specks all over it": _speckled_breast,
    "noise": _noise,
    "a checkerboard": _checkerboard,
    "bright specks in noise": _specks,
    "dark specks in noise": _dark_specks,
}

BREASTS: Final = ("a breast in a bright frame, with a label", "a breast with specks all over it", "a checkerboard")


if __name__ == "__main__":
    sys.exit(run(main))
