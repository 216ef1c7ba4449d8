"""A table of small pictures with bright specks, and a recipe that trains on it in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import write_table
from microcalc.training.recipe import Recipe, load_recipe, parse_recipe

RECIPE = """
name = "toy"
seed = 3
[data]
spacing_mm = 0.1
intent = "processed"
[sample]
positive_radius_mm = 0.1
clearance_mm = 0.6
unmeasured_clearance_mm = 0.6
min_d_prime = 3.0
max_positives_per_image = 30
negatives_per_image = 200
counterfactual_share = 0.25
[cnn1]
channels = [4, 4]
dilations = [1, 2]
steps = 12
batch = 32
learning_rate = 0.01
weight_decay = 0.0001
positive_share = 0.5
precision = "float32"
[cnn2]
channels = [4, 4, 6]
dilations = [1, 2, 2]
steps = 14
batch = 32
learning_rate = 0.01
weight_decay = 0.0001
positive_share = 0.3
precision = "auto"
tta_transforms = 4
tta_share = 0.5
[start]
share = 0.0
[mining]
hard_per_positive = 2.0
random_share = 0.2
min_distance_mm = 0.5
pass_fraction = 0.05
[augment]
flips = true
gain_range = [0.8, 1.2]
noise = 0.1
[detect]
min_distance_mm = 0.3
min_likelihood = 0.0
max_count = 100
false_marks_per_image = 100.0
[shapes]
false_marks_per_image = 10.0
min_contrast_to_noise = 2.0
min_dip = 0.3
[clusters]
min_likelihood = 0.1
max_gap_mm = 5.0
min_members = 3
max_area_cm2 = 1.0
false_marks_per_image = 3.0
member_gap_mm = 6.0
"""
SHAPE = (430, 300)
MEMBERS = ((170, 100), (180, 112), (190, 100), (176, 92), (186, 122))
COARSE = (120, 70)


def recipe() -> Recipe:
    return parse_recipe(RECIPE, where="toy.toml")


def recipe_file(folder: Path) -> Path:
    file = folder / "toy.toml"
    file.write_text(RECIPE)
    assert load_recipe(file) == recipe()
    return file


def make_table(folder: Path, *, patients: int = 4) -> Table:
    """One picture per patient, the last one's for tuning, with a cluster of five and a coarse calcification."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [_image(folder / f"i{n}.png", seed=n) for n in range(patients)]
    images[-1] = replace(images[-1], split="validation")
    table = Table(tuple(images), tuple(a for image in images for a in _annotations(image.image)))
    write_table(table, folder)
    return table


def _image(file: Path, *, seed: int) -> ImageRow:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    breast = np.hypot(rows - 215, columns) < 200
    rng = np.random.default_rng(seed)
    pixels = 120 - columns / 10 + rng.normal(0, 3, SHAPE)
    for row, column in MEMBERS:
        pixels += 40 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2)
    pixels += 90 * np.exp(-((rows - COARSE[0]) ** 2 + (columns - COARSE[1]) ** 2) / 18)
    Image.fromarray(np.where(breast, pixels, 0).clip(0, 255).astype(np.uint8)).save(file)
    return ImageRow(
        file.stem, file, "processed", (0.1, 0.1), patient=f"P{seed}", system="Toy", view="CC", laterality="L",
        split="train", tags="cdd-cesm toy",
    )  # fmt: skip


def _annotations(image: str) -> list[AnnotationRow]:
    members = [AnnotationRow(image, row, column, 0.3, cluster="c1", d_prime=20.0) for row, column in MEMBERS]
    coarse = AnnotationRow(image, *COARSE, 1.2, kind="coarse")
    return [*members, coarse]
