"""Headers with one attribute that we read made absent, empty, several, of a wrong representation or out of range."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from microcalc.dicom.tags import quiet
from microcalc.domain import Mammogram
from microcalc.errors import MicrocalcError
from microcalc.images.dicom.read import read_dicom

Verdict = Literal["the same", "less is known", "a named error", "TRACEBACK", "DIFFERENT WITHOUT A WORD", "BAD MESSAGE"]
FAULTS: Final = ("TRACEBACK", "DIFFERENT WITHOUT A WORD", "BAD MESSAGE")

_SIDE: Final = 96
_UNKNOWN: Final = "NONSENSE"
_NUMBERS: Final[dict[str, tuple[object, ...]]] = {
    "Rows": (0, 1, 65535),
    "Columns": (0, 1, 65535),
    "NumberOfFrames": (0, -1, 49),
    "SamplesPerPixel": (0, 3, 65535),
    "BitsAllocated": (0, 1, 12, 32, 65535),
    "BitsStored": (0, 17, 65535),
    "HighBit": (0, 16, 65535),
    "PixelRepresentation": (2, 65535),
    "PixelIntensityRelationshipSign": (0, 9),
    "RescaleSlope": ("0", "1e30", "NaN", "inf"),
    "RescaleIntercept": ("1e30", "NaN", "-inf"),
    "ImagerPixelSpacing": (["0", "0"], ["1", "1"], ["0.0085", "0.0085"], ["-0.07", "-0.07"], ["0.07"], ["NaN", "1"]),
    "PixelSpacing": (["0", "0"], ["1", "1"], ["0.07"], ["-0.07", "-0.07"], ["0.4", "0.4"]),
    "EstimatedRadiographicMagnificationFactor": ("0", "-1", "1e30", "NaN", "2.5"),
    "PixelPaddingValue": (65535,),
    "PixelPaddingRangeLimit": (65535,),
    "FieldOfViewRotation": ("45", "360"),
    "WindowCenter": ("1e30", "NaN", ["1", "2", "3"]),
    "WindowWidth": ("0", "-1", "1e30", "NaN", ["1", "2", "3"]),
}
_WORDS: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ImageType",
    "PhotometricInterpretation",
    "PixelIntensityRelationship",
    "PresentationIntentType",
    "PresentationLUTShape",
    "VOILUTFunction",
    "ImageLaterality",
    "Laterality",
    "ViewPosition",
    "PatientOrientation",
    "Manufacturer",
    "ManufacturerModelName",
    "BurnedInAnnotation",
    "PositionerType",
    "QualityControlImage",
    "PixelSpacingCalibrationType",
    "SpecificCharacterSet",
    "LossyImageCompression",
    "FieldOfViewHorizontalFlip",
)
_SEQUENCES: Final = ("ViewCodeSequence", "VOILUTSequence", "ModalityLUTSequence", "SpecimenDescriptionSequence")
ATTRIBUTES: Final = (*_NUMBERS, *_WORDS, *_SEQUENCES)

# What an attribute alone speaks of, and may therefore change; any other change is a fault.
_SPEAKS_OF: Final[dict[str, tuple[str, ...]]] = {
    "SOPInstanceUID": ("uid",),
    "ImageLaterality": ("laterality",),
    "ViewPosition": ("view",),
    "ViewCodeSequence": ("view",),
    "PatientOrientation": ("orientation",),
    "Manufacturer": ("system",),
    "ManufacturerModelName": ("system",),
    "BurnedInAnnotation": ("burned_in",),
    "WindowCenter": ("window",),
    "WindowWidth": ("window",),
    "VOILUTFunction": ("window",),
    "VOILUTSequence": ("window",),
    "PixelPaddingValue": ("padding",),
    "PixelPaddingRangeLimit": ("padding",),
}
_NONE_OR_RIGHT: Final = ("laterality", "orientation", "burned_in")
_FIELDS: Final = ("pixels", "spacing_mm", "intent", "uid", "laterality", "view", "system", "padding", "window",
                  "orientation", "burned_in", "spacing_given")  # fmt: skip


class Change(NamedTuple):
    """An attribute, and the representation and value that it gets; None: it is taken out."""

    keyword: str
    vr: str | None = None
    value: object = None

    def apply(self, dataset: Dataset) -> None:
        if self.keyword in dataset:
            del dataset[self.keyword]
        if self.vr is not None:
            dataset.add_new(self.keyword, self.vr, self.value)


def changes(keyword: str) -> Iterator[Change]:
    """Yield every change of an attribute."""
    yield Change(keyword)
    vr = pydicom.datadict.dictionary_VR(keyword).split(" ")[0]
    if keyword in _SEQUENCES:
        yield Change(keyword, "SQ", [])
        yield Change(keyword, "SQ", [Dataset(), Dataset()])
    else:
        yield Change(keyword, vr, None if keyword in _NUMBERS else "")
    if keyword in _WORDS:
        yield Change(keyword, vr, _UNKNOWN)
        yield Change(keyword, vr, [_UNKNOWN, "OTHER"])
        yield Change(keyword, vr, "X" * 200)
    for value in _NUMBERS.get(keyword, ()):
        yield Change(keyword, vr, value)
    if keyword in _NUMBERS:
        yield Change(keyword, vr, ["1", "2"] if vr in ("DS", "IS") else [1, 2])
    if keyword == "SpecificCharacterSet":  # the library writes no other representation of it
        return
    yield Change(keyword, "LO", _UNKNOWN)
    yield Change(keyword, "LO", "\u00e9\u4e2d")
    yield Change(keyword, "OB", b"\xff\xfe\x00\x01")
    yield Change(keyword, "FD", float("nan"))
    yield Change(keyword, "SQ", [Dataset()])


def verdict(original: Path, change: Change, work: Path) -> tuple[Verdict, str]:
    """Read a changed copy, and return what came of it, and the message or what differs."""
    with quiet():
        dataset = pydicom.dcmread(original)
        change.apply(dataset)
        dataset.save_as(work)
    try:
        found = read_dicom(work)
    except MicrocalcError as error:
        message = str(error)
        ok = message.startswith(f"{work.name}: ") and "expected" in message and "\n" not in message
        return ("a named error" if ok and _UNKNOWN not in message else "BAD MESSAGE"), message
    except Exception as error:
        return "TRACEBACK", repr(error)
    before = read_dicom(original)
    differs = [field for field in _FIELDS if not _equal(before, found, field)]
    if not differs:
        return "the same", ""
    allowed = _SPEAKS_OF.get(change.keyword, ())
    less = set(differs) <= set(allowed) and all(getattr(found, f) is None for f in differs if f in _NONE_OR_RIGHT)
    return ("less is known" if less else "DIFFERENT WITHOUT A WORD"), ", ".join(differs)


def _equal(one: Mammogram, other: Mammogram, field: str) -> bool:
    a, b = getattr(one, field), getattr(other, field)
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is not None and b is not None and np.array_equal(a, b)
    return bool(a == b)


def cropped(file: Path, to: Path) -> Path:
    """Write the middle of an image, uncompressed, under its own header."""
    with quiet():
        dataset = pydicom.dcmread(file)
        if dataset.file_meta.TransferSyntaxUID.is_compressed:
            dataset.decompress(generate_instance_uid=False)
        pixels = dataset.pixel_array
        row, column = (side // 2 for side in pixels.shape)
        crop = np.ascontiguousarray(pixels[row : row + _SIDE, column : column + _SIDE])
        dataset.Rows, dataset.Columns = crop.shape
        dataset.PixelData = crop.tobytes()
        dataset.save_as(to)
    return to
