"""Words that messages of several rooms share: numbers with nouns, faults of many files, why a file cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

_LISTED: Final = 20


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


def grouped(messages: Iterable[str]) -> list[str]:
    """Return messages such as ``"a.png: no intent"``, those of several files with the same fault as one.

    That is ``"12 files, the first a.png: no intent"``, in the place of the first.
    """
    alike: dict[str, list[str]] = {}
    for message in messages:
        alike.setdefault(message.partition(": ")[2] or message, []).append(message)
    return [f"{len(others) + 1} files, the first {first}" if others else first for first, *others in alike.values()]


def listed(messages: Sequence[str]) -> str:
    """Return messages as one, of many the first ones and the number of the others."""
    more = [f"and {len(messages) - _LISTED} more"] if len(messages) > _LISTED else []
    return "; ".join([*messages[:_LISTED], *more])


def reading_fault(error: OSError | UnicodeDecodeError) -> str:
    """Return why a text file cannot be read: ``"no such file or directory"``, ``"not text in UTF-8"``."""
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    return (error.strerror or type(error).__name__).lower()
