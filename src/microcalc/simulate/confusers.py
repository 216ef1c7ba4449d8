"""Draw confusers: objects in a breast or on its skin that can be mistaken for microcalcifications.

Benign calcifications are annotated with their kind; objects without calcium (biopsy clips, metal markers,
deodorant) as ``no_calcium`` with their name. A confuser is a solid in three dimensions, made of ellipsoids or
lines, so that both views of a breast show the same one.

Sizes follow the descriptions of the BI-RADS lexicon: popcorn 2 to 15 mm, rods 0.5 to 1 mm wide and up to 20 mm
long, rim calcifications of 2 to 30 mm with walls below 1 mm, round calcifications of 0.5 to 1 mm, lucent-centred
calcifications of the skin. Rates, packing and shapes are our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from scipy import ndimage

from microcalc.domain import Kind
from microcalc.simulate.bodies import Balls, Body, Cup, Floats, Lines
from microcalc.simulate.spectrum import Material
from microcalc.simulate.structure import random_walks

Zone = Literal["gland", "breast", "skin", "axilla"]
"""Zone of the breast: mostly gland, the whole breast, the skin, or the skin of the axilla."""


@dataclass(frozen=True, eq=False, slots=True)
class Confuser:
    """Hold the bodies of one confuser, such as the rods of a breast.

    Attributes
    ----------
    kind
        Kind of the annotation.
    what
        Name of the confuser, for the annotation.
    zone
        Zone of the breast in which it lies.
    to_nipple
        Whether the column axis of the bodies is turned towards the nipple.
    """

    kind: Kind
    what: str
    zone: Zone
    bodies: tuple[Body, ...]
    to_nipple: bool = False


@dataclass(frozen=True, slots=True)
class ConfuserKind:
    """Describe a confuser: kind of its annotation, zone, mean number per breast (Poisson), and its bodies."""

    kind: Kind
    zone: Zone
    rate: float
    draw: Callable[[np.random.Generator], tuple[Body, ...]]
    to_nipple: bool = False


def draw_confuser(rng: np.random.Generator, name: str) -> Confuser:
    """Draw one of ``CONFUSERS``."""
    row = CONFUSERS[name]
    return Confuser(row.kind, name, row.zone, row.draw(rng), row.to_nipple)


# Balls


def _lumps(
    rng: np.random.Generator,
    radii: Floats,
    spread_mm: Floats,
    packing: tuple[float, float],
    *,
    offset_mm: Floats | None = None,
    uneven: float = 0.1,
    oblong: float = 0.15,
) -> Balls:
    """Draw solid ellipsoids of calcium, of mean ``radii`` (n,) in mm, in a Gaussian cloud."""
    n = len(radii)
    places = rng.normal(0.0, 1.0, (n, 3)) * spread_mm if n > 1 else np.zeros((1, 3))
    place = np.zeros(3) if offset_mm is None else offset_mm
    return Balls(
        offset_mm=(float(place[0]), float(place[1]), float(place[2])),
        centres_mm=places,
        radii_mm=radii[:, None] * np.exp(rng.normal(0.0, oblong, (n, 3))),
        wall_mm=0.0,
        grain=_grain(rng),
        uneven=uneven,
        material="hydroxyapatite",
        packing=_log_uniform(rng, packing),
    )


def _coarse(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw one lumpy particle of about 0.7 to 3 mm."""
    diameter = float(np.clip(rng.lognormal(np.log(1.3), 0.4), 0.9, 3.0))
    n = int(rng.integers(3, 9))
    looser = min(1.0, 1.2 / diameter)
    radii, packing = diameter * rng.uniform(0.12, 0.32, n), (0.15 * looser, 0.6 * looser)
    return (_lumps(rng, radii, np.full(3, 0.2 * diameter), packing, uneven=0.25, oblong=0.3),)


def _popcorn(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw the many large lumps of a degenerating fibroadenoma, 2 to 15 mm in total."""
    diameter = _log_uniform(rng, (2.0, 15.0))
    n = int(rng.integers(10, 16)) + int(2.5 * diameter)
    radii = diameter * np.exp(rng.normal(np.log(0.085), 0.45, n)).clip(0.03, 0.18)
    looser = min(1.0, 2.5 / diameter)  # large ones are shells and flakes more than solid
    packing = (0.12 * looser, 0.5 * looser)
    return (_lumps(rng, radii, np.full(3, 0.2 * diameter), packing, uneven=0.4, oblong=0.3),)


def _round(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw one to five smooth balls of 0.5 to 1 mm."""
    return tuple(
        _lumps(rng, rng.uniform(0.25, 0.5, 1), np.zeros(3), (0.15, 0.6), offset_mm=rng.normal(0.0, 8.0, 3), oblong=0.08)
        for _ in range(int(rng.integers(1, 6)))
    )


def _rim(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw the wall of an oil cyst, thin and interrupted in places."""
    radius = 0.5 * float(np.clip(rng.lognormal(np.log(4.5), 0.6), 2.0, 30.0))
    wall = float(rng.uniform(0.1, 0.4)) * min(1.0, radius / 2)
    uneven = float(rng.uniform(0.05, 0.25))
    return (replace(_lumps(rng, np.array([radius]), np.zeros(3), (0.1, 0.4), uneven=uneven), wall_mm=wall),)


def _skin(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw two to eight rings of 0.5 to 1 mm close to each other: calcified sebaceous glands."""
    return tuple(_gland(rng) for _ in range(int(rng.integers(2, 9))))


def _gland(rng: np.random.Generator) -> Balls:
    radius, offset = rng.uniform(0.25, 0.5, 1), rng.normal(0.0, (0.5, 4.0, 4.0))
    wall = float(rng.uniform(0.1, 0.18))
    return replace(_lumps(rng, radius, np.zeros(3), (0.2, 0.6), offset_mm=offset), wall_mm=wall)


def _milk(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw 3 to 11 cysts of 0.8 to 2.4 mm with milk of calcium at their bottom."""
    packing = _log_uniform(rng, (0.08, 0.3))
    bodies: list[Body] = []
    for offset in rng.normal(0.0, 5.0, (int(rng.integers(3, 12)), 3)):
        radius, fill = float(rng.uniform(0.4, 1.2)), float(rng.uniform(0.2, 0.45))
        place = (float(offset[0]), float(offset[1]), float(offset[2]))
        bodies.append(Cup(place, radius, fill, "calcium_carbonate", packing))
    return tuple(bodies)


def _dystrophic(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw irregular plates around a lucent centre, 1.5 to 8 mm, as after surgery or trauma."""
    bodies: list[Body] = []
    for _ in range(int(rng.integers(1, 4))):
        size = _log_uniform(rng, (1.5, 8.0))
        n = int(rng.integers(7, 16))
        radii = rng.uniform(0.06, 0.15, n) * size
        looser = min(1.0, 2.0 / size)
        plate = _lumps(
            rng,
            radii,
            np.zeros(3),
            (0.15 * looser, 0.5 * looser),
            offset_mm=rng.normal(0.0, 6.0, 3),
            uneven=0.3,
            oblong=0.5,
        )
        around = rng.normal(size=(n, 3)) * (1.0, 1.0, 0.7)
        around *= 0.3 * size / np.linalg.norm(around, axis=1, keepdims=True)
        bodies.append(replace(plate, centres_mm=around))
    return tuple(bodies)


def _marker(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw a metal ball that marks the nipple or a palpable lump, or the wire along a scar."""
    if rng.random() < 0.6:
        radius = rng.uniform(0.75, 1.25, 1)
        return (replace(_lumps(rng, radius, np.zeros(3), (0.6, 0.6), uneven=0.0, oblong=0.0), material="gold"),)
    return (_walk(rng, rng.uniform(20.0, 40.0), 0.3, bend_per_mm=0.01, material="gold", packing=0.6),)


def _deodorant(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw 5 to 50 specks of aluminium salts in the folds of the axilla."""
    spread = rng.uniform(3.0, 12.0)
    specks = (
        _lumps(
            rng,
            rng.uniform(0.05, 0.25, 1),
            np.zeros(3),
            (0.3, 1.0),
            offset_mm=rng.normal(0.0, 1.0, 3) * (1.0, spread, spread),
            uneven=0.0,
            oblong=0.3,
        )
        for _ in range(int(rng.integers(5, 51)))
    )
    return tuple(replace(speck, material="aluminium") for speck in specks)


# Lines


def _walk(
    rng: np.random.Generator,
    length_mm: float,
    radius_mm: float,
    *,
    heading: float | None = None,
    bend_per_mm: float,
    offset_mm: Floats | None = None,
    material: Material = "hydroxyapatite",
    packing: float,
) -> Lines:
    """Draw one smooth line with its middle at the offset; ``heading`` is in radians from columns towards rows."""
    step = 0.04
    aim = rng.uniform(0.0, 2 * np.pi) if heading is None else heading
    path = _path(rng, length_mm, aim, bend_per_mm, step) + (np.zeros(3) if offset_mm is None else offset_mm)
    ends = np.minimum(np.arange(path.shape[1]), np.arange(path.shape[1])[::-1]) * step
    radius = np.full(path.shape[:2], radius_mm) * np.clip(0.5 + ends / (4 * radius_mm), 0.5, 1.0)
    return Lines(path, radius, np.ones(path.shape[:2]), step, 0.0, max(2.0, 2 * radius_mm), material, packing)


def _path(rng: np.random.Generator, length_mm: float, heading: float, bend_per_mm: float, step: float) -> Floats:
    """Draw a path (1, m, 3) in a randomly rotated plane through the column axis."""
    rows, columns = random_walks(
        rng, np.zeros((1, 2)), np.array([heading]), length_mm=length_mm, step_mm=step, bend_per_mm=bend_per_mm
    )
    plane = rng.uniform(-1.2, 1.2)
    path = np.stack([rows * np.sin(plane), rows * np.cos(plane), columns], axis=-1)
    return np.asarray(path - path[:, path.shape[1] // 2 : path.shape[1] // 2 + 1])


def _artery(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw two interrupted lines of 0.2 to 0.6 mm in the wall of a winding artery of 1 to 4 mm."""
    step = 0.04
    path = _path(rng, float(rng.uniform(15.0, 60.0)), np.pi + rng.normal(0.0, 0.6), 0.06, step)
    m = path.shape[1]
    # patches of 1 to 6 mm, some lined with calcium, some dotted, some free
    smooth = _smooth(rng, (2, m), rng.uniform(1.0, 3.0) / step) + rng.normal(0.1, 0.3)
    dots = _smooth(rng, (2, m), 0.25 / step)
    weight = np.clip(smooth + 0.7 * dots, 0.0, 1.5)
    radius = np.broadcast_to(rng.uniform(0.1, 0.22), (2, m)) * np.clip(1.0 + 0.3 * dots, 0.6, 1.5)
    apart, packing = float(rng.uniform(1.0, 3.5)), _log_uniform(rng, (0.12, 0.45))
    return (Lines(path, radius, weight, step, apart, 2.0, "hydroxyapatite", packing),)


def _rods(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw two to eight smooth rods towards the nipple, as in secretory disease."""
    packing = _log_uniform(rng, (0.2, 0.6))
    return tuple(
        _walk(
            rng,
            float(rng.uniform(3.0, 20.0)),
            float(rng.uniform(0.25, 0.5)),
            heading=float(rng.normal(0.0, 0.3)),
            bend_per_mm=0.02,
            offset_mm=rng.normal(0.0, 1.0, 3) * (6.0, 14.0, 14.0),
            packing=packing,
        )
        for _ in range(int(rng.integers(2, 9)))
    )


def _suture(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw calcified threads with a knot."""
    packing, radius = _log_uniform(rng, (0.2, 0.6)), float(rng.uniform(0.12, 0.25))
    bodies: list[Body] = []
    for _ in range(int(rng.integers(1, 4))):
        offset = rng.normal(0.0, 4.0, 3)
        thread = _walk(rng, float(rng.uniform(4.0, 12.0)), radius, bend_per_mm=0.12, offset_mm=offset, packing=packing)
        t = np.linspace(0.0, 2 * np.pi, max(int(2 * np.pi * 0.7 / thread.step_mm), 8))
        knot = np.stack([0.2 * np.sin(2 * t), 0.7 * np.sin(t), 0.5 * np.cos(t)], axis=-1)[None] + thread.path_mm[:, -1:]
        flat = np.ones(knot.shape[:2])
        bodies += [thread, Lines(knot, radius * flat, flat, thread.step_mm, 0.0, 4.0, "hydroxyapatite", packing)]
    return tuple(bodies)


def _clip(rng: np.random.Generator) -> tuple[Body, ...]:
    """Draw a biopsy clip: a bent titanium wire of 3 mm."""
    t = np.linspace(-1.0, 1.0, 90)
    u = np.stack([np.zeros_like(t), 0.55 * np.clip(1.6 * np.abs(t) - 0.6, 0.0, 1.0), 1.2 * t], axis=-1)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    path = (u - u.mean(axis=0)) @ turn.T
    step = float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean())
    flat = np.ones((1, len(t)))
    return (Lines(path[None], 0.2 * flat, flat, step, 0.0, 6.0, "titanium", 1.0),)


CONFUSERS: Mapping[str, ConfuserKind] = MappingProxyType(
    {
        # arterial calcium in 12 per cent of women; calcium of some kind in half of all mammograms from 50 years on
        "arterial": ConfuserKind("vascular", "breast", 0.15, _artery),
        "coarse": ConfuserKind("coarse", "gland", 0.35, _coarse),
        "popcorn": ConfuserKind("popcorn", "gland", 0.05, _popcorn),
        "rod-like": ConfuserKind("rod_like", "gland", 0.05, _rods, to_nipple=True),
        "rim": ConfuserKind("rim", "breast", 0.15, _rim),
        "round": ConfuserKind("round", "gland", 0.3, _round),
        "skin": ConfuserKind("skin", "skin", 0.12, _skin),
        "milk-of-calcium": ConfuserKind("milk_of_calcium", "gland", 0.05, _milk),
        "dystrophic": ConfuserKind("dystrophic", "breast", 0.06, _dystrophic),
        "suture": ConfuserKind("suture", "breast", 0.03, _suture),
        "clip": ConfuserKind("no_calcium", "gland", 0.03, _clip),
        "metal-marker": ConfuserKind("no_calcium", "skin", 0.03, _marker),
        "deodorant": ConfuserKind("no_calcium", "axilla", 0.05, _deodorant),
    }
)
"""Every confuser by its name."""


def _grain(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(9, 9))


def _smooth(rng: np.random.Generator, shape: tuple[int, int], length: float) -> Floats:
    """Draw rows of noise of unit standard deviation, smooth over ``length`` samples."""
    noise = ndimage.gaussian_filter1d(rng.standard_normal(shape), length / 2, axis=1, mode="reflect")
    return np.asarray(noise / max(float(noise.std()), 1e-6))


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
