"""How a stored picture hangs on the screen: turned and mirrored so that chest walls meet and the head is at the top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from microcalc.domain import Edge, FloatImage, Mammogram
from microcalc.viewer.catalogue import ViewedImage

_EDGE_SHARE: Final = 0.1  # of the columns at each side that are compared to find the chest wall (ours)
_TRANSPOSED: Final[dict[Edge | None, Edge | None]] = {
    "top": "left", "left": "top", "bottom": "right", "right": "bottom", None: None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hanging:
    """What is done to a stored picture: rows and columns are exchanged first, then each may be mirrored."""

    transposed: bool = False
    mirror_rows: bool = False
    mirror_columns: bool = False

    def hang(self, stored: FloatImage) -> FloatImage:
        """Return the picture as it hangs, without copying it."""
        pixels = stored.T if self.transposed else stored
        return pixels[:: -1 if self.mirror_rows else 1, :: -1 if self.mirror_columns else 1]

    def box(
        self, top_left: tuple[float, float], bottom_right: tuple[float, float], shape: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """Return left, top, width and height of a part as it hangs, in pixels.

        Parameters
        ----------
        top_left, bottom_right
            (row, column) of the corners of the part in the stored picture; (0, 0) is the corner of its first pixel.
        shape
            (rows, columns) of the stored picture.
        """
        (top, left), (bottom, right), (height, width) = top_left, bottom_right, shape
        if self.transposed:
            top, left, bottom, right, height, width = left, top, right, bottom, width, height
        return (
            width - right if self.mirror_columns else left,
            height - bottom if self.mirror_rows else top,
            right - left,
            bottom - top,
        )


def hanging_of(mammogram: Mammogram, image: ViewedImage) -> Hanging:
    """Return how an image hangs: the chest wall of a right breast on the right, the cranial or lateral edge at the top.

    Where the header does not say where the chest wall is, it is at the side with more tissue.
    """
    side = image.row.laterality or image.facts.laterality or mammogram.laterality
    wall, upper = image.facts.chest_wall, image.facts.upper
    transposed = wall in ("top", "bottom") or (wall is None and upper in ("left", "right"))
    if transposed:
        wall, upper = _TRANSPOSED[wall], _TRANSPOSED[upper]
    if wall is None:
        wall = _brighter_side(mammogram.pixels.T if transposed else mammogram.pixels)
    wanted = {"R": "right", "L": "left"}.get(side or "", wall)
    return Hanging(transposed, upper == "bottom", wall != wanted)


def _brighter_side(pixels: FloatImage) -> Literal["left", "right"]:
    """Return the side with more tissue, where the chest wall of a picture without header is."""
    columns = pixels[::8, ::8].mean(axis=0)
    n = max(1, round(len(columns) * _EDGE_SHARE))
    return "left" if columns[:n].mean() >= columns[-n:].mean() else "right"
