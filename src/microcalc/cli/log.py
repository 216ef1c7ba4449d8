"""The library's log records, as lines or as a progress bar on standard error.

The library logs to ``microcalc`` and decides nothing about the output. Here its records become:

- on a terminal: a bar with ``12 of 500`` and the time left, which disappears when the work is done;
- elsewhere: a line every ten seconds, and when a work that took longer is done;
- warnings and errors: one line each, as those of the command; of many files with the same fault, the first ones.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from microcalc.cli.output import PRINTING, print_fault, print_note

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from microcalc.execution.progress import Progress

LINE_INTERVAL_S: Final = 10.0
_NODE: Final = "microcalc.node"
"""Logger of the node, which writes its log itself, with times."""


@contextmanager
def log_records_shown() -> Iterator[None]:
    """Show the library's records while the block runs, and leave the terminal in order, however the block ends."""
    logger, handler = logging.getLogger("microcalc"), _Handler()
    level = logger.level
    handler.addFilter(lambda record: record.name != _NODE)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


class _Handler(logging.Handler):
    """Writes records to standard error as it is when the record comes."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._bar: _Bar | None = None
        self._work = ""
        self._last_line_s = 0.0
        self._has_lines = False

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        progress: Progress | None = getattr(record, "progress", None)
        if progress is not None:
            self._show(progress)
        elif record.levelno >= logging.WARNING:
            print_fault(record.getMessage())
        else:
            print_note(record.getMessage())

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        super().close()

    def _show(self, progress: Progress) -> None:
        if PRINTING.quiet or progress.total < 2:
            return
        done = progress.done >= progress.total
        if _is_terminal():
            self._bar = self._bar or _Bar()
            self._bar.show(progress)
            if done:
                self._bar.stop()
                self._bar = None
            return
        now = time.monotonic()
        if progress.work != self._work:
            self._work, self._last_line_s, self._has_lines = progress.work, now, False
        if now - self._last_line_s >= LINE_INTERVAL_S or (done and self._has_lines):
            self._last_line_s, self._has_lines = now, True
            print_note(str(progress))


class _Bar:
    """A progress bar on standard error; lines that are printed meanwhile appear above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
        self._bar: Bar = Bar(
            *columns,
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file or a pipe stays there
        )
        self._task: TaskID | None = None
        self._work = ""
        self._bar.start()

    def show(self, progress: Progress) -> None:
        """Draw how far the work is."""
        if self._task is None or progress.work != self._work:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._work = self._bar.add_task(progress.work, state=""), progress.work
        state = str(progress).removeprefix(f"{progress.work}: ")
        self._bar.update(self._task, completed=progress.done, total=progress.total, state=state, refresh=True)

    def stop(self) -> None:
        """Remove the bar from the terminal."""
        self._bar.stop()


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
