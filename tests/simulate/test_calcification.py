"""Calcifications are irregular, of the size asked for, and imaged where they are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from microcalc.geometry import Grid
from microcalc.simulate.calcification import (
    CALCIUM_OXALATE_PER_MM,
    HYDROXYAPATITE_PER_MM,
    PITCH_MM,
    Calcification,
    Layout,
    Morphology,
    draw_calcification,
    draw_cluster,
    render,
    render_one,
)
from microcalc.simulate.systems import SYSTEMS

MORPHOLOGIES: tuple[Morphology, ...] = ("punctate", "amorphous", "pleomorphic", "fine_linear")


def _sharp(f: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(f)


def _gaussian(f: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-2 * (np.pi * 0.1 * f) ** 2))  # sigma 0.1 mm


def _disc(diameter_mm: float, *, contrast: float = 0.2) -> Calcification:
    """A flat disc that removes ``contrast`` of the beam."""
    half = int(diameter_mm / 2 / PITCH_MM) + 2
    rows, columns = np.indices((2 * half + 1, 2 * half + 1)) - half
    thickness = np.where(np.hypot(rows, columns) * PITCH_MM <= diameter_mm / 2, 0.1, 0.0).astype(np.float32)
    return Calcification((0.0, 0.0), thickness, -float(np.log1p(-contrast)) / 0.1, diameter_mm)


def _draw(morphology: Morphology, diameter_mm: float, seed: int) -> Calcification:
    return draw_calcification(
        np.random.default_rng(seed), diameter_mm=diameter_mm, morphology=morphology, attenuation_per_mm=0.7
    )


# Amorphous ones are loose heaps of grains: their area is smaller than their extent.
@pytest.mark.parametrize(
    ("morphology", "ratio"), [("punctate", 1.02), ("amorphous", 0.70), ("pleomorphic", 0.91), ("fine_linear", 0.94)]
)
def test_the_projected_area_is_about_that_of_the_diameter_asked_for(morphology: Morphology, ratio: float) -> None:
    drawn = np.array([_draw(morphology, 0.25, seed).diameter_mm for seed in range(30)])
    assert np.exp(np.log(drawn / 0.25).mean()) == pytest.approx(ratio, abs=0.12)


@pytest.mark.parametrize("morphology", MORPHOLOGIES)
def test_a_calcification_removes_some_of_the_beam_and_never_all(morphology: Morphology) -> None:
    for seed in range(5):
        drawn = _draw(morphology, 0.3, seed)
        assert drawn.thickness_mm.min() == 0.0
        assert 0 < drawn.thickness_mm.max() <= 3 * 0.3
        assert drawn.contrast.min() >= 0.0
        assert 0 < drawn.contrast.max() < 1.0
        assert drawn.contrast.max() == pytest.approx(1 - np.exp(-0.7 * drawn.thickness_mm.max()))
        area = np.count_nonzero(drawn.thickness_mm) * PITCH_MM**2
        assert drawn.diameter_mm == pytest.approx(2 * np.sqrt(area / np.pi))


@pytest.mark.parametrize("morphology", MORPHOLOGIES)
def test_the_centroid_is_the_middle_pixel(morphology: Morphology) -> None:
    for seed in range(8):
        thickness = _draw(morphology, 0.3, seed).thickness_mm.astype(np.float64)
        middle = (np.array(thickness.shape) - 1) / 2
        centroid = (np.indices(thickness.shape).reshape(2, -1) * thickness.ravel()).sum(axis=1) / thickness.sum()
        assert thickness.shape[0] == thickness.shape[1]
        assert thickness.shape[0] % 2 == 1
        assert np.abs(centroid - middle).max() <= 0.5 + 1e-6


def test_the_outline_goes_around_all_of_it() -> None:
    outline = _disc(0.4).outline_mm
    assert np.hypot(*outline.T) == pytest.approx(0.2, abs=1.5 * PITCH_MM)


def test_a_calcification_below_a_voxel_is_still_one() -> None:
    drawn = _draw("amorphous", 0.02, 3)
    assert np.count_nonzero(drawn.thickness_mm) >= 1
    assert len(drawn.outline_mm) >= 4


def test_a_disc_without_blur_is_imaged_as_a_disc() -> None:
    grid = Grid((0.05, 0.05))
    image = render([_disc(1.0)], np.array([[2.0, 2.5]]), grid=grid, shape=(80, 100), mtf=_sharp)
    distance = np.hypot(*(np.indices(image.shape) * 0.05 - np.array([2.0, 2.5])[:, None, None]))
    np.testing.assert_allclose(image[distance < 0.46], 0.2, atol=2e-3)
    np.testing.assert_allclose(image[distance > 0.54], 0.0, atol=2e-3)
    assert image.sum() * 0.05**2 == pytest.approx(0.2 * np.pi * 0.25, rel=0.03)


def test_a_gaussian_blur_is_what_it_is_on_paper() -> None:
    """In the middle of a disc of radius a: 1 - exp(-a^2 / 2 s^2); through its rim: the offset Gaussian's integral."""
    image = render([_disc(0.6)], np.array([[3.0, 3.0]]), grid=Grid((0.1, 0.1)), shape=(61, 61), mtf=_gaussian)
    assert image[30, 30] == pytest.approx(0.2 * (1 - np.exp(-(0.3**2) / (2 * 0.1**2))), rel=0.02)
    radius = np.linspace(0.0, 0.3, 3001)
    for pixels in (2, 3, 4, 5):
        u = pixels * 0.1 / 0.1
        density = radius / 0.01 * np.exp(-((radius / 0.1 - u) ** 2) / 2) * special.ive(0, radius / 0.1 * u)
        expected = 0.2 * np.trapezoid(density, radius)
        assert image[30, 30 + pixels] == pytest.approx(expected, abs=0.004)


def test_blur_keeps_what_the_beam_loses() -> None:
    sharp, blurred = (
        render([_disc(0.4)], np.array([[3.0, 3.0]]), grid=Grid((0.1, 0.1)), shape=(61, 61), mtf=mtf).sum()
        for mtf in (_sharp, _gaussian)
    )
    assert blurred == pytest.approx(0.2 * np.pi * 0.2**2 / 0.1**2, rel=0.04)
    assert sharp == pytest.approx(blurred, rel=0.08)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("position", [(30.0, 30.0), (30.25, 29.5), (29.9, 30.62), (30.5, 30.5)])
def test_the_centroid_is_where_it_was_put_to_a_twentieth_of_a_pixel(name: str, position: tuple[float, float]) -> None:
    system = SYSTEMS[name]
    grid = Grid((system.pitch_mm, system.pitch_mm))
    image = render([_disc(0.3)], grid.to_mm(np.array([position])), grid=grid, shape=(61, 61), mtf=system.mtf)
    centroid = (np.indices(image.shape).reshape(2, -1) * image.ravel()).sum(axis=1) / image.sum()
    assert centroid == pytest.approx(position, abs=0.05)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("diameter_mm", [0.2, 1.0, 3.0])
def test_the_border_of_a_rendered_patch_is_no_step(name: str, diameter_mm: float) -> None:
    system = SYSTEMS[name]
    pitch = (system.pitch_mm, system.pitch_mm)
    _, patch = render_one(_disc(diameter_mm, contrast=0.5), np.array([9.3, 9.7]), spacing_mm=pitch, mtf=system.mtf)
    for border in (patch[0], patch[-1], patch[:, 0], patch[:, -1]):
        assert np.abs(border).max() < 5e-4


def test_apatite_of_a_fifth_of_a_millimetre_has_the_contrast_of_the_table() -> None:
    """Spheres of hydroxyapatite behind a-Se: 22.5 and 21.5 %, behind CsI 10.8 %, less 10 % scatter (computed)."""
    half = 8
    squared = np.sum((np.indices((2 * half + 1, 2 * half + 1)) - half) ** 2, axis=0) * PITCH_MM**2
    thickness = (2 * np.sqrt(np.clip(0.1**2 - squared, 0, None))).astype(np.float32)
    sphere = Calcification((0.0, 0.0), thickness, HYDROXYAPATITE_PER_MM, 0.2)
    for name, contrast in (("hologic", 0.225), ("siemens", 0.215), ("ge", 0.108)):
        pitch = SYSTEMS[name].pitch_mm
        _, patch = render_one(sphere, np.array([20.0, 20.0]), spacing_mm=(pitch, pitch), mtf=SYSTEMS[name].mtf)
        assert patch.max() / 1.1 == pytest.approx(contrast, rel=0.25)
    assert 0.35 < CALCIUM_OXALATE_PER_MM / HYDROXYAPATITE_PER_MM < 0.45


def _offsets(cluster: list[Calcification]) -> NDArray[np.float64]:
    return np.array([member.offset_mm for member in cluster])


@pytest.mark.parametrize("layout", ["grouped", "linear", "segmental"])
def test_members_keep_three_tenths_of_a_millimetre_apart(layout: Layout) -> None:
    for seed in range(3):
        offsets = _offsets(draw_cluster(np.random.default_rng(seed), layout=layout, morphology="punctate"))
        apart = np.hypot(*(offsets[:, None] - offsets[None]).transpose(2, 0, 1))
        assert apart[~np.eye(len(offsets), dtype=bool)].min() > 0.3
        assert np.hypot(*offsets.T).max() < 12


def test_a_cluster_has_at_least_four_members_and_no_more_than_asked_for() -> None:
    for seed in range(12):
        assert 4 <= len(draw_cluster(np.random.default_rng(seed), diameter_mm=0.12, morphology="punctate")) <= 60
        assert len(draw_cluster(np.random.default_rng(seed), number_mean=50, max_number=7, diameter_mm=0.1)) <= 7
    assert len(draw_cluster(np.random.default_rng(0), max_number=1)) == 1


def test_sizes_numbers_and_distances_are_those_of_clusters() -> None:
    """Geometric mean about 0.2 mm, ln-sd 0.45, below 1.2 mm; medians of 8 to 14 members, 0.3 to 1.5 mm apart."""
    clusters = [draw_cluster(np.random.default_rng(seed)) for seed in range(40)]
    logs = np.log([member.diameter_mm for cluster in clusters for member in cluster])
    assert np.exp(logs.mean()) == pytest.approx(0.20, abs=0.03)
    assert logs.std() == pytest.approx(0.45, abs=0.08)
    assert np.exp(logs.max()) < 1.2
    assert 8 <= np.median([len(cluster) for cluster in clusters]) <= 14
    nearest = []
    for cluster in clusters:
        offsets = _offsets(cluster)
        apart = np.hypot(*(offsets[:, None] - offsets[None]).transpose(2, 0, 1))
        nearest += list((apart + 99 * np.eye(len(offsets))).min(axis=1))
    assert 0.3 < np.median(nearest) < 1.5


def test_the_same_seed_draws_the_same_cluster() -> None:
    first, second = (draw_cluster(np.random.default_rng(5), morphology="pleomorphic") for _ in range(2))
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.offset_mm == b.offset_mm
        assert a.attenuation_per_mm == b.attenuation_per_mm
        np.testing.assert_array_equal(a.thickness_mm, b.thickness_mm)
