"""Waiting for what other threads and processes do, on a machine that may be busy."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""Far above what anything that a test waits for takes on a busy machine."""


def wait_until(condition: Callable[[], object], *, seconds: float = PATIENCE_S) -> None:
    """Wait for a condition; raise ``TimeoutError`` where it does not come."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("waited in vain")
        time.sleep(0.02)
