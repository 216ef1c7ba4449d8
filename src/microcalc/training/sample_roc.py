"""Measure the ROC of a model on a table, sample by sample: the pair, CNN1 and the LoG filter on the same samples.

Every negative breast pixel is a sample, and so is the pixel nearest to the centre of each microcalcification, which is
positive. Microcalcifications that are less visible than the recipe's ``min_d_prime`` are neither.

The ratings of each image are kept in ``.ratings/`` under a key of what they are made from, until the figures are
written: an interrupted call continues where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.open import open_row, unusable_images
from microcalc.datasets.table import ImageRow, Table
from microcalc.domain import PixelScorer
from microcalc.errors import InputError, MicrocalcError, OutputError, WorkerDiedError
from microcalc.evaluation.bootstrap import Difference, Estimate, bootstrap, compare
from microcalc.evaluation.ratings import PatientRatings
from microcalc.evaluation.reporting.tables import TextTable, estimate_text, markdown_table
from microcalc.evaluation.roc import ROC_METRICS, gather_samples
from microcalc.execution.executor import SERIAL, Executor, threads_of
from microcalc.execution.progress import track
from microcalc.execution.shard import Shard
from microcalc.images.open import naming
from microcalc.models.laplacian import LaplacianFilter
from microcalc.models.model import describe_pair, model_sha256, open_pair
from microcalc.normalise.mammogram import normalise
from microcalc.sample.draw import negative_mask, positive_pixels
from microcalc.storage.arrays import load_arrays, save_arrays
from microcalc.storage.key import code_version, file_sha256, key_of
from microcalc.storage.store import Store
from microcalc.storage.write import write_json, write_text
from microcalc.training.recipe import Recipe, dump_recipe, load_recipe
from microcalc.wording import listed, quantity

_LOG = logging.getLogger(__name__)
_RATINGS: Final = ".ratings"


@dataclass(frozen=True, slots=True)
class SampleRoc:
    """Result of ``sample_roc``.

    Attributes
    ----------
    text
        Text of ``roc.md``.
    refused
        Why images could not be used, each reason with the name of the file.
    """

    text: str
    refused: tuple[str, ...]


Ratings = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Ratings of the positive samples (p,) and of the negative samples (n,)."""
Figures = Mapping[str, Mapping[str, Estimate | Difference]]
"""Figures by scorer, and the differences between the pair and CNN1, by metric."""


def sample_roc(
    model: Path, table: Table, out: Path, *, resamples: int = 2000, seed: int = 0, executor: Executor = SERIAL
) -> SampleRoc:
    """Rate every sample of every image by the pair, by CNN1 and by the LoG filter; write ``roc.json`` and ``roc.md``.

    Images that cannot be used, which the log names, and images of another intent are excluded; both files state how
    many. What can be told from headers is named before anything is rated.

    Parameters
    ----------
    model
        Folder of a model.
    resamples, seed
        Number and seed of the bootstrap resamples by patient.
    executor
        Where the images are rated.

    Raises
    ------
    InputError
        No image is of the model's intent, none can be used, or none has a visible microcalcification.
    """
    images = _of_intent(model, table)
    unusable = unusable_images(images)
    for error in unusable.values():
        _LOG.warning("%s", error)
    files, unrated = _rate_all([i for i in images if i.image not in unusable], table, model, out, executor)
    ratings = {name: _ratings_in(file) for name, file in files.items()}
    refused = [*unusable.values(), *unrated]
    excluded = {"could not be used": len(refused), "of another intent": len(table.images) - len(images)}
    images = [i for i in images if i.image in ratings]
    if not images:
        raise InputError(f"none of {quantity(len(refused), 'image')} could be used: {listed([*map(str, refused)])}")
    counts = {
        kind: sum(len(of_image["pair"][k]) for of_image in ratings.values())
        for k, kind in enumerate(("positive", "negative"))
    }
    if not counts["positive"]:
        raise InputError("no image has a visible microcalcification, expected at least one")
    figures = _figures_by_group(images, ratings, resamples, seed)
    made = _written(out, images, counts, excluded, figures, [str(error) for error in refused])
    _store(out).clear()
    return made


def rate_shard(model: Path, table: Table, out: Path, *, executor: Executor, shard: Shard) -> tuple[int, int]:
    """Rate the images of a shard, while other calls may rate the others; ``sample_roc`` then finds their ratings.

    Returns
    -------
    int, int
        Number of images of the shard that were rated, and that cannot be used, which the log names.

    Raises
    ------
    InputError
        No image of the table is of the model's intent.
    """
    images = [i for i in _of_intent(model, table) if shard.has(i.image)]
    unusable = unusable_images(images)
    for error in unusable.values():
        _LOG.warning("%s", error)
    files, unrated = _rate_all([i for i in images if i.image not in unusable], table, model, out, executor)
    return len(files), len(unusable) + len(unrated)


def _of_intent(model: Path, table: Table) -> list[ImageRow]:
    describe_pair(model)  # what is no pair of networks is refused before any work
    recipe = load_recipe(model / "recipe.toml")
    images = [i for i in table.images if i.intent == recipe.data.intent]
    if not images:
        raise InputError(f"the table has no {recipe.data.intent} image, model {recipe.name} needs them")
    return images


def _store(out: Path) -> Store:
    """Return the ratings by image, which a call that was killed leaves to the next."""
    return Store(out / _RATINGS, ".npz")


def _written(
    out: Path,
    images: Sequence[ImageRow],
    counts: Mapping[str, int],
    excluded: Mapping[str, int],
    figures: Mapping[str, Figures],
    refused: Sequence[str],
) -> SampleRoc:
    """Write ``roc.json`` and ``roc.md``."""
    n_patients = len({i.patient_or_image for i in images})
    document = {
        "samples": counts,
        "images": len(images),
        "patients": n_patients,
        "left_out": excluded,
        "figures": {
            group: {name: {f: asdict(e) for f, e in of_scorer.items()} for name, of_scorer in by_scorer.items()}
            for group, by_scorer in figures.items()
        },
    }
    text = _markdown(counts, len(images), n_patients, figures)
    text += "".join(f"\n**{quantity(count, 'image')} excluded: {why}**\n" for why, count in excluded.items() if count)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "roc.json", document)
    write_text(out / "roc.md", text)
    return SampleRoc(text, tuple(refused))


def _rate_all(
    images: Sequence[ImageRow], table: Table, model: Path, out: Path, executor: Executor
) -> tuple[dict[str, Path], list[MicrocalcError]]:
    """Return the files of ratings by image, and the errors of images that could not be used, in their order."""
    rated: dict[str, Path] = {}
    refused: dict[str, MicrocalcError] = {}
    one = partial(_rate_once, model=model, store=_store(out), threads=threads_of(executor))
    with closing(executor.run(one, [Table((image,), table.rows_of(image)) for image in images])) as outcomes:
        for outcome in track(outcomes, "rating images", total=len(images)):
            (image,), error = outcome.item.images, outcome.error
            if isinstance(error, WorkerDiedError):
                error = WorkerDiedError(f"{image.file.name}: {error}")
            if isinstance(error, OutputError) or not isinstance(error, MicrocalcError):
                rated[image.image] = outcome.result()
            else:
                _LOG.warning("%s", error)
                refused[image.image] = error
    return rated, [refused[image.image] for image in images if image.image in refused]


@cache
def _scorers(model: Path, threads: int) -> Mapping[str, PixelScorer]:
    """Return the scorers that are compared; each process opens them once."""
    return {
        "pair": open_pair(model, threads=threads),
        "cnn1": open_pair(model, threads=threads, stage="cnn1"),
        "log": LaplacianFilter(),
    }


def _rate_once(one: Table, *, model: Path, store: Store, threads: int) -> Path:
    """Return the file of the ratings of a table's one image, which is made if it is not there; called in a worker."""
    (image,) = one.images
    recipe = load_recipe(model / "recipe.toml")
    with naming(image.file):
        stated = repr((image.image, image.info, image.shape, image.sop_instance_uid, one.annotations))
        made_from = [file_sha256(image.file), stated, model_sha256(model), dump_recipe(recipe), code_version(__name__)]
        key = key_of(made_from)
        if store.has(key):
            return store.path(key)
        ratings = _rate(image, one, recipe, _scorers(model, threads))
    arrays = {f"{name}-{k}": values for name, both in ratings.items() for k, values in enumerate(both)}
    return store.get(key, lambda file: save_arrays(file, **arrays))


def _ratings_in(file: Path) -> dict[str, Ratings]:
    arrays = load_arrays(file)
    return {name: (arrays[f"{name}-0"], arrays[f"{name}-1"]) for name in ("pair", "cnn1", "log")}


def _figures_by_group(
    images: Sequence[ImageRow], ratings: Mapping[str, Mapping[str, Ratings]], resamples: int, seed: int
) -> dict[str, Figures]:
    """Return the figures of all patients and of those of each system, by scorer."""
    patients = sorted({i.patient_or_image for i in images})
    number = {patient: n for n, patient in enumerate(patients)}
    scorers = next(iter(ratings.values()))
    gathered = {
        name: _gather([(number[i.patient_or_image], *ratings[i.image][name]) for i in images], len(patients))
        for name in scorers
    }
    systems = {i.patient_or_image: i.system or "unknown system" for i in images}
    groups = {"pooled": np.ones(len(patients), dtype=bool)} | {
        s: np.array([systems[p] == s for p in patients]) for s in sorted(set(systems.values()))
    }
    return {
        group: _figures({n: g.select_patients(mask) for n, g in gathered.items()}, resamples, seed)
        for group, mask in groups.items()
    }


def _rate(image: ImageRow, table: Table, recipe: Recipe, scorers: Mapping[str, PixelScorer]) -> dict[str, Ratings]:
    """Return the ratings of the samples of one image, by scorer."""
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


def _gather(parts: Sequence[tuple[int, NDArray[np.float32], NDArray[np.float32]]], n_patients: int) -> PatientRatings:
    """Return the ratings of all images, counted by patient.

    Parameters
    ----------
    parts
        Number of the patient, ratings of positive and of negative samples, of each image.
    """
    positive_patient = np.concatenate([np.full(len(p), i) for i, p, _ in parts])
    negative_patient = np.concatenate([np.full(len(n), i) for i, _, n in parts])
    return gather_samples(
        np.concatenate([p for _, p, _ in parts]),
        positive_patient,
        np.concatenate([n for *_, n in parts]),
        negative_patient,
        n_patients=n_patients,
    )


def _figures(ratings: Mapping[str, PatientRatings], resamples: int, seed: int) -> Figures:
    """Return each figure of each scorer, and the paired difference between the pair and CNN1."""
    values: dict[str, Mapping[str, Estimate | Difference]] = {
        name: bootstrap(of_scorer, ROC_METRICS, resamples=resamples, rng=np.random.default_rng(seed))
        for name, of_scorer in ratings.items()
    }
    values["pair-cnn1"] = compare(
        ratings["pair"], ratings["cnn1"], ROC_METRICS, resamples=resamples, rng=np.random.default_rng(seed)
    )
    return values


def _markdown(counts: Mapping[str, int], n_images: int, n_patients: int, figures: Mapping[str, Figures]) -> str:
    rows = [
        (group, figure, *(estimate_text(by_scorer[name][figure]) for name in ("pair", "cnn1", "log", "pair-cnn1")))
        for group, by_scorer in figures.items()
        for figure in ROC_METRICS
    ]
    lines = [
        f"{quantity(n_images, 'image')} of {quantity(n_patients, 'patient')}; samples: {counts['positive']} positive, "
        f"{counts['negative']} negative. In brackets: 95 % interval, bootstrap by patient.",
        "",
        *markdown_table(TextTable(("system", "figure", "pair", "CNN1", "LoG", "pair minus CNN1"), rows)),
    ]
    return "\n".join(lines) + "\n"
