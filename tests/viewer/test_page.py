"""The page in a real browser: what is on the screen is the image, and what is annotated stays."""

from __future__ import annotations

import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from tests.viewer.tables import SPECKS, viewer_of, write_detections, write_images
from tests.waiting import PATIENCE_S

from microcalc.datasets.table_files import read_table
from microcalc.dicom.header import AcquisitionHeader
from microcalc.dicom.write import write_dicom
from microcalc.display.grey import shown_values, stretch, whole_grey
from microcalc.images.open import read
from microcalc.storage.ownership import open_output_folder
from microcalc.viewer.serve import Address
from microcalc.viewer.serve import serve as run_server

_READY = "window.microcalc && microcalc.panes().length && microcalc.panes()[0].meta"
_SETTLED = (
    f"{_READY} && !microcalc.state.hanging"
    " && microcalc.panes().every(p => !p.key || p.viewer.world.getItemAt(0)?.getFullyLoaded())"
)

Serve = Callable[..., str]
Show = Callable[..., str]


@pytest.fixture(scope="module")
def browser(judge: Callable[[str], str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=judge("chromium"), args=["--no-sandbox"], timeout=1000 * PATIENCE_S
        )
        yield chromium
        chromium.close()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def serve(processes: list[subprocess.Popen[str]]) -> Serve:
    """Start ``microcalc view`` and return the address that it prints."""

    def start(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "microcalc", "view", *map(str, arguments), "--no-browser"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/\n", line):
                return line.strip()
        raise AssertionError("no address was printed")

    return start


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    """Serve what a call of ``microcalc view`` shows from this process, which starts at once; return the address."""
    servers: list[uvicorn.Server] = []
    threads: list[threading.Thread] = []
    made = uvicorn.Server

    def noted(config: uvicorn.Config) -> uvicorn.Server:
        servers.append(made(config))
        return servers[-1]

    def start(*paths: Path, out: Path | None = None) -> str:
        printed: queue.Queue[str] = queue.Queue()
        options = {"browser": False, "ready": printed.put}
        threads.append(
            threading.Thread(target=run_server, args=(viewer_of(*paths, out=out), Address()), kwargs=options)
        )
        threads[-1].start()
        return printed.get(timeout=PATIENCE_S)

    monkeypatch.setattr(uvicorn, "Server", noted)
    yield start
    for server in servers:
        server.should_exit = True
    for thread in threads:
        thread.join()


@pytest.fixture
def page(browser: Browser, processes: list[subprocess.Popen[str]], show: Show) -> Iterator[Page]:
    """A page without errors, warnings and requests to others; it is closed before the servers are ended."""
    page, wrong = browser.new_page(viewport={"width": 1366, "height": 768}), []
    page.set_default_timeout(1000 * PATIENCE_S)

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith("Canvas2D:"):  # of these tests alone
            wrong.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: (
            wrong.append(request.url)
            if "//127.0.0.1:" not in request.url[:20] and not request.url.startswith("data:")
            else None
        ),
    )
    yield page
    page.close()
    assert wrong == []


def _until(page: Page, condition: str) -> None:
    """Wait for a condition; the page's policy forbids Playwright's own way of waiting."""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(f"() => Boolean({condition})"):
        if time.monotonic() > end:
            pytest.fail(f"waited in vain for {condition}")
        time.sleep(0.02)


def _becomes(measured: Callable[[], Any], expected: Any) -> None:
    """Wait until a measurement is as expected."""
    end = time.monotonic() + PATIENCE_S
    while (found := measured()) != expected:
        if time.monotonic() > end:
            assert found == expected
        time.sleep(0.05)


def _kill(server: subprocess.Popen[str], page: Page) -> None:
    """Kill a server; the page asks it nothing more, which would be an error."""
    server.send_signal(signal.SIGSTOP)  # does nothing from here on
    page.goto("about:blank")
    server.kill()
    server.wait()


def _open(page: Page, address: str) -> None:
    page.goto(address)
    _until(page, _SETTLED)


def _saved(page: Page, number: int) -> None:
    _until(page, f"document.getElementById('status').textContent.startsWith('saved: change {number} ')")


def _screen(page: Page, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The grey levels on the canvas at pixels of the stored image, which is shown at four to one."""
    red = page.evaluate(
        """([rows, columns]) => {
        const pane = microcalc.panes()[0];
        const context = pane.viewer.drawer.canvas.getContext("2d");
        const found = [];
        for (let row = rows[0]; row < rows[1]; row++) for (let column = columns[0]; column < columns[1]; column++) {
            const [x, y] = pane.toPane(row, column);
            found.push(context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data[0]);
        }
        return found;
    }""",
        [rows, columns],
    )
    return np.array(red, dtype=np.uint8).reshape(rows[1] - rows[0], columns[1] - columns[0])


def _drawn(page: Page, rows: tuple[int, int], columns: tuple[int, int], expected: np.ndarray[Any, Any]) -> None:
    """Wait until these grey levels are on the screen; they may differ by one (float32 here, float64 in the browser)."""
    end = time.monotonic() + PATIENCE_S
    while (difference := np.abs(_screen(page, rows, columns).astype(int) - expected)).max() > 1:
        if time.monotonic() > end:
            pytest.fail(f"{difference.max()} grey levels apart")
        time.sleep(0.05)


def _frames(page: Page) -> None:
    """Wait for two frames: what follows from the last changes has happened, such as that a pane follows another."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def _centre_on(page: Page, row: int, column: int, zoom: float) -> None:
    page.evaluate(
        """([row, column, zoom]) => {
        const pane = microcalc.panes()[0];
        pane.fitTo({ top: row - 20, bottom: row + 20, left: column - 20, right: column + 20 });
        pane.zoomTo(zoom);
    }""",
        [row, column, zoom],
    )
    _until(page, f"{_SETTLED} && !microcalc.panes()[0].smoothing")
    _frames(page)


@pytest.mark.parametrize(("side", "intent"), [("R", "processed"), ("L", "processed"), ("L", "raw")])
def test_the_pixels_on_the_screen_are_the_grey_levels_of_the_files_window(
    side: Any, intent: str, show: Show, page: Page, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    header: AcquisitionHeader = request.getfixturevalue(f"{intent}_header")
    rng = np.random.default_rng(5)
    values = np.full((700, 600), 0 if intent == "processed" else 4095, np.uint16)  # air
    values[:, :400] = rng.integers(2300, 3200, (700, 400))
    file = tmp_path / "a.dcm"
    write_dicom(file, values, header=replace(header, laterality=side))
    _open(page, show(file))
    _centre_on(page, 300, 200, 4)
    mammogram = read(file)
    grey = whole_grey(mammogram)
    if intent == "raw":  # no window: percentiles of the breast
        shown = shown_values(mammogram.pixels, "raw")
        grey = stretch(shown, *np.percentile(shown[::4, :400:4], (5, 99.9)).tolist())
    expected = grey[290:310, 185:215].astype(int)
    _drawn(page, (290, 310), (185, 215), expected)
    page.keyboard.press("i")
    _drawn(page, (290, 310), (185, 215), 255 - expected)


def test_a_disc_of_a_turned_picture_of_oblong_pixels_is_round_and_is_clicked_where_it_is(
    show: Show, page: Page, tmp_path: Path, processed_header: AcquisitionHeader
) -> None:
    spacing, centre = (
        (0.12, 0.08),
        (300, 180),
    )  # stored upside down on its side: rows run to the front, columns to the head
    rows, columns = np.mgrid[:600, :700]
    disc = np.hypot((rows - centre[0]) * spacing[0], (columns - centre[1]) * spacing[1]) < 3
    values = np.where(disc, 3200, np.where(rows < 500, 2400, 0)).astype(np.uint16)
    file, out = tmp_path / "a.dcm", tmp_path / "o"
    write_dicom(file, values, header=replace(processed_header, laterality="L"))
    header = pydicom.dcmread(file)
    header.PatientOrientation, header.ImagerPixelSpacing = ["H", "A"], list(spacing)
    header.save_as(file)
    _open(page, show(file, out=out))
    meta = page.evaluate("() => microcalc.panes()[0].meta")
    assert (meta["rows"], meta["columns"]) == (700, 600)
    assert meta["aspect"] == pytest.approx(0.08 / 0.12)
    x, y = page.evaluate("([row, column]) => microcalc.panes()[0].toPane(row, column)", list(centre))
    shown = pytest.approx([6 / _mm_per_px(page)] * 2, abs=2)
    _becomes(lambda: _extents(page, ".openseadragon-canvas canvas", x, y), shown)
    page.keyboard.press("l")
    box = page.locator(".pane").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x, box["y"] + y)
    _until(page, "microcalc.panes()[0].loupe.getContext('2d').getImageData(130, 130, 1, 1).data[0] > 200")
    loupe = page.evaluate("() => 260 / 2 / microcalc.panes()[0].magnified * microcalc.panes()[0].meta.pixel_mm")
    assert loupe > 3  # the whole disc is in the loupe
    _becomes(lambda: _extents(page, ".loupe", 130, 130), pytest.approx([6 / loupe * 130] * 2, abs=5))
    page.keyboard.press("a")
    page.mouse.click(box["x"] + x, box["y"] + y)
    _saved(page, 1)
    assert page.evaluate(
        "([row, column]) => microcalc.panes()[0].toStored(...microcalc.panes()[0].toPane(row, column))", [12, 34]
    ) == pytest.approx([12, 34])
    clicked = pytest.approx(centre, abs=1.5 * _mm_per_px(page) / 0.08)
    _becomes(lambda: [(row.row, row.column) for row in read_table(out).annotations], [clicked])


def test_older_priors_come_up_beside_the_current_image_and_follow_it_in_millimetres(
    show: Show, page: Page, tmp_path: Path, processed_header: AcquisitionHeader
) -> None:
    for year, step in ((2019, 2), (2022, 1), (2024, 1)):  # the oldest has pixels of twice the size
        file, shape = tmp_path / f"{year}.dcm", (600 // step, 500 // step)
        spacing = (0.1 * step, 0.1 * step)
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        breast = np.hypot(rows - shape[0] / 2, columns) < 250 / step
        write_dicom(file, (2500 * breast).astype(np.uint16), header=replace(processed_header, spacing_mm=spacing))
        header = pydicom.dcmread(file)
        header.StudyDate, header.StudyInstanceUID, header.SOPInstanceUID = f"{year}0101", f"1.2.{year}", f"1.3.{year}"
        header.ImagerPixelSpacing = list(spacing)
        header.save_as(file)
    _open(page, show(tmp_path))
    page.keyboard.press("b")
    _until(page, f"microcalc.panes().length === 2 && {_SETTLED}")
    assert "prior 1 of 2, 2.0 years before" in page.locator(".pane > .corner").first.inner_text()
    page.keyboard.press("B")
    _until(page, f"microcalc.panes()[0].note.startsWith('prior 2 of 2, 5.0') && {_SETTLED}")
    _frames(page)
    page.evaluate("() => microcalc.panes()[1].fitTo({ top: 250, bottom: 350, left: 50, right: 150 })")
    _until(page, "microcalc.panes()[0].zoom > 6")
    at = page.evaluate(
        "() => microcalc.panes().map((p) => p.toPane(...[300, 100].map((n) => n * 0.1 / p.meta.pixel_mm)))"
    )
    np.testing.assert_allclose(at[0], at[1], atol=6)


def _mm_per_px(page: Page) -> float:
    return float(page.evaluate("() => microcalc.panes()[0].meta.pixel_mm / microcalc.panes()[0].zoom"))


def _extents(page: Page, canvas: str, x: float, y: float) -> list[int]:
    """Width and height in pixels of the screen of the bright disc around a place."""
    extents: list[int] = page.evaluate(
        """([name, x, y]) => {
        const canvas = document.querySelector(name), context = canvas.getContext("2d");
        const across = context.getImageData(0, Math.round(y), canvas.width, 1).data;
        const down = context.getImageData(Math.round(x), 0, 1, canvas.height).data;
        return [across, down].map((line) => line.filter((grey, n) => n % 4 === 0 && grey > 230).length);
    }""",
        [canvas, x, y],
    )
    return extents


def test_a_finding_is_jumped_to_and_the_slider_says_what_it_would_cost(show: Show, page: Page, tmp_path: Path) -> None:
    table = write_images(tmp_path / "t")
    places = [(*SPECKS[0], 0.95), (*SPECKS[1], 0.9), (500, 100, 0.3)]
    write_detections(tmp_path / "d" / "a.json", "a", places, kind="microcalcification")
    write_detections(tmp_path / "d" / "b.json", "b", [(100, 30, 0.9), (110, 30, 0.9), (1, 1, 0.1)])
    _open(page, show(table, tmp_path / "d"))
    _until(page, "document.getElementById('measured').textContent.includes('these 2 images: sensitivity 1.00, 0.50')")
    assert page.locator("#findings li.hit").count() == 1
    assert page.locator("#findings li.partly").inner_text() == "without a mark: 2 of 4 of one"
    page.keyboard.press("n")
    _until(page, "microcalc.panes()[0].zoom > 3")
    assert "row=305" in page.url
    page.keyboard.press("s")  # the annotations beside the detector's marks, at the same place
    _until(page, f"microcalc.panes().length === 2 && {_SETTLED} && microcalc.panes().every((p) => p.zoom > 2)")
    at = page.evaluate(
        "() => microcalc.panes().map((p) => p.toStored(p.element.clientWidth / 2, p.element.clientHeight / 2))"
    )
    np.testing.assert_allclose(at, [[305, 155], [305, 155]], atol=6)
    page.keyboard.press("Tab")  # the annotations have no threshold and a list of their own
    _until(page, "document.getElementById('point').hidden")
    _until(page, "document.querySelector('#findings li').textContent === 'annotated: 4 of one'")
    page.keyboard.press("s")
    _until(page, f"microcalc.panes().length === 1 && {_SETTLED}")
    page.keyboard.press("F")  # the findings of both images, and from one to the other
    _until(page, "document.getElementById('listtitle').textContent === 'All findings (2)'")
    page.keyboard.press("n")
    page.keyboard.press("n")
    _until(page, f"{_SETTLED} && microcalc.state.image.name === 'b' && microcalc.panes()[0].zoom > 3")
    assert page.locator("#findings li.current").inner_text() == "b 0.900 2 marks"
    page.keyboard.press("p")
    _until(page, f"{_SETTLED} && microcalc.state.image.name === 'a'")
    page.keyboard.press("F")
    _until(page, "document.querySelector('#findings li.partly')")
    page.evaluate(
        "() => { const s = document.getElementById('threshold'); s.value = 8; s.dispatchEvent(new Event('input')); }"
    )
    _until(page, "document.getElementById('measured').textContent.includes('sensitivity 0.00, 0.00')")
    _until(page, "document.querySelectorAll('#findings li.hit').length === 0")
    assert page.locator("#findings li.miss").inner_text() == "missed: one, 4"


def test_what_is_annotated_is_saved_undone_and_still_there_after_the_server_was_killed(
    serve: Serve, processes: list[subprocess.Popen[str]], page: Page, browser: Browser, tmp_path: Path
) -> None:
    table, out = write_images(tmp_path / "t", annotated=False), tmp_path / "o"
    call = (table, "--out", out, "--judge", "A. Reader")
    address = serve(*call)
    _open(page, address)
    _centre_on(page, *SPECKS[0], 4)
    page.keyboard.press("a")
    x, y = page.evaluate("([row, column]) => microcalc.panes()[0].toPane(row, column)", list(SPECKS[0]))
    box = page.locator(".pane").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + x, box["y"] + y)
    _saved(page, 1)
    key = page.evaluate("() => microcalc.panes()[0].key")
    page.evaluate("(key) => microcalc.editor().take(key, { annotations: [], mark: '', version: 0 })", key)
    page.keyboard.press("2")  # the annotation is still there, as that answer is of an earlier state
    _saved(page, 2)
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.wheel(0, -100)
    _saved(page, 3)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 40, box["y"] + y, steps=4)
    page.mouse.up()
    _saved(page, 4)
    page.keyboard.press("Control+z")
    _saved(page, 5)
    other = browser.new_page()
    _open(other, address)
    _until(other, "microcalc.editor().annotations(microcalc.panes()[0].key).length === 1")
    page.reload()
    _until(page, f"{_SETTLED} && microcalc.state.annotate")
    page.keyboard.press("D")
    _saved(page, 6)
    _kill(processes[0], page)
    other.close()
    _open(page, serve(*call))
    _until(page, "microcalc.editor().annotations(microcalc.panes()[0].key).length === 1")
    annotation = page.evaluate("() => microcalc.editor().annotations(microcalc.panes()[0].key)[0]")
    assert (annotation["row"], annotation["column"]) == pytest.approx(SPECKS[0], abs=0.5)
    assert annotation["kind"] == "coarse"
    assert annotation["diameter_mm"] == pytest.approx(0.33)
    (row,) = read_table(out).annotations
    assert (row.kind, row.judge, row.id) == ("coarse", "A. Reader", annotation["id"])


def test_clusters_are_grouped_by_hand_and_their_outline_is_edited_by_its_corners(
    show: Show, page: Page, tmp_path: Path
) -> None:
    table, out = write_images(tmp_path / "t", ("a",)), tmp_path / "o"
    _open(page, show(table, out=out))
    _centre_on(page, 310, 160, 8)
    page.keyboard.press("a")
    box = page.locator(".pane").bounding_box()
    assert box is not None

    def at(row: float, column: float) -> tuple[float, float]:
        x, y = page.evaluate("([row, column]) => microcalc.panes()[0].toPane(row, column)", [row, column])
        return box["x"] + x, box["y"] + y

    def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
        page.mouse.move(*at(*start))
        page.mouse.down()
        page.mouse.move(*at(*end), steps=3)
        page.mouse.up()

    page.keyboard.down("Control")
    drag((295, 145), (313, 163))  # a frame around two of the four
    page.keyboard.up("Control")
    page.keyboard.press("K")
    _saved(page, 1)
    page.keyboard.press("k")
    assert page.locator("#dialog input").input_value() == "cluster 1"
    page.keyboard.press("Enter")
    _saved(page, 2)
    page.mouse.click(*at(*SPECKS[3]))
    page.keyboard.press("e")
    for corner in ((300, 160), (300, 180), (330, 180)):
        page.mouse.click(*at(*corner))
    page.keyboard.press("Enter")
    _saved(page, 3)
    page.keyboard.press("e")
    drag((330, 180), (330, 160))
    _saved(page, 4)
    drag((300, 170), (295, 170))  # from the middle of a line: a corner more
    _saved(page, 5)
    page.keyboard.press("Delete")
    _saved(page, 6)
    page.keyboard.press("Control+z")
    _saved(page, 7)
    page.keyboard.press("Enter")
    corners = [pytest.approx(corner, abs=0.3) for corner in ((300, 160), (295, 170), (300, 180), (330, 160))]
    _becomes(
        lambda: {(r.row, r.column): (r.cluster, list(r.outline)) for r in read_table(out).annotations},
        {
            SPECKS[0]: ("cluster 1", []), SPECKS[1]: ("cluster 1", []), SPECKS[2]: ("one", []),
            SPECKS[3]: ("one", corners),
        },
    )  # fmt: skip


def test_review_shows_the_highest_place_first_and_takes_one_key_for_each(
    show: Show, page: Page, tmp_path: Path
) -> None:
    table = write_images(tmp_path / "t", ("a",), annotated=False)
    places = [(*SPECKS[0], 0.5), (*SPECKS[1], 0.9), (500, 100, 0.7)]
    write_detections(tmp_path / "d" / "a.json", "a", places)
    _open(page, show(table, tmp_path / "d", out=tmp_path / "o"))
    page.keyboard.press("q")
    for number, key in enumerate("yx3", 1):
        page.keyboard.press(key)
        _saved(page, number) if number < 3 else _until(page, "!microcalc.state.review")
    _until(page, "microcalc.editor().waiting === 0")
    _becomes(
        lambda: {(r.row, r.column): r.kind for r in read_table(tmp_path / "o").annotations},
        {SPECKS[1]: "microcalcification", (500.0, 100.0): "no_calcium", SPECKS[0]: "vascular"},
    )


def _reviewed_places(page: Page, key: str) -> list[tuple[float, float]]:
    """Judge every place of the image that comes up, by one key; return them in their order."""
    places = []
    page.keyboard.press("q")
    while place := page.evaluate(
        "() => microcalc.state.review && [microcalc.state.review.row, microcalc.state.review.column]"
    ):
        places.append(tuple(place))
        page.keyboard.press(key)
        _until(page, "microcalc.editor().waiting === 0")
    page.keyboard.press("q")
    return places


def test_the_next_round_shows_the_new_places_of_the_next_model_alone(
    serve: Serve, processes: list[subprocess.Popen[str]], page: Page, tmp_path: Path
) -> None:
    table, out = write_images(tmp_path / "t", ("a", "b"), annotated=False), tmp_path / "o"
    for image in "ab":
        write_detections(
            tmp_path / "first" / f"{image}.json", image, [(*SPECKS[0], 0.9), (500, 100, 0.7), (450, 60, 0.6)]
        )
        again = [(SPECKS[0][0] + 2.5, SPECKS[0][1] - 2, 0.99), (498, 103, 0.95), (450, 64, 0.9)]  # within 0.5 mm
        write_detections(tmp_path / "next" / f"{image}.json", image, [*again, (*SPECKS[3], 0.8), (200, 90, 0.5)])
    _open(page, serve(table, tmp_path / "first", "--out", out, "--judge", "A. Reader"))
    assert _reviewed_places(page, "y") == [SPECKS[0], (500, 100), (450, 60)]
    page.keyboard.press("ArrowRight")
    _until(page, f"{_SETTLED} && microcalc.panes()[0].key === 'i1'")
    page.keyboard.press("q")
    page.keyboard.press("7")  # of the second image, only the highest, and as unsure
    _until(page, "microcalc.editor().waiting === 0")
    _kill(processes[-1], page)
    _open(page, serve(table, tmp_path / "next", "--out", out, "--judge", "A. Reader"))
    assert _reviewed_places(page, "x") == [SPECKS[3], (200, 90)]
    page.keyboard.press("ArrowRight")
    _until(page, f"{_SETTLED} && microcalc.panes()[0].key === 'i1'")
    assert _reviewed_places(page, "x") == [(498, 103), (450, 64), SPECKS[3], (200, 90)]
    assert _reviewed_places(page, "x") == []


def test_four_views_hang_chest_wall_to_chest_wall_and_help_lists_every_key(
    show: Show, page: Page, tmp_path: Path
) -> None:
    table = write_images(tmp_path / "t", ("rcc", "lcc", "rmlo", "lmlo"))
    _open(page, show(table))
    assert page.locator(".pane").count() == 4
    corners = page.locator(".pane > .corner").all_inner_texts()
    assert [text.split("\n")[0] for text in corners] == ["R CC", "L CC", "R MLO", "L MLO"]
    walls = page.evaluate("() => microcalc.panes().map((p) => p.meta.mirror_columns)")
    assert walls == [True, False, True, False]  # all stored with the chest wall on the left
    edges = page.evaluate("() => microcalc.panes().map((p) => [p.toPane(0, -0.5)[0], p.element.clientWidth])")
    for (edge, width), side in zip(edges, "RLRL", strict=True):
        assert edge == pytest.approx(width if side == "R" else 0, abs=1)
    page.keyboard.press("?")
    assert page.locator("#keys kbd").count() >= 30
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("1")
    _until(page, f"microcalc.panes().length === 1 && {_SETTLED}")
    assert page.locator(".pane > .corner").inner_text().startswith("L CC")


def test_an_example_of_a_study_is_jumped_to_on_another_image(show: Show, page: Page, tmp_path: Path) -> None:
    study = tmp_path / "study"
    open_output_folder(study, "study")
    write_images(study / "stages" / "exams" / "table", ("a", "b", "c", "d", "other"), annotated=False)
    (study / "report").mkdir()
    (study / "report" / "examples.csv").write_text("what,method,image,row,column\nmiss,pair,other,300,150\n")
    _open(page, show(study))
    page.click("#findings li.miss")
    _until(page, f"{_SETTLED} && microcalc.state.image.name.endsWith('other') && microcalc.panes()[0].zoom > 1.5")
    assert page.locator("#findings li.current").inner_text() == "miss, pair"
    assert "row=300" in page.url


def test_a_speck_of_one_pixel_is_seen_when_the_whole_breast_is(show: Show, page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    write_images(folder, ("a",), annotated=False)
    pixels = np.array(Image.open(folder / "a.png").resize((2100, 1920), Image.Resampling.NEAREST))
    pixels[900, 450] = 255
    Image.fromarray(pixels).save(folder / "a.png")
    text = (folder / "images.csv").read_text().replace(",640,700", ",1920,2100").replace(",0.1,0.1,", ",0.05,0.05,")
    (folder / "images.csv").write_text(text)
    _open(page, show(folder))
    page.evaluate("() => microcalc.panes()[0].home()")
    _until(page, f"{_SETTLED} && microcalc.panes()[0].zoom < 0.5")

    def is_seen() -> bool:
        around = page.evaluate(
            """() => {
            const pane = microcalc.panes()[0];
            const [x, y] = pane.toPane(900, 450).map(Math.round);
            return Array.from(pane.viewer.drawer.canvas.getContext("2d").getImageData(x - 12, y - 12, 24, 24).data)
                .filter((_v, n) => n % 4 === 0);
        }"""
        )
        square = np.array(around).reshape(24, 24)
        return bool(square[9:16, 9:16].max() > np.median(square) + 25)

    _becomes(is_seen, True)


def test_a_training_that_runs_is_shown_and_the_page_follows_it(page: Page, show: Show, tmp_path: Path) -> None:
    run = tmp_path / "run"
    open_output_folder(run, "train")
    write_images(run / "table", ("a",))
    (run / "cnn1").mkdir()
    measured = {"step": 50, "loss": 0.5, "validation_loss": 0.6, "sensitivity": 0.25, "at": "1 false mark per image"}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    progress = {"step": 50, "steps": 100, "seconds_left": 1800, "when": now}
    (run / "cnn1" / "progress.json").write_text(json.dumps(progress))
    (run / "cnn1" / "metrics.jsonl").write_text(json.dumps(measured) + "\n")
    _open(page, show(run))
    shown = "document.getElementById('trainingpage').textContent"
    _until(page, f"document.getElementById('trainingpage')?.isConnected && {shown}.includes('CNN1: step 50 of 100')")
    text = page.evaluate(shown)
    for words in ("of training left", "sensitivity at 1 false mark per image", "training 0.500", "validation 0.600"):
        assert words in text
    assert page.evaluate("document.querySelectorAll('#trainingpage svg.curve').length") == 2
    with (run / "cnn1" / "metrics.jsonl").open("a") as handle:
        handle.write(json.dumps({**measured, "step": 100, "sensitivity": 0.75}) + "\n")
    _until(page, f"{shown}.includes('0.750')")
    assert page.evaluate("document.querySelectorAll('#trainingpage circle.validation').length") == 4
    page.keyboard.press("Escape")
    page.locator("#training").click()
    _until(page, f"document.getElementById('trainingpage').isConnected && {shown}.includes('0.750')")
