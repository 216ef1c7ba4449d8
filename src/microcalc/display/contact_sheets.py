"""Numbered contact sheets, on which a reader judges places in a mammogram.

Each place is shown twice. The left panel shows its pixels enlarged, with slow changes of density reduced and
grey levels of its own, so that the edge and shape of a particle can be judged in dense tissue too. The right
panel shows its surroundings unchanged, so that the two lines of a vessel can be told from a cluster. Numbers
are above the panels and ticks at their margins, so that nothing covers the place. A sheet has about a
megapixel, which viewers show at full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from microcalc.display.grey import GreyImage, shown_values, stretch
from microcalc.domain import FloatImage, Mammogram


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a sheet; sizes are in pixels of the sheet where nothing else is stated.

    ``close_px`` pixels of the mammogram are enlarged to ``close_size``; ``wide_mm`` millimetres
    are shown in ``wide_size``.
    """

    columns: int = 4
    rows: int = 5
    close_px: int = 48
    close_size: int = 160
    wide_mm: float = 16.0
    wide_size: int = 160
    strip: int = 14
    gap: int = 3
    header: int = 20

    @property
    def per_sheet(self) -> int:
        """Return the number of places on one sheet."""
        return self.columns * self.rows

    @property
    def cell(self) -> tuple[int, int]:
        """Return the width and height of one place, with its number and gaps."""
        return self.close_size + self.wide_size + 3 * self.gap, max(self.close_size, self.wide_size) + self.strip

    def corner(self, index: int) -> tuple[int, int]:
        """Return the left and top of the left panel of a place; ``index`` counts from 0."""
        width, height = self.cell
        return (
            self.gap + (index % self.columns) * width,
            self.header + (index // self.columns) * height + self.strip,
        )


LAYOUT: Final = Layout()
_TICK: Final = (0, 230, 230)
_NUMBER: Final = (255, 220, 0)
_TEXT: Final = (210, 210, 210)
_OVERVIEW_PX: Final = 1.1e6  # area of the whole view
_PERCENTILES: Final = (1.0, 99.8)  # the window; a few bad pixels do not set it
_BACKGROUND_MM: Final = 1.0  # standard deviation of what counts as slow change
_FLATTEN: Final = 0.6  # how much of the slow change is taken away; all of it would make every panel look alike
_FLAT: Final = 1e-4  # no window is narrower than this part of its grey values: that would show rounding
_REACH_PX: Final = 12  # beyond a panel's edge, for the filters


def draw_sheet(
    mammogram: Mammogram,
    centres_px: Sequence[tuple[float, float]],
    labels: Sequence[str],
    *,
    header: str,
) -> Image.Image:
    """Draw one sheet of at most ``LAYOUT.per_sheet`` places.

    Parameters
    ----------
    mammogram
        The image.
    centres_px
        (row, column) of each place in pixels of the image; (0, 0) is the centre of the first pixel.
    labels
        The text above each place.
    header
        The text at the top of the sheet.
    """
    width, height = LAYOUT.cell
    rows = -(-len(labels) // LAYOUT.columns)
    sheet = Image.new("RGB", (LAYOUT.columns * width + LAYOUT.gap, LAYOUT.header + rows * height + LAYOUT.gap))
    draw = ImageDraw.Draw(sheet)
    draw.text((LAYOUT.gap, 2), header, fill=_TEXT, font=_font(14))
    for index, (centre, label) in enumerate(zip(centres_px, labels, strict=True)):
        left, top = LAYOUT.corner(index)
        _draw_place(sheet, draw, mammogram, centre, (left, top))
        draw.text((left, top - LAYOUT.strip), label, fill=_NUMBER, font=_font(12))
    return sheet


def close_panel(mammogram: Mammogram, centre_px: tuple[float, float]) -> GreyImage:
    """Return the pixels around a place, enlarged to (close_size, close_size) grey levels."""
    extent = (float(LAYOUT.close_px), float(LAYOUT.close_px))
    background_px = (_BACKGROUND_MM / mammogram.spacing_mm[0], _BACKGROUND_MM / mammogram.spacing_mm[1])
    return _panel(mammogram.pixels, centre_px, extent, LAYOUT.close_size, background_px)


def wide_panel(mammogram: Mammogram, centre_px: tuple[float, float]) -> GreyImage:
    """Return ``LAYOUT.wide_mm`` around a place as (wide_size, wide_size) grey levels."""
    row_mm, column_mm = mammogram.spacing_mm
    extent = (LAYOUT.wide_mm / row_mm, LAYOUT.wide_mm / column_mm)
    return _panel(mammogram.pixels, centre_px, extent, LAYOUT.wide_size, None)


def draw_overview(
    mammogram: Mammogram, centres_px: Sequence[tuple[float, float]], numbers: Sequence[int], *, header: str
) -> Image.Image:
    """Draw the whole view with a ring and a number at each place."""
    rows, columns = mammogram.pixels.shape
    scale = min((_OVERVIEW_PX / (rows * columns)) ** 0.5, 1.0)
    size = (max(round(columns * scale), 1), max(round(rows * scale), 1))
    small = np.asarray(
        Image.fromarray(shown_values(mammogram.pixels, mammogram.intent)).resize(size, Image.Resampling.BOX)
    )
    view = Image.new("RGB", (max(size[0], 700), size[1] + 28))
    view.paste(Image.fromarray(stretch(small, *_limits(small))), (0, 28))
    draw = ImageDraw.Draw(view)
    draw.text((6, 6), header, fill=_TEXT, font=_font(14))
    for (row, column), number in zip(centres_px, numbers, strict=True):
        x, y = (column + 0.5) * scale, (row + 0.5) * scale + 28
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=_TICK)
        draw.text((x + 9, y - 7), str(number), fill=_NUMBER, font=_font(12))
    return view


def _draw_place(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    mammogram: Mammogram,
    centre_px: tuple[float, float],
    corner: tuple[int, int],
) -> None:
    left, top = corner
    wide_left = left + LAYOUT.close_size + LAYOUT.gap // 2
    sheet.paste(Image.fromarray(close_panel(mammogram, centre_px)), (left, top))
    sheet.paste(Image.fromarray(wide_panel(mammogram, centre_px)), (wide_left, top))
    _ticks(draw, left, top, LAYOUT.close_size, length=7)
    _ticks(draw, wide_left, top, LAYOUT.wide_size, length=7)


def _ticks(draw: ImageDraw.ImageDraw, left: int, top: int, size: int, *, length: int) -> None:
    x, y = left + size // 2, top + size // 2
    right, bottom = left + size - 1, top + size - 1
    for line in (
        (x, top, x, top + length), (x, bottom - length, x, bottom),
        (left, y, left + length, y), (right - length, y, right, y),
    ):  # fmt: skip
        draw.line(line, fill=_TICK)


def _panel(
    pixels: FloatImage,
    centre_px: tuple[float, float],
    extent_px: tuple[float, float],
    size: int,
    background_px: tuple[float, float] | None,
) -> GreyImage:
    """Resample ``extent_px`` (rows, columns) around a place to (size, size) grey levels.

    ``background_px`` is the standard deviation of the slow change to be reduced.
    """
    half = np.array(extent_px) / 2
    low = np.floor(np.array(centre_px) - half).astype(int) - _REACH_PX
    high = np.ceil(np.array(centre_px) + half).astype(int) + _REACH_PX + 1
    part = _part(pixels, low, high)
    filled = np.nan_to_num(part, nan=float(np.nanmin(part)))
    if background_px is not None:
        filled -= _FLATTEN * ndimage.gaussian_filter(filled, background_px)
    top, left = np.array(centre_px) + 0.5 - half - low
    box = (left, top, left + extent_px[1], top + extent_px[0])
    panel = Image.fromarray(filled).resize((size, size), Image.Resampling.LANCZOS, box=box)
    return stretch(np.asarray(panel), *_limits(np.where(np.isnan(part), np.nan, filled)))


def _part(pixels: FloatImage, low: NDArray[np.int_], high: NDArray[np.int_]) -> FloatImage:
    """Return the pixels from (row, column) ``low`` to before ``high``; NaN beyond the image."""
    part = np.full(tuple(high - low), np.nan, dtype=np.float32)
    inside_low = np.maximum(low, 0)
    inside_high = np.minimum(high, pixels.shape)
    (r0, c0), (r1, c1) = inside_low - low, inside_high - low
    part[r0:r1, c0:c1] = pixels[inside_low[0] : inside_high[0], inside_low[1] : inside_high[1]]
    return part


def _limits(pixels: FloatImage) -> tuple[float, float]:
    low, high = np.nanpercentile(pixels, _PERCENTILES)
    return float(low), float(max(high, low + _FLAT * max(abs(low), 1.0)))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
