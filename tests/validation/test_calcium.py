"""What is measured of truth and images, on truths and images that were made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from microcalc.simulate.calcification import PITCH_MM, draw_diameters
from microcalc.validation.calcium import centroid_error, lognormal_p, nearest_in_cluster, polygon_area
from microcalc.validation.phantoms import sphere_thickness


def test_lognormal_diameters_pass_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    drawn = draw_diameters(rng, 600)
    assert lognormal_p(drawn) > 0.01
    assert lognormal_p(1.15 * drawn) < 0.01
    assert lognormal_p(rng.uniform(0.1, 0.5, 600)) < 0.01


def test_the_nearest_of_the_same_cluster_counts() -> None:
    at = np.array([(0.0, 0.0), (0.0, 1.0), (0.0, 1.2), (5.0, 5.0)])
    distance = nearest_in_cluster(at, np.array(["a", "a", "b", ""]))
    assert distance[:2] == pytest.approx([1.0, 1.0])
    assert np.isnan(distance[2:]).all()


def test_the_p_is_that_of_the_usual_test() -> None:
    drawn = np.exp(np.random.default_rng(4).normal(np.log(0.22), 0.45, 900))
    drawn = drawn[(drawn > 0.08) & (drawn < 1.0)]
    low, high = (stats.norm.cdf(np.log(d / 0.22) / 0.45) for d in (0.08, 1.0))
    judge = stats.kstest(drawn, lambda d: (stats.norm.cdf(np.log(d / 0.22) / 0.45) - low) / (high - low))
    assert lognormal_p(drawn) == pytest.approx(judge.pvalue, abs=0.03)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.4, -0.3), (2.0, 0.0)])
def test_a_centroid_off_by_some_pixels_is_found_off_by_so_much(shift: tuple[float, float]) -> None:
    row, column = np.mgrid[:60, :60]
    spot = 100.0 * np.exp(-((row - 30.0 - shift[0]) ** 2 + (column - 28.0 - shift[1]) ** 2) / 8.0)
    noise = np.random.default_rng(1).normal(0.0, 1.0, spot.shape)
    assert centroid_error((spot + noise).astype(np.float32), 30.0, 28.0, half_px=9) == pytest.approx(
        np.hypot(*shift), abs=0.1
    )


def test_the_area_of_a_polygon_is_that_of_the_formula() -> None:
    assert polygon_area(np.array([(0.0, 0.0), (0.0, 2.0), (1.0, 2.0), (1.0, 0.0)])) == pytest.approx(2.0)


def test_a_spheres_thickness_holds_its_volume() -> None:
    volume = float(sphere_thickness(0.4).sum(dtype=np.float64)) * PITCH_MM**2
    assert volume == pytest.approx(np.pi / 6 * 0.4**3, rel=0.01)
