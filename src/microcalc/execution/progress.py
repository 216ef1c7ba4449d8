"""How far a long work is, and how long it will still take, as log records.

The library logs; a program decides what becomes of the records. Each has the attribute ``progress``, a
``Progress``, from which the command draws a bar on a terminal.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

_T = TypeVar("_T")
_LOG = logging.getLogger("microcalc.progress")
INTERVAL_S: Final = 1.0
"""At most one record in so many seconds, besides the last."""
_RECENT: Final = 16  # ours: records from which the time left is estimated


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
        Estimate from the pace of the latest items; None before the first.
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

    The time left is estimated from the last few records: items that an earlier start has done, and that are only
    looked up, do not make the others look fast for long.

    Parameters
    ----------
    work
        What is done, such as ``"normalising images"``.
    total
        Number of items, those of an earlier start included.
    before
        Number of items that an earlier start has done.
    """
    recent = deque([(time.monotonic(), before)], maxlen=_RECENT)
    for done, item in enumerate(items, before + 1):
        yield item
        now = time.monotonic()
        if done == total or now - recent[-1][0] >= INTERVAL_S:
            then, done_then = recent[0]
            recent.append((now, done))
            log_progress(Progress(work, done, total, (now - then) / (done - done_then) * (total - done)))


def log_progress(progress: Progress) -> None:
    """Log how far a work is, at level INFO of the logger ``microcalc.progress``."""
    _LOG.info("%s", progress, extra={"progress": progress})


def in_words(seconds: float) -> str:
    """Return a duration for a person: ``"40 s"``, ``"3 min"``, ``"2 h 5 min"``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
