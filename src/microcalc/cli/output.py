"""What the commands print: results on standard output, remarks and errors on standard error.

A terminal, a pipe and a program read the same lines. No name of a file can break a line or move the cursor:
control characters are written as backslash escapes, and so are bytes that the stream's encoding lacks.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TextIO

from microcalc.errors import OutputError
from microcalc.wording import quantity

_NAMED: Final = 20
"""Of so many files with the same fault each is named."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(slots=True)
class Printing:
    """What is printed.

    Attributes
    ----------
    quiet
        Print only errors, JSON, and the lines of ``print_result``.
    json
        Standard output holds JSON alone; remarks go to standard error.
    faults
        Number of files with each fault; see ``print_fault``.
    """

    quiet: bool = False
    json: bool = False
    faults: Counter[str] = field(default_factory=Counter)


PRINTING: Final = Printing()
"""How this process prints; ``cli.run`` sets it for each command."""


def print_line(line: str) -> None:
    """Print a remark or a result for a person, in one line and at once; not with ``--quiet``.

    Raises
    ------
    BrokenPipeError
        Nobody reads standard output any more.
    OutputError
        The system cannot write it, for example because the disk is full.
    """
    if not PRINTING.quiet:
        _print(line, sys.stderr if PRINTING.json else sys.stdout)


def print_result(line: str) -> None:
    """Print a line that is the purpose of the command, with ``--quiet`` as well; raises as ``print_line``."""
    _print(line, sys.stdout)


def print_json(document: Mapping[str, object]) -> None:
    """Print an object as JSON in one line of standard output; raises as ``print_line``."""
    _print(json.dumps(document), sys.stdout)


def print_note(line: str) -> None:
    """Print a remark that is no result, such as how far the work is, on standard error; not with ``--quiet``."""
    if not PRINTING.quiet:
        print(_printable(line, sys.stderr), file=sys.stderr, flush=True)


def print_text(text: str) -> None:
    """Print the lines of a text as ``print_line`` does."""
    for line in text.rstrip().split("\n"):
        print_line(line)


def print_error(line: str, *, code: int = 2) -> int:
    """Print an error or a warning in one line on standard error; return the exit code."""
    text = _printable(" ".join(line.split()), sys.stderr)
    print("microcalc:", text, file=sys.stderr, flush=True)
    return code


def print_fault(message: str) -> None:
    """Print what is wrong with one of many files, such as ``"a.dcm: no pixel spacing"``.

    Of many files with the same fault only the first ones are named, however many there are.
    """
    fault = message.partition(": ")[2] or message
    PRINTING.faults[fault] += 1
    if PRINTING.faults[fault] <= _NAMED:
        print_error(message)


def print_more_faults() -> None:
    """Print how many more files have each fault than ``print_fault`` named; begin to count anew."""
    for fault, number in PRINTING.faults.items():
        if number > _NAMED:
            print_error(f"{quantity(number - _NAMED, 'more file')}: {fault}")
    PRINTING.faults.clear()


def _print(line: str, stream: TextIO) -> None:
    try:
        print(_printable(line, stream), file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror}, expected room for the results") from error


def _printable(line: str, stream: TextIO) -> str:
    """Return the line without control characters, and without characters that the stream cannot encode."""
    encoding = stream.encoding or "utf-8"
    safe = _CONTROL.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), line)
    return safe.encode(encoding, "backslashreplace").decode(encoding)
