"""Opens any image that we read, whatever its format; and what images say of themselves before they are opened."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from microcalc.domain import Mammogram
from microcalc.errors import InputError, MissingSpacingError, UnreadableImageError
from microcalc.images.dicom.position import view_named
from microcalc.images.dicom.sniff import is_dicom
from microcalc.images.info import NO_INFO, ImageInfo
from microcalc.storage.key import file_sha256

_PICTURES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"II*\x00": "TIFF", b"MM\x00*": "TIFF"}


Fact = Literal["pixel_spacing", "intent", "system", "view", "laterality"]
"""What an image may say of itself; a picture says nothing, and a user can."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image file says of itself.

    Attributes
    ----------
    uid
        As in ``Mammogram``: the SOP Instance UID, or the file's SHA-256.
    said
        What need not, and cannot, be said by the user.
    shape, spacing_mm
        Rows and columns, and the pixel spacing (row, column); None where the file does not say them.
    """

    uid: str
    said: frozenset[Fact]
    shape: tuple[int, int] | None = None
    spacing_mm: tuple[float, float] | None = None


def facts_of(path: Path) -> Facts:
    """Return what an image file says of itself; its pixels are not decoded.

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
    return Facts(facts.uid or _sha256(path), frozenset(facts.said), facts.shape, facts.spacing_mm)


def open_mammogram(path: Path, info: ImageInfo = NO_INFO, *, any_view: bool = False) -> Mammogram:
    """Read a mammogram from a DICOM, PNG, TIFF or JPEG file.

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

        mammogram = read_dicom(path, any_view=any_view, pixel_spacing_mm=info.pixel_spacing_mm)
        return replace(
            mammogram,
            system=mammogram.system or info.system,
            view=mammogram.view or view,
            laterality=mammogram.laterality or info.laterality,
        )
    from microcalc.images.picture import read_picture

    if info.pixel_spacing_mm is None:
        raise MissingSpacingError(f"{path.name}: a picture has no pixel spacing, expected --pixel-spacing MM")
    if info.intent is None:
        raise UnreadableImageError(f"{path.name}: a picture has no intent, expected --intent raw or processed")
    return read_picture(
        path,
        spacing_mm=info.pixel_spacing_mm,
        intent=info.intent,
        system=info.system,
        view=view,
        laterality=info.laterality,
    )


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """Put the file's name before a message that lacks it: a mammogram does not know its file."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(file.name):
            raise
        raise type(error)(f"{file.name}: {error}") from error


def unforeseen(file: Path, error: Exception) -> InputError:
    """Return an error that nobody foresaw in words: its own could quote a header."""
    if isinstance(error, MemoryError):
        return InputError(f"{file.name}: not enough memory, expected a smaller image or a larger machine")
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name} line {place.lineno}"
    return InputError(f"{file.name}: {type(error).__name__} in {where}, a fault of microcalc; please report it")


def _check_is_file(path: Path) -> None:
    try:
        if path.is_file():
            return
        found = _no_file(path)
    except OSError as error:  # such as a name that is too long
        found = error.strerror or "cannot be opened"
    raise UnreadableImageError(f"{path.name}: {found}, expected a DICOM, PNG, TIFF or JPEG file")


def _no_file(path: Path) -> str:
    """What stands in a file's place."""
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "a pipe, socket or device"
    return "a link to a file that is not there" if path.is_symlink() else "no such file"


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UnreadableImageError(f"{path.name}: cannot be opened ({error.strerror}), expected an image") from None


def is_picture(path: Path) -> bool:
    """Return whether a file is a PNG, JPEG or TIFF by its first bytes.

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
