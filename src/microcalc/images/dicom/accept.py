"""Accept standard full-field digital mammograms, and refuse other DICOM images with their kind in the message.

References
----------
DICOM PS3.3 A.27 and C.8.11.7 (Mammography Image), C.8.11.4 (DX Detector); PS3.4 B.5
(SOP classes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from microcalc.dicom.codes import MAGNIFICATION, SPECIMEN, SPOT_COMPRESSION
from microcalc.dicom.tags import integer, is_code, items, number, numbers, shown_uid, word, words
from microcalc.domain import Intent
from microcalc.errors import MissingSpacingError, NotAMammogramError, UnreadableImageError, UnsupportedViewError
from microcalc.images.info import spacing_in_words

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_STORAGE = "1.2.840.10008.5.1.4.1.1."

INTENTS: dict[str, Intent] = {
    f"{_STORAGE}1.2.1": "raw",
    f"{_STORAGE}1.2": "processed",
}
"""SOP Class UID → intent."""
_INTENT_TYPES: dict[str, Intent] = {"FOR PROCESSING": "raw", "FOR PRESENTATION": "processed"}

_INTENT_OF = {intent: name for name, intent in _INTENT_TYPES.items()}

_TOMOSYNTHESIS = {
    f"{_STORAGE}13.1.3": "Breast Tomosynthesis Image",
    f"{_STORAGE}13.1.4": "Breast Projection X-Ray Image for presentation",
    f"{_STORAGE}13.1.5": "Breast Projection X-Ray Image for processing",
}
_CAPTURED = frozenset(f"{_STORAGE}{end}" for end in ("7", "7.2", "7.3"))
_OTHERS = {
    f"{_STORAGE}7": "Secondary Capture Image",
    f"{_STORAGE}7.1": "Multi-frame Secondary Capture Image",
    f"{_STORAGE}7.2": "Multi-frame Secondary Capture Image",
    f"{_STORAGE}7.3": "Multi-frame Secondary Capture Image",
    f"{_STORAGE}7.4": "Multi-frame Secondary Capture Image",
    f"{_STORAGE}1": "Computed Radiography Image",
    f"{_STORAGE}1.1": "Digital X-Ray Image",
    f"{_STORAGE}1.1.1": "Digital X-Ray Image",
    f"{_STORAGE}2": "CT Image",
    f"{_STORAGE}4": "MR Image",
    f"{_STORAGE}6.1": "Ultrasound Image",
}

# Words in ImageType (0008,0008) beyond the second value, and their meaning.
_TOMO_WORDS = ("TOMO", "TOMO_PROJ", "TOMO_2D", "TOMOSYNTHESIS", "GENERATED_2D", "SYNTHESIZED_2D", "VOLUME")
_SUBTRACTED_WORDS = ("RECOMBINED", "SUBTRACTION", "SUBTRACT", "SUBTRACTED", "HIGH_ENERGY")

_SIDE_LIMITS = (64, 16384)
_MOST_PIXELS = 64 * 1024 * 1024
_SPACING_LIMITS_MM = (0.02, 0.2)
# A breast in contact with the receptor is magnified by 1.02 to 1.1; a magnification stand by 1.4 to 2.
_CONTACT_MAGNIFICATION = 1.25
_HIGHEST_MAGNIFICATION = 4.0
# PixelSpacing, in the patient, divided by ImagerPixelSpacing: the inverse magnification, with room for rounding.
_PLAIN_BY_IMAGER = (1 / _HIGHEST_MAGNIFICATION, 1.02)


def is_captured(dataset: Dataset) -> bool:
    """Return whether an image is a mammogram in a Secondary Capture Image, such as digitised film: of modality MG."""
    return word(dataset, "SOPClassUID") in _CAPTURED and word(dataset, "Modality").upper() == "MG"


def check_kind(dataset: Dataset, name: str, *, any_view: bool, given_intent: Intent | None = None) -> Intent:
    """Return the intent of a standard mammogram, and refuse other images.

    Parameters
    ----------
    dataset
        The header.
    name
        The file's name, for messages.
    any_view
        Also accept magnification, spot, stereo, specimen and quality control images.
    given_intent
        Intent of a mammogram in a Secondary Capture Image, which states none; without it, such an image is refused.

    Raises
    ------
    NotAMammogramError
        The SOP class is another one, or contradicts PresentationIntentType.
    UnsupportedViewError
        The image is tomosynthesis or contrast subtraction, or an unusual view without ``any_view``.
    """
    sop_class = word(dataset, "SOPClassUID")
    kind = _TOMOSYNTHESIS.get(sop_class)
    if kind is not None:
        raise UnsupportedViewError(f"{name}: tomosynthesis ({kind}), expected a plain mammogram")
    captured = given_intent if is_captured(dataset) else None
    if sop_class not in INTENTS and captured is None:
        other = _OTHERS.get(sop_class, f"SOP class {shown_uid(sop_class)}")
        how = " (--intent accepts it)" if is_captured(dataset) else ""
        raise NotAMammogramError(f"{name}: {other}, expected Digital Mammography X-Ray Image{how}")
    _check_never(dataset, name)
    if not any_view:
        _check_view(dataset, name)
    intent = captured or INTENTS[sop_class]
    stated = word(dataset, "PresentationIntentType").upper()
    if stated in _INTENT_TYPES and _INTENT_TYPES[stated] != intent:
        raise NotAMammogramError(
            f"{name}: PresentationIntentType {stated}, but the SOP class of {_INTENT_OF[intent]}, expected the same"
        )
    return intent


def _check_never(dataset: Dataset, name: str) -> None:
    image_type = {value.upper() for value in words(dataset, "ImageType")}
    if image_type.intersection(_TOMO_WORDS):
        raise UnsupportedViewError(f"{name}: made from tomosynthesis (ImageType), expected a plain mammogram")
    if image_type.intersection(_SUBTRACTED_WORDS):
        raise UnsupportedViewError(f"{name}: contrast subtraction (ImageType), expected a plain mammogram")
    frames = integer(dataset, "NumberOfFrames")
    if frames is not None and frames > 1:
        raise UnsupportedViewError(f"{name}: {frames} frames, expected one (tomosynthesis is not supported)")
    if frames not in (None, 1):
        raise UnreadableImageError(f"{name}: NumberOfFrames {frames}, expected 1")


def _check_view(dataset: Dataset, name: str) -> None:
    unusual = _unusual_view(dataset)
    if unusual is not None:
        raise UnsupportedViewError(f"{name}: {unusual}, expected a plain mammogram (--any-view accepts it)")


def _unusual_view(dataset: Dataset) -> str | None:
    """Return a description of an unusual view; None for a standard one."""
    if any(value.upper().startswith("STEREO") for value in words(dataset, "ImageType")):
        return "stereo or biopsy view (ImageType)"
    if word(dataset, "PositionerType").upper() == "STEREOTACTIC":
        return "stereo or biopsy view (PositionerType)"
    if word(dataset, "QualityControlImage").upper() == "YES":
        return "quality control image"
    if items(dataset, "SpecimenDescriptionSequence"):
        return "specimen (SpecimenDescriptionSequence)"
    for view in items(dataset, "ViewCodeSequence"):
        if is_code(view, SPECIMEN):
            return "specimen (ViewCodeSequence)"
        for modifier in items(view, "ViewModifierCodeSequence"):
            for code in (MAGNIFICATION, SPOT_COMPRESSION):
                if is_code(modifier, code):
                    return f"{code.meaning.lower()} view (ViewModifierCodeSequence)"
    magnification = _magnification(dataset)
    if magnification is not None and magnification > _CONTACT_MAGNIFICATION:
        return f"magnification view ({magnification:.3g} times)"
    return None


def _magnification(dataset: Dataset) -> float | None:
    """Return the magnification at the receptor, as stated or by the ratio of the two spacings; None if unknown."""
    factor = number(dataset, "EstimatedRadiographicMagnificationFactor") or 0.0
    if factor >= 100 / _CONTACT_MAGNIFICATION:  # per cent, as some machines write it
        factor /= 100
    factors = [factor] if 1.0 <= factor <= _HIGHEST_MAGNIFICATION else []
    imager, plain = numbers(dataset, "ImagerPixelSpacing"), numbers(dataset, "PixelSpacing")
    if word(dataset, "PixelSpacingCalibrationType") and _is_spacing(imager) and _is_spacing(plain):
        factors += [i / p for i, p in zip(imager, plain, strict=True)]
    return max(factors, default=None)


def check_size(dataset: Dataset, name: str) -> tuple[int, int]:
    """Return (rows, columns), and refuse sizes that are implausible for a mammogram.

    Raises
    ------
    UnreadableImageError
        The size is missing or implausible, or pixels do not have 8 or 16 allocated bits.
    NotAMammogramError
        Pixels have several samples.
    """
    rows, columns = integer(dataset, "Rows"), integer(dataset, "Columns")
    if rows is None or columns is None:
        raise UnreadableImageError(f"{name}: no Rows or Columns in the header, expected both")
    low, longest = _SIDE_LIMITS
    if not (low <= rows <= longest and low <= columns <= longest and rows * columns <= _MOST_PIXELS):
        raise UnreadableImageError(
            f"{name}: {rows} x {columns} pixels, expected sides of {low} to {longest} and at most {_MOST_PIXELS} pixels"
        )
    samples = integer(dataset, "SamplesPerPixel")
    if samples not in (None, 1):
        raise NotAMammogramError(f"{name}: {samples} samples per pixel, expected 1")
    allocated, stored = integer(dataset, "BitsAllocated"), integer(dataset, "BitsStored")
    if allocated not in (8, 16) or stored is None or not 1 <= stored <= allocated:
        raise UnreadableImageError(f"{name}: {stored} of {allocated} bits stored, expected 8 or 16 bits allocated")
    high = integer(dataset, "HighBit")
    if high is not None and not stored - 1 <= high < allocated:
        raise UnreadableImageError(
            f"{name}: HighBit {high} of {stored} of {allocated} bits, expected {stored - 1} to {allocated - 1}"
        )
    return rows, columns


def check_spacing(dataset: Dataset, name: str) -> tuple[float, float]:
    """Return the pixel spacing (row, column) in mm.

    This is ImagerPixelSpacing, which applies at the receptor, or PixelSpacing if the header states that it is
    calibrated (PixelSpacingCalibrationType) or if ImagerPixelSpacing is missing or implausible. An implausible value
    is ignored if the other one is plausible.

    Raises
    ------
    MissingSpacingError
        Both values are missing or implausible, or they contradict each other.
    """
    imager, plain = numbers(dataset, "ImagerPixelSpacing"), numbers(dataset, "PixelSpacing")
    if not _is_spacing(imager) and not _is_spacing(plain):
        raise MissingSpacingError(f"{name}: {_spacing_found(imager, plain)}")
    if not (_is_spacing(imager) and _is_spacing(plain)):
        return _pair(imager if _is_spacing(imager) else plain)
    low, high = _PLAIN_BY_IMAGER
    if not all(low <= p / i <= high for p, i in zip(plain, imager, strict=True)):
        raise MissingSpacingError(
            f"{name}: PixelSpacing {_shown(plain)} mm and ImagerPixelSpacing {_shown(imager)} mm, "
            "expected the same or the first smaller by the magnification"
        )
    return _pair(plain if word(dataset, "PixelSpacingCalibrationType") else imager)


def _is_spacing(values: tuple[float, ...]) -> bool:
    low, high = _SPACING_LIMITS_MM
    return len(values) == 2 and all(low <= value <= high for value in values)


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    return values[0], values[1]


def _shown(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _spacing_found(imager: tuple[float, ...], plain: tuple[float, ...]) -> str:
    low, high = _SPACING_LIMITS_MM
    for keyword, values in (("ImagerPixelSpacing", imager), ("PixelSpacing", plain)):
        if len(values) == 2:
            return f"{keyword} {_shown(values)} mm, expected {low} to {high} (or give it with --pixel-spacing MM)"
    return "no pixel spacing in the header, expected ImagerPixelSpacing, or --pixel-spacing MM"


def spacing_or_given(
    dataset: Dataset, name: str, given_mm: tuple[float, float] | None
) -> tuple[tuple[float, float], bool]:
    """Return the pixel spacing in mm and whether it is the given one, which is used if the header has none.

    Raises
    ------
    MissingSpacingError
        Neither is plausible for a mammogram.
    """
    try:
        return check_spacing(dataset, name), False
    except MissingSpacingError:
        if given_mm is None:
            raise
    if not _is_spacing(given_mm):
        low, high = _SPACING_LIMITS_MM
        raise MissingSpacingError(f"{name}: pixel spacing {spacing_in_words(given_mm)} mm, expected {low} to {high}")
    return given_mm, True
