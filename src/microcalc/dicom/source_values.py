"""Copy values from an image's header to a report: a value that is invalid is corrected or omitted.

A report is a new instance and must be valid, whatever the header of the image contains. A value of the wrong form is
corrected if there is only one way to do so, and omitted otherwise; the reason is given without the value.

Texts are decoded with the character set that the header declares. Bytes that are invalid in this set would be
written as wrong letters. They are decoded as UTF-8 if they are valid non-ASCII UTF-8, which text in other sets hardly
ever is by chance (our choice), and omitted otherwise.

References
----------
DICOM PS3.5 6.1 (character sets), 6.2 (value representations); PS3.3 C.12.1.1.2 (Specific Character Set).
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from microcalc.dicom.tags import words

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DATE: Final = re.compile(r"(\d{4})([.-]?)(\d{2})\2(\d{2})")
_TIME: Final = re.compile(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d|60)(\.\d{1,6})?)?)?")
_ZONE: Final = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_ESCAPE: Final = b"\x1b"
_NAME_CHARACTERS: Final = 64
_NAME_COMPONENTS: Final = 5
_NAME_GROUPS: Final = 3

NOT_DECLARED: Final = "not in the declared character set"
TAKEN_AS_UTF8: Final = "not in the declared character set, taken as UTF-8"


class HeaderValue(NamedTuple):
    """A value, empty if the header has no usable one, and what was wrong with it, empty if nothing was."""

    value: str
    fault: str = ""


def long_text(dataset: Dataset, keyword: str, *, most: int = 64) -> HeaderValue:
    """Return a value of representation LO (at most 64 characters) or SH (at most 16)."""
    text, fault = _decoded(dataset, keyword)
    if _CONTROL.search(text):
        return HeaderValue("", "several values, or characters that no value may have")
    if len(text) > most:
        return HeaderValue("", f"{len(text)} characters, of which at most {most} are valid")
    return HeaderValue(text, fault)


def person_name(dataset: Dataset, keyword: str) -> HeaderValue:
    """Return a value of representation PN; a name that is too long is truncated."""
    text, fault = _decoded(dataset, keyword)
    if _CONTROL.search(text):
        return HeaderValue("", "several values, or characters that no name may have")
    groups = text.split("=")
    kept = "=".join(_name_group(group) for group in groups[:_NAME_GROUPS])
    if kept.rstrip("^= ") != text.rstrip("^= "):
        fault = fault or f"longer than a name may be ({_NAME_CHARACTERS} characters, {_NAME_COMPONENTS} parts), cut"
    return HeaderValue(kept, fault)


def _name_group(group: str) -> str:
    return "^".join(group.split("^")[:_NAME_COMPONENTS])[:_NAME_CHARACTERS]


def date(dataset: Dataset, keyword: str) -> HeaderValue:
    """Return a calendar date as YYYYMMDD; dots (as before DICOM 3) and hyphens are removed."""
    text = _single(dataset, keyword)
    match = _DATE.fullmatch(text)
    if match is None:
        return HeaderValue("", _fault(text, "no date"))
    year, _, month, day = match.groups()
    try:
        datetime.date(int(year), int(month), int(day))
    except ValueError:
        return HeaderValue("", "no date of the calendar")
    return HeaderValue(f"{year}{month}{day}")


def time(dataset: Dataset, keyword: str) -> HeaderValue:
    """Return a time as HHMMSS.ffffff or a leading part of it; colons (as before DICOM 3) are removed."""
    text = _single(dataset, keyword)
    plain = text.replace(":", "")
    return HeaderValue(plain) if _TIME.fullmatch(plain) else HeaderValue("", _fault(text, "no time of day"))


def sex(dataset: Dataset) -> HeaderValue:
    """Return the patient's sex: F, M or O."""
    text = _single(dataset, "PatientSex")
    return (
        HeaderValue(text.upper()) if text.upper() in ("F", "M", "O") else HeaderValue("", _fault(text, "not F, M or O"))
    )


def time_zone(dataset: Dataset) -> HeaderValue:
    """Return the offset of the header's times from UTC, as ``+0100``; empty if the header does not state it."""
    text = _single(dataset, "TimezoneOffsetFromUTC")
    valid = _ZONE.fullmatch(text) is not None and text != "-0000"
    return HeaderValue(text) if valid else HeaderValue("", _fault(text, "no offset from UTC"))


def raw_text(dataset: Dataset, keyword: str) -> bytes:
    """Return the bytes of a text as in the file, without padding, or its UTF-8 if the library has only the text."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return b""
    value = dataset.get_item(tag).value
    original = getattr(value, "original_string", value)  # a name that was decoded already keeps its bytes
    if isinstance(original, bytes):
        return original.strip(b" \0")
    return "\\".join(words(dataset, keyword)).strip(" \0").encode()


def _single(dataset: Dataset, keyword: str) -> str:
    """Return the value of an ASCII element; several values are joined by backslashes, which is never valid."""
    return "\\".join(words(dataset, keyword))


def _fault(text: str, what: str) -> str:
    return what if text else ""


def _decoded(dataset: Dataset, keyword: str) -> HeaderValue:
    """Decode a text with the declared character set, or as UTF-8 if its bytes are clearly UTF-8."""
    raw = raw_text(dataset, keyword)
    if raw.isascii() and _ESCAPE not in raw:
        return HeaderValue(raw.decode("ascii"))
    if not _is_raw(dataset, keyword):  # decoded already by the library, which marks invalid bytes
        text = raw.decode()
        return HeaderValue("", NOT_DECLARED) if "\ufffd" in text else HeaderValue(text)
    declared, one_byte = _by_declared_set(raw, words(dataset, "SpecificCharacterSet"))
    if declared is not None and not one_byte:
        return HeaderValue(declared)
    try:
        return HeaderValue(raw.decode("utf-8"), TAKEN_AS_UTF8)
    except UnicodeDecodeError:
        return HeaderValue("", NOT_DECLARED) if declared is None else HeaderValue(declared)


def _is_raw(dataset: Dataset, keyword: str) -> bool:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    value = None if tag is None else dataset.get_item(tag).value
    return isinstance(getattr(value, "original_string", value), bytes)


def _by_declared_set(raw: bytes, terms: tuple[str, ...]) -> tuple[str | None, bool]:
    """Return the text, None if the bytes are invalid in the set, and whether the set has one byte per character."""
    from pydicom.charset import convert_encodings, decode_bytes

    encodings = convert_encodings(list(terms) or [""]) or ["iso8859"]
    # Without a declaration the library assumes Latin-1, but the standard only ASCII.
    first = "ascii" if encodings[0] == "iso8859" else encodings[0]
    one_byte = first.startswith(("ascii", "iso8859", "latin", "iso_ir_1"))
    try:
        raw.split(_ESCAPE)[0].decode(first)
    except (UnicodeDecodeError, LookupError):
        return None, one_byte
    if _ESCAPE not in raw:
        return raw.decode(first), one_byte
    text = decode_bytes(raw, encodings, {ord("^"), ord("=")})
    return (None if "\ufffd" in text or "\x1b" in text else text), False
