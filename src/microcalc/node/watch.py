"""Whether a part of the node gets on with its work."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MOST_REPEATS: Final = 10
"""An image that was put back, or a report that was not sent, so often in a row is told of. Ours."""


@dataclass(eq=False, slots=True)
class Watch:
    """When a part of the node last did something, or had nothing to do; trying in vain is neither.

    Attributes
    ----------
    clock
        Gives seconds; a clock that nobody sets.
    """

    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def progress(self) -> None:
        """Note that a piece of work was done."""
        self._last = self.clock()

    def idle(self) -> None:
        """Note that no work waits."""
        self._last = self.clock()

    def stalled(self, seconds: float) -> bool:
        """Return whether work has waited for so long and none was done."""
        return self.clock() - self._last > seconds
