"""How far a long work is, and how long it will still take, as log records.

The library logs; a program decides what becomes of the records. Each has the attribute ``progress``, a
``Progress``, from which the command draws a bar on a terminal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

_T = TypeVar("_T")
_LOG = logging.getLogger("microcalc.progress")
INTERVAL_S: Final = 1.0
"""At most one record in so many seconds, besides the last."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a work is.

    Attributes
    ----------
    work
        What is done, such as ``"normalising images"``.
    done, total
        Number of items.
    seconds_left
        Estimate from the items done so far; None before the first.
    """

    work: str
    done: int
    total: int
    seconds_left: float | None

    def __str__(self) -> str:
        """Return ``"normalising images: 12 of 500, 3 min left"``."""
        left = "" if self.seconds_left is None or self.done == self.total else f", {in_words(self.seconds_left)} left"
        return f"{self.work}: {self.done} of {self.total}{left}"


def track(items: Iterable[_T], work: str, *, total: int, before: int = 0) -> Iterator[_T]:
    """Yield the items, and log after each how far the work is.

    Parameters
    ----------
    work
        What is done, such as ``"normalising images"``.
    total
        Number of items, those of an earlier start included.
    before
        Number of items that an earlier start has done.
    """
    started = last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now, done = time.monotonic(), before + number
        if done == total or now - last >= INTERVAL_S:
            last = now
            log_progress(Progress(work, done, total, (now - started) / number * (total - done)))


def log_progress(progress: Progress) -> None:
    """Log how far a work is, at level INFO of the logger ``microcalc.progress``."""
    _LOG.info("%s", progress, extra={"progress": progress})


def in_words(seconds: float) -> str:
    """Return a duration for a person: ``"40 s"``, ``"3 min"``, ``"2 h 5 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
