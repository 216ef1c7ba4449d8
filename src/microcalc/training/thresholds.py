"""Choose a model's thresholds on the validation set, and write the model's folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from microcalc import __version__
from microcalc.cnn.limit import SurvivorLimit
from microcalc.cnn.mine import as_normalised
from microcalc.cnn.scorer import CnnPair, Logits, NetworkFile
from microcalc.datasets.table import Table
from microcalc.models.description import (
    DESCRIPTION,
    CascadeDescription,
    ModelDescription,
    NetworkEntry,
    OperatingPointEntry,
)
from microcalc.models.model import describe_pair, load_model
from microcalc.sample.store import StoredImage
from microcalc.storage.write import saying_where, write_text, write_whole
from microcalc.training.card import RECIPE, write_card
from microcalc.training.images import TrainingImage, open_images
from microcalc.training.networks import CNN1_DENSE, CNN2_PATCHES
from microcalc.training.operating_points import CLUSTER_NLF, MARK_NLF, Measured, measure_operating_points
from microcalc.training.recipe import Recipe, dump_recipe
from microcalc.training.seen import training_images, write_training_images
from microcalc.wording import quantity

_Description = ModelDescription | CascadeDescription
_LOG = logging.getLogger(__name__)
_OF_USUAL = 4.0  # ours: none of 65 real images passes on three times the usual share
_OF_LARGEST = 1.25
_LARGE_BREAST_CM2 = 250.0
_DEFAULT_NLF = 0.2
_LEAST_FALSE = 4  # counted false clusters that a default threshold may rest on; ours: of one or two it is chance


def write_model(
    folder: Path,
    *,
    cnn1: Path,
    cnn2: Path,
    recipe: Recipe,
    table: Table,
    validation: Sequence[TrainingImage],
    trained_on: str,
    started_from: Path | None = None,
) -> None:
    """Choose CNN1's rejection logit and the operating points, and write the folder of a model, its card last.

    Parameters
    ----------
    cnn1, cnn2
        Folders of the trained networks.
    table
        Table of the training, with its splits, for the card.
    trained_on
        See ``describe_training``.
    started_from
        Folder of the model that was trained further; its training images count as images of this model, too. Where the
        validation images are too few for a default threshold, it stays at least that of this model (ours: on few
        images, a lower one gave ten times as many false clusters on other patients).
    """
    from microcalc.cnn.export import average_orientations

    with saying_where(folder / DESCRIPTION):
        folder.mkdir(exist_ok=True)
    write_whole(folder / "cnn1.onnx", (cnn1 / CNN1_DENSE).read_bytes())
    limits, turn_logit = _limits(cnn1 / CNN1_DENSE, cnn2 / CNN2_PATCHES, recipe, validation)
    average_orientations(
        cnn2 / CNN2_PATCHES, folder / "cnn2.onnx", orientations=recipe.cnn2.tta_transforms, above=turn_logit
    )
    write_text(folder / RECIPE, dump_recipe(recipe))
    earlier = frozenset() if started_from is None else training_images(started_from)
    write_training_images(folder, earlier | {image.sha256 for image in table.of_split("train").images})
    described = _description(folder, recipe, limits=limits, trained_on=trained_on)
    write_description(folder, described, n_validation=len(validation))
    kept = None if started_from is None or _are_enough(len(validation)) else _default_threshold(started_from)
    measured = measure_operating_points(load_model(folder), recipe, validation, threshold=kept)
    write_description(
        folder, with_measured(described, measured), n_validation=len(validation), least_threshold=kept or 0.0
    )
    for nlf, point in zip(MARK_NLF, measured.mark_operating_points, strict=True):
        _LOG.info("validation images: sensitivity %.2f at up to %g false marks per image", point.llf, nlf)
    load_model(folder)  # as every user of it will
    write_card(folder, table)


def describe_training(n_images: int, counts: Mapping[str, int], command: str) -> str:
    """Return what a model's description says of its training: images, samples of each kind, and the command."""
    return f"{quantity(n_images, 'image')}; samples: {', '.join(f'{v} {k}' for k, v in counts.items())}; by `{command}`"


@dataclass(frozen=True, eq=False, slots=True)
class FirstLimits:
    """The limits on what CNN1 passes on, measured on the validation images.

    Attributes
    ----------
    rejection_logit
        Logit of CNN1 that the recipe's share of the breast pixels reaches.
    most_survivors
        Largest number of pixels that CNN1 passes on.
    logits
        CNN1's logits of each image's breast pixels, (n,).
    """

    rejection_logit: float
    most_survivors: SurvivorLimit
    logits: list[Logits]


def first_limits(pair: CnnPair, recipe: Recipe, opened: Sequence[StoredImage]) -> FirstLimits:
    """Measure the limits on what the first network of a pair passes on."""
    logits = [pair.rate_all(as_normalised(stored))[stored.breast] for stored in opened]
    rejection_logit = float(np.quantile(np.concatenate(logits), 1 - recipe.mining.pass_fraction))
    largest_share = max(float(np.mean(of_image >= rejection_logit)) for of_image in logits)
    return FirstLimits(rejection_logit, _most_survivors(recipe, largest_share), logits)


def _limits(cnn1: Path, cnn2: Path, recipe: Recipe, validation: Sequence[TrainingImage]) -> tuple[FirstLimits, float]:
    """Return the limits of the first network, and CNN2's logit from which patches are rated in all orientations."""
    networks = [NetworkFile(cnn1, sum(recipe.cnn1.dilations)), NetworkFile(cnn2, sum(recipe.cnn2.dilations))]
    pair = CnnPair(*networks, rejection_logit=-np.inf, most_survivors=None, spacing_mm=recipe.data.spacing_mm)
    opened = open_images(validation)
    limits = first_limits(pair, recipe, opened)
    if recipe.cnn2.tta_transforms == 1 or recipe.cnn2.tta_share == 1.0:
        return limits, -np.inf
    second = []
    for stored, logits in zip(opened, limits.logits, strict=True):
        rows, columns = np.nonzero(stored.breast)
        survives = logits >= limits.rejection_logit
        second.append(pair.rate_survivors(as_normalised(stored), (rows[survives], columns[survives])))
    return limits, float(np.quantile(np.concatenate(second), 1 - recipe.cnn2.tta_share))


def _description(folder: Path, recipe: Recipe, *, limits: FirstLimits, trained_on: str) -> ModelDescription:
    return ModelDescription(
        schema="microcalc/model/1",
        name=recipe.name,
        version=__version__,
        intent=recipe.data.intent,
        spacing_mm=recipe.data.spacing_mm,
        cnn1=_entry(folder, "cnn1.onnx", sum(recipe.cnn1.dilations)),
        cnn2=_entry(folder, "cnn2.onnx", sum(recipe.cnn2.dilations)),
        rejection_logit=limits.rejection_logit,
        most_survivors=limits.most_survivors,
        **unmeasured(recipe),
        recipe=recipe.name,
        trained_on=trained_on,
    )


def _most_survivors(recipe: Recipe, largest_share: float) -> SurvivorLimit:
    """Return four times the mean share that CNN1 passes on, or more where a validation image needs more."""
    share = max(_OF_USUAL * recipe.mining.pass_fraction, _OF_LARGEST * largest_share)
    per_cm2 = min(1.0, share) * (10.0 / recipe.data.spacing_mm) ** 2
    return SurvivorLimit(per_cm2=round(per_cm2, 3), per_image=max(1, round(_LARGE_BREAST_CM2 * per_cm2)))


def _entry(folder: Path, file: str, margin_px: int) -> NetworkEntry:
    digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
    return NetworkEntry(file=file, margin_px=margin_px, sha256=digest)


def default_point(n_validation: int) -> int:
    """Return the index of the default operating point: 0.2 false clusters per image, more on few validation images."""
    enough = [i for i, nlf in enumerate(CLUSTER_NLF) if nlf >= _DEFAULT_NLF and nlf * n_validation >= _LEAST_FALSE]
    return enough[0] if enough else len(CLUSTER_NLF) - 1


def _are_enough(n_validation: int) -> bool:
    """Return whether a threshold at the default number of false clusters can be measured on so many images."""
    return n_validation * _DEFAULT_NLF >= _LEAST_FALSE


def _default_threshold(model: Path) -> float:
    described = describe_pair(model)
    return described.operating_points[described.default_operating_point].threshold


def unmeasured(recipe: Recipe) -> dict[str, Any]:
    """Return the entries of a description that are measured, with values for a model that is not yet."""
    return {
        "candidates": recipe.detect.rules(recipe.detect.min_likelihood),
        "shapes": recipe.shapes.rules(1.0),
        "clusters": recipe.clusters.rules(member_likelihood=0.5),
        "mark_operating_points": (),
        "operating_points": (OperatingPointEntry(threshold=1.0, llf=0.0, nlf=0.0),),
        "default_operating_point": 0,
    }


def with_measured(description: _Description, measured: Measured) -> _Description:
    """Return a description with what was measured."""
    return description.model_copy(update={f.name: getattr(measured, f.name) for f in fields(measured)})


def write_description(
    folder: Path,
    description: ModelDescription | CascadeDescription,
    *,
    n_validation: int,
    least_threshold: float = 0.0,
) -> None:
    """Write ``model.json``, with the default operating point for this number of validation images.

    Parameters
    ----------
    least_threshold
        The default is a point of at least this threshold, where there is one.
    """
    points = description.operating_points
    enough = [n for n, point in enumerate(points) if point.threshold >= least_threshold]
    default = min(default_point(n_validation), len(points) - 1, *enough[-1:])
    chosen = description.model_copy(update={"default_operating_point": default})
    write_text(folder / DESCRIPTION, chosen.to_json())
