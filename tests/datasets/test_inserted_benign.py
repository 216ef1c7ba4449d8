"""Benign calcium beside inserted microcalcifications: its kind is annotated, and it changes nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microcalc import cli
from microcalc.datasets.open import open_row
from microcalc.datasets.table import AnnotationRow, ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.domain import BENIGN_CALCIUM, Intent
from microcalc.sample.draw import negative_mask, positive_pixels

SPACING_MM = 0.1
SHAPE = (640, 420)
"""Half a disc of breast of 30 mm."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(3)
    rows, columns = np.indices(SHAPE) * SPACING_MM
    breast = np.hypot(rows - 32.0, columns) < 30.0
    exposure = np.where(breast, 600.0 + 150.0 * np.sin(rows / 6.0) * np.cos(columns / 5.0), 7000.0)
    raw = np.rint(exposure + rng.normal(size=SHAPE) * np.sqrt(0.117 * exposure))
    values: dict[Intent, np.ndarray] = {"raw": raw, "processed": np.where(breast, np.rint(4e3 - 500 * np.log(raw)), 0)}
    images = []
    for intent, pixels in values.items():
        Image.fromarray(pixels.astype(np.uint16)).save(folder / f"{intent}.png")
        file, spacing = folder / f"{intent}.png", (SPACING_MM, SPACING_MM)
        images.append(ImageRow(intent, file, intent, spacing, patient=intent, system="GE", view="MLO"))
    write_table(Table(tuple(images)), folder)
    return folder


def _insert(source: Path, out: Path, *options: str) -> Table:
    assert cli.run(["insert", str(source), "--out", str(out), "--workers", "1", "--seed", "4", *options]) == 0
    return read_table(out)


@pytest.fixture(scope="module")
def plain(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    return _insert(source, tmp_path_factory.mktemp("plain") / "out", "--clusters", "1")


@pytest.fixture(scope="module")
def mixed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    out = tmp_path_factory.mktemp("mixed") / "out"
    return _insert(source, out, "--clusters", "1", "--benign", "6", "--twins")


def _of(table: Table, image: str, *, benign: bool) -> list[AnnotationRow]:
    return [a for a in table.annotations if a.image == image and (a.kind in BENIGN_CALCIUM) == benign]


def test_benign_calcium_is_annotated_with_its_kind_and_name_and_the_microcalcifications_stay_the_same(
    plain: Table, mixed: Table
) -> None:
    for image in ("raw", "processed"):
        assert _of(mixed, image, benign=False) == _of(plain, image, benign=False)
        added = _of(mixed, image, benign=True)
        assert {a.judge for a in added} == {"inserted"}
        assert all(a.cluster.startswith(f"{a.morphology}-") for a in added)
        assert len({a.kind for a in added}) >= 3
        lines = {a.kind for a in added if a.d_prime is None}
        assert lines <= {"vascular", "rod_like", "suture"}, "of all else outline and d' are known"
        assert all(bool(a.outline) == (a.d_prime is not None) for a in added)


def test_the_image_changes_at_the_benign_calcium_and_nowhere_else(plain: Table, mixed: Table) -> None:
    before = {row.image: open_row(row).pixels for row in plain.images}
    for row in (r for r in mixed.images if r.image in before):
        change = open_row(row).pixels - before[row.image]
        near, places = np.zeros(SHAPE, dtype=bool), np.indices(SHAPE)
        for a in _of(mixed, row.image, benign=True):
            reach = a.diameter_mm / 2 + 2.5
            near |= np.hypot(places[0] - a.row, places[1] - a.column) * SPACING_MM < reach
        assert np.abs(change[near]).max() > 20
        assert np.abs(change[~near]).max() <= 1, "but for the glare of the largest"


def test_a_twin_has_the_same_benign_calcium(mixed: Table) -> None:
    twins = [row.image for row in mixed.images if "twin" in row.tags]
    assert twins == ["raw-twin", "processed-twin"]
    for name in twins:
        its, other = (_of(mixed, image, benign=True) for image in (name, name.removesuffix("-twin")))
        assert [(a.row, a.column, a.kind) for a in its] == [(a.row, a.column, a.kind) for a in other]


def test_training_takes_the_microcalcifications_alone_for_positives_and_benign_calcium_for_no_negative(
    mixed: Table,
) -> None:
    row = mixed.images[0]
    annotations, grid, everywhere = mixed.annotations_of(row), row.grid, np.ones(SHAPE, dtype=bool)
    chosen = positive_pixels(annotations, everywhere, grid, radius_mm=0.1)[:, 0]
    assert set(annotations.kind[chosen].tolist()) == {"microcalcification"}
    negative = negative_mask(annotations, everywhere, grid, clearance_mm=0.5, unmeasured_clearance_mm=1.0)
    assert not any(negative[round(a.row), round(a.column)] for a in _of(mixed, row.image, benign=True))


def test_benign_calcium_alone_is_something_to_insert_and_nothing_at_all_is_not(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = _insert(source, tmp_path / "alone", "--clusters", "0", "--benign", "4")
    assert alone.annotations
    assert {a.kind for a in alone.annotations} <= set(BENIGN_CALCIUM)
    command = ["insert", str(source), "--out", str(tmp_path / "none"), "--clusters", "0"]
    assert cli.run(command) == 2
    assert "--clusters 0 and --singles 0 without --benign, expected something to insert" in capsys.readouterr().err
    assert cli.run([*command, "--benign", "-1"]) == 2
    assert "--benign" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
