"""A study of pictures with bright specks that runs in seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.training import toy

from microcalc.datasets.table import Split, Table
from microcalc.datasets.table_files import write_table

SCALE = """
name = "small"
[exams]
systems = ["ge"]
train = 1
validation = 1
test = 1
test_free = 0
views = ["CC"]
lateralities = ["L"]
clusters = 1.0
singles = 1.0
confusers = 0.0
[samples]
train_positive = 5
train_negative = 3000
test_positive = 5
test_negative = 2000
[training]
cnn1_steps = 8
cnn2_steps = 6
[cascade]
boosting = "ranking"
deep = false
rounds = [2, 4]
features_per_node = 30
negatives_per_node = 500
[evaluation]
resamples = 40
"""
SPLITS: tuple[Split, ...] = ("train", "train", "validation", "test", "test")


def scale_file(folder: Path) -> Path:
    file = folder / "small.toml"
    file.write_text(SCALE)
    return file


def make_table(folder: Path) -> Table:
    """Five patients with one picture each: two to train, one to validation, two to test."""
    made = toy.make_table(folder, patients=len(SPLITS))
    images = tuple(
        replace(i, split=split, system="GE Toy", tags="density-B") for i, split in zip(made.images, SPLITS, strict=True)
    )
    table = Table(images, made.annotations)
    write_table(table, folder)
    return table
