"""Resampling moves nothing."""

from __future__ import annotations

import numpy as np
import pytest

from microcalc.geometry import Grid
from microcalc.normalise.resample import resample, resample_mask, resampled_grid

PITCHES_MM = (0.07, 0.085, 0.0940909)


def _blob(pitch_mm: tuple[float, float], centre_mm: tuple[float, float], *, sd_mm: float) -> np.ndarray:
    rows, columns = np.indices((240, 200)) * np.array(pitch_mm)[:, None, None]
    squared = (rows - centre_mm[0]) ** 2 + (columns - centre_mm[1]) ** 2
    return np.asarray(np.exp(-squared / (2 * sd_mm**2)), dtype=np.float32)


def _centroid_mm(pixels: np.ndarray, grid: Grid) -> np.ndarray:
    indices = np.indices(pixels.shape).reshape(2, -1).T
    weight = pixels.ravel().astype(np.float64)
    return np.asarray((grid.to_mm(indices) * weight[:, None]).sum(axis=0) / weight.sum())


@pytest.mark.parametrize("pitch_mm", PITCHES_MM)
@pytest.mark.parametrize("centre_mm", [(7.03, 6.11), (8.5, 7.7), (9.999, 5.432)])
def test_a_blob_stays_where_it_is_in_millimetres(pitch_mm: float, centre_mm: tuple[float, float]) -> None:
    grid = Grid((pitch_mm, pitch_mm))
    resampled, out_grid = resample(_blob(grid.spacing_mm, centre_mm, sd_mm=0.3), grid, 0.1)
    assert _centroid_mm(resampled, out_grid) == pytest.approx(centre_mm, abs=0.01)


def test_oblong_pixels_become_square_and_nothing_moves() -> None:
    grid = Grid((0.08, 0.09), (1.0, 2.0))
    resampled, out_grid = resample(_blob(grid.spacing_mm, (8.0, 7.0), sd_mm=0.3), grid, 0.1)
    assert out_grid.spacing_mm == (0.1, 0.1)
    assert _centroid_mm(resampled, out_grid) == pytest.approx((9.0, 9.0), abs=0.01)


def test_an_image_at_the_spacing_already_is_left_alone() -> None:
    pixels = np.random.default_rng(0).normal(size=(70, 90)).astype(np.float32)
    resampled, grid = resample(pixels, Grid((0.1, 0.1)), 0.1)
    assert grid == Grid((0.1, 0.1))
    np.testing.assert_array_equal(resampled, pixels)


@pytest.mark.parametrize("pitch_mm", PITCHES_MM)
def test_the_field_is_covered_to_within_a_pixel(pitch_mm: float) -> None:
    shape, grid = resampled_grid((333, 217), Grid((pitch_mm, pitch_mm)), 0.1)
    for n_out, n, origin in zip(shape, (333, 217), grid.origin_mm, strict=True):
        assert origin - 0.05 == pytest.approx(-pitch_mm / 2)
        assert 0 <= n_out * 0.1 - n * pitch_mm < 0.1


def test_a_flat_field_stays_flat_to_its_far_edge() -> None:
    resampled, _ = resample(np.full((101, 103), 700.0, dtype=np.float32), Grid((0.07, 0.07)), 0.1)
    np.testing.assert_allclose(resampled, 700.0, rtol=1e-5)


# A cubic kernel that hardly widens passes more noise on a pixel centre than between two: the
# beat of 0.094 against 0.1 mm is the strongest. The bounds are what is measured, with a margin.
@pytest.mark.parametrize(("pitch_mm", "swing"), [(0.07, 0.06), (0.085, 0.20), (0.0940909, 0.36)])
def test_white_noise_keeps_about_the_same_variance_at_every_phase(pitch_mm: float, swing: float) -> None:
    noise = np.random.default_rng(0).normal(size=(900, 900)).astype(np.float32)
    resampled, grid = resample(noise, Grid((pitch_mm, pitch_mm)), 0.1)
    phase = ((np.arange(len(resampled)) * 0.1 + grid.origin_mm[0]) / pitch_mm * 8).round().astype(int) % 8
    present = np.unique(phase)
    deviations = [resampled[np.ix_(phase == r, phase == c)].std() for r in present for c in present]
    assert np.ptp(deviations) / np.mean(deviations) < swing


def test_frequencies_beyond_the_new_limit_do_not_come_back_as_low_ones() -> None:
    stripes = np.tile(np.array([1.0, -1.0], dtype=np.float32), (300, 150))  # 7.1 /mm, the limit is 5 /mm
    resampled, _ = resample(stripes, Grid((0.07, 0.07)), 0.1)
    assert np.abs(resampled[20:-20, 20:-20]).max() < 0.2


def test_a_mask_is_true_where_most_of_the_pixel_was() -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[:100] = True
    resampled = resample_mask(mask, Grid((0.07, 0.07)), 0.1)
    assert resampled[:69].all()
    assert not resampled[71:].any()
