"""Simulate conspicuous objects without calcium: lymph nodes, moles, skin folds, hair, and artefacts of the receptor.

Few real images have artefacts: 3.4 per cent of 8582 (doi 10.1007/s10278-013-9641-4: 1.7 due to the patient, 0.7
underexposed). Here the fraction is a parameter and higher by default, so that a network sees them in training. The
tags of an image list its artefacts. Extents and strengths without a source are our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import FloatImage
from microcalc.geometry import Points
from microcalc.simulate.breast import Breast
from microcalc.simulate.calcification import PITCH_MM
from microcalc.simulate.structure import Tubes, random_walks

Patch = tuple[tuple[int, int], FloatImage]
"""(row, column) of the first pixel of the patch, and the pixels."""

ARTEFACTS: Mapping[str, float] = MappingProxyType(
    {
        "bad-pixels": 0.25,
        "dust": 0.18,
        "lines": 0.12,
        "seam": 0.12,
        "ghost": 0.10,
        "grid": 0.10,
        "hair": 0.08,
        "motion": 0.05,
    }
)
"""Relative frequency of each artefact among the images with an artefact."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Hold the artefacts and the dose of an image.

    Attributes
    ----------
    names
        Keys of ``ARTEFACTS``.
    dose
        Exposure relative to the usual one.
    motion_mm
        (row, column) displacement of the breast during the exposure.
    """

    names: tuple[str, ...] = ()
    dose: float = 1.0
    motion_mm: tuple[float, float] = (0.0, 0.0)

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the tags of the image in the table."""
        return (*self.names, *((f"dose-{self.dose:.0%}".rstrip("%"),) if self.dose != 1.0 else ()))


def draw_faults(rng: np.random.Generator, *, artefacts: float, low_dose: float) -> Faults:
    """Draw the artefacts and the dose of an image.

    Parameters
    ----------
    artefacts, low_dose
        Fractions of the images with an artefact, and with half or 30 per cent of the usual dose.
    """
    some = rng.random() < artefacts
    shares = np.array(list(ARTEFACTS.values()))
    drawn = rng.choice(len(shares), size=1 + int(rng.random() < 0.25), replace=False, p=shares / shares.sum())
    names = tuple(list(ARTEFACTS)[i] for i in sorted(drawn)) if some else ()
    little = rng.random() < low_dose
    dose = float(rng.choice([0.5, 0.3]))
    length, angle = rng.uniform(0.1, 0.5), rng.uniform(0.0, 2 * np.pi)
    motion = (float(length * np.sin(angle)), float(length * np.cos(angle))) if "motion" in names else (0.0, 0.0)
    return Faults(names, dose if little else 1.0, motion)


# Tissue: additional paths through gland equivalent, in mm.


def lymph_node(rng: np.random.Generator, centre_px: NDArray[np.floating], pitch_mm: float) -> Patch:
    """Draw the path in mm through a lymph node: an oval of 5 to 15 mm with a hilum of fat."""
    half = 0.5 * np.array([rng.uniform(5.0, 15.0), rng.uniform(5.0, 9.0)]) / pitch_mm
    corner, row, column = _around(centre_px, float(half.max()))
    angle = rng.uniform(0.0, np.pi)
    u, v = row * np.cos(angle) + column * np.sin(angle), column * np.cos(angle) - row * np.sin(angle)
    node = np.clip(1.0 - (u / half[0]) ** 2 - (v / half[1]) ** 2, 0.0, None)
    aside = 0.45 * half[1]
    hilum = np.clip(1.0 - (u / (0.55 * half[0])) ** 2 - ((v - aside) / (0.5 * half[1])) ** 2, 0.0, None)
    thick = 1.3 * float(half.min()) * pitch_mm
    path = thick * (np.sqrt(node) - 0.8 * np.minimum(np.sqrt(hilum), np.sqrt(node)))
    return corner, np.asarray(path, dtype=np.float32)


def mole(rng: np.random.Generator, centre_px: NDArray[np.floating], pitch_mm: float) -> Patch:
    """Draw the additional path in mm through a mole of 3 to 10 mm, less where air is trapped around it."""
    radius = rng.uniform(1.5, 5.0) / pitch_mm
    corner, row, column = _around(centre_px, 1.4 * radius)
    wavy = 1.0 + 0.05 * np.sin(rng.integers(2, 4) * np.arctan2(row, column) + rng.uniform(0, 6.28))
    away = np.hypot(row, column) / (radius * wavy)
    bump = rng.uniform(1.0, 3.0) * np.clip(1.0 - away**3, 0.0, None)
    halo = rng.uniform(0.5, 1.2) * np.exp(-(((away - 1.08) / 0.08) ** 2))
    return corner, np.asarray(bump - halo, dtype=np.float32)


def skin_fold(rng: np.random.Generator, breast: Breast) -> Tubes:
    """Draw a curved band of doubled skin, 0.5 to 2 mm wide, at the axilla or below the breast."""
    step = 0.1
    low = breast.nipple_mm[0] + 0.75 * float(breast.outline[:, 0].max() - breast.nipple_mm[0])
    high = max(float(breast.outline[:, 0].min()), 0.0) + 0.12 * breast.nipple_mm[0]
    row = low if breast.view == "CC" or rng.random() < 0.5 else high
    start = np.array([[row + rng.normal(0.0, 3.0), rng.uniform(0.0, 0.15) * breast.nipple_mm[1]]])
    heading = np.array([rng.normal(0.0, 0.35)])
    length = float(rng.uniform(0.2, 0.5)) * breast.nipple_mm[1]
    rows, columns = random_walks(rng, start, heading, length_mm=length, step_mm=step, bend_per_mm=0.02)
    taper = np.sin(np.pi * np.linspace(0.02, 0.98, rows.shape[1])) ** 0.5
    radius = rng.uniform(0.3, 1.0) * np.maximum(taper, 0.3)
    weight = rng.uniform(0.5, 1.5) * taper
    return Tubes(rows, columns, np.broadcast_to(radius, rows.shape), np.broadcast_to(weight, rows.shape), step)


def hairs(rng: np.random.Generator, breast: Breast) -> list[Tubes]:
    """Draw one to six curved hairs of 50 to 150 µm; some are strands of several."""
    step, found = 0.05, []
    for _ in range(int(rng.integers(1, 7))):
        start = np.array([breast.nipple_mm]) * rng.uniform((0.2, 0.0), (1.3, 0.9))
        heading = rng.uniform(0.0, 2 * np.pi, 1)
        rows, columns = random_walks(
            rng, start, heading, length_mm=float(rng.uniform(15.0, 60.0)), step_mm=step, bend_per_mm=0.05
        )
        radius = float(rng.uniform(0.025, 0.075))
        # drawn 0.14 mm wide at least, with the cross section that it has
        weight = np.full(rows.shape, rng.uniform(1.0, 4.0) * min(1.0, (radius / 0.07) ** 2))
        found.append(Tubes(rows, columns, np.full(rows.shape, max(radius, 0.07)), weight, step))
    return found


def hair_contrast(path_mm: FloatImage) -> FloatImage:
    """Return the fraction of the primary signal removed by keratin: 5 % sulphur, density 1.3, 0.15 /mm at 20 keV."""
    return np.asarray(-np.expm1(-0.15 * path_mm), dtype=np.float32)


# The receptor and what lies on it.


def dust(rng: np.random.Generator, shape: tuple[int, int], n: int) -> list[tuple[Points, FloatImage]]:
    """Draw specks of dust on the receptor: position (2,) in pixels, and (k, k) fraction removed, at 20 µm."""
    specks: list[tuple[Points, FloatImage]] = []
    for _ in range(n):
        half = rng.uniform(0.05, 0.25) * np.array([1.0, rng.uniform(0.3, 1.0)]) / PITCH_MM
        _, row, column = _around(np.zeros(2), float(half.max()))
        angle = rng.uniform(0.0, np.pi)
        u, v = row * np.cos(angle) + column * np.sin(angle), column * np.cos(angle) - row * np.sin(angle)
        inside = np.clip(1.5 - 1.5 * ((u / half[0]) ** 2 + (v / half[1]) ** 2), 0.0, 1.0)
        contrast = float(np.exp(rng.uniform(np.log(0.04), np.log(0.5))))
        specks.append((rng.uniform((4, 4), np.array(shape) - 5.0), np.asarray(contrast * inside, dtype=np.float32)))
    return specks


def _seam(rng: np.random.Generator, shape: tuple[int, int], pitch_mm: float) -> FloatImage:
    """Draw the gain of a receptor whose two halves differ by 0.2 to 0.5 per cent."""
    axis = int(rng.integers(0, 2))
    at = int(rng.uniform(0.2, 0.8) * shape[axis])
    step = rng.choice([-1.0, 1.0]) * rng.uniform(0.002, 0.005)
    gain = np.asarray(1.0 + step * (np.arange(shape[axis]) >= at), dtype=np.float32)
    return gain[:, None] if axis == 0 else gain[None, :]


def _ghost(rng: np.random.Generator, shape: tuple[int, int], pitch_mm: float) -> FloatImage:
    """Draw the ghost of the breast exposed before: a gain that differs by 0.5 to 2 per cent outside its edge."""
    row = np.arange(shape[0], dtype=np.float32)[:, None] / np.float32(shape[0]) - np.float32(rng.uniform(0.4, 0.6))
    column = np.arange(shape[1], dtype=np.float32)[None, :] / np.float32(shape[1])
    a, b = rng.uniform(0.25, 0.45), rng.uniform(0.3, 0.7)
    away = (row / np.float32(a)) ** 2 + (column / np.float32(b)) ** 2
    depth = np.float32(rng.choice([-1.0, 1.0]) * rng.uniform(0.005, 0.02))
    soft = np.float32(0.01 * min(shape) * pitch_mm / 10.0)
    return np.asarray(1.0 + depth * np.clip((away - 1.0) / soft, 0.0, 1.0), dtype=np.float32)


def _grid(rng: np.random.Generator, shape: tuple[int, int], pitch_mm: float) -> FloatImage:
    """Draw the stripes of a grid that did not move far enough: 0.1 to 0.5 per cent, 0.3 to 3 per mm."""
    axis = int(rng.integers(0, 2))
    phase = 2 * np.pi * rng.uniform(0.3, 3.0) * pitch_mm * np.arange(shape[axis]) + rng.uniform(0, 6.28)
    gain = np.asarray(1.0 + rng.uniform(0.001, 0.005) * np.sin(phase), dtype=np.float32)
    return gain[:, None] if axis == 0 else gain[None, :]


GAINS: Mapping[str, Callable[[np.random.Generator, tuple[int, int], float], FloatImage]] = MappingProxyType(
    {"seam": _seam, "ghost": _ghost, "grid": _grid}
)
"""Functions that draw a gain, which broadcasts to (rows, columns), from a generator, the shape and the pitch in mm."""


def repair_pixels(rng: np.random.Generator, values: FloatImage) -> None:
    """Replace about 20 pixels or 3 x 3 regions by the mean around them, in place, as receptors correct bad pixels."""
    h, w = values.shape
    for r, c in zip(rng.integers(3, h - 3, 40), rng.integers(3, w - 3, 40), strict=True):
        wide = int(rng.random() < 0.3)
        if rng.random() < 0.5:
            continue
        ring = values[r - wide - 1 : r + wide + 2, c - wide - 1 : c + wide + 2]
        own = values[r - wide : r + wide + 1, c - wide : c + wide + 1]
        own[:] = (ring.sum() - own.sum()) / (ring.size - own.size)


def bad_pixels(rng: np.random.Generator, values: FloatImage, noise_sd: FloatImage, n: int) -> NDArray[np.int64]:
    """Add groups of one to three pixels that are too low, too high or dead, in place.

    Parameters
    ----------
    values, noise_sd
        (rows, columns) values before rounding, and the standard deviation of their noise.

    Returns
    -------
    (n, 2) row and column of the first pixel of each group.
    """
    h, w = values.shape
    places = np.column_stack([rng.integers(2, h - 2, n), rng.integers(2, w - 2, n)])
    for r, c in places:
        off = float(rng.uniform(4.0, 15.0)) * noise_sd[r, c] * (-1.0 if rng.random() < 0.8 else 1.0)
        values[r, c] = 0.0 if rng.random() < 0.1 else values[r, c] + off
        for _ in range(int(rng.integers(0, 3))):
            values[r + int(rng.integers(-1, 2)), c + int(rng.integers(-1, 2))] += 0.6 * off
    return places.astype(np.int64)


def bad_lines(rng: np.random.Generator, values: FloatImage, noise_sd: FloatImage) -> None:
    """Change one or two rows or columns, whole or in part, to be too low or too high, in place."""
    for _ in range(int(rng.integers(1, 3))):
        axis = int(rng.integers(0, 2))
        at, start = int(rng.integers(0, values.shape[axis])), int(rng.integers(0, values.shape[1 - axis]))
        part = slice(start if rng.random() < 0.5 else 0, None)
        line = (at, part) if axis == 0 else (part, at)
        values[line] += float(rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.5)) * noise_sd[line]


def _around(centre_px: NDArray[np.floating], reach: float) -> tuple[tuple[int, int], FloatImage, FloatImage]:
    """Return the corner of a square of pixels around a position, and its rows and columns relative to the position."""
    half = int(np.ceil(reach)) + 1
    corner = (int(np.floor(centre_px[0])) - half, int(np.floor(centre_px[1])) - half)
    axis = np.arange(2 * half + 1, dtype=np.float32)
    row, column = (axis + np.float32(first - p) for first, p in zip(corner, centre_px, strict=True))
    return corner, row[:, None], column[None, :]
