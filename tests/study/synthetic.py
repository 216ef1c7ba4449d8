"""Scored images of invented methods: no image, no network, but all that the evaluation takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.evaluation.marks import Marks
from microcalc.geometry import Grid
from microcalc.study.predictions import VENDORS, ImagePredictions

STRENGTH: Mapping[str, float] = {"cascade": 0.9, "cnn1": 1.0, "pair": 1.15, "log": 0.45}
SPACING_MM = 0.07
_SIDE_MM = 80.0


def scored_images(
    rng: np.random.Generator,
    *,
    patients: int = 4,
    images_per_patient: int = 2,
    negatives: int = 2000,
    strength: Mapping[str, float] = STRENGTH,
    vendors: Sequence[str] = VENDORS,
    pictures: bool = False,
) -> list[ImagePredictions]:
    """So many patients of each vendor; the last image of each has no calcium at all."""
    images = []
    for vendor in vendors:
        for p in range(patients):
            hardness = rng.normal(0, 0.3)
            for i in range(images_per_patient):
                n_lesions = 0 if i == images_per_patient - 1 else int(rng.integers(5, 30))
                name = f"{vendor}-{p}-{i}"
                images.append(
                    _image(name, vendor, f"{vendor}-{p}", n_lesions, negatives, hardness, strength, rng, pictures)
                )
    return images


def _image(
    name: str, vendor: str, patient: str, n_lesions: int, negatives: int, hardness: float,
    strength: Mapping[str, float], rng: np.random.Generator, pictures: bool,
) -> ImagePredictions:  # fmt: skip
    centres = _clustered(n_lesions, rng)
    d_prime, diameter = rng.gamma(3, 2.0, n_lesions) + 1, rng.uniform(0.1, 0.6, n_lesions)
    rows = tuple(
        AnnotationRow(name, c[0], c[1], mm, cluster=f"c{k // 5}", d_prime=d, judge="simulated")
        for k, (c, mm, d) in enumerate(
            zip((centres / SPACING_MM).tolist(), diameter.tolist(), d_prime.tolist(), strict=True)
        )
    )
    signal, noise = rng.normal(0, 1, n_lesions), rng.normal(0, 1, negatives)
    positive = {
        m: _likelihood(s * d_prime + hardness + 0.7 * signal + 0.7 * rng.normal(0, 1, n_lesions))
        for m, s in strength.items()
    }
    negative = {m: _likelihood(0.7 * noise + 0.7 * rng.normal(0, 1, negatives)) for m in strength}
    return ImagePredictions(
        ImageRow(name, Path(f"{name}.dcm"), "raw", (SPACING_MM, SPACING_MM), patient=patient),
        rows,
        vendor,
        "ABCD"[int(rng.integers(4))],
        120.0,
        positive,
        d_prime,
        diameter,
        negative,
        {m: _detections(centres, positive[m], s, rng) for m, s in strength.items()},
        (lambda: _picture(centres, d_prime, name)) if pictures else None,
    )


def _clustered(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Positions (n, 2) in mm, five to a cluster."""
    middles = np.repeat(rng.uniform(10, _SIDE_MM - 10, (n // 5 + 1, 2)), 5, axis=0)[:n]
    return np.asarray(middles + rng.uniform(-4, 4, (n, 2)))


def _likelihood(value: NDArray[np.float64]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-(value - 4)))).astype(np.float32)


def _detections(
    centres: NDArray[np.float64], rating: NDArray[np.float32], strength: float, rng: np.random.Generator
) -> Marks:
    n_false = int(rng.poisson(30))
    false = _likelihood(rng.exponential(2.0 / strength, n_false))
    where = np.concatenate([centres, rng.uniform(0, _SIDE_MM, (n_false, 2))])
    likelihood = np.concatenate([rating, false]).astype(np.float64)
    members = [np.arange(k, min(k + 5, len(centres))) for k in range(0, len(centres), 5)]
    members += [len(centres) + np.arange(3)] if n_false >= 3 else []
    clusters = np.array([likelihood[m].mean() for m in members], dtype=np.float64)
    return Marks(where / SPACING_MM, likelihood, tuple(members), clusters, np.zeros(len(members), dtype=bool))


def _picture(centres: NDArray[np.float64], d_prime: NDArray[np.float64], name: str) -> tuple[NDArray[np.float16], Grid]:
    """Noise with a speck at each centre, at 0.1 mm and with a border of 4 px."""
    rng = np.random.default_rng(len(name))
    grid = Grid((0.1, 0.1), (-0.4, -0.4))
    pixels = rng.normal(0, 1, (808, 808))
    for (row, column), d in zip(np.rint(grid.to_pixels(centres)).astype(int), d_prime, strict=True):
        pixels[row - 1 : row + 2, column - 1 : column + 2] += d
    return pixels.astype(np.float16), grid
