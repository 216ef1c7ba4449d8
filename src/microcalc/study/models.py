"""The trained methods as model folders, and as what rates the test images."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from microcalc import __version__
from microcalc.cnn.mine import as_normalised
from microcalc.datasets.table import Table
from microcalc.detection.candidates import find_candidates
from microcalc.domain import FloatImage, NormalisedMammogram, PixelScorer
from microcalc.models.description import (
    CASCADE_SCHEMA,
    CandidateRules,
    CascadeDescription,
    ClusterRules,
    FileEntry,
    OperatingPointEntry,
)
from microcalc.models.laplacian import LaplacianFilter
from microcalc.models.model import load_model, open_cascade, open_pair
from microcalc.storage.write import saying_where, write_json, write_text
from microcalc.study.boosted import CASCADE_FILE
from microcalc.study.images import StudyImage
from microcalc.study.methods import Trained
from microcalc.study.stage import Say, Stage, after, run_stage
from microcalc.study.workers import in_processes
from microcalc.training.annotated import as_seen
from microcalc.training.card import CARD, RECIPE
from microcalc.training.recipe import Recipe, dump_recipe
from microcalc.training.thresholds import (
    ValidationImage,
    operating_points,
    words_on_training,
    write_description,
    write_model,
)

if TYPE_CHECKING:
    from microcalc.cnn.scorer import CnnPair

MEMBERS = "members.json"
MODELS = ("cascade", "pair", "no_mining")
"""Folders of the models that a study makes."""
_MEMBERS_PER_IMAGE = 60
"""Mean number of candidates of a validation image that may be members of clusters, the same for every method; ours."""
_LEAST, _MOST = 1e-6, 1 - 1e-6


def models_stage(trained: Trained, recipe: Recipe) -> Stage:
    """Of the trained methods: model folders and the numbers chosen on the validation images."""
    settings = {
        "detect": recipe.detect.model_dump(),
        "clusters": recipe.clusters.model_dump(),
        "pass_fraction": recipe.mining.pass_fraction,
        "tta_transforms": recipe.cnn2.tta_transforms,
        "tta_share": recipe.cnn2.tta_share,
        "members_per_image": _MEMBERS_PER_IMAGE,
        "recipe": recipe.name,
    }
    inputs = (trained.cascade, trained.networks.cnn1, trained.networks.cnn2, trained.networks.no_mining)
    return after(trained.networks.cnn1.run, "models", settings, *inputs, modules=("microcalc.study.models",))


def make_models(
    stage: Stage,
    trained: Trained,
    validation: Sequence[StudyImage],
    table: Table,
    recipe: Recipe,
    counts: Mapping[str, int],
    command: str,
    *,
    workers: int,
    say: Say,
) -> None:
    """Write the models ``pair``, ``no_mining`` and ``cascade``, ready for ``microcalc detect --model``.

    Parameters
    ----------
    counts
        Samples by their kind.
    command
        What made them, for their descriptions.
    """

    def work(progress: Say) -> None:
        n_train = sum(i.split == "train" for i in table.images)
        mined = words_on_training(n_train, counts, command)
        random = words_on_training(n_train, {k: v for k, v in counts.items() if k != "mined"}, command)
        seen = Table(table.images, tuple(as_seen(a, recipe.sample.min_d_prime) for a in table.annotations))
        jobs: list[tuple[Callable[..., tuple[str, dict[str, float]]], tuple[Any, ...]]] = [
            (
                _make_pair,
                (stage, trained.networks.cnn1, trained.networks.cnn2, "pair", validation, seen, recipe, mined),
            ),
            (
                _make_pair,
                (
                    stage,
                    trained.networks.cnn1,
                    trained.networks.no_mining,
                    "no_mining",
                    validation,
                    seen,
                    recipe,
                    random,
                ),
            ),
            (_make_cascade, (stage, trained.cascade, validation, recipe, random)),
        ]
        limits: dict[str, float] = {}
        for name, found in in_processes(jobs, workers=workers):
            limits |= found
            progress(f"model {name}")
        write_json(stage.folder / MEMBERS, limits)

    run_stage(stage, work, say)


@dataclass(frozen=True, eq=False, slots=True)
class Raters:
    """What rates a pixel, by method.

    Attributes
    ----------
    networks
        Pairs with one first network, or the first network alone.
    """

    others: Mapping[str, PixelScorer]
    networks: Mapping[str, CnnPair]

    def rate(self, mammogram: NormalisedMammogram) -> Iterator[tuple[str, FloatImage]]:
        """Each method's name and likelihood (rows, columns); CNN1 runs once."""
        for name, other in self.others.items():
            yield name, other.score(mammogram).likelihood
        logit1 = None
        for name, pair in self.networks.items():
            logit1 = pair.rate_all(mammogram) if logit1 is None else logit1
            yield name, pair.score_from(mammogram, logit1).likelihood


def open_raters(stage: Stage, trained: Trained, spacing_mm: float) -> Raters:
    """The methods of the study; each with one thread."""
    return Raters(_others(trained.cascade, spacing_mm), _pairs(stage, "pair") | _pairs(stage, "no_mining"))


def _others(cascade: Stage, spacing_mm: float) -> dict[str, PixelScorer]:
    return {
        "cascade": open_cascade(cascade.folder / CASCADE_FILE, threads=1),
        "log": LaplacianFilter(spacing_mm=spacing_mm),
    }


def _pairs(stage: Stage, name: str) -> dict[str, CnnPair]:
    """A pair; the pair of the study gives its first network as a method too."""
    folder = stage.folder / name
    pairs = {name: open_pair(folder, threads=1)}
    return {"cnn1": open_pair(folder, threads=1, stage="cnn1"), **pairs} if name == "pair" else pairs


def _make_pair(
    stage: Stage,
    cnn1: Stage,
    cnn2: Stage,
    name: str,
    validation: Sequence[StudyImage],
    table: Table,
    recipe: Recipe,
    trained_on: str,
) -> tuple[str, dict[str, float]]:
    """The model folder of two networks; its name, and the least likelihood of members of clusters, by method."""
    out = stage.folder / f"{name}.run"
    with saying_where(out / "cnn2.onnx"):
        out.mkdir(exist_ok=True)
        shutil.copyfile(cnn1.folder / "cnn1_dense.onnx", out / "cnn1_dense.onnx")
        shutil.copyfile(cnn2.folder / "cnn2.onnx", out / "cnn2.onnx")
    write_model(out, recipe, table, _opened(validation), trained_on=trained_on)
    shutil.rmtree(stage.folder / name, ignore_errors=True)
    (out / "model").replace(stage.folder / name)
    shutil.rmtree(out)
    return name, _member_likelihoods(Raters({}, _pairs(stage, name)), validation, recipe)


def _make_cascade(
    stage: Stage, cascade: Stage, validation: Sequence[StudyImage], recipe: Recipe, trained_on: str
) -> tuple[str, dict[str, float]]:
    """The cascade's model folder; its name, and the least likelihood of members of clusters, by method."""
    limits = _member_likelihoods(Raters(_others(cascade, recipe.data.spacing_mm), {}), validation, recipe)
    _write_cascade(
        stage.folder / "cascade", cascade.folder / CASCADE_FILE, _opened(validation), recipe,
        member_likelihood=limits["cascade"], trained_on=trained_on,
    )  # fmt: skip
    return "cascade", limits


def _opened(validation: Sequence[StudyImage]) -> list[ValidationImage]:
    return [ValidationImage(i.annotations, i.open()) for i in validation]


def cluster_rules(recipe: Recipe, member_likelihood: float) -> ClusterRules:
    """The recipe's, with the members' least likelihood of a method."""
    rules = recipe.clusters.model_dump() | {"min_likelihood": member_likelihood}
    return ClusterRules(**rules)


def _member_likelihoods(raters: Raters, validation: Sequence[StudyImage], recipe: Recipe) -> dict[str, float]:
    """The likelihood that so many candidates of the validation images reach on average, by method."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for image in validation:
        mammogram = as_normalised(image.open())
        for name, likelihood in raters.rate(mammogram):
            candidates = find_candidates(mammogram, likelihood, **recipe.detect.model_dump())
            found.setdefault(name, []).append(candidates.likelihood)
    return {
        name: _reached_by(np.concatenate(all_), _MEMBERS_PER_IMAGE * len(validation)) for name, all_ in found.items()
    }


def _reached_by(ratings: NDArray[np.float64], n: int) -> float:
    """The n-th highest, strictly between 0 and 1."""
    highest = np.sort(ratings)[::-1][:n]
    return float(np.clip(highest[-1] if len(highest) else 0.5, _LEAST, _MOST))


def _write_cascade(
    folder: Path,
    file: Path,
    validation: Sequence[ValidationImage],
    recipe: Recipe,
    *,
    member_likelihood: float,
    trained_on: str,
) -> None:
    """The cascade's model folder; its card is short, for it is here to be compared with."""
    with saying_where(folder / CASCADE_FILE):
        folder.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / CASCADE_FILE)
    write_text(folder / RECIPE, dump_recipe(recipe))
    entry = FileEntry(file=CASCADE_FILE, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    description = CascadeDescription(
        schema=CASCADE_SCHEMA,
        name=f"{recipe.name}-cascade",
        version=__version__,
        intent=recipe.data.intent,
        spacing_mm=recipe.data.spacing_mm,
        cascade=entry,
        candidates=CandidateRules(**recipe.detect.model_dump()),
        clusters=cluster_rules(recipe, member_likelihood),
        operating_points=(OperatingPointEntry(threshold=1.0, llf=0.0, nlf=0.0),),
        default_operating_point=0,
        recipe=recipe.name,
        trained_on=trained_on,
    )
    write_description(folder, description, n_validation=len(validation))
    points = operating_points(load_model(folder, threads=1), validation)
    write_description(folder, description.model_copy(update={"operating_points": points}), n_validation=len(validation))
    write_text(
        folder / CARD,
        f"# {description.name}, version {description.version}\n\nA cascade of boosted nodes, made by `microcalc study` "
        f"to be compared with the two networks.\n\n**For research use only.**\n\nTrained on {trained_on}.\n",
    )
