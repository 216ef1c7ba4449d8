"""Write mammograms as Digital Mammography X-Ray Images of either intent.

The file depends on the arguments only: dates are fixed and UIDs are hashes, so the same input gives the same bytes.

References
----------
DICOM PS3.3 A.27 (Digital Mammography X-Ray Image IOD), C.8.11 (its modules).
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom.codes import BREAST, VIEWS, Code
from microcalc.dicom.header import PROCESSED, RAW, AcquisitionHeader, ExposureHeader, ReceptorHeader, StoredValues
from microcalc.storage.write import write_whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileMetaDataset

__all__ = [
    "PROCESSED",
    "RAW",
    "AcquisitionHeader",
    "ExposureHeader",
    "ReceptorHeader",
    "StoredValues",
    "decimal_string",
    "file_meta",
    "hashed_uid",
    "write_data_set",
    "write_dicom",
]

_SOP_CLASS = {
    "raw": "1.2.840.10008.5.1.4.1.1.1.2.1",
    "processed": "1.2.840.10008.5.1.4.1.1.1.2",
}
_INTENT = {"raw": "FOR PROCESSING", "processed": "FOR PRESENTATION"}
_DATE, _TIME = "20250101", "120000"

# (laterality, oblique or lateral) → (row direction, column direction), as machines write it: chest wall right for R,
# left for L.
_ORIENTATION = {
    ("R", False): ("P", "L"),
    ("L", False): ("A", "R"),
    ("R", True): ("P", "FL"),
    ("L", True): ("A", "FR"),
}


def write_dicom(path: Path, stored: NDArray[np.uint16], *, header: AcquisitionHeader) -> str:
    """Write a mammogram, uncompressed, in explicit VR little endian.

    Parameters
    ----------
    path
        The file to write, completely or not at all.
    stored
        (rows, columns) stored values, below ``2 ** header.stored.bits_stored``.

    Returns
    -------
    str
        The SOP Instance UID, hashed from header and pixels.

    Raises
    ------
    ValueError
        The stored values do not match the header.
    OutputError
        The system refused to write.
    """
    if stored.ndim != 2 or stored.dtype != np.uint16:
        raise ValueError(f"stored values are {stored.dtype} of shape {stored.shape}, expected uint16 (rows, columns)")
    if int(stored.max()) >= 1 << header.stored.bits_stored:
        raise ValueError(f"stored value {int(stored.max())}, expected below 2**{header.stored.bits_stored}")
    pixels = np.ascontiguousarray(stored, dtype="<u2").tobytes()
    uid = hashed_uid("image", repr(header), hashlib.sha256(pixels).hexdigest(), str(stored.shape))
    dataset = _dataset(header, uid)
    _add_pixels(dataset, header, stored.shape, pixels)
    write_data_set(dataset, path)
    return uid


def write_data_set(dataset: Dataset, path: Path) -> None:
    """Write a data set with its file meta information, completely or not at all.

    Raises
    ------
    OutputError
        The system refused to write.
    """
    content = BytesIO()  # pydicom converts a full disk to its own error, with a traceback in the message
    dataset.save_as(content, enforce_file_format=True)
    write_whole(path, content.getvalue())


def hashed_uid(*words: str) -> str:
    """Return a UID of the 2.25 root, hashed from words (PS3.5 B.2)."""
    digest = hashlib.sha256("\x1f".join(("microcalc", *words)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def decimal_string(value: float) -> str:
    """Return a DS value, which has at most 16 characters (PS3.5 6.2)."""
    return f"{value:.10g}"


def _dataset(header: AcquisitionHeader, uid: str) -> Dataset:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.file_meta = file_meta(_SOP_CLASS[header.intent], uid)
    _add_patient_and_study(dataset, header)
    _add_image_identity(dataset, header, uid)
    _add_equipment(dataset, header)
    _add_exposure(dataset, header.exposure)
    _add_receptor(dataset, header)
    _add_view(dataset, header)
    if header.intent == "processed":
        _add_presentation(dataset, header)
    return dataset


def file_meta(sop_class: str, uid: str) -> FileMetaDataset:
    """Return the file meta information of an instance in explicit VR little endian."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # Our own UID: the bytes must not change with the version of pydicom.
    meta.ImplementationClassUID = UID(hashed_uid("implementation"))
    meta.ImplementationVersionName = "MICROCALC"
    return meta


def _add_patient_and_study(dataset: Dataset, header: AcquisitionHeader) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = header.patient_name
    dataset.PatientID = header.patient_id
    dataset.PatientBirthDate = header.patient_birth_date
    dataset.PatientSex = "F"
    dataset.StudyInstanceUID = hashed_uid("study", header.patient_id, header.exam_id)
    dataset.StudyDate, dataset.StudyTime = _DATE, _TIME
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = header.exam_id[:16]
    dataset.AccessionNumber = ""


def _add_image_identity(dataset: Dataset, header: AcquisitionHeader, uid: str) -> None:
    dataset.SOPClassUID, dataset.SOPInstanceUID = _SOP_CLASS[header.intent], uid
    dataset.SeriesInstanceUID = hashed_uid("series", header.patient_id, header.exam_id, header.intent)
    dataset.SeriesNumber = 1 if header.intent == "raw" else 2
    dataset.InstanceNumber = header.instance_number
    dataset.Modality = "MG"
    dataset.PresentationIntentType = _INTENT[header.intent]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    for name in ("Series", "Content", "Acquisition"):
        setattr(dataset, f"{name}Date", _DATE)
        setattr(dataset, f"{name}Time", _TIME)
    dataset.ImageComments = header.derivation
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.BreastImplantPresent = "NO"
    dataset.AcquisitionContextSequence = []
    if header.source_uid is not None:
        dataset.SourceImageSequence = [_source_image(header.source_uid)]


def _source_image(uid: str) -> Dataset:
    """Return a reference to the raw image, which has the same positions (PS3.3 C.7.6.1.1.4)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = _SOP_CLASS["raw"], uid
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [_code_item("121322", "DCM", "Source image for image processing operation")]
    return item


def _add_equipment(dataset: Dataset, header: AcquisitionHeader) -> None:
    dataset.Manufacturer = header.manufacturer
    dataset.ManufacturerModelName = header.model
    dataset.SoftwareVersions = header.software
    if header.processing_description is not None:
        dataset.AcquisitionDeviceProcessingDescription = header.processing_description
    if header.processing_code is not None:
        dataset.AcquisitionDeviceProcessingCode = header.processing_code


def _add_exposure(dataset: Dataset, exposure: ExposureHeader) -> None:
    dataset.KVP = decimal_string(exposure.kvp)
    dataset.Exposure = round(exposure.mas)
    dataset.ExposureInuAs = round(exposure.mas * 1000)
    dataset.AnodeTargetMaterial = exposure.anode
    dataset.FilterType = "STRIP"
    dataset.FilterMaterial = exposure.filter_material
    if exposure.filter_thickness_mm is not None:
        dataset.FilterThicknessMinimum = dataset.FilterThicknessMaximum = decimal_string(exposure.filter_thickness_mm)
    dataset.BodyPartThickness = decimal_string(exposure.thickness_mm)
    dataset.CompressionForce = decimal_string(exposure.force_n)
    dataset.FocalSpots = "0.3"
    dataset.OrganExposed = "BREAST"
    if exposure.organ_dose_dgy is not None:
        dataset.OrganDose = decimal_string(exposure.organ_dose_dgy)


def _add_receptor(dataset: Dataset, header: AcquisitionHeader) -> None:
    receptor = header.receptor
    dataset.ImagerPixelSpacing = [decimal_string(spacing) for spacing in header.spacing_mm]
    dataset.DetectorType = receptor.detector_type
    dataset.DetectorConfiguration = "AREA"
    dataset.DetectorElementSpacing = [decimal_string(spacing) for spacing in receptor.element_spacing_mm]
    if receptor.active_mm is not None:
        dataset.DetectorActiveShape = "RECTANGLE"
        dataset.DetectorActiveDimensions = [decimal_string(side) for side in receptor.active_mm]
    if receptor.field_of_view_mm is not None:
        dataset.FieldOfViewShape = "RECTANGLE"
        dataset.FieldOfViewDimensions = list(receptor.field_of_view_mm)
    dataset.FieldOfViewOrigin = list(receptor.field_of_view_origin)
    dataset.FieldOfViewRotation = str(receptor.field_of_view_rotation)
    dataset.FieldOfViewHorizontalFlip = "NO"
    dataset.DistanceSourceToDetector = decimal_string(receptor.source_to_detector_mm)
    dataset.DistanceSourceToPatient = decimal_string(receptor.source_to_patient_mm)
    dataset.EstimatedRadiographicMagnificationFactor = decimal_string(receptor.magnification)
    if receptor.grid:
        dataset.Grid = list(receptor.grid)
    if receptor.sensitivity is not None:
        dataset.Sensitivity = decimal_string(receptor.sensitivity)


def _add_view(dataset: Dataset, header: AcquisitionHeader) -> None:
    dataset.PositionerType = "MAMMOGRAPHIC"
    dataset.BodyPartExamined = "BREAST"
    dataset.ImageLaterality = header.laterality
    dataset.ViewPosition = header.view
    view = _coded(VIEWS[header.view])
    view.ViewModifierCodeSequence = []
    dataset.ViewCodeSequence = [view]
    dataset.AnatomicRegionSequence = [_coded(BREAST)]
    default = _ORIENTATION[header.laterality, header.view not in ("CC", "XCCL")]
    dataset.PatientOrientation = list(header.patient_orientation or default)


def _coded(code: Code) -> Dataset:
    return _code_item(code.sct, "SCT", code.meaning)


def _code_item(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _add_presentation(dataset: Dataset, header: AcquisitionHeader) -> None:
    functions = {window.function for window in header.windows}
    if len(functions) != 1:
        raise ValueError("windows of several VOI LUT functions or none, expected at least one window and one function")
    dataset.WindowCenter = [decimal_string(window.centre) for window in header.windows]
    dataset.WindowWidth = [decimal_string(window.width) for window in header.windows]
    if header.window_names:
        dataset.WindowCenterWidthExplanation = list(header.window_names)
    dataset.VOILUTFunction = functions.pop().upper()


def _add_pixels(dataset: Dataset, header: AcquisitionHeader, shape: tuple[int, ...], pixels: bytes) -> None:
    stored = header.stored
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = stored.photometric_interpretation
    dataset.Rows, dataset.Columns = shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, stored.bits_stored, stored.bits_stored - 1
    dataset.PixelRepresentation = 0
    if stored.padding_value is not None:
        dataset.PixelPaddingValue = stored.padding_value
    if stored.padding_limit is not None:
        dataset.PixelPaddingRangeLimit = stored.padding_limit
    dataset.PixelIntensityRelationship = stored.relationship
    dataset.PixelIntensityRelationshipSign = stored.sign
    dataset.RescaleIntercept, dataset.RescaleSlope = (
        decimal_string(stored.rescale_intercept),
        decimal_string(stored.rescale_slope),
    )
    dataset.RescaleType = "US"
    dataset.PresentationLUTShape = stored.lut_shape
    dataset.PixelData = pixels
