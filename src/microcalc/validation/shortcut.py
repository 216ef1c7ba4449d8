"""Criterion 18: whether a network recognises insertion from the surroundings of calcifications."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from microcalc.domain import FloatImage
from microcalc.simulate.exam import SimulatedMammogram
from microcalc.validation.classifier import cross_validate
from microcalc.validation.criteria import Measurement, not_measured
from microcalc.validation.images import ImageSpec, ImageStore
from microcalc.wording import quantity

_PATCH_PX = 48
_HIDDEN_MM = 0.75  # beyond the outline of the calcification, to hide its blur; the inserted patch ends at 0.8
_LEAST_PLACES = 100


def measure_shortcut(images: ImageStore, specs: Sequence[ImageSpec], *, steps: int, seed: int) -> list[Measurement]:
    """Measure whether a network recognises insertion from the surroundings of calcifications.

    Parameters
    ----------
    specs
        The images; those with the first set of calcifications are compared to the same breasts with the second.
    steps
        Training steps of the patch classifier, per fold.
    """
    first = [j for j in specs if j.filling == "first"]
    groups = [(j, replace(j, filling="second")) for j in first]
    found = images.each(patches_of_twins, groups)
    patient = np.concatenate(
        [np.full(len(p), f"{j.system.name}-{j.seed}") for j, (p, _) in zip(first, found, strict=True)]
    )
    patches = np.concatenate([p for p, _ in found])
    inserted = np.concatenate([i for _, i in found])
    if inserted.sum() < _LEAST_PLACES:
        return [
            not_measured(
                18, f"{quantity(int(inserted.sum()), 'single microcalcification')}, expected {_LEAST_PLACES} or more"
            )
        ]
    told = cross_validate(patches, inserted, patient, steps=steps, folds=3, seed=seed)
    note = (
        f"{int(inserted.sum())} places with, {int((~inserted).sum())} without; 95 % {told.low:.3f} .. {told.high:.3f}"
    )
    return [
        Measurement(18, "vendors", "AUC of patches, calcification masked", told.auc, 0.47, 0.53, note),
        Measurement(18, "vendors", "its standard error by patient", told.standard_error, 0.0, 0.015),
    ]


def patches_of_twins(images: list[SimulatedMammogram]) -> tuple[FloatImage, NDArray[np.bool_]]:
    """Return patches of two images of a breast at the calcifications of both, each present in one image only."""
    sites = [_lonely(image, other) for image, other in (images, images[::-1])]
    patches, inserted = [], []
    for k, image in enumerate(images):
        for j, places in enumerate(sites):
            for row, column, hidden_mm in places:
                patches.append(masked_patch(image, row, column, hidden_mm=hidden_mm))
                inserted.append(k == j)
    return np.array(patches, dtype=np.float32).reshape(-1, _PATCH_PX, _PATCH_PX), np.array(inserted, dtype=np.bool_)


def _lonely(image: SimulatedMammogram, other: SimulatedMammogram) -> list[tuple[float, float, float]]:
    """Return (row, column, radius to hide in mm) of the microcalcifications that are isolated in both images."""
    pitch = image.system.pitch_mm
    places = [*image.annotations, *other.annotations]
    at = np.array([(p.row, p.column) for p in places]).reshape(-1, 2)
    clear_px = 0.75 * _PATCH_PX + np.array([p.diameter_mm / 2 + 1.0 for p in places]) / pitch
    out = []
    half = _PATCH_PX // 2
    rows, columns = image.stored["raw"].shape
    for index, p in enumerate(image.annotations):
        if p.kind != "microcalcification" or p.cluster:
            continue
        near = np.hypot(at[:, 0] - p.row, at[:, 1] - p.column) < clear_px
        inside = half < p.row < rows - half and half < p.column < columns - half
        if inside and near.sum() == near[index] == 1:
            reach_px = max(float(np.hypot(r - p.row, c - p.column)) for r, c in p.outline)
            out.append((p.row, p.column, reach_px * pitch + _HIDDEN_MM))
    return out


def masked_patch(image: SimulatedMammogram, row: float, column: float, *, hidden_mm: float) -> FloatImage:
    """Return the log exposure (48, 48) around a place in units of its fine noise, 0 where a calcification may be."""
    s, half = image.system, _PATCH_PX // 2
    r, c = round(row), round(column)
    raw = image.stored["raw"][r - half : r + half, c - half : c + half].astype(np.float32)
    patch = -np.log(np.maximum(raw - np.float32(s.offset), 1.0))
    y, x = np.arange(r - half, r + half) - row, np.arange(c - half, c + half) - column
    hidden = np.hypot(y[:, None], x[None, :]) * s.pitch_mm < hidden_mm
    seen = patch[~hidden]
    fine = float(np.std(ndimage.laplace(patch)[~hidden])) / math.sqrt(20.0)  # of white noise: its own deviation
    return np.asarray(np.where(hidden, 0.0, (patch - seen.mean()) / max(fine, 1e-6)), dtype=np.float32)
