"""Header values, read leniently: a value that cannot be understood counts as absent.

Public sets are full of small faults (over-long strings, DS with blanks, a missing
second value). What matters is checked by the caller; the rest must not stop a file.
No value of the header is ever part of an exception here, since it could name a patient.
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
    """How many ``quiet`` blocks of all threads are open, and what the last one to end gives back."""

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
    """No warnings and no log of pydicom, which quote header values, patient names among them.

    Blocks of several threads may overlap: what was before comes back when the last one ends.
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
    """Whether an element is absent or has no value; one that cannot be understood is not empty."""
    if keyword not in dataset:
        return True
    try:
        value = dataset.get(keyword)
    except Exception:  # any fault of a hostile element
        return False
    return value is None or str(value).strip(" \0") in ("", "[]")


def only_word(dataset: Dataset, keyword: str) -> str:
    """The value of an element as a stripped string; empty where absent, or where there are several different ones."""
    found = set(words(dataset, keyword))
    return found.pop() if len(found) == 1 else ""


def content(dataset: Dataset, keyword: str) -> bytes:
    """The bytes of an element, such as pixel data; empty where absent or not bytes."""
    found = _values(dataset, keyword)
    return found[0] if len(found) == 1 and isinstance(found[0], bytes) else b""


def words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of an element as stripped strings; empty where absent."""
    return tuple(str(value).strip(" \0") for value in _values(dataset, keyword))


def word(dataset: Dataset, keyword: str) -> str:
    """The first value of an element as a stripped string; empty where absent."""
    return next(iter(words(dataset, keyword)), "")


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of an element as finite numbers; empty where absent or not numbers."""
    found = []
    for value in _values(dataset, keyword):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            return ()
        if not math.isfinite(number):
            return ()
        found.append(number)
    return tuple(found)


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first value of an element as a finite number; None where absent."""
    return next(iter(numbers(dataset, keyword)), None)


def integer(dataset: Dataset, keyword: str) -> int | None:
    """The first value of an element as a whole number; None where absent."""
    found = number(dataset, keyword)
    return None if found is None or found != int(found) else int(found)


def items(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; empty where absent."""
    from pydicom.dataset import Dataset

    return tuple(item for item in _values(dataset, keyword) if isinstance(item, Dataset))


def shown_uid(uid: str) -> str:
    """A UID for a message; of a damaged header anything could stand in its place."""
    return uid if _UID.fullmatch(uid) else "damaged" if uid else "missing"


def is_uid(uid: str) -> bool:
    """Whether this is a UID (PS3.5 9.1)."""
    return _UID.fullmatch(uid) is not None


def is_code(item: Dataset, code: Code) -> bool:
    """Whether a code sequence's item says this concept, in SNOMED CT or RT."""
    return word(item, "CodeValue") in (code.sct, code.srt)
