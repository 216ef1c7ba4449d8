"""Convert stored values to pixels in which brighter means denser.

Raw images store X-ray intensity. PixelIntensityRelationshipSign gives the direction (PS3.3 C.8.11.3.1.2): with +1,
as in all raw mammograms with a verified header, lower stored values mean less intensity; with -1, more. If it is
missing, PhotometricInterpretation is used, as dense tissue is shown white: MONOCHROME1 (lowest value white) means +1,
MONOCHROME2 means -1.

Processed images show dense tissue white. Only PhotometricInterpretation is used. PresentationLUTShape must agree
(PS3.3 C.8.11.1) and is ignored if it does not, because the images of public data sets in which it contradicts are
correct this way.

All positions are in the frame of the stored pixels: FieldOfViewHorizontalFlip and FieldOfViewRotation describe what
the machine did *before* storing, PatientOrientation how the patient is oriented in the image. None of them moves
pixels here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom.tags import integer, items, number, numbers, word
from microcalc.domain import BoolImage, FloatImage, Intent, Window
from microcalc.errors import NotAMammogramError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# VOILUTFunction, and its name in ``Window``.
FUNCTIONS: dict[str, Literal["linear", "linear_exact", "sigmoid"]] = {
    "": "linear",
    "LINEAR": "linear",
    "LINEAR_EXACT": "linear_exact",
    "SIGMOID": "sigmoid",
}

# No window of 16-bit values, rescaled or not, is this wide: a wider one is damaged and ignored.
WIDEST = 1e9

# Values that a message may quote; a damaged header could contain anything.
_COLOURS = frozenset({"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"})


class ToPixels(NamedTuple):
    """The conversion ``pixels = slope * stored + intercept``, and the rescaling to modality values."""

    slope: float
    intercept: float
    modality_slope: float
    modality_intercept: float

    def apply(self, stored: NDArray[np.integer]) -> FloatImage:
        """Convert stored values to pixels (rows, columns), float32, brighter = denser."""
        pixels = stored.astype(np.float32)
        if self.slope != 1.0:
            pixels *= np.float32(self.slope)
        if self.intercept != 0.0:
            pixels += np.float32(self.intercept)
        return pixels

    def window(self, centre: float, width: float, function: Literal["linear", "linear_exact", "sigmoid"]) -> Window:
        """Convert a window from modality values to pixel values."""
        ratio = self.slope / self.modality_slope
        mirrored = ratio * centre + self.intercept - ratio * self.modality_intercept
        # "linear" ramps around centre - 0.5 (PS3.3 C.11.2.1.2.1): mirrored, around centre + 0.5.
        return Window(mirrored + (1.0 if ratio < 0 and function == "linear" else 0.0), width, function)


def to_pixels(dataset: Dataset, intent: Intent, name: str) -> ToPixels:
    """Return the conversion of the stored values of an image to pixels.

    If the values of a raw image decrease with exposure, they are subtracted from the highest possible value, as
    machines store the complement; ``-pixels`` is never negative.

    Raises
    ------
    NotAMammogramError
        The values are not grey levels, a raw image is not linear in exposure, or there is a modality LUT, which
        the standard does not allow in mammography.
    """
    photometric = word(dataset, "PhotometricInterpretation").upper()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        stated = photometric if photometric in _COLOURS else "damaged" if photometric else "missing"
        raise NotAMammogramError(f"{name}: PhotometricInterpretation {stated}, expected MONOCHROME1 or MONOCHROME2")
    if items(dataset, "ModalityLUTSequence"):
        raise NotAMammogramError(f"{name}: a modality LUT, expected RescaleSlope and RescaleIntercept")
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if slope == 0.0 or not max(abs(slope), 1 / abs(slope), abs(intercept)) < 1e6:
        raise NotAMammogramError(
            f"{name}: RescaleSlope {slope:g} and RescaleIntercept {intercept:g}, expected those of grey levels"
        )
    if intent == "raw":
        return _raw_to_pixels(dataset, photometric, slope, intercept, name)
    if photometric == "MONOCHROME2":
        return ToPixels(slope, intercept, slope, intercept)
    low, high = _modality_range(dataset, slope, intercept)
    return ToPixels(-slope, low + high - intercept, slope, intercept)


def _raw_to_pixels(dataset: Dataset, photometric: str, slope: float, intercept: float, name: str) -> ToPixels:
    relationship = word(dataset, "PixelIntensityRelationship").upper()
    if relationship not in ("", "LIN"):
        stated = relationship if relationship in ("LOG", "DISP") else "damaged"
        raise NotAMammogramError(f"{name}: PixelIntensityRelationship {stated} in a FOR PROCESSING image, expected LIN")
    sign = integer(dataset, "PixelIntensityRelationshipSign")
    if sign == 65535:  # -1, read as unsigned
        sign = -1
    if sign is None:
        sign = 1 if photometric == "MONOCHROME1" else -1
    if sign * slope > 0:
        return ToPixels(-slope, -intercept, slope, intercept)
    _, high = _modality_range(dataset, slope, intercept)
    return ToPixels(slope, intercept - high, slope, intercept)


def _modality_range(dataset: Dataset, slope: float, intercept: float) -> tuple[float, float]:
    """Return the lowest and highest modality value that the stored bits can represent."""
    lowest, highest = _stored_range(dataset)
    ends = (slope * lowest + intercept, slope * highest + intercept)
    return min(ends), max(ends)


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    """Return the lowest and highest value that the stored bits can represent."""
    bits = integer(dataset, "BitsStored") or 16
    lowest = -(1 << (bits - 1)) if integer(dataset, "PixelRepresentation") == 1 else 0
    return lowest, lowest + (1 << bits) - 1


def clear_unused_bits(stored: NDArray[np.integer], dataset: Dataset) -> NDArray[np.integer]:
    """Return stored values without the other allocated bits, which may contain old overlays."""
    bits, allocated = integer(dataset, "BitsStored") or 16, 8 * stored.dtype.itemsize
    high = integer(dataset, "HighBit")
    shift = 0 if high is None or not bits - 1 <= high < allocated else high - bits + 1
    if bits == allocated:
        return stored
    # Shift left to the top bit, then right, which extends the sign of signed values.
    raised = np.left_shift(stored, allocated - bits - shift)
    cleared: NDArray[np.integer] = np.right_shift(raised, allocated - bits)
    return cleared


def padding_mask(stored: NDArray[np.integer], allocated: NDArray[np.integer], dataset: Dataset) -> BoolImage | None:
    """Return which pixels are padding (PS3.3 C.7.5.1.1.2); None if the header does not define padding.

    Parameters
    ----------
    stored, allocated
        (rows, columns) values of the stored bits, and of all allocated bits; the latter are used for a padding
        value that the stored bits cannot represent.
    """
    value = integer(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = integer(dataset, "PixelPaddingRangeLimit")
    # A value that was read with the wrong sign is out of range by 2 to the number of allocated bits.
    whole = np.iinfo(allocated.dtype)
    turn = 1 << whole.bits
    low, high = sorted(
        end - turn if end > whole.max else end + turn if end < whole.min else end
        for end in (value, value if limit is None else limit)
    )
    lowest, highest = _stored_range(dataset)
    values = stored if lowest <= low and high <= highest else allocated
    inside: BoolImage = (values >= low) & (values <= high)
    return inside


def first_window(dataset: Dataset, convert: ToPixels) -> Window | None:
    """Return the first window in pixel values, or one fitted to the first VOI LUT; None if there is neither."""
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    function = FUNCTIONS.get(word(dataset, "VOILUTFunction").upper(), "linear")
    if centres and widths and (1.0 if function == "linear" else 0.0) < widths[0] < WIDEST and abs(centres[0]) < WIDEST:
        return convert.window(centres[0], widths[0], function)
    return _window_of_lut(dataset, convert)


def _window_of_lut(dataset: Dataset, convert: ToPixels) -> Window | None:
    """Return a linear window through the 10 % and 90 % points of the first VOI LUT (PS3.3 C.11.2.1.1)."""
    for lut in items(dataset, "VOILUTSequence")[:1]:
        descriptor, entries = numbers(lut, "LUTDescriptor"), lut_entries(lut)
        if len(descriptor) != 3 or entries.size < 2:
            return None
        span = float(entries.max()) - float(entries.min())
        relative = (np.maximum.accumulate(entries) - entries.min()) / max(span, 1.0)
        low, high = (float(np.searchsorted(relative, level)) for level in (0.1, 0.9))
        if span <= 0 or high <= low:
            return None
        return convert.window(descriptor[1] + (low + high) / 2, (high - low) / 0.8, "linear_exact")
    return None


def lut_entries(lut: Dataset) -> NDArray[np.float64]:
    """Return the entries of a VOI LUT; none if it is damaged."""
    try:
        data = lut.get("LUTData")
        if isinstance(data, bytes):
            return np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2").astype(np.float64)
        return np.asarray(data, dtype=np.float64).reshape(-1)
    except Exception:  # a damaged LUT is ignored
        return np.empty(0)
