"""What lies in a breast lies there in both of its views."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from microcalc.simulate.acquisition import Exposure
from microcalc.simulate.anatomy import Anatomy
from microcalc.simulate.breast import View, compress, draw_traits, rasterise
from microcalc.simulate.confusers import CONFUSERS
from microcalc.simulate.lesions import NO_LESIONS, LesionRates, add_lesions, draw_location, draw_locations
from microcalc.simulate.raster import motion_blurred, overlap
from microcalc.simulate.scene import ANGLE_RAD, BreastCoordinates, Scene, tissue_maps
from microcalc.simulate.systems import system

HEIGHT, WIDTH = 100.0, 80.0


def scenes(seed: int = 1, name: str = "ge") -> list[Scene]:
    """Both views of one breast with nothing in it, to be filled."""
    return [replace(s, contrast=np.zeros_like(s.contrast), annotations=[]) for s in empty_scenes(seed, name)]


@cache
def empty_scenes(seed: int, name: str) -> list[Scene]:
    """Both views of one breast of fat with gland in its upper half, exposed evenly."""
    s = system(name)
    shape = (round(HEIGHT / s.pitch_mm), round(WIDTH / s.pitch_mm))
    traits = draw_traits(np.random.default_rng(seed), "B")
    found = []
    views: tuple[View, ...] = ("CC", "MLO")
    for view in views:
        rng = np.random.default_rng(seed)
        breast = compress(rng, traits, view=view, height_mm=HEIGHT, width_mm=WIDTH, size=HEIGHT / 210)
        maps = rasterise(breast, shape, s.pitch_mm)
        gland = 0.6 * maps.thickness
        gland[shape[0] // 2 :] = 0.0
        anatomy = Anatomy(
            maps.thickness - gland, gland, maps.thickness, gland, maps.depth, maps.muscle > 0, np.empty((0, 2))
        )
        exposure = Exposure(np.full(shape, 500.0, np.float32), np.full(shape, 50.0, np.float32))
        found.append(
            Scene(
                system=s,
                beam=s.beam(breast.thickness_mm),
                breast=breast,
                space=BreastCoordinates(breast, HEIGHT),
                ground=tissue_maps(s, anatomy, exposure),
                exposure=exposure,
                contrast=np.zeros(shape, np.float32),
            )
        )
    return found


def filled(seed: int, rates: LesionRates, *, breast: int | None = None) -> list[Scene]:
    both = scenes(seed if breast is None else breast)
    add_lesions(np.random.default_rng(seed), both, rates)
    return both


def test_both_views_show_the_same_microcalcifications_cluster_by_cluster() -> None:
    for seed in range(4):
        cc, mlo = filled(seed, replace(NO_LESIONS, clusters=3.0, singles=4.0))
        assert cc.annotations
        words = [[(p.cluster, p.kind, p.morphology) for p in scene.annotations] for scene in (cc, mlo)]
        assert words[0] == words[1]
        for here, there in zip(cc.annotations, mlo.annotations, strict=True):
            assert here.diameter_mm == pytest.approx(there.diameter_mm, rel=0.9)


def test_the_distance_behind_the_nipple_is_the_same_in_both_views() -> None:
    cc, mlo = filled(2, replace(NO_LESIONS, clusters=3.0, singles=6.0))
    for here, there in zip(cc.annotations, mlo.annotations, strict=True):
        behind = [
            scene.breast.nipple_mm[1] - place.column * scene.system.pitch_mm
            for scene, place in ((cc, here), (mlo, there))
        ]
        assert behind[0] == pytest.approx(behind[1], abs=0.2)


def test_the_row_turns_with_the_tube() -> None:
    cc, mlo = scenes()
    upper, inner = np.array([[20.0, 0.6, 0.0]]), np.array([[20.0, 0.0, 0.6]])
    assert cc.space.locate(upper)[0, 0] == pytest.approx(cc.breast.nipple_mm[0])
    assert mlo.space.locate(upper)[0, 0] < mlo.breast.nipple_mm[0], "what lies high is at the top of an oblique image"
    assert cc.space.locate(inner)[0, 0] > cc.breast.nipple_mm[0]
    assert mlo.space.locate(inner)[0, 0] > mlo.breast.nipple_mm[0]
    assert np.degrees(ANGLE_RAD["MLO"]) == -45.0


@pytest.mark.parametrize("zone", ["gland", "breast", "skin", "axilla"])
def test_places_of_every_zone_lie_within_the_breast_in_both_views(zone) -> None:  # type: ignore[no-untyped-def]
    both = scenes()
    rng = np.random.default_rng(3)
    for _ in range(20):
        place = draw_location(rng, both, zone)
        assert place is not None
        for scene in both:
            assert scene.holds(scene.space.locate(place[None]), depth_mm=0.3)[0]


def test_most_places_lie_in_gland_where_there_is_some() -> None:
    cc, _ = scenes()
    rng = np.random.default_rng(4)
    places = np.array(
        [cc.space.locate(p[None])[0] for _ in range(150) if (p := draw_location(rng, [cc], "gland")) is not None]
    )
    assert np.mean(cc.ground.at(cc.ground.share, places) > 0.3) > 0.6


def test_skin_lies_near_the_surface_and_the_axilla_above_and_outside() -> None:
    rng = np.random.default_rng(5)
    skin, axilla = (draw_locations(rng, 200, zone, 60.0) for zone in ("skin", "axilla"))
    assert (np.hypot(skin[:, 1], skin[:, 2]) > 0.89).all()
    assert (axilla[:, 1] > 0).mean() > 0.95
    assert (axilla[:, 2] < 0).mean() > 0.95


@pytest.mark.parametrize("name", CONFUSERS)
def test_every_confuser_is_annotated_with_its_kind_and_name(name: str) -> None:
    rates = replace(NO_LESIONS, confusers={name: 1.0})
    drawn = (filled(seed, rates, breast=1) for seed in range(20))
    both = next(views for views in drawn if all(scene.annotations for scene in views))
    assert {(a.kind, a.morphology) for scene in both for a in scene.annotations} == {(CONFUSERS[name].kind, name)}


def test_rates_are_means_per_breast() -> None:
    clusters = []
    for seed in range(30):
        cc, _ = filled(1000 + seed, replace(NO_LESIONS, singles=2.0), breast=1)
        clusters.append(len(cc.annotations))
    assert np.mean(clusters) == pytest.approx(2.0, abs=0.6)
    assert filled(1, NO_LESIONS)[0].annotations == []
    assert not filled(1, NO_LESIONS)[0].contrast.any()


def test_the_contrast_is_where_the_truth_says() -> None:
    for scene in filled(6, replace(NO_LESIONS, singles=5.0, diameter_mm=0.4, packing=(0.9, 1.0))):
        pitch = scene.system.pitch_mm
        rows, columns = np.mgrid[: scene.contrast.shape[0], : scene.contrast.shape[1]]
        for p in scene.annotations:
            near = np.hypot(rows - p.row, columns - p.column) * pitch < 0.5
            if sum(np.hypot(p.row - q.row, p.column - q.column) * pitch < 2 for q in scene.annotations) > 1:
                continue
            weight = np.clip(scene.contrast[near], 0, None)
            centroid = [(rows[near] * weight).sum() / weight.sum(), (columns[near] * weight).sum() / weight.sum()]
            assert np.hypot(centroid[0] - p.row, centroid[1] - p.column) < 0.5
            assert p.contrast == pytest.approx(float(scene.contrast[near].max()), rel=0.05)
            assert p.d_prime is not None
            assert p.outline


def test_motion_keeps_the_sum_and_lowers_the_peak() -> None:
    image = np.zeros((40, 50), np.float32)
    image[20, 25] = 1.0
    blurred = motion_blurred(image, (0.3, 0.4), 0.1)
    assert blurred.sum() == pytest.approx(1.0, abs=0.01)
    assert blurred.max() < 0.5
    assert motion_blurred(image, (0.0, 0.0), 0.1) is image


def test_of_a_patch_beyond_the_image_the_rest_is_taken() -> None:
    here, part = overlap((10, 10), (-2, 7), (5, 5))
    assert here == (slice(0, 3), slice(7, 10))
    assert part == (slice(2, 5), slice(0, 3))
    here, _ = overlap((10, 10), (20, 0), (5, 5))
    assert np.zeros((10, 10))[here].size == 0


def test_calcium_ends_where_the_breast_does() -> None:
    for scene in filled(3, replace(NO_LESIONS, confusers={"rod-like": 4.0, "arterial": 4.0})):
        outside = np.repeat(np.repeat(scene.ground.depth < -1.5, 8, axis=0), 8, axis=1)
        shape = scene.contrast.shape
        assert scene.contrast.max() > 0.1
        assert scene.contrast[outside[: shape[0], : shape[1]]].max() < 0.01
