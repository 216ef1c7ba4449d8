"""What the header of a DICOM file says about showing its image: all windows and VOI LUTs, exam and identity.

References
----------
DICOM PS3.3 C.11.2 (VOI LUT), C.7.1.1 (patient), C.7.2.1 (study).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom.tags import items, numbers, quiet, word, words
from microcalc.domain import Edge, Intent, Laterality, Window
from microcalc.errors import InputError
from microcalc.images.dicom.accept import check_kind
from microcalc.images.dicom.position import laterality_of, orientation_of, view_of
from microcalc.images.dicom.read import read_data_set
from microcalc.images.dicom.values import FUNCTIONS, WIDEST, ToPixels, lut_entries, to_pixels

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MOST_PRESETS: Final = 12
_MOST_ENTRIES: Final = 1 << 16
_UNSHOWN: Final = re.compile(r"[^\w .,;:+()/%-]+")


@dataclass(frozen=True, eq=False, slots=True)
class GreyTable:
    """A VOI LUT: a grey level for each of a range of pixel values; the first and the last continue beyond it.

    Attributes
    ----------
    first
        Pixel value of the first entry, in the units of ``Mammogram.pixels``.
    step
        Difference of the pixel values of neighbouring entries, which may be negative.
    levels
        (n,) grey levels 0 to 255.
    """

    first: float
    step: float
    levels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Preset:
    """A way in which the header asks the image to be shown: its explanation, and a window or a table."""

    name: str
    grey: Window | GreyTable


@dataclass(frozen=True, slots=True)
class ExamFacts:
    """What relates an image to others, and the words that identify its patient.

    Attributes
    ----------
    patient, study
        Identify the patient and the study among the images given; never shown.
    date
        StudyDate as YYYYMMDD; empty if it is missing.
    identity
        The patient's ID, and the parts of the name and of other IDs: words that are not to be shown.
    chest_wall, upper
        Edges of the stored picture, as ``Orientation`` states them; None where the header does not say.
    """

    patient: str = ""
    study: str = ""
    date: str = ""
    view: str | None = None
    laterality: Laterality | None = None
    intent: Intent | None = None
    identity: tuple[str, ...] = ()
    chest_wall: Edge | None = None
    upper: Edge | None = None


def read_exam_facts(path: Path) -> ExamFacts:
    """Return the exam facts of a DICOM file; its pixels are not decoded.

    Raises
    ------
    UnreadableImageError
        The file is missing, not DICOM, or damaged.
    """
    with quiet():
        header = read_data_set(path, stop_before_pixels=True)
        orientation, laterality = orientation_of(header), laterality_of(header)
        patient_id, name = word(header, "PatientID"), word(header, "PatientName")
        return ExamFacts(
            patient="\n".join((patient_id, word(header, "IssuerOfPatientID"))) if patient_id else name,
            study=word(header, "StudyInstanceUID"),
            date=word(header, "StudyDate")[:8],
            view=view_of(header),
            laterality=laterality,
            intent=_intent_of(header),
            identity=_identity(header, patient_id, name),
            chest_wall=None if orientation is None else orientation.chest_wall,
            upper=None if orientation is None else orientation.upper(laterality),
        )


def read_presets(path: Path) -> tuple[Preset, ...]:
    """Return the windows and VOI LUTs of a DICOM file in the header's order, in the units of ``Mammogram.pixels``.

    Those of a raw image are omitted: they are for the stored values, not for the grey levels that a person sees.

    Raises
    ------
    InputError
        The file is not a mammogram.
    """
    with quiet():
        header = read_data_set(path, stop_before_pixels=True)
        intent = check_kind(header, path.name, any_view=True)
        if intent == "raw":
            return ()
        convert = to_pixels(header, intent, path.name)
        windows = _windows(header, convert)
        taken = {preset.name for preset in windows}
        tables = [replace(p, name=f"{p.name} LUT") if p.name in taken else p for p in _tables(header, convert)]
    return tuple([*windows, *tables][:_MOST_PRESETS])


def _intent_of(header: Dataset) -> Intent | None:
    try:
        return check_kind(header, "", any_view=True)
    except InputError:
        return None


def _identity(header: Dataset, patient_id: str, name: str) -> tuple[str, ...]:
    others = ("OtherPatientIDs", "AccessionNumber", "PatientBirthName", "PatientBirthDate", "StudyID")
    texts = [patient_id, *(text for keyword in others for text in words(header, keyword))]
    parts = [*texts, *re.split(r"[\^=\s,]+", f"{name}^{word(header, 'PatientBirthName')}"), name]
    return tuple(dict.fromkeys(part for part in parts if part.strip()))


def _windows(header: Dataset, convert: ToPixels) -> list[Preset]:
    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    names = words(header, "WindowCenterWidthExplanation")
    function = FUNCTIONS.get(word(header, "VOILUTFunction").upper(), "linear")
    least = 1.0 if function == "linear" else 0.0
    return [
        Preset(_shown(names[n] if n < len(names) else "") or f"window {n + 1}", convert.window(centre, width, function))
        for n, (centre, width) in enumerate(zip(centres, widths, strict=False))
        if least < width < WIDEST and abs(centre) < WIDEST
    ]


def _tables(header: Dataset, convert: ToPixels) -> list[Preset]:
    ratio = convert.slope / convert.modality_slope
    presets = []
    for n, lut in enumerate(items(header, "VOILUTSequence")):
        descriptor, entries = numbers(lut, "LUTDescriptor"), lut_entries(lut)
        if len(descriptor) != 3 or not 2 <= entries.size <= _MOST_ENTRIES or not 8 <= descriptor[2] <= 16:
            continue
        levels = np.clip(entries * (255.0 / (2 ** descriptor[2] - 1)), 0, 255).astype(np.uint8)
        first = ratio * (descriptor[1] - convert.modality_intercept) + convert.intercept
        if ratio < 0:  # MONOCHROME1: the highest value is black
            levels = 255 - levels
        presets.append(Preset(_shown(word(lut, "LUTExplanation")) or f"LUT {n + 1}", GreyTable(first, ratio, levels)))
    return presets


def _shown(text: str) -> str:
    return _UNSHOWN.sub(" ", text).strip()[:40]
