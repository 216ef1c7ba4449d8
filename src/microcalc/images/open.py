"""Reading a mammogram from a file of any supported format, and what a file states before its pixels are decoded."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from microcalc.domain import Intent, Laterality, Mammogram
from microcalc.errors import InputError, MissingSpacingError, UnreadableImageError
from microcalc.images.dicom.position import view_named
from microcalc.images.dicom.sniff import is_dicom
from microcalc.images.info import NO_INFO, Described, Facts, ImageInfo
from microcalc.storage.key import file_sha256

_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\]")
_PICTURES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"P5\n", b"P5 ", b"P5\r")
"""The first bytes of PNG, JPEG, TIFF (of both byte orders) and binary PGM."""


def facts_of(path: Path) -> Facts:
    """Return what an image file states about its image; its pixels are not decoded.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    _check_is_file(path)
    if is_picture(path):
        from microcalc.images.picture import picture_shape

        return Facts(_sha256(path), frozenset(), picture_shape(path))
    from microcalc.images.dicom.facts import read_facts

    facts = read_facts(path)
    return facts if facts.uid else replace(facts, uid=_sha256(path))


def describe_image(path: Path, info: ImageInfo = NO_INFO, *, any_view: bool = False) -> Described:
    """Return what an image file states, and check it as ``check_header`` does; its header is read once.

    Raises
    ------
    InputError
        The file cannot be used; the message says why.
    """
    _check_is_file(path)
    if is_picture(path):
        facts = facts_of(path)
        assert facts.shape is not None  # of a picture
        return Described(facts, info.intent, facts.shape, info.pixel_spacing_mm)
    from microcalc.images.dicom.facts import describe_dicom

    found = describe_dicom(path, info, any_view=any_view)
    return found if found.facts.uid else replace(found, facts=replace(found.facts, uid=_sha256(path)))


def open_mammogram(path: Path, info: ImageInfo = NO_INFO, *, any_view: bool = False) -> Mammogram:
    """Read a mammogram from a DICOM, PNG, TIFF, JPEG or PGM file.

    Parameters
    ----------
    path
        The file; its content decides which format it is, not its name.
    info
        What the file may not state itself. A picture needs ``pixel_spacing_mm`` and ``intent``. What a DICOM
        header states goes before what is given here.
    any_view
        Whether magnification, stereo and specimen views are accepted as well.

    Raises
    ------
    InputError
        The file cannot be used; the message says why.
    """
    _check_is_file(path)
    view = info.view and (view_named(info.view) or info.view)
    if not is_picture(path):
        from microcalc.images.dicom.read import read_dicom

        mammogram = read_dicom(path, any_view=any_view, pixel_spacing_mm=info.pixel_spacing_mm, intent=info.intent)
        return replace(
            mammogram,
            file=printable(path.name),
            system=mammogram.system or info.system,
            view=mammogram.view or view,
            laterality=mammogram.laterality or info.laterality,
        )
    from microcalc.images.picture import read_picture

    spacing_mm, intent = stated_for_picture(path, info)
    picture = read_picture(
        path,
        spacing_mm=spacing_mm,
        intent=intent,
        system=info.system,
        view=view,
        laterality=info.laterality,
    )
    return replace(picture, file=printable(path.name))


def stated_for_picture(path: Path, info: ImageInfo) -> tuple[tuple[float, float], Intent]:
    """Return the pixel spacing and the intent that the user or a table states for a picture.

    Raises
    ------
    MissingSpacingError, UnreadableImageError
        They are not stated; the message says how to state them.
    """
    lacking = {
        "pixel spacing": "--pixel-spacing MM" if info.pixel_spacing_mm is None else "",
        "intent": "--intent raw or processed" if info.intent is None else "",
    }
    if info.pixel_spacing_mm is not None and info.intent is not None:
        return info.pixel_spacing_mm, info.intent
    what = " and no ".join(name for name, option in lacking.items() if option)
    options = " and ".join(filter(None, lacking.values()))
    error = MissingSpacingError if info.pixel_spacing_mm is None else UnreadableImageError
    raise error(
        f"{path.name}: a picture has no {what}, expected {options}, or a table of the images (see microcalc table)"
    )


def check_header(
    path: Path, info: ImageInfo = NO_INFO, *, any_view: bool = False
) -> tuple[Intent | None, tuple[int, int], tuple[float, float] | None]:
    """Check an image file as ``open_mammogram`` does, as far as this needs no decoded pixels.

    Returns
    -------
    intent
        Of the header, else of ``info``.
    shape
        (rows, columns).
    spacing_mm
        (row, column), of the header, else of ``info``.

    Raises
    ------
    InputError
        The file cannot be used; the message says why.
    """
    _check_is_file(path)
    if is_picture(path):
        from microcalc.images.picture import picture_shape

        return info.intent, picture_shape(path), info.pixel_spacing_mm
    from microcalc.images.dicom.read import check_dicom_header

    return check_dicom_header(path, any_view=any_view, pixel_spacing_mm=info.pixel_spacing_mm, intent=info.intent)


def read(
    path: str | Path,
    *,
    pixel_spacing_mm: float | tuple[float, float] | None = None,
    intent: Intent | None = None,
    system: str | None = None,
    view: str | None = None,
    laterality: Laterality | None = None,
    any_view: bool = False,
) -> Mammogram:
    """Read a mammogram from a DICOM, PNG, TIFF, JPEG or PGM file.

    Parameters
    ----------
    path
        The file; its content decides which format it is, not its name.
    pixel_spacing_mm
        Distance between the centres of neighbouring pixels in mm, (row, column), or one number for both. A picture
        (PNG, TIFF, JPEG, PGM) needs it; of a DICOM file it is used if the header has none.
    intent
        ``"raw"`` (DICOM's FOR PROCESSING: values proportional to exposure) or ``"processed"`` (FOR PRESENTATION:
        dense tissue is white). A picture needs it, and so does a mammogram in a DICOM Secondary Capture Image, such
        as digitised film; other DICOM headers state it.
    system, view, laterality
        Manufacturer and model; view position such as ``"CC"`` or ``"MLO"``; ``"L"`` or ``"R"``. Used if the file does
        not state them.
    any_view
        Whether magnification, stereo and specimen views are accepted as well.

    Returns
    -------
    Mammogram
        (rows, columns) float32, brighter = denser, as stored: nothing is rotated or resampled.

    Raises
    ------
    UnreadableImageError
        The file does not exist, is damaged, or has none of the formats.
    NotAMammogramError
        The file holds another kind of image.
    UnsupportedViewError
        Tomosynthesis or subtraction; without ``any_view`` also magnification, stereo and specimen views.
    MissingSpacingError
        The pixel spacing is missing, or is not one that a mammogram has.

    Examples
    --------
    >>> mammogram = microcalc.read("view.dcm")
    >>> mammogram.intent, mammogram.view, mammogram.laterality
    ('raw', 'CC', 'L')
    >>> mammogram.pixels.shape, mammogram.spacing_mm
    ((640, 480), (0.0940909, 0.0940909))
    """
    if isinstance(pixel_spacing_mm, (int, float)):
        pixel_spacing_mm = (pixel_spacing_mm, pixel_spacing_mm)
    info = ImageInfo(pixel_spacing_mm, intent, system, view, laterality)
    return open_mammogram(Path(path), info, any_view=any_view)


def printable(name: str) -> str:
    """Return the name of a file with bytes that are not text, and control characters, replaced by ``_``."""
    return _UNPRINTABLE.sub("_", name)


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Put the name of the file before the message of an error that does not name it."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(file.name):
            raise
        raise type(error)(f"{file.name}: {error}") from error


def unforeseen(file: Path, error: Exception) -> InputError:
    """Return an unexpected error as an ``InputError``, without its own words: these could quote a header."""
    if isinstance(error, MemoryError):
        return InputError(f"{file.name}: not enough memory, expected a smaller image or a larger machine")
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name} line {place.lineno}"
    return InputError(f"{file.name}: {type(error).__name__} in {where}, an error in microcalc itself; please report it")


def _check_is_file(path: Path) -> None:
    try:
        if path.is_file():
            return
        found = _no_file(path)
    except OSError as error:  # such as a name that is too long
        found = error.strerror or "cannot be opened"
    raise UnreadableImageError(f"{path.name}: {found}, expected a DICOM, PNG, TIFF, JPEG or PGM file")


def _no_file(path: Path) -> str:
    """Return what is found at the path, which is no file."""
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "a pipe, socket or device"
    return "a link to a missing file" if path.is_symlink() else "no such file"


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UnreadableImageError(f"{path.name}: cannot be opened ({error.strerror}), expected an image") from None


def is_picture(path: Path) -> bool:
    """Return whether a file is a PNG, JPEG, TIFF or PGM by its first bytes.

    Raises
    ------
    UnreadableImageError
        The file cannot be opened.
    """
    try:
        with path.open("rb") as handle:
            head = handle.read(4)
    except OSError as error:
        raise UnreadableImageError(f"{path.name}: cannot be opened ({error.strerror}), expected an image") from None
    # The preamble of a DICOM file may be the start of a TIFF file that shows the same picture (PS3.10 7.1).
    return any(head.startswith(magic) for magic in _PICTURES) and not is_dicom(path)
