"""Draw the figures of docs/explanation/limits.md, from simulated mammograms and the shipped model.

First the two commands that the page names, then::

    python docs/limits.py --images images --results results --out docs/images/limits
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_HIT_MM: Final = 0.5
_HALF_MM: Final = 2.5
_VISIBILITY: Final = (3.0, 5.0, 8.0, 12.0, 20.0, 40.0)
_PER_BIN: Final = 6
_BENIGN: Final = {
    "popcorn": "popcorn",
    "coarse": "coarse",
    "rod_like": "rod-like",
    "rim": "rim",
    "round": "round",
    "skin": "skin",
    "milk_of_calcium": "milk of calcium",
    "dystrophic": "dystrophic",
    "suture": "suture",
    "vascular": "vascular",
}
"""The words for the kinds of benign calcium."""
_FALSE_HALF_MM: Final = 6.0
_MOST_FALSE: Final = 8
_FOUND, _MISSED = "tab:orange", "tab:blue"


@dataclass(frozen=True, eq=False, slots=True)
class _Place:
    """An annotated place, the image it is in, and the numbers of the candidates that lie on it."""

    image: _Image
    row: float
    column: float
    kind: str
    morphology: str
    d_prime: float
    candidates: frozenset[int]

    @property
    def in_finding(self) -> bool:
        """Whether one of its candidates is a member of a finding."""
        return any(self.candidates & finding.members for finding in self.image.findings)


@dataclass(frozen=True, eq=False, slots=True)
class _Finding:
    """Likelihood, numbers of the members among the candidates, and outline (n, 2)."""

    likelihood: float
    members: frozenset[int]
    outline: NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class _Image:
    """Pixels, pixel spacing, BI-RADS density, positions (n, 2) of the candidates, and findings."""

    pixels: NDArray[np.float64]
    spacing_mm: float
    density: str
    candidates: NDArray[np.float64]
    findings: Sequence[_Finding]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description="Draw the figures of docs/explanation/limits.md.")
    parser.add_argument("--images", type=Path, required=True, help="what microcalc simulate made")
    parser.add_argument("--results", type=Path, required=True, help="what microcalc detect wrote for them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the figures")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    places = _places(given.images, given.results)
    real = [p for p in places if p.kind == "microcalcification"]
    _draw_visibility(real, given.out / "visibility.png")
    _draw_density(real, given.out / "density.png")
    _draw_benign([p for p in places if p.kind in _BENIGN], given.out / "benign.png")
    _draw_false(places, given.out / "false.png")


def _places(images: Path, results: Path) -> list[_Place]:
    with (images / "images.csv").open(encoding="utf-8") as file:
        opened = {line["image"]: _open(images, results, line) for line in csv.DictReader(file)}
    with (images / "annotations.csv").open(encoding="utf-8") as file:
        return [_place(opened[line["image"]], line) for line in csv.DictReader(file)]


def _open(images: Path, results: Path, line: Mapping[str, str]) -> _Image:
    dataset = pydicom.dcmread(images / line["file"])
    detections = json.loads((results / f"{Path(line['file']).stem}.json").read_text(encoding="utf-8"))
    density = next(tag.removeprefix("density-") for tag in line["tags"].split() if tag.startswith("density-"))
    return _Image(
        dataset.pixel_array.astype(np.float64),
        float(line["row_spacing_mm"]),
        density,
        np.array([(c["row"], c["column"]) for c in detections["candidates"]]).reshape(-1, 2),
        [_finding(c) for c in detections["clusters"] if c["finding"]],
    )


def _finding(cluster: Mapping[str, Any]) -> _Finding:
    return _Finding(cluster["likelihood"], frozenset(cluster["members"]), np.array(cluster["outline"]))


def _place(image: _Image, line: Mapping[str, str]) -> _Place:
    row, column = float(line["row"]), float(line["column"])
    reach_px = (_HIT_MM + float(line["diameter_mm"] or 0) / 2) / image.spacing_mm
    near = np.flatnonzero(np.hypot(*(image.candidates - (row, column)).T) <= reach_px)
    d_prime = float(line["d_prime"] or "nan")
    return _Place(image, row, column, line["kind"], line["morphology"], d_prime, frozenset(near.tolist()))


def _draw_visibility(places: Sequence[_Place], file: Path) -> None:
    """Microcalcifications from hardly to well visible; the frame's colour says whether a finding holds them."""
    figure, axes = plt.subplots(len(_VISIBILITY) - 1, _PER_BIN, figsize=(6.6, 6.4))
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.96, wspace=0.05, hspace=0.25)
    rng = np.random.default_rng(1)
    for line, (low, high) in enumerate(itertools.pairwise(_VISIBILITY)):
        inside = [p for p in places if low <= p.d_prime < high]
        shown = [inside[i] for i in rng.permutation(len(inside))[:_PER_BIN]]
        share, least, most = _wilson([p.in_finding for p in inside])
        for axis, place in zip(axes[line], shown, strict=False):
            _crop(axis, place)
        words = f"{share:.0%} ({least:.0%} to {most:.0%}) in a finding"
        axes[line][0].set_title(f"d′ {low:g} to {high:g}: {len(inside)}, of these {words}", loc="left")
        axes[line][0].title.set_fontsize(8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    _save(figure, file)


def _wilson(found: Sequence[bool]) -> tuple[float, float, float]:
    """Return a share and its 95 % Wilson interval."""
    if not found:
        return float("nan"), float("nan"), float("nan")
    n, share, z2 = len(found), float(np.mean(found)), 1.96**2
    middle, half = share + z2 / (2 * n), np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n)))
    return share, float(middle - half) / (1 + z2 / n), float(middle + half) / (1 + z2 / n)


def _draw_density(places: Sequence[_Place], file: Path) -> None:
    """Share of the microcalcifications in findings by visibility, of fatty and of dense breasts, with their numbers."""
    figure, axis = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    for densities, colour, shift in (("AB", "tab:green", -0.05), ("CD", "tab:purple", 0.05)):
        group = [p for p in places if p.image.density in densities]
        bins = [[p.in_finding for p in group if a <= p.d_prime < b] for a, b in itertools.pairwise(_VISIBILITY)]
        label = f"density {densities[0]} and {densities[1]} ({len({id(p.image) for p in group})} images)"
        share, least, most = np.array([_wilson(b) for b in bins]).T
        x = np.arange(len(bins)) + shift
        axis.errorbar(x, share, (share - least, most - share), fmt="o-", elinewidth=1, color=colour, label=label)
        for place, height, found in zip(x, share, bins, strict=True):
            offset = (-11 if shift < 0 else 4, 4)
            axis.annotate(
                str(len(found)), (place, height), offset, textcoords="offset points", fontsize=7, color=colour
            )
    names = [f"{a:g}–{b:g}" for a, b in itertools.pairwise(_VISIBILITY)]
    axis.set(xticks=range(len(names)), xticklabels=names, xlabel="visibility d′", ylim=(-0.03, 1.1))
    axis.set_ylabel("share in findings")
    axis.legend(frameon=False, fontsize=8)
    _save(figure, file)


def _draw_benign(places: Sequence[_Place], file: Path) -> None:
    """One place of each kind of benign calcium; the frame's colour says whether a finding holds it."""
    chosen = []
    for kind, words in _BENIGN.items():
        of_kind = sorted((p for p in places if p.kind == kind), key=lambda p: (-p.in_finding, -bool(p.candidates)))
        if of_kind:
            counts = f"{sum(p.in_finding for p in of_kind)} of {len(of_kind)} places"
            chosen.append((of_kind[0], f"{words}\n{counts}"))
    columns = -(-len(chosen) // 2)
    figure, axes = plt.subplots(2, columns, figsize=(1.4 * columns, 3.9), layout="constrained")
    for axis in axes.flat[len(chosen) :]:
        axis.set_axis_off()
    for axis, (place, title) in zip(axes.flat, chosen, strict=False):
        _crop(axis, place, half_mm=2 * _HALF_MM)
        axis.set_title(title, fontsize=8)
    _save(figure, file)


def _draw_false(places: Sequence[_Place], file: Path) -> None:
    """The likeliest findings of which no member is a microcalcification, and what most of their members are."""
    chosen = []
    for image in {id(p.image): p.image for p in places}.values():
        inside = [p for p in places if p.image is image]
        for finding in image.findings:
            held = [p for p in inside if p.candidates & finding.members]
            if all(p.kind != "microcalcification" for p in held):
                count = Counter(p.morphology for p in held for _ in p.candidates & finding.members)
                chosen.append((image, finding, count.most_common(1)[0][0] if count else "nothing"))
    chosen = sorted(chosen, key=lambda c: -c[1].likelihood)[:_MOST_FALSE]
    figure, axes = plt.subplots(2, _MOST_FALSE // 2, figsize=(7.0, 4.2), layout="constrained")
    for axis in axes.flat[len(chosen) :]:
        axis.set_axis_off()
    for axis, (image, finding, words) in zip(axes.flat, chosen, strict=False):
        middle = (finding.outline.min(axis=0) + finding.outline.max(axis=0)) / 2
        half_mm = max(_FALSE_HALF_MM, 0.55 * float(np.ptp(finding.outline, axis=0).max()) * image.spacing_mm)
        half = _show(axis, image, *middle.tolist(), half_mm=half_mm)
        row, column = (finding.outline - np.round(middle) + half).T
        axis.plot(column, row, color=_FOUND, linewidth=1)
        axis.set_title(f"{words}\n{finding.likelihood:.2f}, {2 * half_mm:.0f} mm", fontsize=8)
    _save(figure, file)


def _crop(axis: Axes, place: _Place, half_mm: float = _HALF_MM) -> None:
    _show(axis, place.image, place.row, place.column, half_mm=half_mm)
    for side in axis.spines.values():
        side.set(color=_FOUND if place.in_finding else _MISSED, linewidth=2.5)


def _show(axis: Axes, image: _Image, row: float, column: float, *, half_mm: float) -> int:
    """Show a square of the image, and return the row and column of its middle pixel in the picture."""
    half = round(half_mm / image.spacing_mm)
    padded = np.pad(image.pixels, half, mode="edge")
    row, column = round(row), round(column)
    pixels = padded[row : row + 2 * half + 1, column : column + 2 * half + 1]
    low, high = np.percentile(pixels, (1, 99.8))
    axis.imshow(np.clip(pixels, low, high), cmap="gray", interpolation="nearest")
    axis.set(xticks=[], yticks=[], xlim=(-0.5, 2 * half + 0.5), ylim=(2 * half + 0.5, -0.5))
    return half


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
