"""Draw the pictures of docs/how-to/reports.md: our reports in other viewers, as far as they show them.

::

    microcalc simulate --system hologic --exams 1 --seed 3 --intent processed --view CC --laterality L --out exam
    microcalc detect exam --report sr --report tid1500 --report gsps --report seg --out reports
    python docs/other_viewers.py --exam exam --reports reports --out docs/images/other-viewers

Needs Chromium; ``dcmview`` (``pip install dcmview-py``, in an environment of its own, ``--dcmview FILE``); and Orthanc
with its web viewer (Debian: ``orthanc``, ``orthanc-webviewer``). What is not installed is named and left out. The
pictures are for simulated images alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancWebViewer.so")
_WAIT_S = 60.0
_SETTLE_S = 5.0


def main() -> int:
    """Write every picture; return 1 where a viewer is not installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("exam", "reports", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--dcmview", default=shutil.which("dcmview"), help="program dcmview")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    files = [*sorted(options.exam.rglob("*.dcm")), *sorted(options.reports.glob("*.dcm"))]
    missing = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        if options.dcmview:
            _dcmview(page, options.dcmview, [options.exam, options.reports], options.out)
        else:
            missing.append("dcmview")
        orthanc = shutil.which("Orthanc")
        if orthanc and _PLUGIN.exists():
            _orthanc(page, orthanc, files, options.out)
        else:
            missing.append("Orthanc with its web viewer")
        browser.close()
    for name in missing:
        sys.stderr.write(f"{name}: not installed, left out\n")
    return 1 if missing else 0


def _dcmview(page: Page, program: str, paths: Sequence[Path], out: Path) -> None:
    """The presentation state over its image, and a segment as an image of its own."""
    with _running([program, "--no-browser", *map(str, paths)]) as process:
        assert process.stdout is not None
        words = (word for line in process.stdout for word in line.split())
        page.goto(next(word for word in words if word.startswith("http")))
        chip = page.get_by_text("For research use only. Not a medical device.").first
        chip.wait_for(timeout=1000 * _WAIT_S)
        chip.click()
        _shoot(page, out / "dcmview-gsps.jpg")
        page.get_by_text(".seg.dcm").first.click()
        _shoot(page, out / "dcmview-seg.jpg")


def _orthanc(page: Page, program: str, files: Sequence[Path], out: Path) -> None:
    """Each series in Orthanc's web viewer."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        settings = {
            "HttpPort": port, "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "StorageDirectory": folder, "IndexDirectory": folder, "Plugins": [str(_PLUGIN)],
            "WebViewer": {"CachePath": folder},
        }  # fmt: skip
        configuration = Path(folder) / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        with _running([program, str(configuration)]):
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/system")
            for file in files:
                urllib.request.urlopen(f"{url}/instances", data=file.read_bytes()).close()
            for series in _answer(f"{url}/series?expand"):
                modality = series["MainDicomTags"]["Modality"].lower()
                page.goto(f"{url}/web-viewer/app/viewer.html?series={series['ID']}")
                description = series["MainDicomTags"].get("SeriesDescription", "image").split()[-1].lower()
                _shoot(page, out / f"orthanc-{modality}-{description}.jpg")


@contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # dcmview starts its server as a process of its own


def _shoot(page: Page, file: Path) -> None:
    time.sleep(_SETTLE_S)
    page.screenshot(path=file, type="jpeg", quality=78)


def _answer(url: str) -> list[dict[str, dict[str, str]]]:
    with urllib.request.urlopen(url) as answer:
        found: list[dict[str, dict[str, str]]] = json.loads(answer.read())
    return found


def _wait_for(url: str) -> None:
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    sys.exit(main())
