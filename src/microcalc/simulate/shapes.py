"""Draw shapes of microcalcifications: unions of ellipsoids with a rough surface, in units of the nominal diameter.

The roughness and the number of ellipsoids are our choice, for which there is no source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Morphology = Literal["punctate", "amorphous", "pleomorphic", "fine_linear"]


@dataclass(frozen=True, eq=False, slots=True)
class Shape:
    """Hold a union of n ellipsoids with a rough surface.

    Attributes
    ----------
    centres
        (n, 3) centres.
    turns
        (n, 3, 3) rotations divided by the radii: they map an ellipsoid to the unit ball.
    radii
        (n,) mean radii.
    roughness, lattice
        Standard deviation of the roughness relative to the radius, and (9, 9, 9) its random values.
    """

    centres: Floats
    turns: Floats
    radii: Floats
    roughness: float
    lattice: Floats

    @property
    def half(self) -> Floats:
        """Return (3,) half the extent of the box around the origin that holds the shape."""
        # rows of inverse(turn) are as long as the ellipsoid reaches along each axis
        reach = np.linalg.norm(np.linalg.inv(self.turns), axis=2) * (1.0 + 2.5 * self.roughness)
        return np.asarray(np.max(np.abs(self.centres) + reach, axis=0), dtype=np.float64)


def _shape(rng: np.random.Generator, centres: Floats, sizes: Floats, *, spread: float, roughness: float) -> Shape:
    """Draw randomly rotated ellipsoids; the logarithm of their radii varies by ``spread`` around half of each size."""
    ratio = np.exp(rng.normal(0.0, spread, (len(sizes), 3))) if spread > 0 else np.ones((len(sizes), 3))
    radii = 0.5 * sizes[:, None] * ratio / np.cbrt(np.prod(ratio, axis=1, keepdims=True))
    turns = np.stack([rotation(rng) / r[:, None] for r in radii])
    return Shape(centres, turns, 0.5 * sizes, roughness, rng.normal(size=(9, 9, 9)))


def _punctate(rng: np.random.Generator) -> Shape:
    return _shape(rng, np.zeros((1, 3)), np.ones(1), spread=0.3, roughness=0.1)


def _pleomorphic(rng: np.random.Generator) -> Shape:
    n = int(rng.integers(2, 6))
    return _shape(rng, _scattered(rng, n, 0.25), rng.uniform(0.4, 0.75, n), spread=0.4, roughness=0.2)


def _amorphous(rng: np.random.Generator) -> Shape:
    """Draw a loose heap of grains, flat and faint."""
    n = int(rng.integers(6, 16))
    return _shape(rng, _scattered(rng, n, 0.33), rng.uniform(0.2, 0.45, n), spread=0.2, roughness=0.0)


def _scattered(rng: np.random.Generator, number: int, sd: float) -> Floats:
    """Draw points (number, 3) of an anisotropic Gaussian cloud."""
    return np.asarray(rng.normal(0.0, sd, (number, 3)) * np.exp(rng.normal(0.0, 0.4, 3)) @ rotation(rng))


def _fine_linear(rng: np.random.Generator) -> Shape:
    """Draw a bent rod, with a branch in 30 per cent of cases."""
    width = float(rng.uniform(0.32, 0.55))
    length = np.pi / 4 / width
    path = _path(rng, np.zeros(3), rng.normal(size=3) * (0.4, 1.0, 1.0), length, width)
    if rng.random() < 0.3:
        heading = path[-1] - path[0] + rng.normal(0.0, 0.6, 3) * length
        path = np.concatenate([path, _path(rng, path[len(path) // 2], heading, 0.5 * length, width)])
    return _shape(rng, path - path.mean(axis=0), width * rng.uniform(0.7, 1.2, len(path)), spread=0.0, roughness=0.1)


def _path(rng: np.random.Generator, start: Floats, heading: Floats, length: float, width: float) -> Floats:
    """Draw points (n, 3) of a random walk at intervals of a third of the width."""
    n = max(3, int(3 * length / width))
    steps = []
    for _ in range(n):
        heading = heading / np.linalg.norm(heading) + rng.normal(0.0, 0.15, 3)
        steps.append(heading / np.linalg.norm(heading))
    return np.asarray(start + np.cumsum(steps, axis=0) * length / n)


def voxels(shape: Shape, pitch: float) -> NDArray[np.float32]:
    """Return the fraction (h, r, c) of each voxel inside; the origin is its middle voxel, ``pitch`` is in diameters."""
    half = np.ceil(shape.half / pitch).astype(int) + 1
    axes = [np.arange(-n, n + 1, dtype=np.float32) * np.float32(pitch) for n in half]
    rough = shape.roughness * _roughness(shape, axes) if shape.roughness > 0 else np.float32(0)
    outside = np.full([len(a) for a in axes], np.inf, dtype=np.float32)
    for centre, turn, radius in zip(shape.centres, shape.turns.astype(np.float32), shape.radii, strict=True):
        z, y, x = (a - np.float32(c) for a, c in zip(axes, centre, strict=True))
        squared = sum((t[0] * z[:, None, None] + t[1] * y[:, None] + t[2] * x[None, None]) ** 2 for t in turn)
        outside = np.minimum(outside, (np.sqrt(squared) - 1 - rough) * np.float32(radius))
    return np.asarray(np.clip(0.5 - outside / np.float32(pitch), 0.0, 1.0), dtype=np.float32)


def _roughness(shape: Shape, axes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return smooth noise of unit standard deviation over a box; it does not depend on the size of the voxels."""
    field = shape.lattice
    for axis, half in zip(axes, shape.half, strict=True):
        knots = np.linspace(-half, half, field.shape[0])
        weight = np.exp(-0.5 * ((axis[:, None] - knots) / (0.7 * (knots[1] - knots[0]))) ** 2)
        weight /= np.linalg.norm(weight, axis=1, keepdims=True)
        field = np.moveaxis(np.tensordot(weight, field, axes=1), 0, -1)  # last axis last: three turns restore the order
    return np.asarray(field, dtype=np.float32)


def rotation(rng: np.random.Generator) -> Floats:
    """Draw a random rotation (3, 3)."""
    basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return np.asarray(basis, dtype=np.float64)


SHAPES: dict[Morphology, Callable[[np.random.Generator], Shape]] = {
    "punctate": _punctate,
    "amorphous": _amorphous,
    "pleomorphic": _pleomorphic,
    "fine_linear": _fine_linear,
}
"""Function that draws a shape of each morphology."""
