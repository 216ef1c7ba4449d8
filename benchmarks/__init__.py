"""The measurements behind every speed that the documentation states: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence

from microcalc.errors import MicrocalcError


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark, by default with the arguments of the command line; return its exit code.

    Bad input ends in one line, as with ``microcalc``. A process that the benchmark started has printed its own.
    """
    try:
        return main(sys.argv[1:] if arguments is None else arguments)
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 1
    except (MicrocalcError, ModuleNotFoundError, OSError, KeyboardInterrupt) as error:
        from microcalc.cli import in_one_line  # not sooner: a benchmark measures the memory of what it loads itself

        return in_one_line(error)


def count(text: str) -> int:
    """Return the value of an option that is the number of something.

    Raises
    ------
    ArgumentTypeError
        It is not a whole number of 1 or more.
    """
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number of 1 or more")
    return int(text)
