"""The overlay: a picture of the whole view, and beside it each cluster enlarged, without and with its marks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from microcalc.detection.result import Result
from microcalc.display.grey import GreyImage, breast_of, local_grey, shown_values, whole_grey
from microcalc.display.places import (
    FINDING,
    MOST,
    SET_APART,
    SINGLE,
    Colour,
    Mark,
    Pixels,
    Place,
    colour_of,
    mark_of,
    places_to_show,
)
from microcalc.domain import Mammogram, NormalisedMammogram
from microcalc.storage.write import write_whole
from microcalc.wording import quantity

TEXT: Colour = (225, 225, 225)
PAPER: Colour = (24, 24, 26)
NOTICE = "Research use only. Not for diagnosis."

WHOLE_HEIGHT_PX, WHOLE_WIDTH_PX = 1500, 1100
PANEL_PX = 350
CAPTION_PX = 46
LINE_PX = 21
HEADER_PX = 64
FOOTER_PX = 28
GAP_PX = 10
PANELS_PER_COLUMN = 4
MIN_ZOOM_MM, MAX_ZOOM_MM = 10.0, 60.0
RING_MM = 0.6


@dataclass(frozen=True, eq=False, slots=True)
class _Listed:
    """What a result lists: the outlines and members of its findings with their colours, and single calcifications."""

    outlines: tuple[tuple[Pixels, Colour], ...]
    members: tuple[tuple[Mark, Colour], ...]
    singles: tuple[Mark, ...]


def draw_overlay(mammogram: Mammogram, normalised: NormalisedMammogram, result: Result) -> Image.Image:
    """Draw the overlay of one mammogram.

    Findings, single calcifications and, where there are few of these, the most likely of the rest are numbered, each
    kind in a colour of its own. Of many findings and single calcifications the most likely are numbered, and all are
    drawn. Each numbered place is enlarged from the original pixels with grey levels of its own: on the left without
    marks, on the right with the outline of each calcification, or a ring where there is none.
    """
    places, listed = places_to_show(result, mammogram.spacing_mm), _listed(result)
    whole, scale = _whole_view(mammogram, normalised, places, listed)
    panels = [_panel(mammogram, normalised, place, listed, number) for number, place in enumerate(places, start=1)]
    columns = -(-len(panels) // PANELS_PER_COLUMN)
    panel_width, panel_height = 2 * PANEL_PX + GAP_PX, PANEL_PX + CAPTION_PX
    rows = min(len(panels), PANELS_PER_COLUMN)
    height = max(whole.height, rows * (panel_height + GAP_PX)) + HEADER_PX + FOOTER_PX
    page = Image.new("RGB", (whole.width + columns * (panel_width + GAP_PX) + 2 * GAP_PX, height), PAPER)
    page.paste(whole, (GAP_PX, HEADER_PX))
    _scale_bar(ImageDraw.Draw(page), length_mm=20, px_per_mm=scale, corner=(GAP_PX + 10, HEADER_PX + whole.height - 10))
    for index, panel in enumerate(panels):
        column, row = divmod(index, PANELS_PER_COLUMN)
        left = whole.width + 2 * GAP_PX + column * (panel_width + GAP_PX)
        page.paste(panel, (left, HEADER_PX + row * (panel_height + GAP_PX)))
    _write_margins(page, result)
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
    page.save(buffer, "PNG", compress_level=2, pnginfo=mark)
    write_whole(path, buffer.getvalue())


def _listed(result: Result) -> _Listed:
    findings = [(cluster, colour_of(cluster)) for cluster in result.clusters if cluster.finding]
    return _Listed(
        tuple((np.array(cluster.outline), colour) for cluster, colour in findings if cluster.outline),
        tuple((mark_of(result.candidates[m]), colour) for cluster, colour in findings for m in cluster.members),
        tuple(mark_of(result.candidates[index]) for index in result.single_calcifications),
    )


def _whole_view(
    mammogram: Mammogram, normalised: NormalisedMammogram, places: list[Place], listed: _Listed
) -> tuple[Image.Image, float]:
    """Draw the whole image with square pixels, outlines and numbers; return it and its scale in px per mm."""
    extent_mm = np.array(mammogram.pixels.shape) * mammogram.spacing_mm
    scale = float(min(WHOLE_HEIGHT_PX / extent_mm[0], WHOLE_WIDTH_PX / extent_mm[1], 1 / min(mammogram.spacing_mm)))
    height, width = np.maximum((extent_mm * scale).round().astype(int), 1).tolist()
    grey = Image.fromarray(whole_grey(mammogram, normalised))
    view = grey.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0).convert("RGB")
    pen = ImageDraw.Draw(view)
    per_pixel = scale * np.array(mammogram.spacing_mm)
    for mark in listed.singles:
        pen.line(_drawn(_circle(mark.place, mammogram.spacing_mm), per_pixel), fill=SINGLE, width=1)
    for outline, colour in listed.outlines:  # also of findings without a number
        pen.line(_drawn(outline, per_pixel), fill=colour, width=3)
    for number, place in reversed(list(enumerate(places, start=1))):
        around = place.outline if place.outline.size else _circle(place.marks[0].place, mammogram.spacing_mm)
        ring = _drawn(around, per_pixel)
        pen.line(ring, fill=place.colour, width=3 if place.colour in (FINDING, SET_APART) else 1)
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


def _drawn(places: Pixels, per_pixel: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return positions as (x, y) in a picture that has so many pixels for one of the image."""
    return [(x, y) for y, x in ((places + 0.5) * per_pixel).tolist()]


def _circle(place: Pixels, spacing_mm: tuple[float, float], radius_mm: float = 2.0) -> Pixels:
    """Return the corners of a circle around a place."""
    angle = np.linspace(0, 2 * np.pi, 33)
    circle_mm: Pixels = radius_mm * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.asarray(place + circle_mm / np.array(spacing_mm))


def _panel(
    mammogram: Mammogram, normalised: NormalisedMammogram, place: Place, listed: _Listed, number: int
) -> Image.Image:
    """Draw one place enlarged, without and with marks, its caption above it, and a scale bar."""
    spacing_mm = np.array(mammogram.spacing_mm)
    everything = np.concatenate([mark.outline if mark.outline.size else mark.place[None] for mark in place.marks])
    lowest, highest = everything.min(axis=0), everything.max(axis=0)
    side_mm = float(np.clip(((highest - lowest) * spacing_mm).max() + 4, MIN_ZOOM_MM, MAX_ZOOM_MM))
    side_px = np.maximum((side_mm / spacing_mm).round().astype(int), 1)
    first = ((lowest + highest) / 2 - (side_px - 1) / 2).round().astype(int)
    grey = Image.fromarray(_zoom_grey(mammogram, normalised, first, side_px))
    plain = grey.resize((PANEL_PX, PANEL_PX), Image.Resampling.BICUBIC).convert("RGB")
    marked = plain.copy()
    pen = ImageDraw.Draw(marked)
    others, own = [(mark, SINGLE) for mark in listed.singles], [(mark, place.colour) for mark in place.marks]
    for mark, colour in (*listed.members, *others, *own):
        around = mark.outline if mark.outline.size else _circle(mark.place, mammogram.spacing_mm, RING_MM)
        pen.line(_drawn(around - first, PANEL_PX / side_px), fill=colour, width=1)
    _scale_bar(ImageDraw.Draw(plain), length_mm=2, px_per_mm=PANEL_PX / side_mm, corner=(10, PANEL_PX - 10))
    panel = Image.new("RGB", (2 * PANEL_PX + GAP_PX, PANEL_PX + CAPTION_PX), PAPER)
    for line, words in enumerate((f"{number}  {place.title}", place.detail)):
        ImageDraw.Draw(panel).text((0, 3 + line * LINE_PX), words, fill=place.colour, font=_font(16))
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


def _write_margins(page: Image.Image, result: Result) -> None:
    """Write the two lines at the top, and the notice at the bottom."""
    pen, image = ImageDraw.Draw(page), result.image
    identity = " ".join(word for word in (image.system, image.laterality, image.view, image.intent) if word)
    model = "" if result.model is None else f"model {result.model.name} {result.model.version}"
    pen.text((GAP_PX, 10), f"{image.file}   {identity}   {model}", fill=TEXT, font=_font(18))
    pen.text((GAP_PX, 34), _counts(result), fill=TEXT, font=_font(18))
    pen.text((page.width - GAP_PX, page.height - 10), NOTICE, fill=TEXT, font=_font(18), anchor="rb")


def _counts(result: Result) -> str:
    found = sum(cluster.finding for cluster in result.clusters)
    findings = quantity(found, "finding")
    if result.operating_point is not None:
        findings += f" (likelihood from {result.operating_point.threshold:.3f})"
    if found > MOST:
        findings += f", the {MOST} most likely numbered"
    singles = quantity(len(result.single_calcifications), "single calcification")
    if result.mark_operating_points:
        singles += f" (from {result.mark_operating_points[0].threshold:.3f})"
    words = [findings, singles, f"{quantity(len(result.clusters) - found, 'cluster')} below the threshold"]
    if result.candidate_limit_reached:
        words.append("limit on candidates reached")
    return ", ".join(words)


def _scale_bar(pen: ImageDraw.ImageDraw, *, length_mm: int, px_per_mm: float, corner: tuple[int, int]) -> None:
    left, bottom = corner
    right = left + length_mm * px_per_mm
    pen.rectangle((left - 1, bottom - 3, right + 1, bottom + 1), fill=TEXT, outline=PAPER)
    label = (right + 6, bottom + 3)
    pen.text(label, f"{length_mm} mm", fill=TEXT, font=_font(15), anchor="ls", stroke_width=2, stroke_fill=PAPER)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
