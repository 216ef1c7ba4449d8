"""Measure the viewer: how fast pictures, windows and jumps are, its memory, and what kills lose.

``python -m benchmarks view [--images N] [--shown N] [--kills N]``

A file of 3328 x 4096 pixels is shown in Chromium (headless, drawing without a GPU) at 1366 x 768. Times are of the
page: from the key to the last tile drawn. Memory is the server's peak while 300 of a folder of 1,000 such images are
shown one after the other. The server is then killed N times (SIGKILL) while annotations are posted to it one after the
other; counted are those that it had confirmed and that are not in the table when it is opened again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import Parser, count, run, whole
from microcalc.datasets.table import ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.detection.result import SCHEMA
from microcalc.dicom.header import PROCESSED, AcquisitionHeader, ExposureHeader, ReceptorHeader
from microcalc.dicom.write import write_dicom
from microcalc.domain import Window
from microcalc.images.info import NO_INFO
from microcalc.viewer.annotations import AnnotationFolder
from microcalc.viewer.serve import Address, serve
from microcalc.viewer.server import Viewer
from microcalc.viewer.shown import ShownImages
from microcalc.viewer.sources import open_catalogue

_SHAPE = (4096, 3328)
_DRAWN = (
    "window.microcalc && microcalc.panes().length && "
    "microcalc.panes().every(p => p.meta && p.viewer.world.getItemAt(0)?.getFullyLoaded())"
)


def main(arguments: Sequence[str]) -> int:
    """Print the figures; return 1 if a confirmed annotation was lost."""
    parser = Parser(prog="python -m benchmarks view", description=__doc__)
    parser.add_argument("--images", type=count, default=1000)
    parser.add_argument("--shown", type=count, default=300)
    parser.add_argument("--kills", type=whole, default=200)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lost = _kills(work / "kills", options.kills)
        _page_times(work)
        _memory(work / "many", options.images, options.shown)
    return int(lost > 0)


def _pixels() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A breast of noise with specks, 12 bits."""
    rows, columns = np.ogrid[: _SHAPE[0], : _SHAPE[1]]
    breast = (rows - 2048.0) ** 2 / 1900**2 + columns.astype(float) ** 2 / 2300**2 < 1
    values = np.where(breast, np.random.default_rng(1).normal(2000, 60, _SHAPE), 0)
    for place in _places():
        values[place[0] : place[0] + 2, place[1] : place[1] + 2] += 800
    return values.clip(0, 4095).astype(np.uint16)


def _places() -> list[tuple[int, int]]:
    rng = np.random.default_rng(2)
    return [(int(r), int(c)) for r, c in zip(rng.integers(1000, 3000, 40), rng.integers(100, 1500, 40), strict=True)]


def _write_exam(folder: Path) -> None:
    """Two views, and a detector's findings on each."""
    pixels = _pixels()
    for side, view in (("L", "CC"), ("L", "MLO")):
        header = AcquisitionHeader(
            manufacturer="HOLOGIC, Inc.", model="Selenia Dimensions", software="1", intent="processed",
            laterality=side, view=view, spacing_mm=(0.07, 0.07), stored=PROCESSED,  # type: ignore[arg-type]  # L
            receptor=ReceptorHeader("DIRECT", (0.07, 0.07), (286.7, 233.0), (286, 232), 660, 650, 1.0, ("NONE",)),
            exposure=ExposureHeader(29, 125, "TUNGSTEN", "RHODIUM", 0.05, 60, 18.1, 0.02),
            patient_id="BENCH", exam_id="1", windows=(Window(2047, 4096),), window_names=("NORMAL",),
        )  # fmt: skip
        write_dicom(folder / f"{side}{view}.dcm", pixels, header=header)
    for file in sorted(folder.glob("*.dcm")):
        candidates = [{"row": r, "column": c, "likelihood": 0.9} for r, c in _places()]
        clusters = [
            {"likelihood": 0.9, "finding": True, "members": [3 * n, 3 * n + 1, 3 * n + 2], "outline": []}
            for n in range(10)
        ]
        document = {"schema": SCHEMA, "image": {"file": file.name}, "candidates": candidates, "clusters": clusters}
        (folder / f"{file.stem}.json").write_text(json.dumps(document))


@contextmanager
def _server(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "microcalc", "view", *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, next(line.strip() for line in process.stdout if line.startswith("http"))
    finally:
        process.kill()
        process.communicate()


@contextmanager
def _page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1366, "height": 768})
        browser.close()


def _until(page: Any, condition: str) -> None:
    while not page.evaluate(f"() => Boolean({condition})"):
        time.sleep(0.005)


def _timed(page: Any, do: Callable[[], object], done: str) -> float:
    start = time.perf_counter()
    do()
    _until(page, done)
    return time.perf_counter() - start


def _page_times(work: Path) -> None:
    exam = work / "exam"
    exam.mkdir(parents=True)
    _write_exam(exam)
    results = work / "results"
    results.mkdir()
    for file in exam.glob("*.json"):
        file.rename(results / file.name)
    start = time.perf_counter()
    with _server(exam, results) as (_, address), _page() as page:
        print(f"server started                    {time.perf_counter() - start:7.2f} s")
        print(f"first picture                     {_timed(page, lambda: page.goto(address), _DRAWN):7.2f} s")
        page.keyboard.press("1")
        _until(page, _DRAWN)
        time.sleep(3)  # the neighbours are fetched meanwhile, as while a reader looks
        print(f"window step, whole breast         {1000 * _window_step(page):7.0f} ms")
        jumps = [
            _timed(page, lambda: page.keyboard.press("n"), f"{_DRAWN} && microcalc.state.current === {n}")
            for n in range(8)
        ]
        print(f"jump to the next finding          {1000 * statistics.median(jumps):7.0f} ms (median of {len(jumps)})")
        print(f"window step, at a finding         {1000 * _window_step(page):7.0f} ms")
        first = page.evaluate("() => microcalc.state.image.key")
        shown = f"{_DRAWN} && microcalc.state.image.key !== '{first}' && microcalc.panes()[0].key !== '{first}'"
        print(
            f"next image                        {_timed(page, lambda: page.keyboard.press('ArrowRight'), shown):7.2f} s"
        )


def _window_step(page: Any) -> float:
    """Return the median time from a step of the window to the tiles redrawn."""
    times = page.evaluate(
        """async () => {
        const pane = microcalc.panes()[0], times = [];
        for (let n = 0; n < 15; n++) {
            const start = performance.now();
            pane.adjust(n % 2 ? 0.02 : -0.02, 0);
            await pane.invalidated;
            times.push(performance.now() - start);
        }
        return times;
    }"""
    )
    return float(statistics.median(times)) / 1000


def _memory(folder: Path, n_images: int, n_shown: int) -> None:
    folder.mkdir()
    first = folder / "0.png"
    Image.fromarray((_pixels() >> 4).astype(np.uint8)).save(first, compress_level=1)
    rows = []
    for n in range(n_images):
        file = folder / f"{n}.png"
        if n:
            os.link(first, file)
        rows.append(ImageRow(str(n), file, "processed", (0.07, 0.07), view="CC", laterality="L"))
    write_table(Table(tuple(rows)), folder)
    start = time.perf_counter()
    with _server(folder) as (process, address), _page() as page:
        print(f"server started, {n_images} images       {time.perf_counter() - start:7.2f} s")
        page.goto(address)
        _until(page, _DRAWN)
        times = []
        for n in range(1, min(n_shown, n_images)):
            shown = f"{_DRAWN} && microcalc.panes()[0].key === 'i{n}'"
            times.append(_timed(page, lambda: page.keyboard.press("ArrowRight"), shown))
            if n % 50 == 49:
                print(f"peak memory of the server         {_peak_mib(process.pid):7.0f} MiB after {n + 1} images")
        print(f"next image, without a pause       {statistics.median(times):7.2f} s (median of {len(times)})")


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def _kills(work: Path, kills: int) -> int:
    """Return how many confirmed annotations were lost."""
    source, out = work / "source", work / "out"
    source.mkdir(parents=True)
    Image.fromarray(np.full((2000, 2000), 100, np.uint8)).save(source / "a.png")
    write_table(Table((ImageRow("a", source / "a.png", "processed", (0.1, 0.1)),)), source)
    confirmed: set[str] = set()
    context, rng = multiprocessing.get_context("fork"), random.Random(1)
    start = time.perf_counter()
    for _ in range(kills):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(source, out, sending))
        process.start()
        address = receiving.recv()
        for _ in range(rng.randint(0, 5)):
            _post(address, confirmed)
        killer = threading.Timer(rng.uniform(0, 0.05), process.kill)  # in the midst of what follows
        killer.start()
        while _post(address, confirmed):
            pass
        killer.join()
        process.join()
    folder = AnnotationFolder(out, read_table(source), "A. Reader")
    kept = {row.id for row in folder.folded().annotations}
    in_table = {row.id for row in read_table(out).annotations}
    lost = len(confirmed - kept) + len(confirmed - in_table)
    print(
        f"{kills} kills while annotating: {len(confirmed)} annotations confirmed, {lost} lost "
        f"({time.perf_counter() - start:.0f} s)"
    )
    return lost


def _serve(source: Path, out: Path, sending: Connection) -> None:
    catalogue = open_catalogue([source], NO_INFO)
    notes = AnnotationFolder(out, catalogue.table, "A. Reader")
    serve(Viewer(catalogue, ShownImages(catalogue), notes), Address(), browser=False, ready=sending.send)


def _post(address: str, confirmed: set[str]) -> bool:
    """Post one annotation; return whether the server lives."""
    name = f"x{random.getrandbits(64):x}"
    row, column = random.uniform(0, 1999), random.uniform(0, 1999)
    body = {"put": [{"id": name, "row": row, "column": column, "kind": "microcalcification", "diameter_mm": 0.3}]}
    request = urllib.request.Request(
        f"{address}api/images/i0/annotations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            if json.load(answer)["saved"]:
                confirmed.add(name)
        return True
    except (OSError, ValueError, HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(run(main))
