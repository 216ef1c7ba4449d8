"""Choose hits, misses and false marks of a method, and crop pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microcalc.evaluation.froc import froc_curve
from microcalc.evaluation.matched_images import MatchedImage, Rules
from microcalc.evaluation.metrics import counted_images, marks_of, rate
from microcalc.geometry import Grid, Points
from microcalc.study.predictions import ImagePredictions

AT_FALSE_MARKS = 1.0
"""False marks per image at the threshold that divides hits from misses (ours)."""
_EACH = 12
_HALF_MM = 3.0


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """A hit, a miss or a false mark with its picture.

    Attributes
    ----------
    what
        Hits and misses are microcalcifications, at ``AT_FALSE_MARKS`` per image.
    rating
        Rating of the mark; -inf where no mark hits the microcalcification.
    row, column
        Position in pixels of the original image.
    pixels
        (k, k) normalised pixels around the position; NaN outside the image.
    spacing_mm
        Pixel spacing of the picture.
    """

    what: Literal["hit", "miss", "false"]
    method: str
    image: str
    vendor: str
    row: float
    column: float
    rating: float
    d_prime: float
    diameter_mm: float
    pixels: NDArray[np.float32]
    spacing_mm: float


@dataclass(frozen=True, slots=True)
class _Place:
    image: int
    centre: tuple[float, float]
    rating: float
    d_prime: float = float("nan")
    diameter_mm: float = float("nan")


def choose_examples(
    images: Sequence[ImagePredictions],
    shown: tuple[str, Sequence[MatchedImage]] | None,
    rules: Rules,
    *,
    each: int = _EACH,
) -> tuple[Example, ...]:
    """Return hits over the whole range of d', the misses of highest d', and the highest rated false marks.

    Parameters
    ----------
    shown
        Name of a method and its judged marks on each image; None: no examples.
    each
        Largest number of examples of each kind; images without pixels give none.
    """
    if shown is None:
        return ()
    method, judged = shown
    lesions, false = _places(images, method, judged, rules)
    if not lesions:
        return ()
    threshold = _threshold(judged, rules)
    hits = sorted((p for p in lesions if p.rating >= threshold), key=_by_d_prime)
    misses = sorted((p for p in lesions if p.rating < threshold), key=_by_d_prime, reverse=True)
    worst = sorted(false, key=lambda p: -p.rating)
    evenly = np.linspace(0, max(len(hits) - 1, 0), min(each, len(hits))).round().astype(int)
    chosen: list[tuple[Literal["hit", "miss", "false"], _Place]] = [("hit", hits[i]) for i in evenly]
    chosen += [("miss", p) for p in misses[:each]]
    chosen += [("false", p) for p in worst[:each]]
    return tuple(_example(what, method, place, images[place.image]) for what, place in chosen)


def _places(
    images: Sequence[ImagePredictions], method: str, judged: Sequence[MatchedImage], rules: Rules
) -> tuple[list[_Place], list[_Place]]:
    """Return the microcalcifications and the false marks of the images that have pixels."""
    lesions: list[_Place] = []
    false: list[_Place] = []
    for i, (image, j, counted) in enumerate(zip(images, judged, counted_images(judged, rules), strict=True)):
        if image.pixels is None:
            continue
        rows = [r for r in image.annotations if r.kind == "microcalcification" and rules.is_lesion(r)]
        for r, rating, d, mm in zip(rows, j.marks.lesion_rating, j.d_prime, j.diameter_mm, strict=True):
            lesions.append(_Place(i, (r.row, r.column), float(rating), float(d), float(mm)))
        if counted:
            centres = image.detections[method].centres_px[j.marks.nl_mark]
            for (row, column), rating in zip(centres.tolist(), j.marks.nl_rating, strict=True):
                false.append(_Place(i, (row, column), float(rating)))
    return lesions, false


def _threshold(judged: Sequence[MatchedImage], rules: Rules) -> float:
    """Return the lowest rating with at most ``AT_FALSE_MARKS`` per image."""
    counted = counted_images(judged, rules)
    if not counted.any():
        return -np.finfo(np.float64).max
    rated = rate(judged, marks_of, counted=counted)
    curve = froc_curve(rated.lesion_rating, rated.nl_rating, float(np.count_nonzero(counted)))
    return float(curve.threshold[np.flatnonzero(curve.nlf <= AT_FALSE_MARKS)[-1]])


def _by_d_prime(place: _Place) -> float:
    return place.d_prime if np.isfinite(place.d_prime) else -1.0


def _example(what: Literal["hit", "miss", "false"], method: str, place: _Place, image: ImagePredictions) -> Example:
    if image.pixels is None:
        raise ValueError(f"image {image.row.image!r} has no pixels, expected pixels for a picture")
    pixels, grid = image.pixels()
    centre = image.row.grid.to_mm(np.array([place.centre]))
    return Example(
        what,
        method,
        image.row.image,
        image.vendor,
        *place.centre,
        place.rating,
        place.d_prime,
        place.diameter_mm,
        _crop(pixels, grid, centre),
        grid.spacing_mm[0],
    )


def _crop(pixels: NDArray[np.floating], grid: Grid, centre: Points) -> NDArray[np.float32]:
    """Return the pixels (k, k) around a position; NaN outside the image."""
    half = round(_HALF_MM / grid.spacing_mm[0])
    middle = np.rint(grid.to_pixels(centre)[0]).astype(int)
    rows, columns = (np.arange(m - half, m + half + 1) for m in middle)
    inside = [(v >= 0) & (v < n) for v, n in zip((rows, columns), pixels.shape, strict=True)]
    crop = np.full((rows.size, columns.size), np.nan, dtype=np.float32)
    crop[np.ix_(*inside)] = pixels[np.ix_(rows[inside[0]], columns[inside[1]])]
    return crop
