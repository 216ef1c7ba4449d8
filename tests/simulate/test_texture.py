"""The tissue's statistics."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from microcalc.domain import FloatImage
from microcalc.simulate.anatomy import build
from microcalc.simulate.breast import draw_breast
from microcalc.simulate.raster import enlarge
from microcalc.simulate.systems import system
from microcalc.simulate.texture import power_law_field


def exponent(region: FloatImage, pitch_mm: float, low: float = 0.15, high: float = 0.7) -> float:
    """Slope of log power over log frequency in 1/mm, Hann-windowed, sign turned."""
    window = np.hanning(region.shape[0])[:, None] * np.hanning(region.shape[1])[None, :]
    power = np.abs(np.fft.fft2((region - region.mean()) * window)) ** 2
    radial = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, pitch_mm) for n in region.shape), indexing="ij"))
    edges = np.geomspace(low, high, 8)
    centres = np.sqrt(edges[1:] * edges[:-1])
    means = [power[(radial >= a) & (radial < b)].mean() for a, b in pairwise(edges)]
    return -float(np.polyfit(np.log(centres), np.log(means), 1)[0])


@pytest.mark.parametrize("beta", [2.5, 3.2])
def test_a_power_law_field_has_its_exponent(beta: float) -> None:
    field = power_law_field(np.random.default_rng(0), (512, 512), 0.2, beta=beta, longest_mm=200.0)
    found = np.mean([exponent(field[r : r + 256, c : c + 256], 0.2) for r in (0, 256) for c in (0, 256)])
    assert found == pytest.approx(beta, abs=0.35)
    assert field.std() == pytest.approx(1.0, rel=1e-3)


def test_breast_tissue_has_the_exponent_of_mammograms_and_the_gland_asked_for() -> None:
    s = system("ge")
    rng = np.random.default_rng(5)
    breast = draw_breast(rng, view="CC", density="C", height_mm=180.0, width_mm=140.0, size=0.8)
    pitch = 0.2
    anatomy = build(rng, breast, s.beam(breast.thickness_mm), (900, 700), pitch, n_crossings=5)
    n = int(25.6 / pitch)
    found = []
    for row in range(0, 900 - n, n // 2):
        for column in range(0, 700 - n, n // 2):
            region = (slice(row, row + n), slice(column, column + n))
            if anatomy.depth[region].min() > 0.4 * breast.thickness_mm and anatomy.gland[region].mean() > 2.0:
                found.append(exponent(anatomy.attenuation[region], pitch))
    assert len(found) >= 4
    assert 2.5 < np.mean(found) < 3.8
    fraction = anatomy.gland.sum() / anatomy.thickness.sum()
    assert fraction == pytest.approx(breast.gland_fraction, rel=0.35)


def test_gland_lies_behind_the_nipple_and_not_under_the_skin() -> None:
    rng = np.random.default_rng(6)
    breast = draw_breast(rng, view="CC", density="B", height_mm=160.0, width_mm=120.0, size=0.7)
    anatomy = build(rng, breast, system("ge").beam(50.0), (640, 480), 0.25, n_crossings=0)
    share = anatomy.gland / np.maximum(anatomy.thickness, 1.0)
    under_skin = (anatomy.depth > 1.0) & (anatomy.depth < 3.0)
    deep = anatomy.depth > 15.0
    assert share[under_skin].mean() < share[deep].mean()


def test_enlarging_keeps_a_straight_slope_straight() -> None:
    coarse = np.add.outer(np.arange(10.0), 2.0 * np.arange(8.0)).astype(np.float32)
    rows, columns = np.linspace(1, 8, 29), np.linspace(1, 6, 21)
    assert enlarge(coarse, rows, columns) == pytest.approx(np.add.outer(rows, 2 * columns), abs=1e-4)
