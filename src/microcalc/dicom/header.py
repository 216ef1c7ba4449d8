"""The header of a mammogram to be written, as plain values without a DICOM library.

``RAW`` and ``PROCESSED`` are the two forms of stored values that were verified in headers of real machines: FOR
PROCESSING of Siemens Inspiration and GE DS, and FOR PRESENTATION of GE Essential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from microcalc.domain import Intent, Laterality, Window

View = Literal["CC", "MLO", "ML", "LM", "XCCL"]


@dataclass(frozen=True, slots=True)
class StoredValues:
    """The meaning of stored values (DICOM PS3.3 C.8.11.3.1).

    Attributes
    ----------
    bits_stored
        Number of bits stored in the 16 allocated ones, 8 to 16.
    photometric_interpretation
        ``MONOCHROME1`` shows the lowest value white, ``MONOCHROME2`` black.
    relationship, sign
        Relationship of the stored value to the X-ray intensity; sign +1 if it increases with the intensity.
    lut_shape
        ``INVERSE`` goes with MONOCHROME1, ``IDENTITY`` with MONOCHROME2.
    padding_value, padding_limit
        First and last stored value of pixels outside the image.
    """

    bits_stored: int = 14
    photometric_interpretation: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME1"
    relationship: Literal["LIN", "LOG"] = "LIN"
    sign: Literal[1, -1] = 1
    lut_shape: Literal["INVERSE", "IDENTITY"] = "INVERSE"
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    padding_value: int | None = None
    padding_limit: int | None = None


RAW = StoredValues()
PROCESSED = StoredValues(12, "MONOCHROME2", "LOG", -1, "IDENTITY")


@dataclass(frozen=True, slots=True)
class ReceptorHeader:
    """The image receptor and the geometry around it; lengths in mm, the rotation in degrees."""

    detector_type: Literal["DIRECT", "SCINTILLATOR"]
    element_spacing_mm: tuple[float, float]
    active_mm: tuple[float, float] | None = None
    field_of_view_mm: tuple[int, int] | None = None
    source_to_detector_mm: float = 650.0
    source_to_patient_mm: float = 633.0
    magnification: float = 1.0
    grid: tuple[str, ...] = ()
    sensitivity: float | None = None
    field_of_view_origin: tuple[int, int] = (0, 0)
    field_of_view_rotation: Literal[0, 90, 180, 270] = 0


@dataclass(frozen=True, slots=True)
class ExposureHeader:
    """The exposure of the image; units are in the names.

    ``organ_dose_dgy`` is the mean glandular dose in dGy, the unit of the standard.
    """

    kvp: float
    mas: float
    anode: str
    filter_material: str
    filter_thickness_mm: float | None
    thickness_mm: float
    force_n: float
    organ_dose_dgy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionHeader:
    r"""The values that `write_dicom` writes to the header of a mammogram.

    Attributes
    ----------
    spacing_mm
        ImagerPixelSpacing (row, column).
    windows, window_names
        Windows of a processed image; ``Window.function`` must be the same for all. Centre and width are in
        modality values, which are stored values after rescaling.
    patient_id, exam_id
        Study, series and instance UIDs are hashed from these, the rest of the header and the pixels, so that the
        same input gives the same file.
    source_uid
        SOP Instance UID of the raw image from which this one was processed.
    patient_orientation
        (row direction, column direction). None places the chest wall at the right for a right breast and at the
        left for a left one, and the cranial or medial side at the top, as machines do (``P\L``, ``A\R``, ``P\FL``,
        ``A\FR``).
    """

    manufacturer: str
    model: str
    software: str
    intent: Intent
    laterality: Laterality
    view: View
    spacing_mm: tuple[float, float]
    stored: StoredValues
    receptor: ReceptorHeader
    exposure: ExposureHeader
    patient_id: str
    exam_id: str
    windows: tuple[Window, ...] = ()
    window_names: tuple[str, ...] = ()
    patient_name: str = "SIMULATED^0001"
    patient_birth_date: str = ""
    instance_number: int = 1
    processing_description: str | None = None
    processing_code: str | None = None
    source_uid: str | None = None
    patient_orientation: tuple[str, str] | None = None
    derivation: str = "Simulated, not a patient"
