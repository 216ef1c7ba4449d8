"""What is understood of an image file, and why detection would refuse it; nothing is detected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from microcalc.dicom.source_values import long_text, person_name
from microcalc.dicom.systems import system_name
from microcalc.dicom.tags import integer, numbers, quiet, word
from microcalc.domain import Intent, Laterality, Mammogram, NormalisedMammogram
from microcalc.errors import InputError, MissingSpacingError
from microcalc.images.dicom.accept import INTENTS, check_spacing
from microcalc.images.dicom.decode import SYNTAXES
from microcalc.images.dicom.position import laterality_of, orientation_of, view_of
from microcalc.images.dicom.read import read_data_set
from microcalc.images.info import ImageInfo
from microcalc.images.open import facts_of, is_picture, naming, open_mammogram

if TYPE_CHECKING:
    from PIL.Image import Image

_TEXTS: Final = ("Manufacturer", "ManufacturerModelName", "PatientID", "StudyID", "AccessionNumber", "SoftwareVersions")
_PICTURE_PX: Final = (700, 550)
_OUTLINE: Final = (255, 150, 30)


@dataclass(frozen=True, slots=True)
class Description:
    """What is understood of an image file; None and empty texts: not stated.

    Attributes
    ----------
    file
        Name of the file.
    refused
        Why detection refuses the image; empty where it accepts it.
    format
        ``DICOM`` with its transfer syntax, or ``picture``.
    pixel_spacing_mm, pixel_spacing_from
        Pixel spacing (row, column), and the header's attribute or the option that it comes from.
    window
        The header's first window, in words.
    chest_wall, cranial
        The edge of the picture (left, right, top, bottom) that the chest wall and the head lie at, by the header.
    burned_in
        Whether the header states that text is burned into the pixels.
    breast_area_cm2
        Area that is searched: the breast without skin and, where the view shows it, pectoral muscle.
    remarks
        Doubts about the header, such as text that its character set cannot hold.
    """

    file: str
    refused: str = ""
    format: str = ""
    intent: Intent | None = None
    system: str | None = None
    laterality: Laterality | None = None
    view: str | None = None
    rows: int | None = None
    columns: int | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    pixel_spacing_from: str = ""
    window: str = ""
    chest_wall: str | None = None
    cranial: str | None = None
    burned_in: bool | None = None
    breast_area_cm2: float | None = None
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> Mapping[str, Any]:
        """Return the entries as JSON can hold them."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class Described:
    """A description, and the image that it describes; None where the image cannot be read, or has no breast."""

    description: Description
    mammogram: Mammogram | None = None
    normalised: NormalisedMammogram | None = None

    def picture(self) -> Image:
        """Return a small picture of the image with the outline of the area that is searched.

        Raises
        ------
        InputError
            The image was refused, so that there is nothing to show.
        """
        if self.mammogram is None or self.normalised is None:
            raise InputError(f"{self.description.file}: no breast mask to draw, expected an image that is accepted")
        return _draw(self.mammogram, self.normalised)


def describe(file: Path, info: ImageInfo, *, any_view: bool = False) -> Described:
    """Read an image file as detection does, and describe what was understood and what would be refused.

    Parameters
    ----------
    info
        What the caller states of an image that does not state it itself.
    any_view
        Accept magnified, stereo and specimen views.
    """
    description = Description(file.name)
    try:
        picture = facts_of(file).shape is not None and is_picture(file)
        description = _of_picture(file) if picture else _of_header(file, description)
        mammogram = open_mammogram(file, info, any_view=any_view)
    except InputError as error:
        return Described(replace(description, refused=str(error)))
    description = _with_pixels(description, mammogram)
    try:
        with naming(file):
            normalised = _normalised(mammogram)
    except InputError as error:
        return Described(replace(description, refused=str(error)), mammogram)
    area = float(np.count_nonzero(normalised.breast)) * (normalised.spacing_mm / 10) ** 2
    return Described(replace(description, breast_area_cm2=round(area, 1)), mammogram, normalised)


def _of_picture(file: Path) -> Description:
    rows, columns = facts_of(file).shape or (None, None)
    return Description(file.name, format="picture", rows=rows, columns=columns)


def _of_header(file: Path, description: Description) -> Description:
    with quiet():
        header = read_data_set(file, stop_before_pixels=True)
        syntax = SYNTAXES.get(word(header.file_meta, "TransferSyntaxUID"))
        orientation = orientation_of(header)
        try:
            spacing_mm = check_spacing(header, file.name)
        except MissingSpacingError:
            spacing_mm = None
        is_imager = spacing_mm is not None and numbers(header, "ImagerPixelSpacing")[:2] == spacing_mm
        texts = {keyword: long_text(header, keyword, most=1024) for keyword in _TEXTS}
        texts["PatientName"] = person_name(header, "PatientName")
        return replace(
            description,
            format=f"DICOM, {'unknown transfer syntax' if syntax is None else syntax.name}",
            intent=INTENTS.get(word(header, "SOPClassUID")),
            system=system_name(texts["Manufacturer"].value, texts["ManufacturerModelName"].value),
            laterality=laterality_of(header),
            view=view_of(header),
            rows=integer(header, "Rows"),
            columns=integer(header, "Columns"),
            pixel_spacing_mm=spacing_mm,
            pixel_spacing_from="" if spacing_mm is None else "ImagerPixelSpacing" if is_imager else "PixelSpacing",
            chest_wall=None if orientation is None else orientation.chest_wall,
            cranial=None if orientation is None else orientation.cranial,
            burned_in={"YES": True, "NO": False}.get(word(header, "BurnedInAnnotation").upper()),
            remarks=tuple(f"{keyword}: {text.fault}" for keyword, text in texts.items() if text.fault),
        )


def _with_pixels(description: Description, mammogram: Mammogram) -> Description:
    """Return the description with what the opened image adds: its window, and what the caller stated."""
    window = mammogram.window
    return replace(
        description,
        intent=mammogram.intent,
        system=mammogram.system,
        laterality=mammogram.laterality,
        view=mammogram.view,
        pixel_spacing_mm=mammogram.spacing_mm,
        pixel_spacing_from="--pixel-spacing" if mammogram.spacing_given else description.pixel_spacing_from,
        window="" if window is None else f"centre {window.centre:g}, width {window.width:g} ({window.function})",
    )


def _normalised(mammogram: Mammogram) -> NormalisedMammogram:
    """Return the image normalised as for the shipped model of its intent."""
    from microcalc.models.description import DESCRIPTION, parse_description
    from microcalc.models.model import shipped_model
    from microcalc.normalise.mammogram import normalise

    file = shipped_model(mammogram.intent) / DESCRIPTION
    model = parse_description(file.read_bytes(), where=f"{mammogram.intent}/{DESCRIPTION}")
    return normalise(mammogram, spacing_mm=model.spacing_mm)


def _draw(mammogram: Mammogram, normalised: NormalisedMammogram) -> Image:
    from PIL import Image
    from scipy import ndimage

    from microcalc.display.grey import breast_of, whole_grey

    extent_mm = np.array(mammogram.pixels.shape) * mammogram.spacing_mm
    height, width = np.maximum((extent_mm * min(_PICTURE_PX / extent_mm)).round().astype(int), 1).tolist()
    size = (width, height)
    grey = Image.fromarray(whole_grey(mammogram, normalised)).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    mask = Image.fromarray(breast_of(mammogram, normalised, (0, 0), mammogram.pixels.shape)).convert("L")
    inside = np.asarray(mask.resize(size, Image.Resampling.NEAREST)) > 0
    outline = inside & ~ndimage.binary_erosion(inside, iterations=2)
    page = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)
    page[outline] = _OUTLINE
    return Image.fromarray(page)
