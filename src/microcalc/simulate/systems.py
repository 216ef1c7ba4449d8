"""The mammography systems that are simulated: a table, each figure with where it comes from.

Sources, by the letters in the comments:

a  Lazzari et al. 2007, doi 10.1118/1.2742498 (Hologic Selenia, GE 2000D).
b  Ghetti et al. 2008, doi 10.1118/1.2828185 (GE Senographe DS and Essential).
c  Borges et al. 2019, doi 10.1002/mp.13534: offset, gain and electronic noise of a-Se.
d  Headers and pixels of real raw and processed images of the system.
e  NHSBSP technical evaluations and dose surveys (PMC4985221).
f  Computed: tube spectra behind 53 mm of breast, tabulated attenuation coefficients.
g  Chosen within the range that the sources leave open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microcalc.errors import InputError

Frequencies = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Beam:
    """One tube setting: its header values and effective attenuation coefficients in 1/mm."""

    anode: str
    filter_material: str
    kvp: float
    fat_per_mm: float
    gland_per_mm: float
    skin_per_mm: float
    hydroxyapatite_per_mm: float


@dataclass(frozen=True, slots=True)
class System:
    """One model of mammography system.

    Attributes
    ----------
    fields
        Matrices (rows, columns) of the stored image, smallest first.
    pitch_mm
        Pixel spacing of the stored image.
    mtf_scale_per_mm, mtf_power
        Of the presampled MTF; see ``mtf``.
    offset, gain_per_ugy, saturation
        Stored value without exposure, its rise per uGy of detector air kerma, its ceiling.
    variance_ratio
        Quantum noise variance over signal (stored value less offset) at the field's centre.
    electronic_noise, fixed_pattern
        Standard deviation in stored values; and as a fraction of the signal.
    noise_floor, noise_lag
        White share of the CsI noise spectrum; neighbour weights (row, column) of the
        a-Se noise kernel.
    heel
        Fall of the tube's output from chest wall to nipple, as a fraction.
    kerma_ugy
        Typical detector kerma behind a 55 mm breast.
    scatter_transmission
        Share of the grid-less scatter-to-primary ratio that is left behind the grid.
    beams
        (Up to this thickness in mm, beam), thinnest first.
    equalisation, gain_power, fine_gain
        Of the presentation processing: strength at the periphery, exponent of the
        detail amplification (less is stronger), extra gain of the finest detail.
    """

    name: str
    manufacturer: str
    model: str
    software: str
    detector_type: Literal["DIRECT", "SCINTILLATOR"]
    converter: Literal["a-Se", "CsI"]
    fields: tuple[tuple[int, int], ...]
    pitch_mm: float
    mtf_scale_per_mm: float
    mtf_power: float
    focal_spot_mm: float
    offset: float
    gain_per_ugy: float
    saturation: int
    variance_ratio: float
    electronic_noise: float
    fixed_pattern: float
    noise_floor: float
    noise_lag: tuple[float, float]
    heel: float
    kerma_ugy: float
    scatter_transmission: float
    beams: tuple[tuple[float, Beam], ...]
    source_to_detector_mm: float
    grid: str
    bits_stored: int
    equalisation: float
    gain_power: float
    fine_gain: float

    def mtf(self, f: Frequencies) -> NDArray[np.float64]:
        """Presampled modulation transfer at spatial frequency ``f`` in 1/mm, focal spot included.

        a-Se: aperture times a Gaussian, less a few per cent from 0.1 /mm on; CsI: aperture
        times ``1 / (1 + (f/f0)^n)``.
        """
        f = np.abs(f)
        spot_sigma_mm = self.focal_spot_mm * 0.05 / 2.35  # calcium 3 cm above the detector
        spot = np.exp(-2.0 * (np.pi * spot_sigma_mm * f) ** 2)
        aperture = np.sinc(self.pitch_mm * f)
        if self.converter == "a-Se":
            glare = 0.965 + 0.035 * np.exp(-((f / 0.1) ** 2))
            return np.asarray(glare * aperture * np.exp(-((f / self.mtf_scale_per_mm) ** 2)) * spot, dtype=np.float64)
        return np.asarray(aperture / (1.0 + (f / self.mtf_scale_per_mm) ** self.mtf_power) * spot, dtype=np.float64)

    def noise_power(self, row_f: Frequencies, column_f: Frequencies) -> Frequencies:
        """Shape of the noise power spectrum at (row, column) frequencies in 1/mm, not scaled."""
        if self.converter == "CsI":
            # x-ray quanta are blurred by the scintillator, its conversion noise is not
            transfer = 1.0 / (1.0 + (np.hypot(row_f, column_f) / self.mtf_scale_per_mm) ** self.mtf_power)
            return np.asarray(self.noise_floor + (1.0 - self.noise_floor) * transfer**2)
        p, (row, column) = self.pitch_mm, self.noise_lag
        kernel = 1.0 + 2.0 * row * np.cos(2 * np.pi * p * row_f) + 2.0 * column * np.cos(2 * np.pi * p * column_f)
        return np.asarray(kernel**2)

    def beam(self, thickness_mm: float) -> Beam:
        """The beam that the automatic exposure control takes for a compressed thickness."""
        return next((beam for limit, beam in self.beams if thickness_mm <= limit), self.beams[-1][1])

    def scatter_to_primary(self, thickness_mm: Frequencies) -> Frequencies:
        """Scatter-to-primary ratio behind the grid; 0.4 to 0.85 without one from 2 to 8 cm."""
        bare = np.clip(0.25 + 0.0075 * np.asarray(thickness_mm), 0.0, 0.95)
        return np.asarray(self.scatter_transmission * bare)


def _beam(anode: str, material: str, kvp: float, fat: float, gland: float, apatite: float) -> Beam:
    """Coefficients given in 1/cm; skin is 1.06 times gland (f)."""
    return Beam(anode, material, kvp, fat / 10, gland / 10, 1.06 * gland / 10, apatite / 10)


_W_RH_28 = _beam("TUNGSTEN", "RHODIUM", 28, 0.472, 0.714, 18.4)  # f
_W_RH_29 = _beam("TUNGSTEN", "RHODIUM", 29, 0.464, 0.700, 17.9)  # f, between 28 and 30 kV
_W_AG_31 = _beam("TUNGSTEN", "SILVER", 31, 0.411, 0.605, 14.7)  # f
_MO_RH_28 = _beam("MOLYBDENUM", "RHODIUM", 28, 0.519, 0.799, 21.2)  # f
_RH_RH_29 = _beam("RHODIUM", "RHODIUM", 29, 0.476, 0.722, 18.7)  # f

_HOLOGIC = System(
    name="hologic",
    manufacturer="HOLOGIC, Inc.",  # d
    model="Selenia Dimensions",  # d
    software="1.8.3",  # g
    detector_type="DIRECT",
    converter="a-Se",
    fields=((3328, 2560), (4096, 3328)),  # d
    pitch_mm=0.070,  # a
    mtf_scale_per_mm=14.0,  # a: 0.92, 0.85, 0.69 at 2, 3, 5 /mm
    mtf_power=2.0,
    focal_spot_mm=0.3,
    offset=53.0,  # c
    gain_per_ugy=5.0,  # g: 4.5 to 6
    saturation=16383,
    variance_ratio=0.13,  # f, c
    electronic_noise=2.28,  # c
    fixed_pattern=0.00116,  # c
    noise_floor=0.0,
    noise_lag=(0.044, 0.021),  # c
    heel=0.25,  # g
    kerma_ugy=115.0,  # e
    scatter_transmission=0.16,  # g: cellular grid, a little less than a linear one
    beams=((70.0, _W_RH_28), (200.0, _W_AG_31)),
    source_to_detector_mm=700.0,  # c
    grid="HTC",
    bits_stored=14,
    equalisation=0.8,  # g
    gain_power=0.62,  # g
    fine_gain=1.25,  # g
)

_GE = System(
    name="ge",
    manufacturer="GE MEDICAL SYSTEMS",  # d
    model="Senographe Essential VERSION ADS_54.10",  # d
    software="Ads Application Package VERSION ADS_54.10",  # d
    detector_type="SCINTILLATOR",
    converter="CsI",
    fields=((2294, 1914), (3062, 2394)),  # d
    pitch_mm=0.0940909,  # d
    mtf_scale_per_mm=2.66,  # b: 0.85, 0.59, 0.24 at 1, 2, 4 /mm
    mtf_power=1.886,
    focal_spot_mm=0.3,
    offset=0.0,  # d
    gain_per_ugy=7.9,  # d
    saturation=16383,
    variance_ratio=0.040,  # d: 0.040 to 0.049 after the scintillator's blur
    electronic_noise=2.0,  # g: 1.5 to 3
    fixed_pattern=0.002,  # g
    noise_floor=0.08,  # f
    noise_lag=(0.0, 0.0),
    heel=0.25,  # g
    kerma_ugy=65.0,  # e
    scatter_transmission=0.18,  # f
    beams=((35.0, _MO_RH_28), (200.0, _RH_RH_29)),
    source_to_detector_mm=660.0,  # d
    grid="RECIPROCATING\\FOCUSED",
    bits_stored=14,
    equalisation=0.9,  # g
    gain_power=0.58,  # g
    fine_gain=1.0,  # g
)

_SIEMENS = System(
    name="siemens",
    manufacturer="SIEMENS",  # d
    model="Mammomat Inspiration",  # d
    software="VB41B",  # d
    detector_type="DIRECT",
    converter="a-Se",
    fields=((3506, 2800),),  # d
    pitch_mm=0.085,  # d
    mtf_scale_per_mm=14.0,  # f: 0.90, 0.62 at 2, 5 /mm
    mtf_power=2.0,
    focal_spot_mm=0.3,
    offset=50.0,  # d
    gain_per_ugy=6.6,  # f, +-25 %
    saturation=7500,  # d
    variance_ratio=0.117,  # d: 0.113 to 0.126
    electronic_noise=2.0,  # g: 1 to 3
    fixed_pattern=0.002,  # g
    noise_floor=0.0,
    noise_lag=(0.03, 0.03),  # d: nearly white
    heel=0.25,  # g
    kerma_ugy=90.0,  # e
    scatter_transmission=0.18,  # f
    beams=((200.0, _W_RH_29),),
    source_to_detector_mm=650.0,  # d
    grid="FOCUSED\\PARALLEL",
    bits_stored=14,
    equalisation=0.7,  # g
    gain_power=0.72,  # g
    fine_gain=1.0,  # g
)

SYSTEMS: Mapping[str, System] = MappingProxyType({s.name: s for s in (_HOLOGIC, _GE, _SIEMENS)})


def system(name: str) -> System:
    """The system of a short name.

    Raises
    ------
    InputError
        There is no such system.
    """
    if name not in SYSTEMS:
        raise InputError(f"system {name!r}, expected one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
