"""The tissue's statistics."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import kurtosis
from tests.simulate.breasts import draw_breast

from microcalc.domain import FloatImage
from microcalc.simulate.anatomy import Anatomy, build
from microcalc.simulate.breast import Breast
from microcalc.simulate.raster import enlarge
from microcalc.simulate.texture import power_law_field, project_above, project_sheets

PITCH = 0.2


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


def attenuation(anatomy: Anatomy) -> FloatImage:
    """Minus log of the transmission, with the coefficients of 28 kV."""
    return np.asarray(0.0476 * anatomy.fat_mm + 0.0722 * anatomy.gland_mm, dtype=np.float32)


@pytest.fixture(scope="module")
def dense_breast() -> tuple[Breast, Anatomy]:
    rng = np.random.default_rng(5)
    breast = draw_breast(rng, view="CC", density="C", height_mm=180.0, width_mm=140.0, size=0.8)
    return breast, build(rng, breast, (900, 700), PITCH, n_crossings=5)


def test_breast_tissue_has_the_exponent_of_mammograms(dense_breast: tuple[Breast, Anatomy]) -> None:
    breast, anatomy = dense_breast
    n = int(25.6 / PITCH)
    found = []
    for row in range(0, 900 - n, n // 2):
        for column in range(0, 700 - n, n // 2):
            region = (slice(row, row + n), slice(column, column + n))
            if anatomy.depth[region].min() > 0.4 * breast.thickness_mm:
                found.append(exponent(attenuation(anatomy)[region], PITCH))
    assert len(found) >= 4
    assert 2.6 < np.mean(found) < 3.8  # Chen et al. 2012: 3.17, sd 0.23 over women


def test_a_breast_holds_the_gland_asked_for(dense_breast: tuple[Breast, Anatomy]) -> None:
    breast, anatomy = dense_breast
    assert anatomy.gland.sum() / anatomy.thickness.sum() == pytest.approx(breast.gland_fraction, rel=0.25)


def test_fat_and_all_else_fill_the_breast(dense_breast: tuple[Breast, Anatomy]) -> None:
    _, anatomy = dense_breast
    inside = anatomy.depth > 15.0
    filled = (anatomy.fat_mm + anatomy.gland_mm)[inside] / anatomy.thickness[inside]
    assert filled.min() > 0.99  # skin counts a little more than its length
    assert filled.max() < 1.02
    assert anatomy.fat_mm.min() >= 0.0
    outside = anatomy.depth < -12.0
    assert not anatomy.fat_mm[outside].any()
    assert not anatomy.gland_mm[outside].any()


def test_tissue_is_further_from_a_gaussian_field_than_its_phase_scrambled_self(
    dense_breast: tuple[Breast, Anatomy],
) -> None:
    breast, anatomy = dense_breast
    row, column = int(breast.nipple_mm[0] / PITCH), int(0.45 * breast.nipple_mm[1] / PITCH)
    region = attenuation(anatomy)[row - 128 : row + 128, column - 100 : column + 100]
    fine = gaussian_filter(region, 1.0) - gaussian_filter(region, 2.5)
    rng = np.random.default_rng(0)
    surrogates = []
    for _ in range(20):
        turned = np.exp(1j * rng.uniform(0, 2 * np.pi, region.shape))
        surrogates.append(kurtosis(np.real(np.fft.ifft2(np.abs(np.fft.fft2(fine)) * turned)), axis=None))
    assert kurtosis(fine[8:-8, 8:-8], axis=None) > np.mean(surrogates) + 5 * np.std(surrogates)


def test_gland_lies_behind_the_nipple_and_not_under_the_skin(dense_breast: tuple[Breast, Anatomy]) -> None:
    _, anatomy = dense_breast
    share = anatomy.gland / np.maximum(anatomy.thickness, 1.0)
    under_skin = (anatomy.depth > 1.0) & (anatomy.depth < 3.0)
    assert share[under_skin].mean() < 0.7 * share[anatomy.depth > 15.0].mean()


@pytest.mark.parametrize("tilt", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("half_mm", [0.02, 0.3])
def test_a_plane_sheet_is_as_thick_as_it_is_along_the_beam(tilt: float, half_mm: float) -> None:
    # the field z + tilt * x: a plane, crossed by every ray at the same slant, however thin against a slice of 1.25 mm
    z = np.arange(-40, 41)[:, None, None] * 1.25
    x = np.linspace(-1, 1, 9)[None, None, :]
    field = np.broadcast_to(z + tilt * x, (81, 3, 9)).astype(np.float32)
    path = project_sheets(field, half_mm, [lambda coarse: coarse.copy()], 1.25)
    # the profile (1 + (d / half)^2)^-1.5 integrates to 2 half; 50 mm of each tail hold 1 - half^2 / (2 * 50^2)
    assert path == pytest.approx(2.0 * half_mm, rel=5e-3)


def test_a_sheet_along_the_beam_is_seen_with_its_profile() -> None:
    x = np.linspace(-1, 1, 41)
    field = np.broadcast_to(x, (21, 3, 41)).astype(np.float32)
    path = project_sheets(field, 0.1, [lambda coarse: coarse.copy()], 1.0)
    assert path[1] == pytest.approx(20.0 * (1 + (x / 0.1) ** 2) ** -1.5, rel=1e-3, abs=1e-3)


def test_half_of_a_box_is_above_zero_where_the_field_crosses_it_halfway() -> None:
    z = np.linspace(-10, 10, 17)[:, None, None]
    field = np.broadcast_to(z, (17, 2, 2)).astype(np.float32)
    assert project_above(field, 0.05, [lambda coarse: coarse.copy()], 1.25) == pytest.approx(10.0, rel=1e-3)


def test_enlarging_keeps_a_straight_slope_straight() -> None:
    coarse = np.add.outer(np.arange(10.0), 2.0 * np.arange(8.0)).astype(np.float32)
    rows, columns = np.linspace(1, 8, 29), np.linspace(1, 6, 21)
    assert enlarge(coarse, rows, columns) == pytest.approx(np.add.outer(rows, 2 * columns), abs=1e-4)
