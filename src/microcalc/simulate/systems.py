"""Describe the simulated mammography systems, each parameter with its source.

Sources, by the letters in the comments:

a  Lazzari et al. 2007, doi 10.1118/1.2742498 (Hologic Selenia, GE 2000D).
b  Ghetti et al. 2008, doi 10.1118/1.2828185 (GE Senographe DS and Essential).
c  Borges et al. 2019, doi 10.1002/mp.13534: offset, electronic noise and kernel of a-Se.
d  Headers and pixels of real raw and processed images of the system.
e  NHSBSP technical evaluations and dose surveys (PMC4985221).
f  Computed: fits to the published points, tube spectra behind 53 mm of breast.
g  Chosen within the range that the sources leave open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from microcalc.errors import InputError

Frequencies = NDArray[np.floating]

_CALCIUM_ABOVE_DETECTOR_MM = 30.0
_FOCAL_SPOT_MM = 0.3  # of all (d)
_GLARE_SHARE, _GLARE_PER_MM = 0.035, 0.1  # low-frequency drop of a-Se, some per cent: Hoheisel et al. 2004; f


@dataclass(frozen=True, slots=True)
class Beam:
    """Hold one setting of the tube: the name of its spectrum in ``tables/spectra.csv`` and its header values."""

    spectrum: str
    anode: str
    filter_material: str
    filter_mm: float
    kvp: float


@dataclass(frozen=True, slots=True)
class Header:
    """Hold what a system writes into its headers besides its name; lengths are in mm.

    Attributes
    ----------
    element_spacing_mm
        Pitch of the elements of the receptor. The pitch of the stored image is smaller where the
        manufacturer refers it to the plane of the breast, as older GE systems do.
    active_mm
        Sides of the active area of the receptor, in the order of the header.
    field_of_view_origin, field_of_view_rotation
        Position of the stored image on the receptor, (row, column) in elements, and its rotation in degrees.
    sensitivity
        Sensitivity (0018,6000); None where the system writes none.
    processing_description, processing_code
        Description and code of the presentation processing; None where the system writes none.
    padding
        (PixelPaddingValue, PixelPaddingRangeLimit) of processed images.
    """

    element_spacing_mm: float
    active_mm: tuple[float, float]
    source_to_detector_mm: float
    source_to_patient_mm: float
    grid: tuple[str, ...]
    field_of_view_origin: tuple[int, int] = (0, 0)
    field_of_view_rotation: Literal[0, 90, 180, 270] = 0
    sensitivity: float | None = None
    processing_description: str | None = None
    processing_code: str | None = None
    padding: tuple[int, int] | None = None

    @property
    def magnification(self) -> float:
        """Return the Estimated Radiographic Magnification Factor (0018,1114)."""
        return self.source_to_detector_mm / self.source_to_patient_mm

    def field_of_view_mm(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the Field of View Dimension(s) (0018,1149) in mm of an image of this shape (rows, columns)."""
        return round(shape[0] * self.element_spacing_mm), round(shape[1] * self.element_spacing_mm)


@dataclass(frozen=True, slots=True)
class System:
    """Describe one model of mammography system.

    Attributes
    ----------
    fields
        Matrices (rows, columns) of the stored image, smallest first.
    pitch_mm
        Pixel spacing of the stored image.
    mtf_scale_per_mm, mtf_power
        Parameters of the presampled MTF; see ``mtf``.
    offset, gain_per_ugy, saturation
        Stored value without exposure, its increase per µGy of detector air kerma, and its maximum.
    variance_ratio
        Variance of the quantum noise divided by the signal (stored value less offset), at the centre of the field.
    electronic_noise, fixed_pattern
        Standard deviations, in stored values and as a fraction of the signal.
    noise_lag
        For a-Se, the weights of the (row, column) neighbours in the noise kernel.
    noise_floor, noise_scale_per_mm, noise_fall
        For CsI, parameters of ``noise_power``.
    heel
        Decrease of the exposure from the chest wall to the nipple, as a fraction.
    kerma_55_ugy, kerma_rise_per_mm
        Typical detector air kerma behind a breast of 55 mm, and its relative increase per mm.
    scatter_transmission
        Scatter-to-primary ratio behind the grid relative to that without a grid.
    beams
        (Up to this thickness in mm, beam), thinnest first.

    ``processing.STYLES`` holds the parameters of its presentation processing.
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
    offset: float
    gain_per_ugy: float
    saturation: int
    variance_ratio: float
    electronic_noise: float
    fixed_pattern: float
    kerma_55_ugy: float
    kerma_rise_per_mm: float
    scatter_transmission: float
    beams: tuple[tuple[float, Beam], ...]
    header: Header
    noise_lag: tuple[float, float] = (0.0, 0.0)
    noise_floor: float = 0.0
    noise_scale_per_mm: float = 1.0
    noise_fall: float = 2.0
    heel: float = 0.25  # g: 0.2 to 0.3
    bits_stored: int = 14  # d

    def mtf(self, f: Frequencies) -> NDArray[np.float64]:
        """Return the presampled modulation transfer at spatial frequencies ``f`` in 1/mm, focal spot included.

        a-Se: aperture times a Gaussian, less a few per cent from 0.1 /mm on; CsI: aperture
        times ``1 / (1 + (f/f0)^n)``. The focal spot is that of calcium 30 mm above the receptor;
        the published points, measured at the receptor, are met within 0.02 nevertheless.
        """
        f = np.abs(f)
        distance_mm = self.header.source_to_detector_mm
        magnification = distance_mm / (distance_mm - _CALCIUM_ABOVE_DETECTOR_MM)
        spot_sigma_mm = _FOCAL_SPOT_MM * (magnification - 1.0) / 2.35
        system = np.sinc(self.header.element_spacing_mm * f) * np.exp(-2.0 * (np.pi * spot_sigma_mm * f) ** 2)
        if self.converter == "a-Se":
            system *= 1.0 - _GLARE_SHARE * -np.expm1(-((f / _GLARE_PER_MM) ** 2))
            return np.asarray(system * np.exp(-((f / self.mtf_scale_per_mm) ** 2)), dtype=np.float64)
        return np.asarray(system / (1.0 + (f / self.mtf_scale_per_mm) ** self.mtf_power), dtype=np.float64)

    def noise_power(self, row_f: Frequencies, column_f: Frequencies) -> Frequencies:
        """Return the noise power spectrum at (row, column) frequencies in 1/mm, up to a factor.

        a-Se: white but for a small kernel (c). CsI: quanta are blurred by the
        scintillator, ``1 / (1 + (f/f0)^n)^2``, its conversion noise, the floor, is not.
        """
        if self.converter == "CsI":
            transfer = 1.0 / (1.0 + (np.hypot(row_f, column_f) / self.noise_scale_per_mm) ** self.noise_fall)
            return np.asarray(self.noise_floor + (1.0 - self.noise_floor) * transfer**2)
        p, (row, column) = self.pitch_mm, self.noise_lag
        kernel = 1.0 + 2.0 * row * np.cos(2 * np.pi * p * row_f) + 2.0 * column * np.cos(2 * np.pi * p * column_f)
        return np.asarray(kernel**2)

    def beam(self, thickness_mm: float) -> Beam:
        """Return the beam that the automatic exposure control selects for a compressed thickness."""
        return next((beam for limit, beam in self.beams if thickness_mm <= limit), self.beams[-1][1])

    def kerma_ugy(self, thickness_mm: float) -> float:
        """Return the target detector air kerma in µGy of the automatic exposure control for a compressed thickness."""
        return float(self.kerma_55_ugy * np.exp(self.kerma_rise_per_mm * (np.clip(thickness_mm, 20.0, 100.0) - 55.0)))

    def scatter_to_primary(self, thickness_mm: Frequencies) -> Frequencies:
        """Return the scatter-to-primary ratio behind the grid at a local thickness.

        Without a grid 0.39, 0.60 and 0.83 at 30, 50 and 80 mm, and none without a breast: a
        parabola through the published range of 0.40 to 0.85 over the usual sizes (f).
        """
        t = np.clip(np.asarray(thickness_mm), 0.0, 130.0)
        return np.asarray(self.scatter_transmission * (0.0146 - 5.25e-5 * t) * t)


# Spectra: f. Filters: IAEA Human Health Series 17, table 3.
_W_RH_28 = Beam("Hologic Dimensions W_Rh 28", "TUNGSTEN", "RHODIUM", 0.050, 28)
_W_RH_30 = Beam("Hologic Dimensions W_Rh 30", "TUNGSTEN", "RHODIUM", 0.050, 30)
_W_AG_31 = Beam("Hologic Dimensions W_Ag 31", "TUNGSTEN", "SILVER", 0.050, 31)
_W_RH_29 = Beam("Siemens Insp W_Rh 29", "TUNGSTEN", "RHODIUM", 0.050, 29)  # d: 29 kV, 0.05 mm
_MO_RH_28 = Beam("GE Essential Mo_Rh 28", "MOLYBDENUM", "RHODIUM", 0.025, 28)
_RH_RH_29 = Beam("GE Essential Rh_Rh 29", "RHODIUM", "RHODIUM", 0.025, 29)
_MO_MO_26 = Beam("GE Pristina Mo_Mo 26", "MOLYBDENUM", "MOLYBDENUM", 0.030, 26)
_RH_AG_34 = Beam("GE Pristina Rh_Ag 34", "RHODIUM", "SILVER", 0.030, 34)  # d: 34 kV

_HOLOGIC = System(
    name="hologic",
    manufacturer="HOLOGIC, Inc.",  # d
    model="Selenia Dimensions",  # d
    software="1.8.3",  # g
    detector_type="DIRECT",
    converter="a-Se",
    fields=((3328, 2560), (4096, 3328)),  # g: general knowledge
    pitch_mm=0.070,  # a
    mtf_scale_per_mm=15.0,  # a: 0.92, 0.85, 0.69 at 2, 3, 5 /mm
    mtf_power=2.0,
    offset=50.0,  # c: nominal; a fit to tomosynthesis images gave 53
    gain_per_ugy=5.0,  # g: 4.5 to 6
    saturation=16383,
    variance_ratio=0.125,  # f, c: about 0.13
    electronic_noise=2.28,  # c
    fixed_pattern=0.00116,  # c
    noise_lag=(0.044, 0.021),  # c
    kerma_55_ugy=115.0,  # e
    kerma_rise_per_mm=0.002,  # g: its steps by thickness make up for some of the contrast lost
    scatter_transmission=0.16,  # g: cellular grid, a little less than a linear one
    beams=((55.0, _W_RH_28), (70.0, _W_RH_30), (200.0, _W_AG_31)),  # g: W/Rh thin, W/Ag thick
    header=Header(
        element_spacing_mm=0.070,  # a
        active_mm=(286.72, 232.96),  # g: the matrix
        source_to_detector_mm=700.0,  # c
        source_to_patient_mm=675.0,  # g
        grid=("CROSSED",),  # g
    ),
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
    mtf_scale_per_mm=15.0,  # f: 0.90, 0.62 at 2, 5 /mm
    mtf_power=2.0,
    offset=50.0,  # d
    gain_per_ugy=6.6,  # f, +-25 %
    saturation=7500,  # d: where air clips
    variance_ratio=0.112,  # d: 0.113 to 0.126 with the other terms, at 650 to 950 above the offset
    electronic_noise=2.0,  # g: 1 to 3
    fixed_pattern=0.0015,  # g: 0.001 to 0.004
    noise_lag=(0.03, 0.03),  # d: nearly white
    kerma_55_ugy=90.0,  # e
    kerma_rise_per_mm=0.0,  # g: the same stored value at all thicknesses
    scatter_transmission=0.18,  # f
    beams=((200.0, _W_RH_29),),
    header=Header(
        element_spacing_mm=0.085,  # d
        active_mm=(304.64, 239.36),  # d
        source_to_detector_mm=650.0,  # d
        source_to_patient_mm=633.0,  # d
        grid=("FOCUSED", "PARALLEL"),  # d
        field_of_view_origin=(39, 14),  # d
    ),
)

_GE = System(
    name="ge",
    manufacturer="GE MEDICAL SYSTEMS",  # d
    model="Senographe Essential VERSION ADS_54.10",  # d
    software="Ads Application Package VERSION ADS_54.10",  # d
    detector_type="SCINTILLATOR",
    converter="CsI",
    fields=((2294, 1914), (3062, 2394)),  # d; the large one g
    pitch_mm=0.0940909,  # d
    mtf_scale_per_mm=2.66,  # b: 0.85, 0.59, 0.24 at 1, 2, 4 /mm
    mtf_power=1.886,
    offset=0.0,  # d
    gain_per_ugy=7.9,  # d
    saturation=16383,
    variance_ratio=0.036,  # d: 0.04 with the other terms, after the scintillator's blur
    electronic_noise=1.5,  # g: 1.5 to 3
    fixed_pattern=0.0015,  # g: 0.001 to 0.003
    noise_floor=0.04,  # g: neighbours correlate by 0.38 then; measured 0.39 to 0.45
    noise_scale_per_mm=2.66,  # the transfer of the scintillator itself
    noise_fall=1.886,
    kerma_55_ugy=65.0,  # e
    kerma_rise_per_mm=-0.003,  # g: the dose of thick breasts is kept down
    scatter_transmission=0.18,  # f
    beams=((35.0, _MO_RH_28), (200.0, _RH_RH_29)),  # d: Rh/Rh at 48 and 51 mm
    header=Header(
        element_spacing_mm=0.1,  # d
        active_mm=(307.2, 240.0),  # d
        source_to_detector_mm=660.0,  # d
        source_to_patient_mm=660.0,  # d
        grid=("RECIPROCATING", "FOCUSED"),  # d
        field_of_view_origin=(5, 1),  # d
        field_of_view_rotation=180,  # d
        sensitivity=0.00790328,  # d
        processing_description="PREMIUM_VIEW",  # d
        processing_code="GEMS_FFDM_PV",  # d
        padding=(0, 49),  # value d; limit g: 658 in a header, but our processed breast starts at 50
    ),
)

_GE_DS = replace(
    _GE,
    name="ge-ds",
    model="Senograph DS ADS_43.10.1",  # d
    software="Ads Application Package VERSION ADS_43.10.1",  # d
    fields=((2294, 1914),),  # d
    mtf_scale_per_mm=5.47,  # b: 0.90, 0.76, 0.46 at 1, 2, 4 /mm, restored ("MTFCOMP 1.0" in d)
    mtf_power=1.43,
    gain_per_ugy=11.2,  # d
    variance_ratio=0.075,  # g: 0.04 to 0.10; restoring the transfer raises the noise
    noise_floor=0.01,
    noise_scale_per_mm=4.0,  # g: restored up to some 4 /mm, not beyond; neighbours correlate by 0.34
    noise_fall=2.2,
    kerma_55_ugy=153.0,  # d: 150 uGy in a header, 2193 +- 388 inside a 51 mm breast
    header=replace(
        _GE.header,
        active_mm=(192.0, 230.4),  # d
        sensitivity=0.01117304,  # d
        processing_description=None,
        processing_code=None,
    ),
)

_GE_PRISTINA = replace(
    _GE,
    name="ge-pristina",
    model="Senographe Pristina",  # d
    software="PRISTINA",  # g
    fields=((2850, 2394),),  # g: about
    pitch_mm=0.1,  # d
    mtf_scale_per_mm=3.39,  # e: 0.84, 0.66, 0.47, 0.32, 0.22 at 1 to 5 /mm
    mtf_power=1.515,
    gain_per_ugy=8.0,  # f
    variance_ratio=0.035,  # d: 0.049 and 0.040 with the other terms at 450 and 920; 0.041 and 0.039 here
    noise_floor=0.01,
    noise_scale_per_mm=3.4,  # d: neighbours correlate by 0.39 to 0.45
    noise_fall=2.2,
    kerma_55_ugy=87.0,  # e, less a fifth: within its 25 %, and the levels of real images come out
    beams=((30.0, _MO_MO_26), (200.0, _RH_AG_34)),  # d: Rh/Ag; Mo/Mo for the thinnest g
    header=replace(
        _GE.header,
        active_mm=(285.0, 239.4),  # g: the matrix
        sensitivity=0.008,  # f
        processing_description=None,
        processing_code=None,
    ),
)

SYSTEMS: Mapping[str, System] = MappingProxyType(
    {s.name: s for s in (_HOLOGIC, _GE, _SIEMENS, _GE_PRISTINA, _GE_DS)},
)
VENDORS = ("hologic", "ge", "siemens")
"""Names of one system of each vendor."""


def system(name: str) -> System:
    """Return the system of a short name.

    Raises
    ------
    InputError
        No system has this name.
    """
    if name not in SYSTEMS:
        raise InputError(f"system {name!r}, expected one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
