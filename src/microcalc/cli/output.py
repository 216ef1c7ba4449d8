"""What the commands print: results on standard output, errors in one line on standard error."""

from __future__ import annotations

import sys
from typing import TextIO

from microcalc.errors import OutputError


def say(line: str) -> None:
    """Print a line, at once.

    Raises
    ------
    BrokenPipeError
        Nobody reads on.
    OutputError
        The system refuses otherwise, such as where a full disk takes the output.
    """
    try:
        print(_printable(line, sys.stdout), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}, expected to write what was found") from error


def say_error(line: str, *, code: int = 2) -> int:
    """Print an error in one line; the exit code."""
    print("microcalc:", _printable(" ".join(line.split()), sys.stderr), file=sys.stderr, flush=True)
    return code


def _printable(line: str, stream: TextIO) -> str:
    """A line that the stream can take: names of files may hold bytes that are no text."""
    encoding = stream.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
