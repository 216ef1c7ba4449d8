"""The position of the breast in an image: laterality, view, and directions of the patient.

References
----------
DICOM PS3.3 C.7.6.1.1.1 (PatientOrientation), C.8.11.7 (ImageLaterality, ViewCodeSequence);
PS3.16 CID 4014 (View for Mammography).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from microcalc.dicom.codes import VIEWS
from microcalc.dicom.tags import is_code, items, only_word, words
from microcalc.domain import Laterality, Orientation

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LETTERS: Final = re.compile(r"[^A-Z]+")
_SHORT: Final = re.compile(r"[A-Z]{1,5}")
_SIDES: Final[dict[str, Laterality]] = {"LEFT": "L", "RIGHT": "R", "L": "L", "R": "R"}
# Full names of views beyond the meanings of their codes, letters only.
_SPELT: Final[dict[str, str]] = {
    **{_LETTERS.sub("", code.meaning.upper()): view for view, code in VIEWS.items()},
    "CRANIALCAUDAL": "CC",
    "MEDIOLATERAL": "ML",
    "LATERALMEDIAL": "LM",
    "MEDIALLATERALOBLIQUE": "MLO",
    "LATERALMEDIALOBLIQUE": "LMO",
    "EXAGGERATEDCRANIOCAUDALLATERALLY": "XCCL",
    "EXAGGERATEDCRANIOCAUDALMEDIALLY": "XCCM",
    "FROMBELOW": "FB",
}
_OPPOSITE: Final = {"A": "P", "P": "A", "L": "R", "R": "L", "H": "F", "F": "H"}


def laterality_of(header: Dataset) -> Laterality | None:
    """Return the laterality of the image, the series (older files), or a view such as ``LMLO``; None if unknown."""
    for keyword in ("ImageLaterality", "Laterality"):
        side = "/".join(sorted(set(words(header, keyword)))).upper()
        if side in _SIDES:
            return _SIDES[side]
        if side:  # both sides, or an unknown word
            return None
    return _side_and_view(only_word(header, "ViewPosition"))[0]


def view_of(header: Dataset) -> str | None:
    """Return the view by ViewPosition or ViewCodeSequence, or an unknown short ViewPosition; None if missing."""
    position = only_word(header, "ViewPosition")
    named = view_named(position)
    if named is not None:
        return named
    for item in items(header, "ViewCodeSequence"):
        for view, code in VIEWS.items():
            if is_code(item, code):
                return view
    position = position.upper()
    return position if _SHORT.fullmatch(position) else None


def view_named(text: str) -> str | None:
    """Return the view of ``codes.VIEWS`` that a text names; None if it names none.

    >>> view_named("MLO"), view_named("LMLO"), view_named("Medio-Lateral Oblique"), view_named("left CC")
    ('MLO', 'MLO', 'MLO', 'CC')
    """
    return _side_and_view(text)[1]


def _side_and_view(text: str) -> tuple[Laterality | None, str | None]:
    """Return laterality and view that a text names; ``LM`` and ``LMO`` are views without a laterality."""
    letters = _LETTERS.sub("", text.upper())
    view = _view_spelt(letters)
    if view is not None:
        return None, view
    for start, side in _SIDES.items():
        if letters.startswith(start):
            view = _view_spelt(letters.removeprefix(start))
            if view is not None:
                return side, view
    return None, None


def _view_spelt(letters: str) -> str | None:
    return letters if letters in VIEWS else _SPELT.get(letters)


def orientation_of(header: Dataset) -> Orientation | None:
    """Return the patient's directions in the image; None if PatientOrientation is missing or invalid."""
    directions = tuple(value.upper() for value in words(header, "PatientOrientation"))
    if len(directions) != 2 or not all(_is_direction(value) for value in directions):
        return None
    right, bottom = directions
    if right[0] in (bottom[0], _OPPOSITE[bottom[0]]):  # rows and columns cannot have the same axis
        return None
    return Orientation(right, bottom)


def _is_direction(value: str) -> bool:
    """Return whether a value is one to three of A, P, L, R, H, F, with each axis at most once."""
    axes = {frozenset((letter, _OPPOSITE[letter])) for letter in value if letter in _OPPOSITE}
    return 0 < len(value) <= 3 and len(axes) == len(value)
