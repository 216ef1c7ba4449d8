"""Detect whether a part of the node makes progress with its work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_REPEATS: Final = 10
"""Health fails when an image was put back, or a report not sent, this many times in a row. Our choice."""


@dataclass(eq=False, slots=True)
class Watch:
    """Remember when a part of the node last completed work or had none to do; a failed attempt counts as neither.

    Attributes
    ----------
    clock
        Returns the time in seconds; it must not jump when the system clock is set.
    """

    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def progress(self) -> None:
        """Record that a piece of work was completed."""
        self._last = self.clock()

    def idle(self) -> None:
        """Record that no work is waiting."""
        self._last = self.clock()

    def stalled(self, seconds: float) -> bool:
        """Return whether work has been waiting for more than this time and none was completed."""
        return self.clock() - self._last > seconds
