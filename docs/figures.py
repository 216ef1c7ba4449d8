"""Draws the figures of docs/explanation/method.md, from a simulated mammogram and the shipped model.

``python docs/figures.py --out docs/images/method``
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from microcalc.cnn.scorer import CnnPair
from microcalc.datasets.open import open_row
from microcalc.datasets.simulated import Settings, simulate_data_set
from microcalc.datasets.table import ImageRow
from microcalc.detection.candidates import find_candidates
from microcalc.detection.clusters import group
from microcalc.domain import Annotations, FloatImage, Mammogram, NormalisedMammogram
from microcalc.models.model import load_model, shipped_model
from microcalc.normalise.mammogram import normalise
from microcalc.normalise.noise import high_pass, noise_by_level
from microcalc.sample.draw import draw_negatives, negative_mask, peaks
from microcalc.simulate.exam import RAW_ONLY
from microcalc.simulate.lesions import LesionRates

_SYSTEM, _SEED = "ge", 4
_HALF_PX = 90  # of the region shown, at the model's spacing
_PATCH_PX = 15
_CLEARANCE_MM, _UNMEASURED_MM, _APART_MM = 0.3, 0.8, 2.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description="Draw the figures of docs/explanation/method.md.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    row, annotations, mammogram = _mammogram()
    model = load_model(shipped_model("raw"))
    normalised = normalise(mammogram, spacing_mm=model.scorer.spacing_mm)
    pair = model.scorer
    assert isinstance(pair, CnnPair)
    region = _region(annotations, normalised)
    _draw_normalisation(mammogram, normalised, out / "normalisation.png")
    logit1 = pair.rate_all(normalised)
    _draw_patches(normalised, annotations, logit1, row, out / "hard-negatives.png")
    likelihood = pair.score_from(normalised, logit1).likelihood
    _draw_detection(normalised, annotations, logit1, likelihood, region, out / "detection.png")


def _mammogram() -> tuple[ImageRow, Annotations, Mammogram]:
    with tempfile.TemporaryDirectory() as folder:
        solid = LesionRates(clusters=2.5, diameter_mm=0.3, packing=(1.5, 2.5))
        settings = Settings(_SEED, RAW_ONLY, views=("CC",), lateralities=("L",), rates=solid)
        table = simulate_data_set(Path(folder) / "images", settings, systems=(_SYSTEM,), exams=1)
        (row,) = table.images
        return row, table.annotations_of(row), open_row(row)


def _region(annotations: Annotations, normalised: NormalisedMammogram) -> tuple[slice, slice]:
    """The surroundings of the cluster with the most members."""
    names, counts = np.unique(annotations.cluster[annotations.cluster != ""], return_counts=True)
    members = annotations.centres[annotations.cluster == names[np.argmax(counts)]]
    row, column = normalised.grid.to_pixels(members.mean(axis=0)[None])[0].round().astype(int)
    row = int(np.clip(row, _HALF_PX, normalised.pixels.shape[0] - _HALF_PX))
    column = int(np.clip(column, _HALF_PX, normalised.pixels.shape[1] - _HALF_PX))
    return slice(row - _HALF_PX, row + _HALF_PX), slice(column - _HALF_PX, column + _HALF_PX)


def _draw_normalisation(mammogram: Mammogram, normalised: NormalisedMammogram, file: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.2), width_ratios=(1, 1, 1.4), layout="constrained")
    breast = _tissue(mammogram, normalised)
    low, high = np.percentile(mammogram.pixels[breast], (2, 99.8))
    _image(axes[0], _reduced(np.clip(mammogram.pixels, low, high)), "as acquired: minus the exposure")
    _image(axes[1], _reduced(np.clip(normalised.pixels, -8, 12)), "normalised: noise units, breast mask")
    axes[1].contour(_reduced(normalised.breast.astype(np.float32)), [0.5], colors="tab:orange", linewidths=0.8)
    for name, pixels, mask, spacing_mm in (
        ("as acquired", mammogram.pixels, breast, mammogram.spacing_mm[0]),
        ("normalised", normalised.pixels, normalised.breast, normalised.spacing_mm),
    ):
        residual, level = high_pass(pixels, spacing_mm=spacing_mm)
        grey, noise = noise_by_level(residual, level, mask)
        place = np.argsort(grey).argsort() / max(1, grey.size - 1)
        axes[2].plot(100 * place, noise / np.median(noise), label=name)
    axes[2].set(xlabel="grey level, percentile in the breast", ylabel="noise, relative to its median", ylim=(0, 2.5))
    axes[2].legend(frameon=False)
    _save(figure, file)


def _reduced(pixels: FloatImage, step: int = 5) -> FloatImage:
    """Means of blocks of pixels."""
    rows, columns = (n // step for n in pixels.shape)
    blocks = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def _tissue(mammogram: Mammogram, normalised: NormalisedMammogram) -> NDArray[np.bool_]:
    """The breast mask on the original image's pixels."""
    rows, columns = mammogram.pixels.shape
    of_row = np.clip(np.round(np.arange(rows) * mammogram.spacing_mm[0] / normalised.spacing_mm), 0, None).astype(int)
    of_column = np.clip(np.round(np.arange(columns) * mammogram.spacing_mm[1] / normalised.spacing_mm), 0, None)
    height, width = normalised.breast.shape
    mask = normalised.breast[np.minimum(of_row, height - 1)][:, np.minimum(of_column.astype(int), width - 1)]
    return np.asarray(mask, dtype=np.bool_)


def _draw_patches(
    normalised: NormalisedMammogram, annotations: Annotations, logit1: FloatImage, row: ImageRow, file: Path
) -> None:
    """Positives, random negatives, and the negatives that CNN1 rates highest."""
    negative = negative_mask(
        annotations,
        normalised.breast,
        normalised.grid,
        clearance_mm=_CLEARANCE_MM,
        unmeasured_clearance_mm=_UNMEASURED_MM,
    )
    rng = np.random.default_rng(_SEED)
    real = annotations.centres[annotations.kind == "microcalcification"]
    positive = normalised.grid.to_pixels(rng.permutation(real)[:12]).round().astype(int)
    random = draw_negatives(_inner(negative), n=12, rng=rng)[:, 1:]
    hard = peaks(logit1, _inner(negative), n=12, distance_px=round(_APART_MM / normalised.spacing_mm))[:, 1:]
    figure, axes = plt.subplots(3, 12, figsize=(11, 3.2), layout="constrained")
    for line, (name, places) in enumerate(
        (("positive", positive), ("random negative", random), ("hard negative", hard))
    ):
        for place, axis in zip(places, axes[line], strict=False):
            r, c = (int(v) for v in place)
            patch = normalised.pixels[r - _PATCH_PX : r + _PATCH_PX + 1, c - _PATCH_PX : c + _PATCH_PX + 1]
            _image(axis, np.clip(patch, -5, 12), "")
        axes[line][0].set_title(f"{name}s", loc="left", fontsize=9)
    _save(figure, file)


def _inner(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask without what lies so near the image's edge that a patch would not fit."""
    inner = np.zeros_like(mask)
    inside = (slice(_PATCH_PX, -_PATCH_PX), slice(_PATCH_PX, -_PATCH_PX))
    inner[inside] = mask[inside]
    return inner


def _draw_detection(
    normalised: NormalisedMammogram,
    annotations: Annotations,
    logit1: FloatImage,
    likelihood: FloatImage,
    region: tuple[slice, slice],
    file: Path,
) -> None:
    model = load_model(shipped_model("raw"))
    candidates = find_candidates(
        normalised,
        likelihood,
        min_likelihood=model.candidates.min_likelihood,
        min_distance_mm=model.candidates.min_distance_mm,
        max_count=model.candidates.max_count,
    )
    clusters = group(
        candidates,
        max_gap_mm=model.clusters.max_gap_mm,
        min_members=model.clusters.min_members,
        max_area_cm2=model.clusters.max_area_cm2,
        min_likelihood=model.clusters.min_likelihood,
        member_likelihood=model.clusters.member_likelihood,
        member_gap_mm=model.clusters.member_gap_mm,
    )
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.1), layout="constrained")
    corner = np.array([region[0].start, region[1].start])
    _image(axes[0], np.clip(normalised.pixels[region], -5, 12), "normalised, annotations")
    truth = normalised.grid.to_pixels(annotations.centres[annotations.kind == "microcalcification"]) - corner
    _rings(axes[0], truth, "tab:green")
    _image(axes[1], np.maximum(logit1[region], -12), "CNN1: logit of every pixel")
    _image(axes[2], likelihood[region], "CNN2: likelihood of the survivors")
    _image(axes[3], np.clip(normalised.pixels[region], -5, 12), "members of clusters, outlines")
    for cluster in clusters:
        if cluster.likelihood >= model.operating_point.threshold:
            outline = normalised.grid.to_pixels(cluster.outline) - corner
            axes[3].plot(*outline[[*range(len(outline)), 0]].T[::-1], color="tab:orange", linewidth=1)
            _rings(axes[3], normalised.grid.to_pixels(candidates.centres[cluster.members]) - corner, "tab:orange")
    for axis in (axes[0], axes[3]):
        axis.set(xlim=(0, 2 * _HALF_PX), ylim=(2 * _HALF_PX, 0))
    _save(figure, file)


def _rings(axis: Axes, places: NDArray[np.float64], colour: str) -> None:
    axis.scatter(places[:, 1], places[:, 0], s=36, facecolors="none", edgecolors=colour, linewidths=0.7)


def _image(axis: Axes, pixels: NDArray[np.floating], title: str) -> None:
    axis.imshow(pixels, cmap="gray", interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.set_axis_off()


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
