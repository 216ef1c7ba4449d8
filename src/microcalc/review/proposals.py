"""Propose places of one image to the reader: the highest-rated ones that no verdict applies to, on contact sheets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microcalc.batch.analyse import candidates_of
from microcalc.datasets.table import ImageRow
from microcalc.display.contact_sheets import LAYOUT, draw_overview, draw_sheet
from microcalc.domain import Candidates, Mammogram
from microcalc.geometry import Points
from microcalc.models.model import Models
from microcalc.review.verdicts import Place
from microcalc.storage.write import writing

_MOST_BYTES: Final = 100


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """The settings of a round; an unfinished round with other settings is started again."""

    round: int
    places: int
    apart_mm: float
    rated_by: str
    judged: int


def propose(
    image: ImageRow,
    sha256: str,
    judged_px: Sequence[tuple[float, float]],
    models: Models,
    folder: Path,
    settings: RoundSettings,
) -> tuple[Place, ...]:
    """Rate an image, and draw the sheets of its highest-rated places without a verdict into the round's folder.

    Parameters
    ----------
    sha256
        SHA-256 of the image's file, which identifies its places.
    judged_px
        (row, column) of the places that have a verdict.

    Raises
    ------
    InputError
        The image cannot be used.
    OutputError
        The system refused to write.
    """
    mammogram, candidates = candidates_of(image, models)
    judged = mammogram.grid.to_mm(np.array(judged_px, dtype=np.float64))
    chosen = new_places(candidates, judged, n=settings.places, apart_mm=settings.apart_mm)
    last = np.array(mammogram.pixels.shape) - 0.5  # the last rated pixel may lie beyond the edge of the image
    centres = mammogram.grid.to_pixels(candidates.centres[chosen]).clip(-0.5, last).round(3)
    shown = tuple(
        Place(
            image.image, image.file.name, sha256, number, float(row), float(column), float(likelihood), settings.round
        )
        for number, ((row, column), likelihood) in enumerate(
            zip(centres, candidates.likelihood[chosen], strict=True), 1
        )
    )
    _draw(mammogram, shown, folder / _file_stem(image.image))
    return shown


def _draw(mammogram: Mammogram, shown: Sequence[Place], stem: Path) -> None:
    for first in range(0, len(shown), LAYOUT.per_sheet):
        part = shown[first : first + LAYOUT.per_sheet]
        sheet = draw_sheet(
            mammogram,
            [(p.row, p.column) for p in part],
            [f"{p.number}  ({p.likelihood:.3g})" for p in part],
            header=f"{_header(mammogram, part[0])}   places {part[0].number}-{part[-1].number} of {len(shown)}",
        )
        _save(sheet, stem.with_name(f"{stem.name}-{first // LAYOUT.per_sheet + 1}.png"))
    if shown:
        overview = draw_overview(
            mammogram, [(p.row, p.column) for p in shown], [p.number for p in shown],
            header=_header(mammogram, shown[0]),
        )  # fmt: skip
        _save(overview, stem.with_name(f"{stem.name}-overview.png"))


def _save(picture: Image.Image, path: Path) -> None:
    with writing(path) as temporary:
        picture.save(temporary)


def _header(mammogram: Mammogram, place: Place) -> str:
    row_mm, column_mm = mammogram.spacing_mm
    spacing = f"{row_mm:.4g} mm" if row_mm == column_mm else f"{row_mm:.4g} x {column_mm:.4g} mm"
    return f"{place.image}   round {place.round}   {spacing}"


def _file_stem(image: str) -> str:
    """Return the image's name as a file name for any file system, with a hash appended where that changes it."""
    safe = re.sub(r"[^\w.-]", "_", image).encode()[-_MOST_BYTES:].decode(errors="ignore")
    return safe if safe == image else f"{safe}-{hashlib.sha256(image.encode()).hexdigest()[:6]}"


def new_places(candidates: Candidates, judged: Points, *, n: int, apart_mm: float) -> NDArray[np.int64]:
    """Return the indices of the ``n`` highest-rated candidates that no verdict applies to.

    Parameters
    ----------
    candidates
        The candidates of one image, in any order.
    judged
        (k, 2) positions in mm that have a verdict.
    apart_mm
        A candidate nearer than this to a judged place, or to a candidate already chosen, is omitted: the verdict on
        that place applies to it.

    Returns
    -------
    ndarray
        (m,) indices into ``candidates``, m <= n, in descending order of likelihood.
    """
    taken = [np.asarray(point, dtype=np.float64) for point in judged.reshape(-1, 2)]
    chosen: list[int] = []
    for index in np.argsort(-candidates.likelihood, kind="stable"):
        if len(chosen) == n:
            break
        centre = candidates.centres[index]
        if not taken or float(np.min(np.linalg.norm(np.asarray(taken) - centre, axis=1))) >= apart_mm:
            chosen.append(int(index))
            taken.append(centre)
    return np.array(chosen, dtype=np.int64)
