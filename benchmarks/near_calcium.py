"""Compare models on images with inserted clusters, and count false marks beside calcium and far from it.

``python -m benchmarks.near_calcium TABLE --model raw --model RUN/model``: sensitivity at 0.1, 1 and 10 false marks per
image, in all and by d', with and without the false marks 0.5 to 2.5 mm from an inserted microcalcification; and how
many times as dense, per area of breast, false marks are there as elsewhere at the same threshold. A network that takes
calcium nearby for evidence has a high ratio. Intervals are 95 %, by patient; differences are from the first model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from benchmarks import Parser, run
from microcalc.datasets.open import open_row, open_table
from microcalc.datasets.table import ImageRow, Table
from microcalc.datasets.twins import is_twin
from microcalc.detection.candidates import find_candidates
from microcalc.domain import Intent, NormalisedMammogram
from microcalc.errors import InputError
from microcalc.evaluation.marks import Marks
from microcalc.evaluation.matched_images import MatchedImage, Rules, match_image
from microcalc.models.model import Model, load_model
from microcalc.normalise.mammogram import normalise

NEAR_MM = (0.5, 2.5)
PER_IMAGE = (0.1, 1.0, 10.0)
PER_CM2 = 0.4
D_PRIMES = ((0.0, np.inf), (10.0, np.inf), (4.0, 5.0), (5.0, 8.0), (8.0, 12.0), (12.0, 18.0), (18.0, np.inf))
_MARKS = 3000
_RESAMPLES = 500
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Rated:
    """The marks of one model on one image.

    Attributes
    ----------
    lesion, d_prime
        (n,) rating of the mark that hit each inserted microcalcification, -inf where it was missed; and its d'.
    false, distance_mm
        (m,) ratings of the false marks, and how far the nearest inserted microcalcification is.
    near_cm2, far_cm2
        Area of the breast within the distances ``NEAR_MM`` of an inserted microcalcification, and beyond them.
    """

    patient: str
    lesion: Values
    d_prime: Values
    false: Values
    distance_mm: Values
    near_cm2: float
    far_cm2: float

    @property
    def near(self) -> NDArray[np.bool_]:
        """Return which false marks are near an inserted microcalcification."""
        return (self.distance_mm > NEAR_MM[0]) & (self.distance_mm <= NEAR_MM[1])


def main(arguments: Sequence[str]) -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="data set of microcalc insert; twins in it are left out")
    parser.add_argument("--model", action="append", required=True, help="shipped model or folder; repeat for several")
    parser.add_argument("--intent", choices=["raw", "processed"], help="use the images of this intent only")
    parser.add_argument("--split", choices=["train", "validation", "test"], help="use the images of this split only")
    parser.add_argument("--tag", help="use the images with this tag only")
    parser.add_argument("--reviewed", action="store_true", help="count reviewed places instead of inserted ones")
    asked = parser.parse_args(arguments)
    table = open_table(asked.table)
    images = [
        i
        for i in table.images
        if not is_twin(i)
        and asked.intent in (None, i.intent)
        and asked.split in (None, i.split)
        and (asked.tag is None or asked.tag in i.tags.split())
    ]
    rules = Rules(false_marks="reviewed") if asked.reviewed else Rules(lesions_by="inserted")
    images = [i for i in images if table.rows_of(i)]
    if not images:
        raise InputError(f"{asked.table.name}: no such image with annotations, expected at least one")
    models = load_models(asked.model, {image.intent for image in images})
    rated: dict[str, list[Rated]] = {name: [] for name in models}
    for number, image in enumerate(images, 1):
        normalised = normalise(open_row(image), spacing_mm=next(iter(models.values())).spacing_mm)
        for name, model in models.items():
            rated[name].append(rate(normalised, image, table, model, rules))
        print(f"{number} of {len(images)}", file=sys.stderr, flush=True)
    for line in report(rated):
        print(line)
    return 0


def load_models(
    names: Sequence[str], intents: Collection[Intent], *, spacing_mm: float | None = None
) -> dict[str, Model]:
    """Return models by name, all for images of the given intents and for one pixel spacing, which may be given.

    Raises
    ------
    InputError
        A model cannot be loaded, is for images of another intent, or for another spacing
        than the given one or the first model's.
    """
    models = {name: load_model(name, threads=1) for name in names}
    for name, model in models.items():
        for intent in intents:
            model.check_intent(intent)
        expected = spacing_mm or models[names[0]].spacing_mm
        if model.spacing_mm != expected:
            raise InputError(f"{name}: a model for pixels of {model.spacing_mm:g} mm, expected {expected:g} mm")
    return models


def rate(normalised: NormalisedMammogram, image: ImageRow, table: Table, model: Model, rules: Rules) -> Rated:
    """Return a model's marks on an image, matched to the microcalcifications of its table."""
    likelihood = model.scorer.score(normalised).likelihood
    found = find_candidates(normalised, likelihood, min_likelihood=0.0, min_distance_mm=0.3, max_count=_MARKS)
    marks = Marks(image.grid.to_pixels(found.centres), found.likelihood)
    rows = table.rows_of(image)
    matched = match_image(marks, image, rows, rules)
    truth = [(r.row, r.column) for r in rows if r.kind == "microcalcification" and rules.is_lesion(r)]
    return _rated(normalised, image, matched, found.centres, image.grid.to_mm(np.array(truth).reshape(-1, 2)))


def _rated(
    normalised: NormalisedMammogram, image: ImageRow, matched: MatchedImage, centres: Values, truth_mm: Values
) -> Rated:
    clear = np.ones(normalised.breast.shape, dtype=bool)
    pixels = np.rint(normalised.grid.to_pixels(truth_mm)).astype(int)
    inside = ((pixels >= 0) & (pixels < clear.shape)).all(axis=1)
    clear[tuple(pixels[inside].T)] = False
    away = ndimage.distance_transform_edt(clear) if inside.any() else np.full(clear.shape, np.inf)
    away_mm = away[normalised.breast] * normalised.spacing_mm
    cm2 = (normalised.spacing_mm / 10) ** 2
    return Rated(
        patient=image.patient_or_image,
        lesion=matched.marks.lesion_rating,
        d_prime=matched.d_prime,
        false=matched.marks.nl_rating,
        distance_mm=_distances_mm(centres[matched.marks.nl_mark], truth_mm),
        near_cm2=float(np.sum((away_mm > NEAR_MM[0]) & (away_mm <= NEAR_MM[1]))) * cm2,
        far_cm2=float(np.sum(away_mm > NEAR_MM[1])) * cm2,
    )


def _distances_mm(places: Values, truth_mm: Values) -> Values:
    return np.asarray(cKDTree(truth_mm).query(places)[0]) if len(truth_mm) else np.full(len(places), np.inf)


def report(rated: dict[str, list[Rated]]) -> list[str]:
    """Return a Markdown table of the figures, one column per model."""
    names = list(rated)
    some = rated[names[0]]
    patients = sorted({r.patient for r in some})
    rng = np.random.default_rng(0)
    draws = [np.arange(len(patients)), *(rng.integers(len(patients), size=len(patients)) for _ in range(_RESAMPLES))]
    of = [[i for i, r in enumerate(some) if r.patient == patient] for patient in patients]
    values: dict[str, dict[str, list[float]]] = {}
    for name in names:
        for draw in draws:
            for figure, value in figures([rated[name][i] for patient in draw for i in of[patient]]).items():
                values.setdefault(figure, {}).setdefault(name, []).append(value)
    n = sum(len(r.lesion) for r in some)
    lines = [f"{len(some)} images of {len(patients)} patients, {n} microcalcifications", ""]
    lines += [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for figure, by_name in values.items():
        if np.isfinite(by_name[names[0]][0]):
            columns = [np.array(by_name[name]) for name in names]
            lines.append(f"| {figure} | {' | '.join(_cell(c, columns[0]) for c in columns)} |")
    return lines


def _cell(values: Values, first: Values) -> str:
    """Return a figure with its interval and, of another model than the first, the difference from it."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    text = f"{values[0]:.3f} ({low:.3f} to {high:.3f})"
    if values is first:
        return text
    low, high = np.nanpercentile((values - first)[1:], [2.5, 97.5])
    return f"{text}; {values[0] - first[0]:+.3f} ({low:+.3f} to {high:+.3f})"


def figures(rated: Sequence[Rated]) -> dict[str, float]:
    """Return the figures of one model on some images."""
    lesion, d_prime, false, near = (
        np.concatenate([getattr(r, name) for r in rated]) for name in ("lesion", "d_prime", "false", "near")
    )
    near_cm2, far_cm2 = sum(r.near_cm2 for r in rated), sum(r.far_cm2 for r in rated)
    out: dict[str, float] = {}
    limits = {f"{rate:g} per image": rate * len(rated) for rate in PER_IMAGE}
    limits[f"{PER_CM2:g} per cm²"] = PER_CM2 * (near_cm2 + far_cm2)
    for words, allowed in limits.items():
        threshold = _threshold(false, allowed)
        for low, high in D_PRIMES:
            chosen = lesion if low == 0 else lesion[(d_prime >= low) & (d_prime < high)]
            span = "d' " + (f"{low:g} and more" if high == np.inf else f"{low:g} to {high:g}")
            out[f"{span if low > 0 else 'all'}, at {words}"] = (
                float(np.mean(chosen >= threshold)) if chosen.size else np.nan
            )
        without = _threshold(false[~near], allowed)
        out[f"all, without the false marks nearby, at {words}"] = float(np.mean(lesion >= without))
        here, there = np.sum(false[near] >= threshold) / near_cm2, np.sum(false[~near] >= threshold) / far_cm2
        out[f"density of false marks nearby over far, at {words}"] = float(here / there) if there else np.nan
    return out


def _threshold(false: Values, allowed: float) -> float:
    """Return the lowest threshold that at most ``allowed`` false marks reach; above every rating of more."""
    highest = np.sort(false)[::-1]
    n = int(allowed)
    return float(np.nextafter(highest[n], np.inf)) if n < len(highest) else -np.finfo(np.float64).max


if __name__ == "__main__":
    sys.exit(run(main))
