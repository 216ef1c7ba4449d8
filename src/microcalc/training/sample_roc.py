"""Sample-level ROC of a model on a table: CNN1, the pair, and the LoG filter on the same samples.

Every breast pixel that is negative is a sample; positive is the pixel nearest to each
microcalcification's centre. Microcalcifications that the recipe calls invisible are neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.open import open_row
from microcalc.datasets.table import ImageRow, Table
from microcalc.domain import PixelScorer
from microcalc.errors import InputError, MicrocalcError
from microcalc.evaluation.bootstrap import bootstrap, compare
from microcalc.evaluation.ratings import PatientRatings
from microcalc.evaluation.roc import ROC_METRICS, gather_samples
from microcalc.images.open import naming
from microcalc.models.laplacian import LaplacianFilter
from microcalc.models.model import open_pair
from microcalc.normalise.mammogram import normalise
from microcalc.sample.draw import negative_mask, positive_pixels
from microcalc.storage.write import write_json, write_text
from microcalc.training.recipe import Recipe, load_recipe

Ratings = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SampleRoc:
    """The text of ``roc.md``, and why images are left out, each reason with the file's name."""

    text: str
    left_out: tuple[str, ...]


def sample_roc(
    model: Path, table: Table, out: Path, *, resamples: int = 2000, seed: int = 0, say: Callable[[str], None] = print
) -> SampleRoc:
    """Rate every sample of every image three ways; write ``roc.json`` and ``roc.md``.

    Images that cannot be used are left out; both files say how many, and how many are of another intent.

    Raises
    ------
    InputError
        No image is of the model's intent, none can be used, or none has a microcalcification that can be seen.
    """
    scorers: dict[str, PixelScorer] = {
        "pair": open_pair(model),
        "cnn1": open_pair(model, stage="cnn1"),
        "log": LaplacianFilter(),
    }
    recipe = load_recipe(model / "recipe.toml")
    images = [i for i in table.images if i.intent == recipe.data.intent]
    if not images:
        raise InputError(f"the table has no {recipe.data.intent} image, model {recipe.name} needs them")
    ratings_of, failed = _rate_all(images, table, recipe, scorers, say)
    other_intent = len(table.images) - len(images)
    images = [i for i in images if i.image in ratings_of]
    if not images:
        raise failed[0]
    patients = sorted({i.patient_or_image for i in images})
    place = {patient: n for n, patient in enumerate(patients)}
    rated = {name: [(place[i.patient_or_image], *ratings_of[i.image][name]) for i in images] for name in scorers}
    gathered = {name: _gather(parts, len(patients)) for name, parts in rated.items()}
    if not any(len(p) for _, p, _ in rated["pair"]):
        raise InputError("no image has a microcalcification that can be seen, expected some")
    systems = {i.patient_or_image: i.system or "unknown system" for i in images}
    groups = {"pooled": np.ones(len(patients), dtype=bool)} | {
        s: np.array([systems[p] == s for p in patients]) for s in sorted(set(systems.values()))
    }
    figures = {
        group: _figures({n: g.select_patients(mask) for n, g in gathered.items()}, resamples, seed)
        for group, mask in groups.items()
    }
    counts = {"positive": sum(len(p) for _, p, _ in rated["pair"]), "negative": sum(len(n) for *_, n in rated["pair"])}
    out.mkdir(parents=True, exist_ok=True)
    left_out = {"could not be used": len(failed), "of another intent": other_intent}
    document = {
        "samples": counts, "images": len(images), "patients": len(patients), "left_out": left_out, "figures": figures,
    }  # fmt: skip
    write_json(out / "roc.json", document)
    text = _markdown(counts, len(images), len(patients), figures)
    text += "".join(f"\n**{count} images {why}, left out**\n" for why, count in left_out.items() if count)
    write_text(out / "roc.md", text)
    return SampleRoc(text, tuple(str(error) for error in failed))


def _rate_all(
    images: Sequence[ImageRow],
    table: Table,
    recipe: Recipe,
    scorers: Mapping[str, PixelScorer],
    say: Callable[[str], None],
) -> tuple[dict[str, dict[str, tuple[Ratings, Ratings]]], list[MicrocalcError]]:
    """Ratings by image and scorer, and why images could not be used."""
    rated, failed = {}, []
    for number, image in enumerate(images, 1):
        try:
            with naming(image.file):
                rated[image.image] = _rate(image, table, recipe, scorers)
        except MicrocalcError as error:
            failed.append(error)
        say(f"{'rated' if image.image in rated else 'left out'} image {number} of {len(images)}")
    return rated, failed


def _rate(
    image: ImageRow, table: Table, recipe: Recipe, scorers: Mapping[str, PixelScorer]
) -> dict[str, tuple[Ratings, Ratings]]:
    """Ratings of the positive and of the negative samples of one image, by scorer."""
    annotations = table.annotations_of(image)
    d_prime = np.array([np.inf if a.d_prime is None else a.d_prime for a in table.rows_of(image)])
    visible = d_prime >= recipe.sample.min_d_prime
    normalised = normalise(open_row(image), spacing_mm=recipe.data.spacing_mm)
    positive = positive_pixels(annotations, normalised.breast, normalised.grid, radius_mm=0.0)
    positive = positive[visible[positive[:, 0]]]
    negative = negative_mask(
        annotations,
        normalised.breast,
        normalised.grid,
        clearance_mm=recipe.sample.clearance_mm,
        unmeasured_clearance_mm=recipe.sample.unmeasured_clearance_mm,
    )
    ratings = {}
    for name, scorer in scorers.items():
        likelihood = scorer.score(normalised).likelihood
        ratings[name] = (likelihood[positive[:, 1], positive[:, 2]], likelihood[negative])
    return ratings


def _gather(parts: list[tuple[int, Ratings, Ratings]], n_patients: int) -> PatientRatings:
    positive_patient = np.concatenate([np.full(len(p), i) for i, p, _ in parts])
    negative_patient = np.concatenate([np.full(len(n), i) for i, _, n in parts])
    return gather_samples(
        np.concatenate([p for _, p, _ in parts]),
        positive_patient,
        np.concatenate([n for *_, n in parts]),
        negative_patient,
        n_patients=n_patients,
    )


def _figures(ratings: Mapping[str, PatientRatings], resamples: int, seed: int) -> dict[str, dict[str, object]]:
    """Each figure per scorer, and the pair's paired difference to CNN1."""
    values: dict[str, dict[str, object]] = {}
    for name, of_scorer in ratings.items():
        found = bootstrap(of_scorer, ROC_METRICS, resamples=resamples, rng=np.random.default_rng(seed))
        values[name] = {figure: asdict(estimate) for figure, estimate in found.items()}
    found_pair = compare(
        ratings["pair"], ratings["cnn1"], ROC_METRICS, resamples=resamples, rng=np.random.default_rng(seed)
    )
    values["pair-cnn1"] = {figure: asdict(difference) for figure, difference in found_pair.items()}
    return values


def _markdown(
    counts: Mapping[str, int], n_images: int, n_patients: int, figures: Mapping[str, Mapping[str, Mapping[str, object]]]
) -> str:
    lines = [
        f"{n_images} images of {n_patients} patients; {counts['positive']} positive and {counts['negative']} negative "
        "samples. In brackets: 95 % interval, bootstrap by patient.",
        "",
        "| system | figure | pair | CNN1 | LoG | pair less CNN1 |",
        "|---|---|---|---|---|---|",
    ]
    for group, by_scorer in figures.items():
        for figure in ROC_METRICS:
            cells = [_cell(by_scorer[name][figure]) for name in ("pair", "cnn1", "log", "pair-cnn1")]
            lines.append(f"| {group} | {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    assert isinstance(value, dict)
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
