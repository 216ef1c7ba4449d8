"""Reading a mammogram from an 8- or 16-bit PNG, TIFF, JPEG or PGM picture.

A picture states neither pixel spacing, intent nor polarity: the first two are arguments,
and the polarity follows from the intent. In a processed picture dense tissue is white,
and its values are kept; a raw picture holds values that increase with exposure, which are negated.
Rotation tags (EXIF) are ignored: positions are those of the stored pixels.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from microcalc.domain import BoolImage, FloatImage, Intent, Laterality, Mammogram
from microcalc.errors import MissingSpacingError, NotAMammogramError, UnreadableImageError
from microcalc.images.info import spacing_in_words

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "TIFF", "JPEG", "PPM")
_SIDE_LIMITS = (64, 16384)
_MOST_PIXELS = 64 * 1024 * 1024
_SPACING_LIMITS_MM = (0.02, 0.2)
_LARGEST_FILE = 1024**3
# Largest difference between the channels of a grey picture, from rounding in JPEG's colour transformation.
_GREY_TOLERANCE = 2
_WHITE_IS_ZERO_TAG = 262


def read_picture(
    path: Path,
    *,
    spacing_mm: tuple[float, float],
    intent: Intent,
    system: str | None = None,
    view: str | None = None,
    laterality: Laterality | None = None,
) -> Mammogram:
    """Read a mammogram from a PNG, TIFF, JPEG or PGM picture.

    Parameters
    ----------
    path
        PNG, TIFF, JPEG or PGM, 8 or 16 bits, grey, or colour of which all channels are the
        same; a transparency channel is ignored.
    spacing_mm
        Pixel spacing (row, column); both are the same.
    intent
        ``"raw"``: values proportional to exposure. ``"processed"``: dense is white.
    system, view, laterality
        As the caller knows them; they are copied into the result.

    Returns
    -------
    Mammogram
        Brighter = denser; ``uid`` is the file's SHA-256.

    Raises
    ------
    UnreadableImageError
        No such file, none of the three formats, truncated, or of an implausible size.
    NotAMammogramError
        A colour picture, several pages, or pixels that are not 8- or 16-bit grey values.
    MissingSpacingError
        The spacing is not one that a mammogram has, or the pixels are not square.
    """
    low, high = _SPACING_LIMITS_MM
    if not low <= spacing_mm[0] == spacing_mm[1] <= high:
        words = spacing_in_words(spacing_mm)
        raise MissingSpacingError(
            f"{path.name}: pixel spacing {words} mm, expected {low} to {high}, the same in rows and columns"
        )
    data = _bytes(path)
    grey = _grey_values(data, path.name).astype(np.float32)
    pixels: FloatImage = -grey if intent == "raw" else grey
    return Mammogram(
        pixels=pixels,
        spacing_mm=spacing_mm,
        intent=intent,
        uid=hashlib.sha256(data).hexdigest(),
        laterality=laterality,
        view=view,
        system=system,
        spacing_given=True,
    )


def picture_values(path: Path) -> NDArray[np.integer]:
    """Return the stored values of a picture, (rows, columns) uint8 or uint16.

    Raises
    ------
    UnreadableImageError, NotAMammogramError
        As in `read_picture`.
    """
    return _grey_values(_bytes(path), path.name)


def read_mask(path: Path) -> BoolImage:
    """Return where a picture with two values is not 0, (rows, columns).

    Raises
    ------
    UnreadableImageError, NotAMammogramError
        As in `read_picture`, or the picture has more values, or two of which none is 0.
    """
    values = _grey_values(_bytes(path), path.name, bilevel=True)
    found = np.unique(values)
    if len(found) > 2 or (len(found) == 2 and found[0] != 0):
        some = ", ".join(str(value) for value in found[:3])
        raise NotAMammogramError(f"{path.name}: a mask with {len(found)} values ({some} ...), expected 0 and one other")
    return np.asarray(values != 0)


def picture_shape(path: Path) -> tuple[int, int]:
    """Return (rows, columns) of a picture from its header alone.

    Raises
    ------
    UnreadableImageError
        No such file, or none of the three formats.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=_FORMATS) as image:
                columns, rows = image.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            raise UnreadableImageError(f"{path.name}: unknown format, expected DICOM, PNG, TIFF, JPEG or PGM") from None
    return rows, columns


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise UnreadableImageError(f"{path.name}: {path.stat().st_size} bytes, expected at most {_LARGEST_FILE}")
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableImageError(f"{path.name}: no such file, expected an image") from None
    except IsADirectoryError:
        raise UnreadableImageError(f"{path.name}: a folder, expected an image") from None
    except OSError as error:
        raise UnreadableImageError(f"{path.name}: cannot be opened ({error.strerror}), expected an image") from None


def _grey_values(data: bytes, name: str, *, bilevel: bool = False) -> NDArray[np.integer]:
    """Return (rows, columns) uint8 or uint16; a picture of one bit a pixel only where ``bilevel``."""
    import io

    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow's own size warning comes below our bound's error; its tag warnings tell nothing.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                _check(image, name)
                image.load()
                return _to_grey(image.convert("L") if bilevel and image.mode == "1" else image, name)
        except (UnreadableImageError, NotAMammogramError):
            raise
        except UnidentifiedImageError:
            raise UnreadableImageError(f"{name}: unknown format, expected DICOM, PNG, TIFF, JPEG or PGM") from None
        except Image.DecompressionBombError:
            raise UnreadableImageError(f"{name}: too many pixels, expected at most {_MOST_PIXELS}") from None
        except Exception:  # Pillow raises a dozen kinds on damaged files
            raise UnreadableImageError(f"{name}: truncated or damaged picture, expected a whole one") from None


def _check(image: Image, name: str) -> None:
    """Refuse a wrong size or number of pages, before anything is decoded."""
    low, high = _SIDE_LIMITS
    columns, rows = image.size
    if not (low <= rows <= high and low <= columns <= high and rows * columns <= _MOST_PIXELS):
        raise UnreadableImageError(
            f"{name}: {rows} x {columns} pixels, expected sides of {low} to {high} and at most {_MOST_PIXELS} pixels"
        )
    pages = getattr(image, "n_frames", 1)
    if pages != 1:
        raise NotAMammogramError(f"{name}: {pages} pages, expected one image")


def _to_grey(image: Image, name: str) -> NDArray[np.integer]:
    if image.mode in ("P", "PA"):
        image = image.convert("RGB")
    if image.mode not in ("L", "LA", "RGB", "RGBA", "RGBX", "I", "I;16", "I;16B", "I;16L"):
        raise NotAMammogramError(f"{name}: pixel type {image.mode}, expected 8- or 16-bit grey values")
    values = np.asarray(image)
    if image.mode == "LA":
        return values[..., 0]
    if values.ndim == 3:
        return _one_channel(values[..., :3], name)
    if image.mode == "L":
        return values
    return _sixteen_bits(values, name, white_is_zero=_is_white_zero(image))


def _one_channel(colour: NDArray[np.integer], name: str) -> NDArray[np.integer]:
    spread = _largest_difference(colour)
    if spread > _GREY_TOLERANCE:
        raise NotAMammogramError(f"{name}: a colour picture (channels differ by {spread}), expected grey")
    return colour[..., 1]


def _largest_difference(colour: NDArray[np.integer]) -> int:
    """Return by how much two channels (rows, columns, 3) of 8 bits differ at most; whole channels are the fastest."""
    red, green, blue = (np.ascontiguousarray(colour[..., channel]) for channel in range(3))
    pairs = ((red, green), (green, blue), (blue, red))
    return max(int((np.maximum(one, other) - np.minimum(one, other)).max()) for one, other in pairs)


def _sixteen_bits(values: NDArray[np.integer], name: str, *, white_is_zero: bool) -> NDArray[np.integer]:
    if int(values.min()) < 0 or int(values.max()) > 65535:
        raise NotAMammogramError(f"{name}: values beyond 16 bits, expected 8- or 16-bit grey values")
    sixteen = values.astype(np.uint16)
    return np.invert(sixteen) if white_is_zero else sixteen


def _is_white_zero(image: Image) -> bool:
    """Return whether TIFF's PhotometricInterpretation is 0, which Pillow respects for 8 bits only."""
    return image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_WHITE_IS_ZERO_TAG) == 0
