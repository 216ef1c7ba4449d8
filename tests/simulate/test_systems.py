"""The table of systems against the figures it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from microcalc.errors import InputError
from microcalc.simulate.spectrum import spectra
from microcalc.simulate.systems import SYSTEMS, VENDORS, system

NAMES = list(SYSTEMS)


@pytest.mark.parametrize(
    ("name", "frequencies", "published"),
    [
        ("hologic", (2, 3, 5), (0.92, 0.85, 0.69)),  # Lazzari et al. 2007
        ("siemens", (2, 5), (0.90, 0.62)),  # computed for 0.085 mm
        ("ge", (1, 2, 4), (0.85, 0.59, 0.24)),  # Ghetti et al. 2008
        ("ge-ds", (1, 2, 4), (0.90, 0.76, 0.46)),  # Ghetti et al. 2008
        ("ge-pristina", (1, 2, 3, 4, 5), (0.84, 0.66, 0.47, 0.32, 0.22)),  # NHSBSP
    ],
)
def test_the_modulation_transfer_is_the_published_one(
    name: str, frequencies: tuple[float, ...], published: tuple[float, ...]
) -> None:
    assert system(name).mtf(np.array(frequencies, dtype=float)) == pytest.approx(published, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_the_modulation_transfer_starts_at_one_and_falls(name: str) -> None:
    s = system(name)
    mtf = s.mtf(np.linspace(0.0, 0.5 / s.pitch_mm, 50))
    assert mtf[0] == pytest.approx(1.0)
    assert np.all(np.diff(mtf) < 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_every_breast_gets_a_beam_that_is_tabulated(name: str) -> None:
    for thickness_mm in (15.0, 25.0, 35.0, 55.0, 75.0, 110.0):
        beam = system(name).beam(thickness_mm)
        assert beam.spectrum in spectra()
        assert beam.spectrum.endswith(f" {beam.kvp}")


@pytest.mark.parametrize("name", NAMES)
def test_thick_breasts_get_a_beam_as_hard_or_harder(name: str) -> None:
    voltages = [system(name).beam(mm).kvp for mm in (20.0, 40.0, 60.0, 80.0, 100.0)]
    assert voltages == sorted(voltages)


def test_scatter_behind_a_linear_grid_is_a_tenth_of_primary_at_five_centimetres() -> None:
    ratio = system("siemens").scatter_to_primary(np.array([0.0, 30.0, 50.0, 80.0]))
    assert ratio == pytest.approx([0.0, 0.07, 0.11, 0.15], abs=0.01)


def test_scatter_rises_with_thickness() -> None:
    assert np.all(np.diff(system("ge").scatter_to_primary(np.arange(0.0, 120.0))) > 0.0)


@pytest.mark.parametrize(("name", "kerma_ugy"), [("hologic", 115.0), ("siemens", 90.0), ("ge", 65.0)])
def test_the_exposure_of_a_55_mm_breast_is_that_of_the_surveys(name: str, kerma_ugy: float) -> None:
    assert system(name).kerma_ugy(55.0) == pytest.approx(kerma_ugy)


@pytest.mark.parametrize("name", NAMES)
def test_exposure_changes_with_thickness_by_a_fifth_at_most(name: str) -> None:
    s = system(name)
    for thickness_mm in (20.0, 100.0, 200.0):
        assert s.kerma_ugy(thickness_mm) == pytest.approx(s.kerma_ugy(55.0), rel=0.2)


@pytest.mark.parametrize(
    ("name", "field_of_view_mm", "magnification"),
    [("siemens", (298, 238), 1.02686), ("ge", (229, 191), 1.0), ("ge-ds", (229, 191), 1.0)],
)
def test_the_geometry_is_that_of_real_headers(
    name: str, field_of_view_mm: tuple[int, int], magnification: float
) -> None:
    s = system(name)
    assert s.header.field_of_view_mm(s.fields[0]) == field_of_view_mm
    assert s.header.magnification == pytest.approx(magnification, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_image_fits_on_the_receptor(name: str) -> None:
    s = system(name)
    sides = sorted(n * s.header.element_spacing_mm for n in s.fields[-1])
    assert all(side <= active + 0.05 for side, active in zip(sides, sorted(s.header.active_mm), strict=True))


def test_each_vendor_stands_for_one_manufacturer() -> None:
    assert len({system(name).manufacturer for name in VENDORS}) == len(VENDORS)


def test_a_system_that_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match="'kodak', expected one of hologic, ge, siemens, ge-pristina, ge-ds"):
        system("kodak")
