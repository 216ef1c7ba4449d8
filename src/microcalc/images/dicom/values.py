"""What stored values mean: from stored values to pixels that are brighter = denser.

Raw images hold X-ray intensity. PixelIntensityRelationshipSign says which way
(PS3.3 C.8.11.3.1.2): +1, lower stored values are less intensity, as every raw
mammogram with a verified header has it; -1, the opposite. Where it is missing,
PhotometricInterpretation decides, since dense is shown white: MONOCHROME1 (lowest is
white) is +1, MONOCHROME2 is -1.

Processed images are shown dense = white. PhotometricInterpretation alone decides;
PresentationLUTShape must say the same (PS3.3 C.8.11.1) and is not followed where it
contradicts, because the images of public sets that contradict come out right so.

The frame of the stored pixels is the frame of all positions: FieldOfViewHorizontalFlip
and FieldOfViewRotation tell what the machine did *before* storing, PatientOrientation
where the patient lies in it. None of them moves a pixel here.
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

_FUNCTIONS: dict[str, Literal["linear", "linear_exact", "sigmoid"]] = {
    "": "linear",
    "LINEAR": "linear",
    "LINEAR_EXACT": "linear_exact",
    "SIGMOID": "sigmoid",
}

# No window of 16-bit values, rescaled or not, reaches so far: a damaged one is none.
_WIDEST = 1e9

# What a message may name; of a damaged header anything could stand there.
_COLOURS = frozenset({"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"})


class ToPixels(NamedTuple):
    """``pixels = slope * stored + intercept``; ``modality_slope`` and ``_intercept`` give modality values."""

    slope: float
    intercept: float
    modality_slope: float
    modality_intercept: float

    def apply(self, stored: NDArray[np.integer]) -> FloatImage:
        """Pixels, brighter = denser, float32."""
        pixels = stored.astype(np.float32)
        if self.slope != 1.0:
            pixels *= np.float32(self.slope)
        if self.intercept != 0.0:
            pixels += np.float32(self.intercept)
        return pixels

    def window(self, centre: float, width: float, function: Literal["linear", "linear_exact", "sigmoid"]) -> Window:
        """A window given in modality values, in pixels."""
        ratio = self.slope / self.modality_slope
        mirrored = ratio * centre + self.intercept - ratio * self.modality_intercept
        # "linear" ramps around centre - 0.5 (PS3.3 C.11.2.1.2.1): mirrored, around centre + 0.5.
        return Window(mirrored + (1.0 if ratio < 0 and function == "linear" else 0.0), width, function)


def to_pixels(dataset: Dataset, intent: Intent, name: str) -> ToPixels:
    """How the stored values of this header become pixels.

    A raw image whose values fall with exposure is counted from its highest possible
    value, so that ``-pixels`` is never negative: machines store the complement.

    Raises
    ------
    NotAMammogramError
        Values that are not grey levels, a raw image that is not linear in exposure, or
        a modality LUT, which the standard does not have in mammography.
    """
    photometric = word(dataset, "PhotometricInterpretation").upper()
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        found = photometric if photometric in _COLOURS else "damaged" if photometric else "missing"
        raise NotAMammogramError(f"{name}: PhotometricInterpretation {found}, expected MONOCHROME1 or MONOCHROME2")
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
        found = relationship if relationship in ("LOG", "DISP") else "damaged"
        raise NotAMammogramError(f"{name}: PixelIntensityRelationship {found} in a FOR PROCESSING image, expected LIN")
    sign = integer(dataset, "PixelIntensityRelationshipSign")
    if sign == 65535:  # -1 of which the representation is wrong
        sign = -1
    if sign is None:
        sign = 1 if photometric == "MONOCHROME1" else -1
    if sign * slope > 0:
        return ToPixels(-slope, -intercept, slope, intercept)
    _, high = _modality_range(dataset, slope, intercept)
    return ToPixels(slope, intercept - high, slope, intercept)


def _modality_range(dataset: Dataset, slope: float, intercept: float) -> tuple[float, float]:
    """Lowest and highest modality value that the header's bits can hold."""
    lowest, highest = _stored_range(dataset)
    ends = (slope * lowest + intercept, slope * highest + intercept)
    return min(ends), max(ends)


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    """Lowest and highest stored value that the header's bits can hold."""
    bits = integer(dataset, "BitsStored") or 16
    lowest = -(1 << (bits - 1)) if integer(dataset, "PixelRepresentation") == 1 else 0
    return lowest, lowest + (1 << bits) - 1


def clear_unused_bits(stored: NDArray[np.integer], dataset: Dataset) -> NDArray[np.integer]:
    """Stored values without what else lies in the allocated bits (old overlays)."""
    bits, allocated = integer(dataset, "BitsStored") or 16, 8 * stored.dtype.itemsize
    high = integer(dataset, "HighBit")
    shift = 0 if high is None or not bits - 1 <= high < allocated else high - bits + 1
    if bits == allocated:
        return stored
    # Left to the top, then right: the shift back extends the sign of signed values.
    raised = np.left_shift(stored, allocated - bits - shift)
    cleared: NDArray[np.integer] = np.right_shift(raised, allocated - bits)
    return cleared


def padding_mask(stored: NDArray[np.integer], allocated: NDArray[np.integer], dataset: Dataset) -> BoolImage | None:
    """Return where the header says that there is no image (PS3.3 C.7.5.1.1.2); None where it says nothing.

    Parameters
    ----------
    stored, allocated
        (rows, columns) values of the stored bits, and of all allocated ones: a padding value
        that the stored bits cannot hold is looked for in the latter.
    """
    value = integer(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = integer(dataset, "PixelPaddingRangeLimit")
    # Read with the other sign, as by a wrong representation: back by one turn of the allocated bits.
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
    """The header's first window, in pixels; of a VOI LUT where there is no window; None without either."""
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    function = _FUNCTIONS.get(word(dataset, "VOILUTFunction").upper(), "linear")
    if (
        centres
        and widths
        and (1.0 if function == "linear" else 0.0) < widths[0] < _WIDEST
        and abs(centres[0]) < _WIDEST
    ):
        return convert.window(centres[0], widths[0], function)
    return _window_of_lut(dataset, convert)


def _window_of_lut(dataset: Dataset, convert: ToPixels) -> Window | None:
    """A straight line through the 10 % and 90 % points of the first VOI LUT (PS3.3 C.11.2.1.1)."""
    for lut in items(dataset, "VOILUTSequence")[:1]:
        descriptor, entries = numbers(lut, "LUTDescriptor"), _lut_entries(lut)
        if len(descriptor) != 3 or entries.size < 2:
            return None
        span = float(entries.max()) - float(entries.min())
        relative = (np.maximum.accumulate(entries) - entries.min()) / max(span, 1.0)
        low, high = (float(np.searchsorted(relative, level)) for level in (0.1, 0.9))
        if span <= 0 or high <= low:
            return None
        return convert.window(descriptor[1] + (low + high) / 2, (high - low) / 0.8, "linear_exact")
    return None


def _lut_entries(lut: Dataset) -> NDArray[np.float64]:
    try:
        data = lut.get("LUTData")
        if isinstance(data, bytes):
            return np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2").astype(np.float64)
        return np.asarray(data, dtype=np.float64).reshape(-1)
    except Exception:  # a damaged table is none
        return np.empty(0)
