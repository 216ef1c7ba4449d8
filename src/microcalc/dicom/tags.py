"""Lenient access to header values: a value that cannot be interpreted is treated as absent.

Public data sets have many small errors (strings that are too long, DS with blanks, a missing second value). The
caller checks what matters; other errors must not stop a file. No exception quotes a value of the header, as it could
name a patient.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from microcalc.dicom.codes import Code

_UID = re.compile(r"[0-9.]{1,64}")


class _Silence:
    """Counts the open ``quiet`` blocks of all threads, and restores the previous state after the last one."""

    def __init__(self) -> None:
        self.lock, self.open = threading.Lock(), 0
        self.logger = logging.getLogger("pydicom")
        self.was_disabled = False
        self.filters = warnings.catch_warnings()

    def begin(self) -> None:
        with self.lock:
            self.open += 1
            if self.open > 1:
                return
            self.was_disabled, self.logger.disabled = self.logger.disabled, True
            self.filters = warnings.catch_warnings()
            self.filters.__enter__()
            warnings.simplefilter("ignore")

    def end(self) -> None:
        with self.lock:
            self.open -= 1
            if self.open:
                return
            self.filters.__exit__(None, None, None)
            self.logger.disabled = self.was_disabled


_silence = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and pydicom's log, which quote header values such as patient names.

    Blocks of several threads may overlap: the previous state is restored when the last one ends.
    """
    _silence.begin()
    try:
        yield
    finally:
        _silence.end()


def _values(dataset: Dataset, keyword: str) -> tuple[object, ...]:
    from pydicom.valuerep import PersonName

    try:
        value = dataset.get(keyword)
    except Exception:  # any fault of a hostile element makes it absent
        return ()
    if value is None or value == "":
        return ()
    if isinstance(value, str | bytes | PersonName) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def is_empty(dataset: Dataset, keyword: str) -> bool:
    """Return whether an element is absent or has no value; one that cannot be interpreted is not empty."""
    if keyword not in dataset:
        return True
    try:
        value = dataset.get(keyword)
    except Exception:  # any fault of a hostile element
        return False
    return value is None or str(value).strip(" \0") in ("", "[]")


def only_word(dataset: Dataset, keyword: str) -> str:
    """Return the value of an element as a stripped string; empty if it is absent or has several different values."""
    different = set(words(dataset, keyword))
    return different.pop() if len(different) == 1 else ""


def content(dataset: Dataset, keyword: str) -> bytes:
    """Return the bytes of an element, such as pixel data; empty if it is absent or not bytes."""
    values = _values(dataset, keyword)
    return values[0] if len(values) == 1 and isinstance(values[0], bytes) else b""


def words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of an element as stripped strings; empty if it is absent."""
    return tuple(str(value).strip(" \0") for value in _values(dataset, keyword))


def word(dataset: Dataset, keyword: str) -> str:
    """Return the first value of an element as a stripped string; empty if it is absent."""
    return next(iter(words(dataset, keyword)), "")


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the values of an element as finite numbers; empty if it is absent or one is not a finite number."""
    finite = []
    for value in _values(dataset, keyword):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return ()
        if not math.isfinite(number):
            return ()
        finite.append(number)
    return tuple(finite)


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value of an element as a finite number; None if there is none."""
    return next(iter(numbers(dataset, keyword)), None)


def integer(dataset: Dataset, keyword: str) -> int | None:
    """Return the first value of an element as an integer; None if it is absent or not an integer."""
    value = number(dataset, keyword)
    return None if value is None or value != int(value) else int(value)


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence; empty if it is absent."""
    from pydicom.dataset import Dataset

    return tuple(item for item in _values(dataset, keyword) if isinstance(item, Dataset))


def shown_uid(uid: str) -> str:
    """Return a UID for a message, or ``damaged`` or ``missing``; a damaged header could contain anything."""
    return uid if _UID.fullmatch(uid) else "damaged" if uid else "missing"


def is_uid(uid: str) -> bool:
    """Return whether a string has the characters and length of a UID (PS3.5 9.1)."""
    return _UID.fullmatch(uid) is not None


def is_code(item: Dataset, code: Code) -> bool:
    """Return whether an item of a code sequence is this concept, in SNOMED CT or RT."""
    return word(item, "CodeValue") in (code.sct, code.srt)
