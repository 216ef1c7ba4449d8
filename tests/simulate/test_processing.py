"""The presentation processing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from microcalc.simulate.processing import STYLES, present
from microcalc.simulate.systems import SYSTEMS, System


def half_breast(system: System, *, bump: float = 0.0) -> NDArray[np.uint16]:
    """A raw image: air, and a disc against column 0 that lets a tenth through; a bump at its middle lets less."""
    rows, columns = np.mgrid[0:400, 0:320]
    inside = np.hypot(rows - 200, columns) < 180
    away = ((rows - 200) ** 2 + (columns - 60) ** 2) / 2.0**2
    exposure = np.where(inside, 500.0 * (1.0 - bump * np.exp(-0.5 * away)), 5000.0)
    return np.rint(exposure + system.offset).astype(np.uint16)


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_every_system_presents_twelve_bits_with_air_as_nothing(name: str) -> None:
    system = SYSTEMS[name]
    shown = present(system, half_breast(system), np.random.default_rng(0))
    assert shown.stored.max() < 4096
    assert not shown.stored[:, 200:].any()
    assert shown.stored[150:250, 20:100].min() >= 50
    assert len(shown.windows) == len(shown.window_names) == len(STYLES[name].windows)


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_what_lets_less_through_is_brighter(name: str) -> None:
    system = SYSTEMS[name]
    plain, bumped = (
        present(system, half_breast(system, bump=b), np.random.default_rng(1)).stored.astype(int) for b in (0.0, 0.1)
    )
    assert bumped[200, 60] > plain[200, 60] + 50
    assert np.abs(bumped - plain)[350:, :].max() <= 3


def test_images_of_one_system_are_not_all_processed_alike() -> None:
    system = SYSTEMS["ge"]
    raw = half_breast(system, bump=0.1)
    rises = []
    for seed in range(12):
        stored = present(system, raw, np.random.default_rng(seed)).stored.astype(float)
        rises.append(stored[200, 60] - stored[200, 110])
    assert 0.1 < np.std(rises) / np.mean(rises) < 0.6
