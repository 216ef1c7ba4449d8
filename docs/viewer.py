"""Draw the pictures of docs/how-to/view.md: screenshots of the viewer's page in Chromium.

::

    microcalc simulate --system siemens --exams 1 --seed 3 --intent processed --out mammograms
    microcalc detect mammograms --out results
    python docs/viewer.py --table mammograms --results results --out docs/images/view

With ``--run RUN``, a folder of microcalc train, the page of the training too. The pictures are for simulated images
alone; that of the training shows no image.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

_DRAWN = (
    "window.microcalc && microcalc.panes().length && "
    "microcalc.panes().every(p => p.meta && p.viewer.world.getItemAt(0)?.getFullyLoaded())"
)
_WAIT_S = 120.0


def main() -> None:
    """Write every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("table", "results", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as notes:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        with _served(page, options.table, options.results):
            _look(page, options.out)
        images = sorted(options.table.rglob("*.dcm"))  # without the table's annotations
        out = Path(notes) / "annotated"
        with _served(page, *images, options.results, "--out", out, "--judge", "A. Reader"):
            _annotate(page, options.out)
        if options.run is not None:
            with _served(page, options.run):
                _training(page, options.out)
        browser.close()


def _look(page: Page, out: Path) -> None:
    page.keyboard.press("4")
    _until(page, f"microcalc.panes().length === 4 && {_DRAWN}")
    _until(page, "document.getElementById('measured').textContent.includes('these')")
    _shoot(page, out / "four.jpg")
    _press(page, "1")
    _press(page, "n")
    _shoot(page, out / "finding.jpg")
    page.keyboard.press("o")
    _until(page, "microcalc.panes()[0].corner.textContent.endsWith('normalised')")
    page.keyboard.press("o")
    _until(page, "microcalc.panes()[0].corner.textContent.endsWith('likelihood') && !microcalc.panes()[0].computing")
    _shoot(page, out / "likelihood.jpg")


def _annotate(page: Page, out: Path) -> None:
    page.keyboard.press("1")
    _press(page, "q")
    for key in "yxy":
        _press(page, key)
    _shoot(page, out / "review.jpg")


def _training(page: Page, out: Path) -> None:
    if not page.locator("#dialog").is_visible():
        page.locator("#training").click()
    _until(page, "document.querySelectorAll('#trainingpage svg').length >= 4")
    page.locator("#dialogbody").screenshot(path=out / "training.jpg", type="jpeg", quality=78)


def _press(page: Page, key: str) -> None:
    page.keyboard.press(key)
    time.sleep(1)
    _until(page, _DRAWN)


def _shoot(page: Page, file: Path) -> None:
    time.sleep(1)
    page.screenshot(path=file, type="jpeg", quality=78)


def _until(page: Page, condition: str) -> None:
    end = time.monotonic() + _WAIT_S
    while not page.evaluate(f"() => Boolean({condition})"):
        if time.monotonic() > end:
            raise SystemExit(f"not reached: {condition}")
        time.sleep(0.05)


@contextmanager
def _served(page: Page, *arguments: str | Path) -> Iterator[None]:
    command = [sys.executable, "-m", "microcalc", "view", *map(str, arguments), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            page.goto(next(line.strip() for line in process.stdout if line.startswith("http")))
            _until(page, _DRAWN)
            yield
        finally:
            page.goto("about:blank")
            process.terminate()


if __name__ == "__main__":
    main()
