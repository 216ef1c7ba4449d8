"""Contact sheets: the right pixels, uncovered, in a readable size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from microcalc.display.contact_sheets import LAYOUT, close_panel, draw_overview, draw_sheet, wide_panel
from microcalc.domain import Intent, Mammogram


def flat_with_spot(
    row: int, column: int, *, shape: tuple[int, int] = (400, 300), spacing_mm: float = 0.1, intent: Intent = "processed"
) -> Mammogram:
    pixels = np.full(shape, -4000 if intent == "raw" else 1000, dtype=np.float32)
    pixels[row - 2 : row + 3, column - 2 : column + 3] += 400
    return Mammogram(pixels, (spacing_mm, spacing_mm), intent, "uid")


def centre_of_spot(panel: NDArray[np.uint8]) -> tuple[float, float]:
    rows, columns = np.nonzero(panel > 200)
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize("intent", ["raw", "processed"])
@pytest.mark.parametrize("place", [(200, 150), (2, 2), (397, 2), (30, 297)])
def test_the_place_is_at_the_centre_of_both_panels_and_bright(place: tuple[int, int], intent: Intent) -> None:
    mammogram = flat_with_spot(*place, intent=intent)
    for panel in (close_panel(mammogram, place), wide_panel(mammogram, place)):
        middle = (panel.shape[0] - 1) / 2
        assert centre_of_spot(panel) == pytest.approx((middle, middle), abs=1.0)


def test_the_close_panel_shows_native_pixels_at_their_enlarged_positions() -> None:
    mammogram = flat_with_spot(210, 145)
    panel = close_panel(mammogram, (200.0, 150.0))
    scale = LAYOUT.close_size / LAYOUT.close_px
    expected = (LAYOUT.close_size / 2 + 10 * scale - 0.5, LAYOUT.close_size / 2 - 5 * scale - 0.5)
    assert centre_of_spot(panel) == pytest.approx(expected, abs=1.0)


def test_the_wide_panel_spans_its_millimetres_whatever_the_spacing() -> None:
    for spacing_mm in (0.05, 0.1):
        away = round(5.0 / spacing_mm)  # 5 mm below the place
        mammogram = flat_with_spot(200 + away, 150, spacing_mm=spacing_mm)
        expected = LAYOUT.wide_size / 2 + 5.0 / LAYOUT.wide_mm * LAYOUT.wide_size
        assert centre_of_spot(wide_panel(mammogram, (200, 150)))[0] == pytest.approx(expected, abs=2.0)


def test_a_sheet_holds_each_place_uncovered_in_its_numbered_cell() -> None:
    places = [(20.0 + 15 * n, 30.0 + 10 * n) for n in range(LAYOUT.per_sheet)]
    mammogram = flat_with_spot(200, 150)
    sheet = np.asarray(draw_sheet(mammogram, places, [str(n) for n in range(len(places))], header="h"))
    for index, place in enumerate(places):
        left, top = LAYOUT.corner(index)
        shown = sheet[top : top + LAYOUT.close_size, left : left + LAYOUT.close_size]
        inner = slice(12, LAYOUT.close_size - 12)  # beyond the ticks
        assert np.array_equal(shown[inner, inner, 0], close_panel(mammogram, place)[inner, inner])


def test_a_full_sheet_stays_below_what_viewers_reduce() -> None:
    places = [(50.0, 50.0)] * LAYOUT.per_sheet
    sheet = draw_sheet(flat_with_spot(200, 150), places, ["1"] * len(places), header="h")
    assert sheet.width <= 1600
    assert sheet.width * sheet.height <= 1.18e6


def test_a_sheet_with_few_places_is_not_taller_than_they_need() -> None:
    sheet = draw_sheet(flat_with_spot(200, 150), [(50.0, 50.0)], ["1"], header="h")
    assert sheet.height < 2 * LAYOUT.close_size


def test_the_overview_rings_the_place_without_covering_it() -> None:
    mammogram = flat_with_spot(200, 150)
    view = np.asarray(draw_overview(mammogram, [(200.0, 150.0)], [1], header="h")).astype(int)
    coloured = np.ptp(view, axis=2) > 20
    header = 28
    assert view[header + 200, 150].tolist() == [255, 255, 255]
    assert not coloured[header + 196 : header + 205, 146:155].any()
    assert coloured[header + 190 : header + 211, 140:161].any()


def test_a_flat_image_is_drawn_without_complaint() -> None:
    flat = Mammogram(np.full((60, 60), 7.0, dtype=np.float32), (0.1, 0.1), "processed", "uid")
    assert np.ptp(close_panel(flat, (30, 30))) <= 255
    draw_overview(flat, [(30.0, 30.0)], [1], header="h")
