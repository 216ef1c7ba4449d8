"""What a user or a table says of an image that does not say it itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from microcalc.domain import Intent, Laterality

Fact = Literal["pixel_spacing", "intent", "system", "view", "laterality"]
"""A fact that the file of an image may state; a picture states none."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the file of an image states.

    Attributes
    ----------
    uid
        SOP Instance UID, empty if it is missing or invalid; or the SHA-256 of the file, as in ``Mammogram``.
    stated
        Facts that the file states, so that the user need not, and cannot, give them.
    shape, spacing_mm
        Rows and columns, and the pixel spacing (row, column); None if the file does not state them.
    system, view, laterality
        As in ``Mammogram``; None if the file does not state them.
    patient
        PatientID, which public data sets have made a pseudonym; empty if the file does not state it.
    sources
        SOP Instance UIDs of the images that the image was made from.
    series, series_description
        SeriesInstanceUID and SeriesDescription; empty if the file does not state them.
    """

    uid: str
    stated: frozenset[Fact]
    shape: tuple[int, int] | None = None
    spacing_mm: tuple[float, float] | None = None
    system: str | None = None
    view: str | None = None
    laterality: Laterality | None = None
    patient: str = ""
    sources: frozenset[str] = frozenset()
    series: str = ""
    series_description: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """What is accepted of an image file before its pixels are decoded, with the facts that it states itself.

    Attributes
    ----------
    intent, spacing_mm
        Of the file, else as supplied; None if neither states it.
    shape
        Rows and columns.
    """

    facts: Facts
    intent: Intent | None
    shape: tuple[int, int]
    spacing_mm: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image's file may lack and its reader has to supply; None where nothing is supplied.

    A picture (PNG, TIFF, JPEG, PGM) states none of it. A DICOM header usually states all of it, and is
    believed where it does.

    Attributes
    ----------
    pixel_spacing_mm
        Distance between the centres of neighbouring pixels, (row, column).
    intent
        ``"raw"`` (FOR PROCESSING) or ``"processed"`` (FOR PRESENTATION).
    system
        Manufacturer and model.
    view
        View position, such as ``"CC"`` or ``"MLO"``.
    laterality
        ``"L"`` or ``"R"``.
    """

    pixel_spacing_mm: tuple[float, float] | None = None
    intent: Intent | None = None
    system: str | None = None
    view: str | None = None
    laterality: Laterality | None = None


NO_INFO: Final = ImageInfo()
"""Nothing is supplied: the file has to state all of it."""


def spacing_in_words(spacing_mm: tuple[float, float]) -> str:
    """Return a pixel spacing for a message: ``"0.085"`` for square pixels, else ``"0.08 x 0.1"``."""
    row, column = spacing_mm
    return f"{row:g}" if row == column else f"{row:g} x {column:g}"
