"""The distance between two sets is nothing where they are of one kind, and large where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from microcalc.datasets.table import ImageRow, Table
from microcalc.errors import InputError
from microcalc.validation.realism import Comparison, compressed, draw_patches, measure_realism, octave_powers


def _pictures(folder: Path, name: str, sigma_px: float, n: int = 6) -> Table:
    """Half-round breasts of blurred noise, 0.1 mm per pixel."""
    folder.mkdir()
    rows = []
    for k in range(n):
        rng = np.random.default_rng([k, *name.encode()])
        texture = ndimage.gaussian_filter(rng.normal(size=(700, 500)), sigma_px)
        y, x = np.mgrid[:700, :500]
        breast = np.hypot((y - 350) / 320, x / 420) < 1
        grey = np.where(breast, 130 + 25 * texture / texture.std(), 0)
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(folder / f"{k}.png")
        rows.append(ImageRow(f"{name}{k}", folder / f"{k}.png", "processed", (0.1, 0.1), patient=f"{name}{k}"))
    return Table(tuple(rows))


def test_sets_of_one_kind_are_near_and_of_two_kinds_far(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    one, same, other = (_pictures(tmp_path / name, name, sigma) for name, sigma in (("a", 3.0), ("b", 3.0), ("c", 2.0)))
    settings = Comparison(seed=1, scales_mm=(0.1,), per_image=30, steps=40, folds=2)
    near, far = (measure_realism(one, t, settings) for t in (same, other))
    assert near.scales[0].separation.low < 0.5 < near.scales[0].separation.high
    assert far.scales[0].separation.auc > 0.9
    assert far.scales[0].octaves[-2][1] < 0.8  # the first is the smoother one
    assert any("0.1" in line for line in far.lines())


def test_a_table_without_processed_images_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="processed simulated images of 0 patients"):
        measure_realism(Table(()), _pictures(tmp_path / "a", "a", 3.0, n=3), Comparison(seed=1))


def test_patches_lie_in_the_breast_and_are_normalised() -> None:
    inside = np.zeros((200, 150), dtype=np.bool_)
    inside[20:180, :100] = True
    pixels = np.where(inside, 100.0, -1e6).astype(np.float32)
    pixels += np.random.default_rng(0).normal(size=pixels.shape).astype(np.float32)
    pixels[~inside] = np.nan
    patches = draw_patches(np.random.default_rng(1), np.nan_to_num(pixels, nan=100.0), inside, n=20)
    assert patches.shape == (20, 48, 48)
    assert patches.mean(axis=(1, 2)) == pytest.approx(0.0, abs=1e-4)
    assert patches.std(axis=(1, 2)) == pytest.approx(1.0, abs=1e-3)


def test_white_patches_have_the_same_power_in_every_octave() -> None:
    patches = np.random.default_rng(2).normal(size=(400, 48, 48)).astype(np.float32)
    _, power = octave_powers(patches, 0.1)
    assert power / power.mean() == pytest.approx(1.0, abs=0.1)


def test_jpeg_of_high_quality_changes_little_and_of_low_much() -> None:
    grey = np.random.default_rng(3).integers(80, 160, (64, 64)).astype(np.uint8)
    errors = [np.abs(compressed(grey, quality=q) - grey).mean() for q in (98, 40)]
    assert errors[0] < 1.5 < errors[1]
