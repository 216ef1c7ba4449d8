"""Words that messages of several rooms share: numbers with their nouns, and why a file cannot be read."""

from __future__ import annotations


def quantity(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``"1 image"``, ``"2 images"`` for the noun ``"image"``.

    Parameters
    ----------
    noun
        Noun in the singular, such as ``"image"`` or ``"single microcalcification"``.
    plural
        Its plural; by default the noun with an s.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def reading_fault(error: OSError | UnicodeDecodeError) -> str:
    """Return why a text file cannot be read: ``"no such file or directory"``, ``"not text in UTF-8"``."""
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    return (error.strerror or type(error).__name__).lower()
