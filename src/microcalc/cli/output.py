"""What the commands print: results on standard output, errors in one line on standard error."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print a line, at once."""
    print(line, flush=True)


def say_error(line: str, *, code: int = 2) -> int:
    """Print an error in one line; the exit code."""
    print("microcalc:", " ".join(line.split()), file=sys.stderr, flush=True)
    return code
