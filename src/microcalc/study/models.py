"""Make model folders of the trained methods, and open the methods to rate images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from microcalc import __version__
from microcalc.cnn.mine import as_normalised
from microcalc.datasets.table import Table
from microcalc.detection.candidates import find_candidates
from microcalc.domain import FloatImage, NormalisedMammogram, PixelScorer
from microcalc.execution.executor import Executor, run_in_order
from microcalc.models.description import (
    CASCADE_SCHEMA,
    CascadeDescription,
    ClusterRules,
    FileEntry,
)
from microcalc.models.laplacian import LaplacianFilter
from microcalc.models.model import load_model, open_cascade, open_pair
from microcalc.storage.write import saying_where, write_json, write_text, write_whole
from microcalc.study.cascade import CASCADE_FILE
from microcalc.study.methods import MethodStages
from microcalc.study.stage import Stage, after, run_stage
from microcalc.training.annotated import ignore_invisible
from microcalc.training.card import CARD, RECIPE
from microcalc.training.images import TrainingImage
from microcalc.training.operating_points import Marked, mark_operating_points, measure_operating_points
from microcalc.training.recipe import Recipe, dump_recipe
from microcalc.training.thresholds import unmeasured, with_measured, write_description, write_model

if TYPE_CHECKING:
    from microcalc.cnn.scorer import CnnPair

MEMBERS = "members.json"
MODELS = ("cascade", "pair", "no_mining")
"""Folders of the models that a study makes."""
_MEMBERS_PER_IMAGE = 60
"""Mean number of candidates per validation image that may be members of clusters, the same for all methods (ours)."""
_LEAST, _MOST = 1e-6, 1 - 1e-6


def models_stage(methods: MethodStages, recipe: Recipe) -> Stage:
    """Return the stage that makes model folders, with thresholds that are chosen on the validation images."""
    settings = {
        "detect": recipe.detect.model_dump(),
        "shapes": recipe.shapes.model_dump(),
        "clusters": recipe.clusters.model_dump(),
        "pass_fraction": recipe.mining.pass_fraction,
        "tta_transforms": recipe.cnn2.tta_transforms,
        "tta_share": recipe.cnn2.tta_share,
        "members_per_image": _MEMBERS_PER_IMAGE,
        "recipe": recipe.name,
    }
    networks = methods.networks
    inputs = (methods.cascade, networks.cnn1, networks.cnn2, networks.no_mining)
    return after(networks.cnn1.run, "models", settings, *inputs, modules=("microcalc.study.models",))


def make_models(
    stage: Stage,
    methods: MethodStages,
    validation: Sequence[TrainingImage],
    table: Table,
    recipe: Recipe,
    trained_on: Mapping[str, str],
    *,
    executor: Executor,
) -> None:
    """Write the models ``pair``, ``no_mining`` and ``cascade``, ready for ``microcalc detect --model``.

    Parameters
    ----------
    trained_on
        What each model's description says of its training, by the model's name.
    """

    def work() -> None:
        visible = ignore_invisible(table, min_d_prime=recipe.sample.min_d_prime)
        make = partial(
            _make_model, stage=stage, methods=methods, validation=validation, table=visible, recipe=recipe,
            trained_on=trained_on,
        )  # fmt: skip
        limits: dict[str, tuple[float, float]] = {}
        for found in run_in_order(executor, make, ["pair", "no_mining", "cascade"], work="making models"):
            limits |= found
        write_json(stage.folder / MEMBERS, limits)

    run_stage(stage, work)


def _make_model(
    name: str,
    *,
    stage: Stage,
    methods: MethodStages,
    validation: Sequence[TrainingImage],
    table: Table,
    recipe: Recipe,
    trained_on: Mapping[str, str],
) -> dict[str, tuple[float, float]]:
    """Write the folder of one model; return the limits of members of clusters, by method."""
    folder, networks = stage.folder / name, methods.networks
    if name == "cascade":
        limits = _member_likelihoods(Raters(_others(methods.cascade, recipe.data.spacing_mm), {}), validation, recipe)
        _write_cascade(
            folder, methods.cascade.folder / CASCADE_FILE, validation, recipe,
            min_likelihood=limits["cascade"][0], trained_on=trained_on[name],
        )  # fmt: skip
        return limits
    cnn2 = networks.cnn2 if name == "pair" else networks.no_mining
    write_model(
        folder, cnn1=networks.cnn1.folder, cnn2=cnn2.folder, recipe=recipe, table=table, validation=validation,
        trained_on=trained_on[name],
    )  # fmt: skip
    return _member_likelihoods(Raters({}, _pairs(stage, name)), validation, recipe)


@dataclass(frozen=True, eq=False, slots=True)
class Raters:
    """The pixel scorers of the methods.

    Attributes
    ----------
    others
        Scorers that are no networks, by method.
    networks
        Pairs that share one CNN1, or CNN1 alone, by method.
    """

    others: Mapping[str, PixelScorer]
    networks: Mapping[str, CnnPair]

    def rate(self, mammogram: NormalisedMammogram) -> Iterator[tuple[str, FloatImage]]:
        """Yield the name and the likelihood map (rows, columns) of each method; CNN1 runs once."""
        for name, scorer in self.others.items():
            yield name, scorer.score(mammogram).likelihood
        logit1 = None
        for name, pair in self.networks.items():
            logit1 = pair.rate_all(mammogram) if logit1 is None else logit1
            yield name, pair.score_from(mammogram, logit1).likelihood


def open_raters(stage: Stage, methods: MethodStages, spacing_mm: float) -> Raters:
    """Open all methods of the study, each with one thread."""
    return Raters(_others(methods.cascade, spacing_mm), _pairs(stage, "pair") | _pairs(stage, "no_mining"))


def _others(cascade: Stage, spacing_mm: float) -> dict[str, PixelScorer]:
    return {
        "cascade": open_cascade(cascade.folder / CASCADE_FILE, threads=1),
        "log": LaplacianFilter(spacing_mm=spacing_mm),
    }


def _pairs(stage: Stage, name: str) -> dict[str, CnnPair]:
    """Open a pair of networks; CNN1 of the study's pair is a method, too."""
    folder = stage.folder / name
    pairs = {name: open_pair(folder, threads=1)}
    return {"cnn1": open_pair(folder, threads=1, stage="cnn1"), **pairs} if name == "pair" else pairs


def cluster_rules(recipe: Recipe, limits: Sequence[float]) -> ClusterRules:
    """Return the recipe's rules of clusters with a method's least likelihood of a candidate and of a further member."""
    least, member = limits
    return recipe.clusters.rules(min_likelihood=least, member_likelihood=member)


def _member_likelihoods(
    raters: Raters, validation: Sequence[TrainingImage], recipe: Recipe
) -> dict[str, tuple[float, float]]:
    """Return two likelihoods of each method, measured on the validation images.

    The one that ``_MEMBERS_PER_IMAGE`` candidates per image reach, and the one of further members (see ``Clusters``).
    """
    marked: dict[str, list[Marked]] = {}
    for image in validation:
        mammogram, rules = as_normalised(image.open()), recipe.detect.rules(recipe.detect.min_likelihood)
        for name, likelihood in raters.rate(mammogram):
            candidates = find_candidates(mammogram, likelihood, **rules.model_dump())
            marked.setdefault(name, []).append(Marked(candidates, image.annotations))
    limits = {}
    for name, images in marked.items():
        every = np.concatenate([m.candidates.likelihood for m in images])
        (member,) = mark_operating_points(images, (recipe.clusters.false_marks_per_image,))
        least = _reached_by(every, _MEMBERS_PER_IMAGE * len(images))
        limits[name] = (least, float(np.clip(member.threshold, least, _MOST)))
    return limits


def _reached_by(ratings: NDArray[np.float64], n: int) -> float:
    """Return the n-th highest rating, strictly between 0 and 1."""
    highest = np.sort(ratings)[::-1][:n]
    return float(np.clip(highest[-1] if len(highest) else 0.5, _LEAST, _MOST))


def _write_cascade(
    folder: Path,
    file: Path,
    validation: Sequence[TrainingImage],
    recipe: Recipe,
    *,
    min_likelihood: float,
    trained_on: str,
) -> None:
    """Write the model folder of the cascade; its card is short, as the cascade serves only for comparison."""
    with saying_where(folder / CASCADE_FILE):
        folder.mkdir(exist_ok=True)
    write_whole(folder / CASCADE_FILE, file.read_bytes())
    write_text(folder / RECIPE, dump_recipe(recipe))
    entry = FileEntry(file=CASCADE_FILE, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    description = CascadeDescription(
        schema=CASCADE_SCHEMA,
        name=f"{recipe.name}-cascade",
        version=__version__,
        intent=recipe.data.intent,
        spacing_mm=recipe.data.spacing_mm,
        cascade=entry,
        **unmeasured(recipe),
        recipe=recipe.name,
        trained_on=trained_on,
    )
    write_description(folder, description, n_validation=len(validation))
    measured = measure_operating_points(
        load_model(folder, threads=1), recipe, validation, min_likelihood=min_likelihood
    )
    write_description(folder, with_measured(description, measured), n_validation=len(validation))
    write_text(
        folder / CARD,
        f"# {description.name}, version {description.version}\n\nA cascade of boosted nodes, made by `microcalc study` "
        f"to be compared with the two networks.\n\n**For research use only.**\n\nTrained on {trained_on}.\n",
    )
