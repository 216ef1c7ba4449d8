"""Calcifications are irregular solids of the size asked for, the same in both views, and imaged where they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from microcalc.domain import FloatImage
from microcalc.geometry import Grid
from microcalc.simulate.acquisition import detectability, noise_variance
from microcalc.simulate.calcification import (
    DIAMETER_LN_SD,
    DIAMETER_MM,
    DIAMETER_RANGE_MM,
    LAYOUTS,
    MORPHOLOGIES,
    PITCH_MM,
    Calcification,
    ClusterPopulation,
    Microcalcification3D,
    draw_cluster,
    draw_diameters,
    draw_microcalcification,
    packing_at,
    render,
    render_calcification,
)
from microcalc.simulate.layouts import Layout
from microcalc.simulate.shapes import Morphology
from microcalc.simulate.systems import SYSTEMS, System

VENDORS = ("hologic", "ge", "siemens")


def _sharp(f: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ones_like(f)


def _gaussian(f: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(-2 * (np.pi * 0.1 * f) ** 2))  # sigma 0.1 mm


def _disc(diameter_mm: float, *, contrast: float = 0.2) -> FloatImage:
    """A flat disc that removes ``contrast`` of the beam."""
    half = int(diameter_mm / 2 / PITCH_MM) + 2
    rows, columns = np.indices((2 * half + 1, 2 * half + 1)) - half
    return np.where(np.hypot(rows, columns) * PITCH_MM <= diameter_mm / 2, contrast, 0.0).astype(np.float32)


def _ball(diameter_mm: float, *, stretch: float = 1.0, packing: float = 1.0) -> Microcalcification3D:
    """A ball of apatite, anti-aliased; or an ellipsoid, stretched along height."""
    half = int(diameter_mm * max(stretch, 1.0) / 2 / PITCH_MM) + 2
    height, row, column = (np.indices((2 * half + 1,) * 3) - half) * PITCH_MM
    from_middle = np.sqrt((height / stretch) ** 2 + row**2 + column**2)
    solid = np.clip(0.5 + (diameter_mm / 2 - from_middle) / PITCH_MM, 0, 1).astype(np.float32)
    return Microcalcification3D((0.0, 0.0, 0.0), solid, "hydroxyapatite", packing, "punctate")


def _draw(morphology: Morphology, diameter_mm: float, seed: int) -> Microcalcification3D:
    return draw_microcalcification(np.random.default_rng(seed), diameter_mm=diameter_mm, morphology=morphology)


@pytest.fixture(scope="module")
def clusters() -> list[list[Microcalcification3D]]:
    return [draw_cluster(np.random.default_rng(seed)) for seed in range(45)]


# Sizes


def test_drawn_diameters_are_lognormal_within_their_range() -> None:
    drawn = np.log(draw_diameters(np.random.default_rng(0), 2000) / DIAMETER_MM) / DIAMETER_LN_SD
    low, high = np.log(np.array(DIAMETER_RANGE_MM) / DIAMETER_MM) / DIAMETER_LN_SD
    assert stats.kstest(drawn, stats.truncnorm(low, high).cdf).pvalue > 0.01


@pytest.mark.parametrize("angle_rad", [0.0, np.pi / 4])
def test_diameters_in_clusters_as_projected_are_lognormal_too(
    clusters: list[list[Microcalcification3D]], angle_rad: float
) -> None:
    projected = np.array([m.project(angle_rad).diameter_mm for cluster in clusters for m in cluster])[:500]
    low, high = np.log(np.array(DIAMETER_RANGE_MM) / DIAMETER_MM) / DIAMETER_LN_SD
    found = stats.kstest(np.log(projected / DIAMETER_MM) / DIAMETER_LN_SD, stats.truncnorm(low, high).cdf)
    assert found.pvalue > 0.01


@pytest.mark.parametrize("morphology", MORPHOLOGIES)
@pytest.mark.parametrize("diameter_mm", [0.1, 0.22, 0.5])
def test_the_projected_area_is_that_of_the_diameter_asked_for(morphology: Morphology, diameter_mm: float) -> None:
    for seed in range(6):
        assert _draw(morphology, diameter_mm, seed).project().diameter_mm == pytest.approx(
            diameter_mm, abs=max(0.01, 0.05 * diameter_mm)
        )


@pytest.mark.parametrize("diameter_mm", [0.15, 0.2, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("angle_rad", [0.0, 0.6, np.pi / 4])
def test_the_area_of_a_ball_is_that_of_a_circle_within_ten_per_cent(diameter_mm: float, angle_rad: float) -> None:
    assert (_ball(diameter_mm).project(angle_rad).diameter_mm / diameter_mm) ** 2 == pytest.approx(1.0, abs=0.1)


def test_shapes_are_as_uneven_as_those_seen_by_micro_ct() -> None:
    """Longest over shortest side of the bounding box: median 1.67, 95th percentile 3.5; ours a little rounder."""
    rng = np.random.default_rng(2)
    sides = [np.ptp(np.argwhere(draw_microcalcification(rng).solid > 0.5), axis=0) + 1 for _ in range(150)]
    ratio = [float(s.max() / s.min()) for s in sides]
    assert 1.3 < np.median(ratio) < 2.0
    assert 2.0 < np.percentile(ratio, 95) < 4.5


# Projection


def test_an_ellipsoid_is_as_thick_and_as_long_as_it_is_on_paper_under_any_angle() -> None:
    """With half axes a along height and b: shadow sqrt(a2 sin2 + b2 cos2), thickness in the middle 2ab over that."""
    a, b = 0.4, 0.2
    for angle in (0.0, 0.5, np.pi / 4, 1.2, -0.7):
        seen = _ball(2 * b, stretch=a / b).project(angle)
        shadow = np.sqrt((a * np.sin(angle)) ** 2 + (b * np.cos(angle)) ** 2)
        middle = seen.thickness_mm.shape[0] // 2
        assert seen.thickness_mm[middle, middle] == pytest.approx(2 * a * b / shadow, rel=0.03)
        assert np.ptp(seen.outline_mm[:, 0]) / 2 == pytest.approx(shadow, abs=PITCH_MM)
        assert np.ptp(seen.outline_mm[:, 1]) / 2 == pytest.approx(b, abs=PITCH_MM)


@pytest.mark.parametrize("morphology", MORPHOLOGIES)
def test_both_views_show_the_same_volume(morphology: Morphology) -> None:
    for seed in range(4):
        solid = _draw(morphology, 0.3, seed)
        volumes = [solid.project(a).thickness_mm.sum() * PITCH_MM**2 for a in (0.0, np.pi / 4, -0.8)]
        assert volumes == pytest.approx([float(solid.solid.sum()) * PITCH_MM**3] * 3, rel=0.01)


def test_an_offset_turns_with_the_tube() -> None:
    lying = replace(_ball(0.2), offset_mm=(2.0, 3.0, 4.0))
    assert lying.project(0.0).offset_mm == pytest.approx((3.0, 4.0))
    assert lying.project(0.0).height_mm == pytest.approx(2.0)
    turned = lying.project(np.pi / 2)
    assert turned.offset_mm == pytest.approx((2.0, 4.0))
    assert turned.height_mm == pytest.approx(-3.0)


def test_a_solid_turns_the_way_its_offset_does() -> None:
    """Two balls in one solid lie where two solids of one ball lie."""
    solid = np.zeros((61, 61, 61), dtype=np.float32)
    ball = _ball(0.1).solid
    n = ball.shape[0]
    solid[40 : 40 + n, 45 : 45 + n, 25 : 25 + n] = ball
    at = (np.array([40, 45, 25]) + n // 2 - 30) * PITCH_MM
    together = replace(_ball(0.2), solid=solid)
    alone = replace(_ball(0.1), offset_mm=(float(at[0]), float(at[1]), float(at[2])))
    for angle in (0.0, 0.7, -0.7):
        thickness = together.project(angle).thickness_mm
        middle = thickness.shape[0] // 2
        centroid = (np.indices(thickness.shape).reshape(2, -1) * thickness.ravel()).sum(axis=1) / thickness.sum()
        assert (centroid - middle) * PITCH_MM == pytest.approx(alone.project(angle).offset_mm, abs=0.005)


@pytest.mark.parametrize("morphology", MORPHOLOGIES)
def test_the_centroid_of_a_projection_is_its_middle_pixel(morphology: Morphology) -> None:
    """Within half a voxel, a seventh of the finest pixel."""
    for seed in range(4):
        for angle in (0.0, np.pi / 4):
            thickness = _draw(morphology, 0.3, seed).project(angle).thickness_mm.astype(np.float64)
            centroid = (np.indices(thickness.shape).reshape(2, -1) * thickness.ravel()).sum(axis=1) / thickness.sum()
            assert thickness.shape[0] == thickness.shape[1]
            assert thickness.shape[0] % 2 == 1
            assert np.abs(centroid - thickness.shape[0] // 2).max() <= 0.5


# What it removes from the beam


@pytest.mark.parametrize("morphology", MORPHOLOGIES)
def test_a_calcification_removes_some_of_the_beam_and_never_all(morphology: Morphology) -> None:
    for seed in range(4):
        seen = _draw(morphology, 0.3, seed).project()
        contrast = seen.contrast(SYSTEMS["ge"].beam(50.0), "CsI", fat_mm=40, gland_mm=10)
        assert contrast.shape == seen.thickness_mm.shape
        assert contrast.min() >= 0.0
        assert 0 < contrast.max() < 1.0
        assert contrast[seen.thickness_mm == 0].max() < 1e-9


def test_packing_is_a_shorter_path_and_oxalate_removes_less_than_apatite() -> None:
    full = _ball(0.3).project()
    half = replace(full, packing=0.5)
    thin = replace(full, thickness_mm=full.thickness_mm * np.float32(0.5))
    oxalate = replace(full, material="calcium_oxalate")
    peaks = [
        c.contrast(SYSTEMS["hologic"].beam(50.0), "a-Se", fat_mm=40, gland_mm=10).max()
        for c in (full, half, thin, oxalate)
    ]
    assert peaks[1] == pytest.approx(peaks[2], rel=1e-5)
    assert 0.3 < peaks[3] / peaks[0] < 0.6
    assert peaks[0] > 1.6 * peaks[1]


def test_larger_ones_are_looser_and_none_is_more_than_solid() -> None:
    packing = [packing_at(d, 0.6) for d in (0.05, 0.1, 0.22, 0.5, 1.0)]
    assert all(a >= b for a, b in pairwise(packing))
    assert packing[0] == 1.0
    assert packing[2] == pytest.approx(0.6)
    assert packing[-1] > 0.05


def test_apatite_of_a_fifth_of_a_millimetre_has_the_contrast_of_the_table() -> None:
    """Balls of hydroxyapatite behind a-Se: 22.5 and 21.5 %, behind CsI 10.8 %, less scatter (computed)."""
    for name, contrast in (("hologic", 0.225), ("siemens", 0.215), ("ge", 0.108)):
        assert _imaged(_ball(0.2).project(), SYSTEMS[name])[0].max() / 1.12 == pytest.approx(contrast, rel=0.2)


def _imaged(calcification: Calcification, system: System) -> tuple[FloatImage, float]:
    """Contrast on the system's raster, and d' at 100 uGy, 50 mm, scatter-to-primary 0.12."""
    contrast = calcification.contrast(system.beam(50.0), system.converter, fat_mm=40, gland_mm=10)
    pitch = system.pitch_mm
    _, patch = render_calcification(contrast, np.array([20.3, 20.6]), spacing_mm=(pitch, pitch), mtf=system.mtf)
    signal = system.gain_per_ugy * 100.0
    noise = float(np.sqrt(noise_variance(system, np.full((1, 2), signal, dtype=np.float32))[0, 1]))
    return patch, detectability(system, patch * np.float32(signal / 1.12), noise)


@pytest.mark.parametrize("name", VENDORS)
def test_some_are_invisible_many_hard_and_few_obvious(clusters: list[list[Microcalcification3D]], name: str) -> None:
    """Below 3.5: 5 to 20 %, up to 8: 30 to 50 %, above 20: less than 20 %; contrast from below 2 to about 30 %."""
    seen = [_imaged(m.project(), SYSTEMS[name]) for cluster in clusters for m in cluster]
    d_prime, peak = np.array([d for _, d in seen]), np.array([float(patch.max()) / 1.12 for patch, _ in seen])
    error = 3 * np.sqrt(0.25 / len(clusters) / 3)  # three deviations: members of a cluster are alike
    assert 0.05 - error < np.mean(d_prime < 3.5) < 0.2 + error
    assert 0.3 - error < np.mean((d_prime >= 3.5) & (d_prime < 8)) < 0.5 + error
    assert np.mean(d_prime > 20) < 0.2
    assert np.percentile(peak, 2) < 0.025
    assert 0.12 < peak.max() < 0.5


# Clusters


def _offsets(cluster: list[Microcalcification3D], angle_rad: float = 0.0) -> NDArray[np.float64]:
    return np.array([member.project(angle_rad).offset_mm for member in cluster])


def _nearest(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = np.hypot(*(offsets[:, None] - offsets[None]).transpose(2, 0, 1))
    return np.asarray((apart + 99 * np.eye(len(offsets))).min(axis=1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_members_keep_three_tenths_of_a_millimetre_apart_in_every_view(layout: Layout) -> None:
    for seed in range(3):
        cluster = draw_cluster(np.random.default_rng(seed), layout=layout, morphology="punctate")
        assert {m.layout for m in cluster} == {layout}
        for angle in (0.0, np.pi / 4, -np.pi / 4):
            assert _nearest(_offsets(cluster, angle)).min() > 0.3
        assert np.hypot(*_offsets(cluster).T).max() < 12


def test_a_cluster_has_at_least_four_members_and_no_more_than_asked_for() -> None:
    seven = ClusterPopulation(members_mean=50, members_max=7, diameter_mm=0.1)
    for seed in range(8):
        assert (
            4
            <= len(
                draw_cluster(np.random.default_rng(seed), ClusterPopulation(diameter_mm=0.12), morphology="punctate")
            )
            <= 60
        )
        assert len(draw_cluster(np.random.default_rng(seed), seven)) <= 7
    assert len(draw_cluster(np.random.default_rng(0), layout="single")) == 1


def test_numbers_and_distances_are_those_of_clusters(clusters: list[list[Microcalcification3D]]) -> None:
    """Medians of 8 to 14 members, 0.3 to 1.5 mm apart in either view."""
    assert 8 <= np.median([len(cluster) for cluster in clusters]) <= 14
    for angle in (0.0, np.pi / 4):
        nearest = np.concatenate([_nearest(_offsets(cluster, angle)) for cluster in clusters])
        assert 0.3 < np.median(nearest) < 1.5


def test_materials_morphologies_and_layouts_have_their_shares() -> None:
    small = ClusterPopulation(members_max=1, diameter_mm=0.1)
    drawn = [draw_cluster(np.random.default_rng(seed), small)[0] for seed in range(300)]
    counts = Counter[str](word for m in drawn for word in (m.morphology, m.layout, m.material))
    shares = {str(word): share for word, share in (*MORPHOLOGIES.items(), *LAYOUTS.items())}
    shares |= {"hydroxyapatite": 0.8, "calcium_oxalate": 0.2}
    assert set(counts) == set(shares)
    for word, share in shares.items():
        assert counts[word] / 300 == pytest.approx(share, abs=3.5 * np.sqrt(share * (1 - share) / 300)), word


@pytest.mark.parametrize(("layout", "ratio"), [("linear", 2.5), ("segmental", 1.2)])
def test_linear_and_segmental_clusters_lie_along_the_way_to_the_nipple(layout: Layout, ratio: float) -> None:
    spreads = []
    for seed in range(12):
        cluster = draw_cluster(
            np.random.default_rng(seed),
            ClusterPopulation(members_mean=20),
            layout=layout,
            morphology="punctate",
            to_nipple=(0, 0, 1),
        )
        spreads.append(_offsets(cluster).std(axis=0))
    row, column = np.median(spreads, axis=0)
    assert column > ratio * row


def test_a_segment_narrows_towards_the_nipple() -> None:
    many = ClusterPopulation(members_mean=30)
    offsets = np.concatenate([
        _offsets(draw_cluster(
            np.random.default_rng(seed), many, layout="segmental", morphology="punctate", to_nipple=(0, 0, 1)
        ))
        for seed in range(12)
    ])  # fmt: skip
    near = offsets[:, 1] > np.median(offsets[:, 1])
    assert offsets[near, 0].std() < 0.7 * offsets[~near, 0].std()


def test_the_same_seed_draws_the_same_cluster() -> None:
    first, second = (draw_cluster(np.random.default_rng(5), morphology="pleomorphic") for _ in range(2))
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert (a.offset_mm, a.packing, a.material) == (b.offset_mm, b.packing, b.material)
        np.testing.assert_array_equal(a.solid, b.solid)


# Imaging


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
    _, patch = render_calcification(
        _disc(diameter_mm, contrast=0.5), np.array([9.3, 9.7]), spacing_mm=pitch, mtf=system.mtf
    )
    for border in (patch[0], patch[-1], patch[:, 0], patch[:, -1]):
        assert np.abs(border).max() < 5e-4
