"""How messages and pages write numbers of things."""

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
