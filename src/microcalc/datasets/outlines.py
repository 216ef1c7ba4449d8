"""Join what other programs hold apart: images to the names of their files, and outlines of clusters to their points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from microcalc.datasets.lines import text_in
from microcalc.datasets.table import AnnotationRow, ImageRow, check_region
from microcalc.domain import REGION
from microcalc.errors import TableError

Corners = tuple[tuple[float, float], ...]
"""Corners of a polygon, (row, column) in pixels; the last is joined to the first."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Hold the outline of a cluster; ``of`` is the ``id`` of the annotation it belongs to, empty where not stated."""

    image: str
    corners: Corners
    cluster: str = ""
    of: str = ""
    id: str = ""
    judge: str = ""
    where: str = ""


class ImageNames:
    """Find the images of a table by the names that other programs write: with or without folder and suffix."""

    def __init__(self, images: Iterable[ImageRow]) -> None:
        self._by_name: dict[str, dict[str, ImageRow]] = {}
        for image in images:
            for name in {image.image, image.file.name, image.file.stem, PurePath(image.image).stem}:
                self._by_name.setdefault(name.casefold(), {})[image.image] = image

    def find(self, name: str, where: str) -> ImageRow:
        """Return the image of a name.

        Raises
        ------
        TableError
            No image has the name, or several have.
        """
        last = name.replace("\\", "/").rsplit("/", 1)[-1]
        found = self._by_name.get(name.casefold()) or self._by_name.get(last.casefold()) or {}
        if len(found) != 1:
            count = "no image given" if not found else f"{len(found)} of the images given"
            raise TableError(f"{where}: {count} of the name {last[:60]!r}, expected one")
        return next(iter(found.values()))


def with_outlines(rows: Sequence[AnnotationRow], outlines: Sequence[Outline]) -> tuple[AnnotationRow, ...]:
    """Return the annotations with the outlines of their clusters.

    An outline that names its annotation goes to it. Any other is the outline of a cluster: the microcalcifications
    inside that have no cluster are its members, and the first without an outline of its own, if there is one, holds
    it. An outline with none inside becomes a region, at the mean of its corners: where its calcifications lie is not
    known.
    """
    joined = list(rows)
    by_id = {row.id: n for n, row in enumerate(rows) if row.id}
    for number, outline in enumerate(outlines, 1):
        if outline.of in by_id:
            n = by_id[outline.of]
            joined[n] = replace(joined[n], outline=outline.corners)
            continue
        name = outline.cluster or f"cluster {number}"
        members = [n for n, row in enumerate(joined) if _is_member(row, outline)]
        holder = next((n for n in members if not joined[n].outline), None)
        for n in members:
            joined[n] = replace(joined[n], cluster=name, outline=outline.corners if n == holder else joined[n].outline)
        if not members:
            joined.append(
                AnnotationRow(
                    outline.image, *mean_corner(outline.corners), kind=REGION, cluster=outline.cluster,
                    outline=outline.corners, judge=outline.judge, id=outline.id, where=outline.where,
                )
            )  # fmt: skip
    return tuple(joined)


def _is_member(row: AnnotationRow, outline: Outline) -> bool:
    if row.image != outline.image or row.kind != "microcalcification" or row.cluster not in ("", outline.cluster):
        return False
    return is_inside((row.row, row.column), outline.corners)


def mean_corner(corners: Corners) -> tuple[float, float]:
    """Return the mean of the corners of a polygon, which is the place of a region in a table."""
    row, column = np.mean(corners, axis=0)
    return float(row), float(column)


def box_corners(top: float, left: float, bottom: float, right: float) -> Corners:
    """Return the corners of a box."""
    return (top, left), (top, right), (bottom, right), (bottom, left)


def is_inside(place: tuple[float, float], corners: Corners) -> bool:
    """Return whether a place is inside a polygon, by the even-odd rule."""
    begin = np.asarray(corners, dtype=np.float64)
    end = np.roll(begin, -1, axis=0)
    row, column = place
    crossed = (begin[:, 0] > row) != (end[:, 0] > row)
    height = np.where(crossed, end[:, 0] - begin[:, 0], 1.0)
    at = begin[:, 1] + (row - begin[:, 0]) / height * (end[:, 1] - begin[:, 1])
    return bool(np.count_nonzero(crossed & (column < at)) % 2)


def check_rows(rows: Iterable[AnnotationRow]) -> None:
    """Refuse annotations that a table could not hold.

    Raises
    ------
    TableError
        Names an annotation whose ``id`` or place (of the same judge) is that of another, with a word for nothing,
        such as NA, in its texts, or that is a region without an outline.
    """
    ids: set[str] = set()
    places: set[tuple[str, float, float, str]] = set()
    for row in rows:
        check_region(row)
        for column in ("cluster", "id", "when"):
            text_in({column: getattr(row, column)}, column, row.where)
        if row.id and row.id in ids:
            raise TableError(f"{row.where}: the id {row.id[:64]!r} a second time, expected every id once")
        place = (row.image, round(row.row, 3), round(row.column, 3), row.judge)
        if place in places:
            raise TableError(
                f"{row.where}: row {row.row:g}, column {row.column:g} of image {row.image!r} a second time, "
                "expected each place once"
            )
        ids.add(row.id)
        places.add(place)
