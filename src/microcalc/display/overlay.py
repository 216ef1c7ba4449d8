"""The overlay: a picture of the whole view, and beside it each cluster enlarged, without and with its marks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from microcalc.detection.entries import ClusterEntry
from microcalc.detection.result import Result
from microcalc.display.grey import GreyImage, breast_of, local_grey, shown_values, whole_grey
from microcalc.domain import Mammogram, NormalisedMammogram
from microcalc.storage.write import write_whole
from microcalc.wording import quantity

Colour = tuple[int, int, int]

FINDING: Colour = (255, 150, 30)
OTHER: Colour = (80, 190, 255)
TEXT: Colour = (225, 225, 225)
PAPER: Colour = (24, 24, 26)
NOTICE = "Research use only. Not for diagnosis."

WHOLE_HEIGHT_PX, WHOLE_WIDTH_PX = 1500, 1100
PANEL_PX = 350
CAPTION_PX = 28
HEADER_PX = 40
GAP_PX = 10
PANELS_PER_COLUMN = 4
USUAL_PANELS, MAX_PANELS = 8, 16  # every finding has one up to the latter, other clusters up to the former
MIN_ZOOM_MM, MAX_ZOOM_MM = 10.0, 30.0
RING_MM = 0.6

Pixels = NDArray[np.float64]
"""Positions (n, 2), (row, column) in pixels of the original image."""


@dataclass(frozen=True, eq=False, slots=True)
class _Place:
    """A numbered place: it has a panel, and an outline in the whole view."""

    caption: str
    marks: Pixels
    outline: Pixels
    colour: Colour


def draw_overlay(mammogram: Mammogram, normalised: NormalisedMammogram, result: Result) -> Image.Image:
    """Draw the overlay of one mammogram.

    The clusters of highest likelihood are numbered, findings in one colour and others in another. Each is enlarged
    from the original pixels with grey levels of its own: on the left without marks, on the right with a ring around
    each member. If there is no cluster, the candidates of highest likelihood are shown.
    """
    places = _places(result, mammogram.spacing_mm)
    whole, scale = _whole_view(mammogram, normalised, places)
    panels = [_panel(mammogram, normalised, place, number) for number, place in enumerate(places, start=1)]
    columns = -(-len(panels) // PANELS_PER_COLUMN)
    panel_width, panel_height = 2 * PANEL_PX + GAP_PX, PANEL_PX + CAPTION_PX
    rows = min(len(panels), PANELS_PER_COLUMN)
    height = max(whole.height, rows * (panel_height + GAP_PX)) + HEADER_PX + CAPTION_PX
    page = Image.new("RGB", (whole.width + columns * (panel_width + GAP_PX) + 2 * GAP_PX, height), PAPER)
    page.paste(whole, (GAP_PX, HEADER_PX))
    _scale_bar(ImageDraw.Draw(page), length_mm=20, px_per_mm=scale, corner=(GAP_PX + 10, HEADER_PX + whole.height - 10))
    for index, panel in enumerate(panels):
        column, row = divmod(index, PANELS_PER_COLUMN)
        left = whole.width + 2 * GAP_PX + column * (panel_width + GAP_PX)
        page.paste(panel, (left, HEADER_PX + row * (panel_height + GAP_PX)))
    _write_margins(page, result, shown=len(places))
    return page


def write_overlay(page: Image.Image, path: Path) -> None:
    """Write the page as PNG, marked as ours (``batch.folder.is_result``); whole or not at all.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    buffer, mark = io.BytesIO(), PngInfo()
    mark.add_text("Software", "microcalc")
    page.save(buffer, "PNG", compress_level=3, pnginfo=mark)
    write_whole(path, buffer.getvalue())


def _places(result: Result, spacing_mm: tuple[float, float]) -> list[_Place]:
    """Return the clusters to show, highest likelihood first; without any cluster, the highest candidates."""
    found = sum(cluster.finding for cluster in result.clusters)
    shown = min(max(found, USUAL_PANELS), MAX_PANELS)
    clusters = sorted(result.clusters, key=lambda cluster: -cluster.likelihood)[:shown]
    if clusters:
        return [_cluster_place(cluster, result.places, spacing_mm) for cluster in clusters]
    return [
        _Place(
            caption=f"no cluster; candidate, likelihood {c.likelihood:.3f}, row {c.row:.0f}, column {c.column:.0f}",
            marks=np.array([(c.row, c.column)]),
            outline=np.zeros((0, 2)),
            colour=OTHER,
        )
        for c in result.candidates[:PANELS_PER_COLUMN]
    ]


def _cluster_place(cluster: ClusterEntry, everything: Pixels, spacing_mm: tuple[float, float]) -> _Place:
    marks = everything[list(cluster.members)]
    high, wide = np.ptp(marks, axis=0) * spacing_mm
    row, column = marks.mean(axis=0)
    word = "FINDING" if cluster.finding else "below threshold"
    return _Place(
        caption=(
            f"{word}, likelihood {cluster.likelihood:.3f}, {len(marks)} marks in {wide:.1f} x {high:.1f} mm, "
            f"row {row:.0f}, column {column:.0f}"
        ),
        marks=marks,
        outline=np.array(cluster.outline),
        colour=FINDING if cluster.finding else OTHER,
    )


def _whole_view(
    mammogram: Mammogram, normalised: NormalisedMammogram, places: list[_Place]
) -> tuple[Image.Image, float]:
    """Draw the whole image with square pixels, outlines and numbers; return it and its scale in px per mm."""
    extent_mm = np.array(mammogram.pixels.shape) * mammogram.spacing_mm
    scale = float(min(WHOLE_HEIGHT_PX / extent_mm[0], WHOLE_WIDTH_PX / extent_mm[1], 1 / min(mammogram.spacing_mm)))
    height, width = np.maximum((extent_mm * scale).round().astype(int), 1).tolist()
    grey = Image.fromarray(whole_grey(mammogram, normalised))
    view = grey.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0).convert("RGB")
    pen = ImageDraw.Draw(view)
    per_pixel = scale * np.array(mammogram.spacing_mm)
    for number, place in reversed(list(enumerate(places, start=1))):
        around = place.outline if place.outline.size else _ring_corners(place.marks, mammogram.spacing_mm)
        ring = [(x, y) for y, x in (around + 0.5) * per_pixel]
        pen.line(ring, fill=place.colour, width=3 if place.colour == FINDING else 1)
        right, top = max(x for x, _ in ring), min(y for _, y in ring)
        anchor, x = ("lm", right + 4) if right + 24 < width else ("rm", min(x for x, _ in ring) - 4)
        pen.text(
            (x, max(top, 12)),
            str(number),
            fill=place.colour,
            font=_font(20),
            anchor=anchor,
            stroke_width=2,
            stroke_fill=PAPER,
        )
    return view, scale


def _ring_corners(marks: Pixels, spacing_mm: tuple[float, float]) -> Pixels:
    """Return the corners of a circle of radius 2 mm around a single mark."""
    angle = np.linspace(0, 2 * np.pi, 33)
    circle_mm: Pixels = 2.0 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.asarray(marks[0] + circle_mm / np.array(spacing_mm))


def _panel(mammogram: Mammogram, normalised: NormalisedMammogram, place: _Place, number: int) -> Image.Image:
    """Draw one place enlarged, without and with marks, its caption above it, and a scale bar."""
    spacing_mm = np.array(mammogram.spacing_mm)
    lowest, highest = place.marks.min(axis=0), place.marks.max(axis=0)
    side_mm = float(np.clip(((highest - lowest) * spacing_mm).max() + 4, MIN_ZOOM_MM, MAX_ZOOM_MM))
    side_px = np.maximum((side_mm / spacing_mm).round().astype(int), 1)
    first = ((lowest + highest) / 2 - (side_px - 1) / 2).round().astype(int)
    grey = Image.fromarray(_zoom_grey(mammogram, normalised, first, side_px))
    plain = grey.resize((PANEL_PX, PANEL_PX), Image.Resampling.BICUBIC).convert("RGB")
    marked = plain.copy()
    pen = ImageDraw.Draw(marked)
    enlarged = PANEL_PX / side_px
    radius = RING_MM * PANEL_PX / side_mm
    for row, column in (place.marks - first + 0.5) * enlarged:
        pen.ellipse((column - radius, row - radius, column + radius, row + radius), outline=place.colour, width=1)
    _scale_bar(ImageDraw.Draw(plain), length_mm=2, px_per_mm=PANEL_PX / side_mm, corner=(10, PANEL_PX - 10))
    panel = Image.new("RGB", (2 * PANEL_PX + GAP_PX, PANEL_PX + CAPTION_PX), PAPER)
    ImageDraw.Draw(panel).text((0, 5), f"{number}  {place.caption}", fill=place.colour, font=_font(16))
    panel.paste(plain, (0, CAPTION_PX))
    panel.paste(marked, (PANEL_PX + GAP_PX, CAPTION_PX))
    return panel


def _zoom_grey(
    mammogram: Mammogram, normalised: NormalisedMammogram, first: NDArray[np.int_], side_px: NDArray[np.int_]
) -> GreyImage:
    """Return the grey levels of a window, which is black where it extends beyond the image."""
    (top, left), (bottom, right) = np.maximum(first, 0), np.minimum(first + side_px, mammogram.pixels.shape)
    values = shown_values(mammogram.pixels[top:bottom, left:right], mammogram.intent)
    breast = breast_of(mammogram, normalised, (int(top), int(left)), (int(bottom), int(right)))
    grey = np.zeros(side_px, dtype=np.uint8)
    grey[top - first[0] : bottom - first[0], left - first[1] : right - first[1]] = local_grey(values, breast)
    return grey


def _write_margins(page: Image.Image, result: Result, *, shown: int) -> None:
    """Write the line at the top, and the notice at the bottom."""
    pen = ImageDraw.Draw(page)
    image = result.image
    found = sum(cluster.finding for cluster in result.clusters)
    rest = len(result.clusters) - found
    identity = " ".join(word for word in (image.system, image.laterality, image.view, image.intent) if word)
    counts = quantity(found, "finding")
    if result.operating_point is not None:
        counts += f" (likelihood from {result.operating_point.threshold:.3f})"
    counts += f", {quantity(rest, 'cluster')} below" + (f"; the first {shown} shown" * (found + rest > shown))
    model = "" if result.model is None else f"model {result.model.name} {result.model.version}"
    pen.text((GAP_PX, 10), f"{image.file}   {identity}   {counts}   {model}", fill=TEXT, font=_font(18))
    pen.text((page.width - GAP_PX, page.height - 10), NOTICE, fill=TEXT, font=_font(18), anchor="rb")


def _scale_bar(pen: ImageDraw.ImageDraw, *, length_mm: int, px_per_mm: float, corner: tuple[int, int]) -> None:
    left, bottom = corner
    right = left + length_mm * px_per_mm
    pen.rectangle((left - 1, bottom - 3, right + 1, bottom + 1), fill=TEXT, outline=PAPER)
    label = (right + 6, bottom + 3)
    pen.text(label, f"{length_mm} mm", fill=TEXT, font=_font(15), anchor="ls", stroke_width=2, stroke_fill=PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
