"""The table of systems against the figures it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from microcalc.errors import InputError
from microcalc.simulate.systems import SYSTEMS, system


@pytest.mark.parametrize(
    ("name", "frequencies", "published"),
    [
        ("hologic", (2, 3, 5), (0.92, 0.85, 0.69)),
        ("ge", (1, 2, 4), (0.85, 0.59, 0.24)),
        ("siemens", (2, 5), (0.90, 0.62)),
    ],
)
def test_the_modulation_transfer_is_the_published_one(
    name: str, frequencies: tuple[float, ...], published: tuple[float, ...]
) -> None:
    assert system(name).mtf(np.array(frequencies, dtype=float)) == pytest.approx(published, abs=0.04)


@pytest.mark.parametrize("s", SYSTEMS.values(), ids=list(SYSTEMS))
def test_the_modulation_transfer_starts_at_one_and_falls(s) -> None:  # type: ignore[no-untyped-def]
    mtf = s.mtf(np.linspace(0.0, 0.5 / s.pitch_mm, 50))
    assert mtf[0] == pytest.approx(1.0)
    assert np.all(np.diff(mtf) < 0.0)


@pytest.mark.parametrize("s", SYSTEMS.values(), ids=list(SYSTEMS))
def test_gland_attenuates_more_than_fat_and_calcium_far_more(s) -> None:  # type: ignore[no-untyped-def]
    for thickness_mm in (25.0, 55.0, 90.0):
        beam = s.beam(thickness_mm)
        assert beam.fat_per_mm < beam.gland_per_mm < beam.skin_per_mm < 0.1 * beam.hydroxyapatite_per_mm


def test_scatter_behind_the_grid_is_a_tenth_of_primary_at_five_centimetres() -> None:
    assert system("siemens").scatter_to_primary(np.array([50.0]))[0] == pytest.approx(0.11, abs=0.02)


def test_a_system_that_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match="'kodak', expected one of hologic, ge, siemens"):
        system("kodak")
