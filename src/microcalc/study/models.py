"""The trained methods as model folders, and as what rates the test images."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc import __version__
from microcalc.cnn.mine import as_normalised
from microcalc.datasets.table import Table
from microcalc.detect.candidates import find_candidates
from microcalc.detect.log_filter import LogFilter
from microcalc.detect.model import (
    CASCADE_SCHEMA,
    CandidateRules,
    CascadeDescription,
    ClusterRules,
    FileEntry,
    OperatingPointEntry,
    load_model,
)
from microcalc.domain import NormalisedMammogram, PixelScorer
from microcalc.pipeline import open_cascade
from microcalc.runs.card import CARD, RECIPE
from microcalc.runs.recipe import Recipe, dump_recipe
from microcalc.runs.thresholds import TuneImage, operating_points, words_on_training, write_description, write_model
from microcalc.runs.training import as_seen
from microcalc.study.images import StudyImage
from microcalc.study.methods import CASCADE_FILE, Trained
from microcalc.study.stage import Say, Stage, after, run_stage, write_json

MEMBERS = "members.json"
MODELS = ("cascade", "pair", "unmined")
"""Folders of the models that a study makes."""
_MEMBERS_PER_IMAGE = 60
"""Mean number of candidates of a tune image that may be members of clusters, the same for every method; ours."""
_LEAST, _MOST = 1e-6, 1 - 1e-6


def models_stage(trained: Trained, recipe: Recipe) -> Stage:
    """Of the trained methods: model folders and the numbers chosen on the tune images."""
    settings = {
        "detect": recipe.detect.model_dump(),
        "clusters": recipe.clusters.model_dump(),
        "survive_share": recipe.mining.survive_share,
        "orientations": recipe.cnn2.orientations,
        "members_per_image": _MEMBERS_PER_IMAGE,
        "recipe": recipe.name,
    }
    return after(trained.cnn1.run, "models", settings, trained.cascade, trained.cnn1, trained.cnn2, trained.unmined)


def make_models(
    stage: Stage,
    trained: Trained,
    tune: Sequence[StudyImage],
    table: Table,
    recipe: Recipe,
    counts: Mapping[str, int],
    command: str,
    say: Say,
) -> None:
    """Write the models ``pair``, ``unmined`` and ``cascade``, ready for ``microcalc detect --model``.

    Parameters
    ----------
    counts
        Samples by their kind.
    command
        What made them, for their descriptions.
    """

    def work(progress: Say) -> None:
        images = [TuneImage(i.annotations, i.open()) for i in tune]
        n_train = sum(i.split == "train" for i in table.images)
        seen = Table(table.images, tuple(as_seen(a, recipe.sample.min_d_prime) for a in table.annotations))
        for name, second in (("pair", trained.cnn2), ("unmined", trained.unmined)):
            out = stage.folder / f"{name}.run"
            out.mkdir(exist_ok=True)
            shutil.copyfile(trained.cnn1.folder / "cnn1_dense.onnx", out / "cnn1_dense.onnx")
            shutil.copyfile(second.folder / "cnn2.onnx", out / "cnn2.onnx")
            used = {k: v for k, v in counts.items() if k != "mined" or name == "pair"}
            write_model(out, recipe, seen, images, trained_on=words_on_training(n_train, used, command))
            shutil.rmtree(stage.folder / name, ignore_errors=True)
            (out / "model").replace(stage.folder / name)
            shutil.rmtree(out)
            progress(f"model {name}")
        limits: dict[str, float] = {}
        for name, scorer in scorers_of(stage, trained, recipe.data.spacing_mm).items():
            limits[name] = _member_likelihood(scorer, tune, recipe)
            progress(f"candidates of the tune images by {name}")
        write_json(limits, stage.folder / MEMBERS)
        used = {k: v for k, v in counts.items() if k != "mined"}
        _write_cascade(
            stage.folder / "cascade", trained.cascade.folder / CASCADE_FILE, images, recipe,
            member_likelihood=limits["cascade"], trained_on=words_on_training(n_train, used, command),
        )  # fmt: skip
        progress("model cascade")

    run_stage(stage, work, say)


def scorers_of(stage: Stage, trained: Trained, spacing_mm: float) -> dict[str, PixelScorer]:
    """What rates a pixel, by method; each with one thread."""
    return {
        "cascade": open_cascade(trained.cascade.folder / CASCADE_FILE, 1),
        "cnn1": load_model(stage.folder / "pair", threads=1, stage="cnn1").scorer,
        "pair": load_model(stage.folder / "pair", threads=1).scorer,
        "log": LogFilter(spacing_mm=spacing_mm),
        "unmined": load_model(stage.folder / "unmined", threads=1).scorer,
    }


def cluster_rules(recipe: Recipe, member_likelihood: float) -> ClusterRules:
    """The recipe's, with the members' least likelihood of a method."""
    rules = recipe.clusters.model_dump() | {"min_likelihood": member_likelihood}
    return ClusterRules(**rules)


def _member_likelihood(scorer: PixelScorer, tune: Sequence[StudyImage], recipe: Recipe) -> float:
    """The likelihood that so many candidates of the tune images reach on average."""
    found = [_candidates(scorer, as_normalised(image.open()), recipe) for image in tune]
    ratings = np.sort(np.concatenate(found))[::-1]
    n = min(len(ratings), _MEMBERS_PER_IMAGE * len(tune))
    return float(np.clip(ratings[n - 1] if n else 0.5, _LEAST, _MOST))


def _write_cascade(
    folder: Path,
    file: Path,
    tune: Sequence[TuneImage],
    recipe: Recipe,
    *,
    member_likelihood: float,
    trained_on: str,
) -> None:
    """The cascade's model folder; its card is short, for it is here to be compared with."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(file, folder / CASCADE_FILE)
    (folder / RECIPE).write_text(dump_recipe(recipe))
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
    write_description(folder, description, n_tune=len(tune))
    points = operating_points(load_model(folder, threads=1, open_cascade=open_cascade), tune)
    write_description(folder, description.model_copy(update={"operating_points": points}), n_tune=len(tune))
    (folder / CARD).write_text(
        f"# {description.name}, version {description.version}\n\nA cascade of boosted nodes, made by `microcalc study` "
        f"to be compared with the two networks.\n\n**For research use only.**\n\nTrained on {trained_on}.\n"
    )


def _candidates(scorer: PixelScorer, mammogram: NormalisedMammogram, recipe: Recipe) -> NDArray[np.float64]:
    rules = recipe.detect
    return find_candidates(
        mammogram,
        scorer.score(mammogram),
        min_likelihood=rules.min_likelihood,
        min_distance_mm=rules.min_distance_mm,
        max_count=rules.max_count,
    ).likelihood
