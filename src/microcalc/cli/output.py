"""What the commands print: results on standard output, errors in one line on standard error."""

from __future__ import annotations

import sys
from typing import TextIO


def say(line: str) -> None:
    """Print a line, at once."""
    print(_printable(line, sys.stdout), flush=True)


def say_error(line: str, *, code: int = 2) -> int:
    """Print an error in one line; the exit code."""
    print("microcalc:", _printable(" ".join(line.split()), sys.stderr), file=sys.stderr, flush=True)
    return code


def _printable(line: str, stream: TextIO) -> str:
    """A line that the stream can take: names of files may hold bytes that are no text."""
    encoding = stream.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
