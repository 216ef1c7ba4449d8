"""Calcifications in a mammogram: only under them does anything change, and the right way."""

from __future__ import annotations

import numpy as np
import pytest

from microcalc.domain import FloatImage, Intent, Mammogram
from microcalc.simulate.insertion import insert_processed, insert_raw

SHAPE = (120, 140)


def _mammogram(intent: Intent) -> Mammogram:
    rng = np.random.default_rng(0)
    values = np.rint(rng.normal(800.0 if intent == "raw" else 1500.0, 10.0, SHAPE)).astype(np.float32)
    return Mammogram(-values if intent == "raw" else values, (0.07, 0.07), intent, "1.2.3")


def _contrast(peak: float = 0.1) -> FloatImage:
    rows, columns = np.indices(SHAPE)
    squared = (rows - 60) ** 2 + (columns - 80) ** 2
    return np.where(squared < 100, peak * np.exp(-squared / 8.0), 0.0).astype(np.float32)


def test_a_raw_image_is_multiplied_above_its_offset() -> None:
    raw, contrast = _mammogram("raw"), _contrast()
    changed = insert_raw(raw, contrast, offset=50.0, scatter_to_primary=0.25)
    ratio = (-changed.pixels - 50.0) / (-raw.pixels - 50.0)
    np.testing.assert_allclose(ratio, 1 - contrast / 1.25, atol=0.51 / 700)
    assert (changed.pixels >= raw.pixels).all(), "calcium is brighter"


@pytest.mark.parametrize("peak", [1.9, 3.0])
def test_where_shadows_overlap_the_exposure_stays_above_the_offset(peak: float) -> None:
    changed = insert_raw(_mammogram("raw"), _contrast(peak), offset=50.0, scatter_to_primary=0.1)
    assert (-changed.pixels).min() > 50.0


def test_a_processed_image_only_gets_brighter_by_slope_times_log_exposure() -> None:
    image, contrast = _mammogram("processed"), _contrast()
    slope = np.full(SHAPE, 500.0, dtype=np.float32)
    changed = insert_processed(image, contrast, slope=slope, scatter_to_primary=0.1, sharpening=0.0)
    added = changed.pixels - image.pixels
    assert added.min() >= 0.0
    expected = np.minimum(-np.log1p(-contrast / 1.1) * 500.0, image.pixels.max() - image.pixels)
    np.testing.assert_allclose(added, expected, atol=0.51)


def test_sharpening_lowers_what_is_coarse_and_leaves_fine_detail() -> None:
    """The slope is that of fine detail: the unsharp mask that it holds already takes from the coarse."""
    image = _mammogram("processed")
    slope = np.full(SHAPE, 800.0, dtype=np.float32)
    rows, columns = np.indices(SHAPE)
    squared = (rows - 60) ** 2 + (columns - 80) ** 2
    lost = []
    for sigma in (1.0, 8.0):
        contrast = (0.05 * np.exp(-squared / (2 * sigma**2))).astype(np.float32)
        plain, sharp = (
            insert_processed(image, contrast, slope=slope, scatter_to_primary=0.1, sharpening=s).pixels - image.pixels
            for s in (0.0, 0.5)
        )
        lost.append(1 - sharp[60, 80] / plain[60, 80])
    assert lost[0] < 0.05
    assert lost[1] == pytest.approx(0.5 / 1.5 * 8.0**2 / (8.0**2 + (0.4 / 0.07) ** 2), abs=0.05)


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_away_from_calcifications_every_pixel_is_bit_identical(intent: Intent) -> None:
    image, contrast = _mammogram(intent), _contrast()
    if intent == "raw":
        changed = insert_raw(image, contrast, offset=53.0, scatter_to_primary=0.1)
    else:
        slope = np.full(SHAPE, 500.0, dtype=np.float32)
        changed = insert_processed(image, contrast, slope=slope, scatter_to_primary=0.1, sharpening=0.0)
    away = contrast == 0
    np.testing.assert_array_equal(changed.pixels[away], image.pixels[away])
    assert (changed.pixels[~away] != image.pixels[~away]).any()
    assert changed.pixels.dtype == np.float32


@pytest.mark.parametrize("intent", ["raw", "processed"])
def test_values_stay_whole_and_within_what_the_image_had(intent: Intent) -> None:
    image, contrast = _mammogram(intent), _contrast(0.6)
    if intent == "raw":
        changed = insert_raw(image, contrast, offset=50.0, scatter_to_primary=0.1)
        assert 50.0 <= (-changed.pixels).min() <= (-changed.pixels).max() == (-image.pixels).max()
    else:
        slope = np.full(SHAPE, 2000.0, dtype=np.float32)
        changed = insert_processed(image, contrast, slope=slope, scatter_to_primary=0.1, sharpening=0.3)
        assert changed.pixels.max() == image.pixels.max()
        assert changed.pixels.min() >= image.pixels.min()
    np.testing.assert_array_equal(changed.pixels, np.rint(changed.pixels))
