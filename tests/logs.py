"""Log messages of a piece of work, and work that is killed at one of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from microcalc.execution import progress


class KilledError(Exception):
    """Stands for a kill of the process."""


@contextmanager
def logged(kill_at: str | None = None, *, error: type[BaseException] = KilledError) -> Iterator[list[str]]:
    """Collect the messages of the library's loggers; raise an error at the first that starts with ``kill_at``."""
    messages: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())
            if kill_at is not None and messages[-1].startswith(kill_at):
                raise error

    logger, handler = logging.getLogger("microcalc"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with mock.patch.object(progress, "INTERVAL_S", 0.0):
            yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
