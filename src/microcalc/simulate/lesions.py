"""Add calcifications and confusers to the views of a simulated breast, and annotate them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage, Kind
from microcalc.geometry import Points
from microcalc.simulate.acquisition import detectability
from microcalc.simulate.bodies import Lines, discs_along, imaged_lines, laid
from microcalc.simulate.calcification import (
    DIAMETER_LN_SD,
    DIAMETER_MM,
    PACKING,
    Calcification,
    ClusterPopulation,
    draw_cluster,
    render_calcification,
)
from microcalc.simulate.confusers import CONFUSERS, Confuser, Zone, draw_confuser
from microcalc.simulate.raster import add_patch, motion_blurred, overlap
from microcalc.simulate.scene import Annotation, Scene
from microcalc.simulate.spectrum import removed_fraction

_CANDIDATES = 400


@dataclass(frozen=True, slots=True)
class LesionRates:
    """Describe how many lesions, confusers and artefacts are simulated, on average.

    Attributes
    ----------
    clusters, singles
        Mean numbers of clusters and of single microcalcifications per breast (Poisson).
    cluster_members
        Mean number of microcalcifications in a cluster beyond the minimum of four.
    diameter_mm, diameter_ln_sd
        Geometric mean and standard deviation of the logarithm of the diameters (lognormal).
    packing
        Range of the packing of a microcalcification of 0.22 mm; see ``calcification.packing_at``.
    min_d_prime
        Smallest d' of a microcalcification, in each view; fainter ones are left out of the breast.
    crossings
        Mean number of crossings of ligaments per image (Poisson).
    confusers
        Mean number per breast (Poisson) of each confuser, by its name in ``confusers.CONFUSERS``.
    nodes, moles, folds
        Mean numbers of lymph nodes and moles per breast, and of skin folds per image (Poisson).
    artefacts, low_dose
        Fractions of the images with an artefact, and with half or 30 per cent of the usual dose.
        In practice they are 0.034 and 0.007; the defaults are higher, for training.
    """

    clusters: float = 1.2
    singles: float = 3.0
    cluster_members: float = 8.0
    diameter_mm: float = DIAMETER_MM
    diameter_ln_sd: float = DIAMETER_LN_SD
    packing: tuple[float, float] = PACKING
    min_d_prime: float = 0.0
    crossings: float = 12.0
    confusers: Mapping[str, float] = field(default_factory=lambda: {name: row.rate for name, row in CONFUSERS.items()})
    nodes: float = 0.3
    moles: float = 0.04
    folds: float = 0.1
    artefacts: float = 0.25
    low_dose: float = 0.05

    @property
    def population(self) -> ClusterPopulation:
        """Return the population that clusters and single microcalcifications are drawn from."""
        return ClusterPopulation(
            members_mean=self.cluster_members,
            diameter_mm=self.diameter_mm,
            diameter_ln_sd=self.diameter_ln_sd,
            packing=self.packing,
        )


NO_LESIONS = LesionRates(
    clusters=0.0, singles=0.0, crossings=0.0, confusers={}, nodes=0.0, moles=0.0, folds=0.0, artefacts=0.0, low_dose=0.0
)
"""Rates of a breast that holds tissue only, in an image without artefacts at the usual dose."""


def usual_rates(
    *, clusters: float | None, singles: float | None, confusers: float, min_d_prime: float = 0.0
) -> LesionRates:
    """Return the default rates with some of them replaced.

    Parameters
    ----------
    clusters, singles
        Mean numbers per breast; None keeps the default.
    confusers
        Factor on the rates of everything that can be mistaken for a microcalcification, artefacts included.
    min_d_prime
        See ``LesionRates``.
    """
    usual = LesionRates()
    return replace(
        usual,
        clusters=usual.clusters if clusters is None else clusters,
        singles=usual.singles if singles is None else singles,
        min_d_prime=min_d_prime,
        crossings=confusers * usual.crossings,
        confusers={name: confusers * rate for name, rate in usual.confusers.items()},
        nodes=confusers * usual.nodes,
        moles=confusers * usual.moles,
        folds=confusers * usual.folds,
        artefacts=min(confusers * usual.artefacts, 1.0),
    )


def add_lesions(rng: np.random.Generator, scenes: Sequence[Scene], rates: LesionRates) -> None:
    """Add the same calcifications and confusers to all views of one breast, in place."""
    for number in range(int(rng.poisson(rates.clusters))):
        _put_cluster(rng, scenes, rates, f"cluster-{number + 1}")
    for _ in range(int(rng.poisson(rates.singles))):
        _put_cluster(rng, scenes, rates, "")
    for name, rate in rates.confusers.items():
        for number in range(int(rng.poisson(rate))):
            _put_confuser(rng, scenes, draw_confuser(rng, name), f"{name}-{number + 1}")


def draw_location(rng: np.random.Generator, scenes: Sequence[Scene], zone: Zone) -> NDArray[np.float64] | None:
    """Draw a location (3,) that lies in the zone in every view; return None where there is none."""
    places = draw_locations(rng, _CANDIDATES, zone, max(s.space.nipple_mm[1] for s in scenes))
    weight = np.ones(len(places))
    for scene in scenes:
        weight *= _suits(scene, scene.space.locate(places), zone)
    if not weight.any():
        return None
    return np.asarray(places[int(rng.choice(len(places), p=weight / weight.sum()))])


def draw_locations(rng: np.random.Generator, n: int, zone: Zone, depth_mm: float) -> NDArray[np.float64]:
    """Draw locations (n, 3) in ``BreastCoordinates``, uniform over the zone, down to ``depth_mm`` behind the nipple."""
    angle, radius = rng.uniform(0.0, 2 * np.pi, n), 0.93 * np.sqrt(rng.uniform(0.0, 1.0, n))
    behind = depth_mm * rng.uniform(0.04, 1.0, n)
    if zone in ("skin", "axilla"):
        radius = rng.uniform(0.9, 0.99, n)
    if zone == "axilla":
        angle, behind = rng.normal(-np.pi / 4, 0.25, n), depth_mm * rng.uniform(0.6, 1.0, n)
    return np.column_stack([behind, radius * np.cos(angle), radius * np.sin(angle)])


def _suits(scene: Scene, place_mm: Points, zone: Zone) -> NDArray[np.float64]:
    """Return the relative probability (n,) of a lesion at positions (n, 2): four times as high in gland as in fat."""
    ground = scene.ground
    if zone in ("skin", "axilla"):
        return scene.holds(place_mm, depth_mm=0.5).astype(np.float64)
    deepest = float(ground.depth.max())
    allowed = scene.holds(place_mm, depth_mm=min(8.0, 0.4 * deepest)) & ~ground.at(ground.muscle, place_mm)
    margin = min(8.0, 0.1 * min(ground.depth.shape) * ground.step_mm)  # clusters lie in the image as a whole
    last = (np.array(ground.depth.shape) - 1) * ground.step_mm
    allowed &= ((place_mm > margin) & (place_mm < last - margin)).all(axis=1)
    share = np.clip(ground.at(ground.share, place_mm), 0.0, 0.75) if zone == "gland" else 0.0
    return np.asarray(allowed * (0.25 + share), dtype=np.float64)


def _put_cluster(rng: np.random.Generator, scenes: Sequence[Scene], rates: LesionRates, name: str) -> None:
    """Add a cluster, or a single microcalcification if the name is empty; each member is in all views or in none."""
    place = draw_location(rng, scenes, "gland")
    if place is None:
        return
    members = draw_cluster(
        rng,
        rates.population,
        layout=None if name else "single",
        to_nipple=(-0.3 * float(place[1]), -0.6 * float(place[2]), 1.0),
    )
    centres = [s.space.locate(place[None])[0] for s in scenes]
    for member in members:
        seen = [member.project(s.angle_rad) for s in scenes]
        at = [c + np.asarray(m.offset_mm) for c, m in zip(centres, seen, strict=True)]
        if all(s.holds(a[None], depth_mm=1.5)[0] for s, a in zip(scenes, at, strict=True)):
            shadows = [_shadow(*of) for of in zip(scenes, seen, at, strict=True)]
            if all(shadow.d_prime >= rates.min_d_prime for shadow in shadows):
                for scene, calcification, shadow in zip(scenes, seen, shadows, strict=True):
                    words = f"{calcification.morphology} {calcification.layout}".strip()
                    _add(scene, calcification, shadow, kind="microcalcification", cluster=name, morphology=words)


def _put_confuser(rng: np.random.Generator, scenes: Sequence[Scene], confuser: Confuser, name: str) -> None:
    place = draw_location(rng, scenes, confuser.zone)
    if place is None:
        return
    for scene in scenes:
        centre = scene.space.locate(place[None])[0]
        for body in confuser.bodies:
            if isinstance(body, Lines):
                _insert_lines(scene, body, centre, confuser, cluster=name)
                continue
            seen = body.project(scene.angle_rad)
            where = centre + np.asarray(seen.offset_mm)
            if scene.holds(where[None], depth_mm=0.2)[0]:
                insert(scene, seen, where, kind=confuser.kind, cluster=name, morphology=confuser.what)


def insert(
    scene: Scene, seen: Calcification, centre_mm: Points, *, kind: Kind, cluster: str = "", morphology: str = ""
) -> None:
    """Add the contrast of one calcification at a position (2,) in mm, and its annotation, in place."""
    _add(scene, seen, _shadow(scene, seen, centre_mm), kind=kind, cluster=cluster, morphology=morphology)


@dataclass(frozen=True, eq=False, slots=True)
class _Shadow:
    """The contrast of one calcification in one view.

    Attributes
    ----------
    centre_px
        (2,) row and column of the centre.
    region, contrast
        Where it lies in the image, and the fraction of the primary signal removed there.
    d_prime
        Detectability by the ideal observer.
    """

    centre_px: Points
    region: tuple[slice, slice]
    contrast: FloatImage
    d_prime: float


def _shadow(scene: Scene, seen: Calcification, centre_mm: Points) -> _Shadow:
    s = scene.system
    fat, gland = scene.behind(centre_mm)
    pixel = np.asarray(centre_mm) / s.pitch_mm
    contrast = seen.contrast(scene.beam, s.converter, fat_mm=fat, gland_mm=gland)
    (r0, c0), patch = render_calcification(contrast, pixel, spacing_mm=(s.pitch_mm, s.pitch_mm), mtf=s.mtf)
    patch = motion_blurred(patch, scene.motion_mm, s.pitch_mm)
    here, part = overlap(scene.contrast.shape, (r0, c0), patch.shape)
    patch = patch[part]
    noise_sd = float(scene.ground.at(scene.ground.noise_sd, np.asarray(centre_mm)[None])[0])
    return _Shadow(pixel, here, patch, detectability(s, patch * scene.exposure.primary[here], noise_sd))


def _add(scene: Scene, seen: Calcification, shadow: _Shadow, *, kind: Kind, cluster: str, morphology: str) -> None:
    scene.contrast[shadow.region] += shadow.contrast
    outline = shadow.centre_px + seen.outline_mm / scene.system.pitch_mm
    scene.annotations.append(
        Annotation(
            row=float(shadow.centre_px[0]),
            column=float(shadow.centre_px[1]),
            diameter_mm=seen.diameter_mm,
            kind=kind,
            cluster=cluster,
            outline=tuple((float(r), float(c)) for r, c in outline),
            d_prime=shadow.d_prime,
            contrast=float(shadow.contrast.max()),
            morphology=morphology,
        )
    )


def _insert_lines(scene: Scene, lines: Lines, centre_mm: Points, confuser: Confuser, *, cluster: str) -> None:
    """Add the contrast of lines, and annotations along them, in place; calcium ends at the edge of the breast."""
    s = scene.system
    angle = float(np.arctan2(*(np.array(scene.breast.nipple_mm) - centre_mm))) if confuser.to_nipple else 0.0
    tubes = laid(lines, centre_mm, tube_rad=scene.angle_rad, heading_rad=angle)
    if confuser.kind != "no_calcium":
        inside = scene.holds(np.column_stack([tubes.rows.ravel(), tubes.columns.ravel()]), depth_mm=1.0)
        tubes = replace(tubes, weight=tubes.weight * inside.reshape(tubes.rows.shape))
    fat, gland = scene.behind(centre_mm)

    def contrast(path_mm: FloatImage) -> FloatImage:
        solid = lines.packing * path_mm
        return removed_fraction(scene.beam.spectrum, s.converter, lines.material, solid, fat_mm=fat, gland_mm=gland)

    shape = (scene.contrast.shape[0], scene.contrast.shape[1])
    corner, patch = imaged_lines(tubes, shape, s.pitch_mm, contrast=contrast, mtf=s.mtf)
    add_patch(scene.contrast, corner, motion_blurred(patch, scene.motion_mm, s.pitch_mm))
    discs = discs_along(tubes, every_mm=lines.mark_mm, together=lines.apart_mm > 0)
    for row, column, diameter in discs[scene.holds(discs[:, :2], depth_mm=0.2)]:
        at, wide = (row / s.pitch_mm, column / s.pitch_mm), max(diameter, lines.mark_mm)
        scene.annotations.append(Annotation(*at, wide, confuser.kind, cluster, morphology=confuser.what))
