"""Chooses a model's thresholds on the validation set, and writes the model's folder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc import __version__
from microcalc.cnn.limit import SurvivorLimit
from microcalc.cnn.mine import as_normalised
from microcalc.cnn.scorer import CnnPair, NetworkFile
from microcalc.datasets.table import Table
from microcalc.detection.stages import Detected, detect_normalised
from microcalc.domain import Annotations
from microcalc.evaluation.froc import froc_curve
from microcalc.evaluation.match import Regions, match_clusters
from microcalc.evaluation.matched_images import IGNORED_KINDS
from microcalc.models.description import (
    CandidateRules,
    CascadeDescription,
    ClusterRules,
    ModelDescription,
    NetworkEntry,
    OperatingPointEntry,
)
from microcalc.models.model import Model, load_model
from microcalc.sample.store import StoredImage
from microcalc.storage.write import saying_where, write_text
from microcalc.training.card import RECIPE, write_card
from microcalc.training.recipe import Recipe, dump_recipe

_NLF = (0.05, 0.1, 0.2, 0.5)  # false clusters per image of the operating points
_OF_USUAL = 4.0  # ours: none of 65 real images passes on three times the usual share
_OF_LARGEST = 1.25
_LARGE_BREAST_CM2 = 250.0
_DEFAULT_NLF = 0.2
_LEAST_FALSE = 4  # counted false clusters that a default threshold may rest on; ours: of one or two it is chance


@dataclass(frozen=True, eq=False, slots=True)
class ValidationImage:
    """A validation image: what is known of it, and its pixels."""

    annotations: Annotations
    stored: StoredImage


def write_model(
    out: Path, recipe: Recipe, table: Table, validation: Sequence[ValidationImage], *, trained_on: str
) -> Path:
    """Choose what CNN1 passes on and the operating points; write ``out/model``, its card last."""
    from microcalc.cnn.export import average_orientations

    folder = out / "model"
    with saying_where(folder / "model.json"):
        folder.mkdir(exist_ok=True)
        shutil.copyfile(out / "cnn1_dense.onnx", folder / "cnn1.onnx")
    rejection_logit, turn_logit, most = _limits(out, recipe, validation)
    average_orientations(
        out / "cnn2.onnx", folder / "cnn2.onnx", orientations=recipe.cnn2.tta_transforms, above=turn_logit
    )
    write_text(folder / RECIPE, dump_recipe(recipe))
    described = _description(
        folder, recipe, rejection_logit=rejection_logit, most_survivors=most, trained_on=trained_on
    )
    write_description(folder, described, n_validation=len(validation))
    points = operating_points(load_model(folder), validation)
    write_description(folder, described.model_copy(update={"operating_points": points}), n_validation=len(validation))
    load_model(folder)  # as every user of it will
    write_card(folder, table)
    return folder


def words_on_training(n_images: int, counts: Mapping[str, int], command: str) -> str:
    """What a model says of its training: images, samples by their kind, and the command."""
    return f"{n_images} images; samples: {', '.join(f'{v} {k}' for k, v in counts.items())}; by `{command}`"


def _limits(out: Path, recipe: Recipe, validation: Sequence[ValidationImage]) -> tuple[float, float, SurvivorLimit]:
    """CNN1's logit that the recipe's share of the validation pixels reaches, CNN2's to turn at, the most survivors."""
    networks = [
        NetworkFile(out / file, sum(part.dilations))
        for file, part in (("cnn1_dense.onnx", recipe.cnn1), ("cnn2.onnx", recipe.cnn2))
    ]
    pair = CnnPair(*networks, rejection_logit=-np.inf, most_survivors=None, spacing_mm=recipe.data.spacing_mm)
    first = [pair.rate_all(as_normalised(t.stored))[t.stored.breast] for t in validation]
    rejection_logit = float(np.quantile(np.concatenate(first), 1 - recipe.mining.pass_fraction))
    most = _most_survivors(recipe, max(float(np.mean(logits >= rejection_logit)) for logits in first))
    if recipe.cnn2.tta_transforms == 1 or recipe.cnn2.tta_share == 1.0:
        return rejection_logit, -np.inf, most
    second = []
    for t, logits in zip(validation, first, strict=True):
        rows, columns = np.nonzero(t.stored.breast)
        survives = logits >= rejection_logit
        second.append(pair.rate_survivors(as_normalised(t.stored), (rows[survives], columns[survives])))
    return rejection_logit, float(np.quantile(np.concatenate(second), 1 - recipe.cnn2.tta_share)), most


def _description(
    folder: Path, recipe: Recipe, *, rejection_logit: float, most_survivors: SurvivorLimit, trained_on: str
) -> ModelDescription:
    return ModelDescription(
        schema="microcalc/model/1",
        name=recipe.name,
        version=__version__,
        intent=recipe.data.intent,
        spacing_mm=recipe.data.spacing_mm,
        cnn1=_entry(folder, "cnn1.onnx", sum(recipe.cnn1.dilations)),
        cnn2=_entry(folder, "cnn2.onnx", sum(recipe.cnn2.dilations)),
        rejection_logit=rejection_logit,
        most_survivors=most_survivors,
        candidates=CandidateRules(**recipe.detect.model_dump()),
        clusters=ClusterRules(**recipe.clusters.model_dump()),
        operating_points=(OperatingPointEntry(threshold=1.0, llf=0.0, nlf=0.0),),
        default_operating_point=0,
        recipe=recipe.name,
        trained_on=trained_on,
    )


def _most_survivors(recipe: Recipe, largest_share: float) -> SurvivorLimit:
    """Four times what CNN1 passes on in the mean of the validation images, and more where one of them needs it."""
    share = max(_OF_USUAL * recipe.mining.pass_fraction, _OF_LARGEST * largest_share)
    per_cm2 = min(1.0, share) * (10.0 / recipe.data.spacing_mm) ** 2
    return SurvivorLimit(per_cm2=round(per_cm2, 3), per_image=max(1, round(_LARGE_BREAST_CM2 * per_cm2)))


def _entry(folder: Path, file: str, margin_px: int) -> NetworkEntry:
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    return NetworkEntry(file=file, margin_px=margin_px, sha256=digest)


def operating_points(model: Model, validation: Sequence[ValidationImage]) -> tuple[OperatingPointEntry, ...]:
    """For each number of false clusters per image the loosest threshold that keeps to it on the validation set."""
    lesions, false = [], []
    for image in validation:
        matched = _matched(detect_normalised(as_normalised(image.stored), model), image.annotations)
        lesions.append(matched[0])
        false.append(matched[1])
    curve = froc_curve(np.concatenate(lesions), np.concatenate(false), len(validation))
    points = []
    for nlf in _NLF:
        last = int(np.flatnonzero(curve.nlf <= nlf)[-1])
        threshold = float(min(1.0, curve.threshold[last]))
        points.append(OperatingPointEntry(threshold=threshold, llf=float(curve.llf[last]), nlf=float(curve.nlf[last])))
    return tuple(points)


def _matched(found: Detected, annotations: Annotations) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    real = annotations.kind == "microcalcification"
    ignored = np.isin(annotations.kind, IGNORED_KINDS)
    matched = match_clusters(
        [found.candidates.centres[c.members] for c in found.clusters],
        [c.likelihood for c in found.clusters],
        annotations.centres[real],
        annotations.cluster[real],
        ignored=Regions(annotations.centres[ignored], annotations.diameter_mm[ignored] / 2),
    )
    return matched.lesion_rating, matched.nl_rating


def default_point(n_validation: int) -> int:
    """Return which operating point shows findings: 0.2 false clusters per image, or more on few validation images."""
    enough = [i for i, nlf in enumerate(_NLF) if nlf >= _DEFAULT_NLF and nlf * n_validation >= _LEAST_FALSE]
    return enough[0] if enough else len(_NLF) - 1


def write_description(folder: Path, description: ModelDescription | CascadeDescription, *, n_validation: int) -> None:
    """Write ``model.json``, with the default operating point that so many validation images allow."""
    last = len(description.operating_points) - 1
    chosen = description.model_copy(update={"default_operating_point": min(default_point(n_validation), last)})
    write_text(folder / "model.json", chosen.to_json())
