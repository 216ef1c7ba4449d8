"""Check the header values that determine the meaning of pixels: number, kind and range of each value.

Elsewhere a value that cannot be interpreted is treated as absent. Here this would silently change pixels. Absent and
empty elements are left to the readers, which handle them as the standard requires.

References
----------
DICOM PS3.3 C.7.6.3 (Image Pixel), C.7.5.1 (Pixel Padding), C.8.11.3 (DX Image), C.11.1 (Modality LUT).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from microcalc.dicom.tags import is_empty, numbers, words
from microcalc.errors import UnreadableImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


class _Rule(NamedTuple):
    """A rule for a value: its description, and a function that checks a number."""

    expected: str
    holds: Callable[[float], bool]


_WHOLE: Final = _Rule("a whole number", float.is_integer)
_NUMBER: Final = _Rule("a number", lambda value: True)
_RULES: Final[dict[str, _Rule]] = {
    "Rows": _WHOLE,
    "Columns": _WHOLE,
    "NumberOfFrames": _WHOLE,
    "SamplesPerPixel": _WHOLE,
    "BitsAllocated": _WHOLE,
    "BitsStored": _WHOLE,
    "HighBit": _WHOLE,
    "PixelRepresentation": _Rule("0 or 1", lambda value: value in (0, 1)),
    # 65535 is -1, read as unsigned.
    "PixelIntensityRelationshipSign": _Rule("1 or -1", lambda value: value in (1, -1, 65535)),
    "RescaleSlope": _NUMBER,
    "RescaleIntercept": _NUMBER,
    "PixelPaddingValue": _WHOLE,
    "PixelPaddingRangeLimit": _WHOLE,
}
_ONE_WORD: Final = ("SOPClassUID", "PhotometricInterpretation", "PixelIntensityRelationship", "PresentationIntentType")


def check_decisive(dataset: Dataset, name: str) -> None:
    """Refuse a header with a wrong value in an attribute that determines the meaning of pixels.

    Raises
    ------
    UnreadableImageError
        An attribute has several values, a value that is not a number, or a number out of range.
    """
    for keyword in _ONE_WORD:
        if len(set(words(dataset, keyword))) > 1:
            raise UnreadableImageError(f"{name}: {len(words(dataset, keyword))} values of {keyword}, expected one")
    for keyword, rule in _RULES.items():
        if is_empty(dataset, keyword):
            continue
        values = numbers(dataset, keyword)
        if len(set(values)) > 1:
            raise UnreadableImageError(f"{name}: {len(values)} values of {keyword}, expected one")
        if not values:
            raise UnreadableImageError(f"{name}: {keyword} damaged, expected {rule.expected}")
        if not rule.holds(values[0]):
            raise UnreadableImageError(f"{name}: {keyword} {values[0]:g}, expected {rule.expected}")
