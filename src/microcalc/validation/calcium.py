"""Criteria 13 to 15: sizes, clusters, visibility and annotated positions of the simulated microcalcifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special
from scipy.spatial import cKDTree

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.calcification import Calcification
from microcalc.simulate.exam import SimulatedMammogram, simulate_mammogram
from microcalc.simulate.scene import Annotation
from microcalc.simulate.systems import System
from microcalc.validation.criteria import Measurement, not_measured
from microcalc.validation.images import ImageSpec, ImageStore
from microcalc.validation.phantoms import sphere_thickness
from microcalc.wording import quantity

Floats = NDArray[np.float64]

_DIAMETER_MM, _LN_SD, _CLIPPED_MM = 0.22, 0.45, (0.08, 1.0)
_TISSUE = ("crossing", "tissue")  # annotated places that the image without calcium has too
_AROUND_MM = 1.2  # around the centre of a microcalcification: its whole shadow, and no other
_CENTRED_D_PRIME = 8.0  # both images have the same noise, so that little of it is left in their difference
_SHARES = {"3.5 and less": (0.05, 0.20), "3.5 to 8": (0.30, 0.50), "20 and more": (0.0, 0.20)}


@dataclass(frozen=True, eq=False, slots=True)
class Calcium:
    """The microcalcifications of one image.

    Attributes
    ----------
    diameter_mm, d_prime
        (n,) each; d' is NaN where not known.
    distance_mm
        (n,) distance to the nearest other one of the same cluster; NaN for single microcalcifications.
    cluster_sizes
        (c,) number of microcalcifications in each cluster.
    """

    diameter_mm: Floats
    d_prime: Floats
    distance_mm: Floats
    cluster_sizes: NDArray[np.int64]


def measure_calcium(
    systems: Sequence[System], store: ImageStore, *, specs: Sequence[ImageSpec], twins: Sequence[ImageSpec], seed: int
) -> list[Measurement]:
    """Measure criteria 13 and 14, and the visibility of criterion 15.

    Parameters
    ----------
    specs
        Craniocaudal images with calcifications.
    twins
        Those of them that are also simulated without calcifications.
    """
    found = store.measure(calcium_of, specs)
    apart = {spec.seed: calcium for spec, calcium in zip(specs, found, strict=True)}  # one system each: breasts recur
    measurements = [*_sizes(list(apart.values())), *_visibilities(found)]
    bare = [replace(spec, filling="tissue", intents=("raw", "processed")) for spec in twins]  # as for the texture
    errors = store.each(_centroid_errors, list(zip(twins, bare, strict=True)))
    for s in systems:
        mine = [e for e, spec in zip(errors, twins, strict=True) if spec.system.name == s.name]
        measurements += [*_centred(s, np.concatenate(mine)), *_outlined(s), *_mirrored(s, seed)]
    return measurements


def calcium_of(image: SimulatedMammogram) -> Calcium:
    """Return the microcalcifications of one image, from its annotations."""
    places = [p for p in image.annotations if p.kind == "microcalcification"]
    at = np.array([(p.row, p.column) for p in places]).reshape(-1, 2) * image.system.pitch_mm
    names = np.array([p.cluster for p in places], dtype=np.str_)
    return Calcium(
        diameter_mm=np.array([p.diameter_mm for p in places]),
        d_prime=np.array([np.nan if p.d_prime is None else p.d_prime for p in places]),
        distance_mm=nearest_in_cluster(at, names),
        cluster_sizes=np.array([n for name, n in Counter(names.tolist()).items() if name], dtype=np.int64),
    )


def nearest_in_cluster(at_mm: Points, cluster: NDArray[np.str_]) -> Floats:
    """Return the distance (n,) of each place (n, 2) to the nearest other one of its cluster; NaN if there is none."""
    out = np.full(len(at_mm), np.nan)
    for name in set(cluster.tolist()) - {""}:
        mine = np.flatnonzero(cluster == name)
        if len(mine) > 1:
            out[mine] = cKDTree(at_mm[mine]).query(at_mm[mine], k=2)[0][:, 1]
    return out


def lognormal_p(diameter_mm: Floats) -> float:
    """Return p of the Kolmogorov-Smirnov test against a lognormal(0.22 mm, 0.45), truncated to 0.08 .. 1.0 mm."""
    n, d = len(diameter_mm), np.sort(diameter_mm)
    whole, low, high = (special.ndtr(np.log(x / _DIAMETER_MM) / _LN_SD) for x in (d, *_CLIPPED_MM))
    expected = np.clip((whole - low) / (high - low), 0.0, 1.0)
    apart = max(np.max(np.arange(1, n + 1) / n - expected), np.max(expected - np.arange(n) / n))
    return float(special.kolmogorov(np.sqrt(n) * apart))


def _sizes(found: Sequence[Calcium]) -> list[Measurement]:
    """Measure diameters (single microcalcifications only: those of a cluster are correlated), numbers and distances."""
    distance, size = (np.concatenate([getattr(c, name) for c in found]) for name in ("distance_mm", "cluster_sizes"))
    diameter = np.concatenate([c.diameter_mm[np.isnan(c.distance_mm)] for c in found])
    if len(diameter) < 100 or not len(size):
        return [
            not_measured(
                13, f"{quantity(len(diameter), 'single microcalcification')}, expected 100 or more, and clusters"
            )
        ]
    return [
        Measurement(
            13,
            "all",
            "p of diameters, lognormal",
            lognormal_p(diameter),
            0.01,
            1.0,
            f"{quantity(len(diameter), 'single microcalcification')} of different breasts",
        ),
        # ours: around the least of 4 and the mean of 12 that the sampler is to have; skewed, so below the mean
        Measurement(
            13, "all", "median number per cluster", float(np.median(size)), 6.0, 16.0, quantity(len(size), "cluster")
        ),
        Measurement(13, "all", "largest number per cluster", float(size.max()), 4.0, 60.0),
        Measurement(13, "all", "median nearest distance in mm", float(np.nanmedian(distance)), 0.3, 1.5),
    ]


def _visibilities(found: Sequence[Calcium]) -> list[Measurement]:
    d_prime = np.concatenate([c.d_prime for c in found])
    if not len(d_prime):
        return [not_measured(15, "no microcalcification")]
    shares = [np.mean(d_prime < 3.5), np.mean((d_prime >= 3.5) & (d_prime < 8.0)), np.mean(d_prime > 20.0)]
    return [
        Measurement(15, "all", f"share with d' {name}", float(share), low, high)
        for (name, (low, high)), share in zip(_SHARES.items(), shares, strict=True)
    ]


def _centroid_errors(images: list[SimulatedMammogram]) -> Floats:
    """Return the distance (n,) in pixels from the annotated centre to the centroid of the difference image.

    Only clearly visible microcalcifications far from other calcifications are measured.
    """
    with_calcium, without = images
    shadow = without.stored["raw"].astype(np.float32) - with_calcium.stored["raw"].astype(np.float32)
    pitch = with_calcium.system.pitch_mm
    alone = _alone([p for p in with_calcium.annotations if p.morphology not in _TISSUE], 3.0 / pitch)
    plain = [p for p in alone if p.kind == "microcalcification" and (p.d_prime or 0.0) > _CENTRED_D_PRIME]
    return np.array([centroid_error(shadow, p.row, p.column, half_px=round(_AROUND_MM / pitch)) for p in plain])


def _alone(places: Sequence[Annotation], apart_px: float) -> list[Annotation]:
    """Return the places without another one within a distance."""
    at = np.array([(p.row, p.column) for p in places]).reshape(-1, 2)
    if len(at) < 2:
        return list(places)
    nearest = cKDTree(at).query(at, k=2)[0][:, 1]
    return [p for p, d in zip(places, nearest, strict=True) if d > apart_px]


def centroid_error(shadow: FloatImage, row: float, column: float, *, half_px: int) -> float:
    """Return the distance in pixels from a place to the centroid of its shadow, where above a tenth of the maximum.

    The shadow need not be connected: an amorphous microcalcification consists of grains.
    """
    r, c = round(row), round(column)
    part = shadow[max(r - half_px, 0) : r + half_px + 1, max(c - half_px, 0) : c + half_px + 1].astype(np.float64)
    centre = ndimage.center_of_mass(part * (part > 0.1 * part.max()))
    found = centre[0] + max(r - half_px, 0), centre[1] + max(c - half_px, 0)
    return float(np.hypot(found[0] - row, found[1] - column))


def _centred(s: System, errors: Floats) -> list[Measurement]:
    if len(errors) < 5:
        return [not_measured(14, f"{len(errors)} plain single microcalcifications, expected 5 or more", system=s.name)]
    note = f"{quantity(len(errors), 'single microcalcification')} of d' above {_CENTRED_D_PRIME:g}"
    largest = float(np.quantile(errors, 0.95))
    return [Measurement(14, s.name, "centroid error in pixels, 95 % of them", largest, 0.0, 0.5, note)]


def _outlined(s: System) -> list[Measurement]:
    """Measure the area within the outline of spheres, relative to that of their circles."""
    ratios = []
    for diameter in (0.2, 0.35, 0.6):
        sphere = Calcification(
            offset_mm=(0.0, 0.0),
            height_mm=0.0,
            thickness_mm=sphere_thickness(diameter),
            material="hydroxyapatite",
            packing=1.0,
            diameter_mm=diameter,
            morphology="punctate",
        )
        ratios.append(polygon_area(sphere.outline_mm) / (np.pi * diameter**2 / 4))
    worst = max(ratios, key=lambda r: abs(r - 1.0))
    return [Measurement(14, s.name, "outlined area of a sphere over its circle", worst, 0.9, 1.1)]


def polygon_area(corners: Points) -> float:
    """Return the area of a polygon (n, 2)."""
    y, x = corners.T
    return 0.5 * abs(float(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))))


def _mirrored(s: System, seed: int) -> list[Measurement]:
    """Check that the chest wall is at the left border of left breasts, and that places are mirrored with the pixels."""
    small = replace(s, fields=((round(60 / s.pitch_mm), round(45 / s.pitch_mm)),))
    right = simulate_mammogram(small, seed=seed, laterality="R")
    left = simulate_mammogram(small, seed=seed, laterality="L")
    sides = [chest_wall_is_left(i.stored["raw"].astype(np.float32)) for i in (left, right)]
    misplaced = 0
    for image in (left, right):
        rows, columns = image.stored["raw"].shape
        misplaced += sum(not (0 <= p.row < rows and 0 <= p.column < columns) for p in image.annotations)
    return [
        Measurement(14, s.name, "chest wall left in L, right in R", float(sides == [True, False]), 1.0, 1.0),
        Measurement(14, s.name, "places outside the image", float(misplaced), 0.0, 0.0),
    ]


def chest_wall_is_left(raw: FloatImage) -> bool:
    """Return whether a raw image is darker at the first columns than at the last: the breast attenuates."""
    return float(raw[:, :5].mean()) < float(raw[:, -5:].mean())
