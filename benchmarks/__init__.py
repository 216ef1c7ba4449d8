"""The measurements behind every speed that the documentation states: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, NoReturn

from microcalc.errors import InputError, MicrocalcError, MissingExtraError

_PACKAGE_OF: Final = {"cv2": "opencv-python-headless", "skimage": "scikit-image", "sklearn": "scikit-learn"}
_OURS: Final = ("benchmarks", "microcalc", "tests")


class Parser(argparse.ArgumentParser):
    """A parser that raises an error for ``run`` to print, in place of printing how a benchmark is called."""

    def error(self, message: str) -> NoReturn:
        """Refuse the call.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(f"{message} (see --help)")


def run(main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark, by default with the arguments of the command line; return its exit code.

    Bad input ends in one line, as with ``microcalc``. A process that the benchmark started has printed its own.
    """
    try:
        return main(sys.argv[1:] if arguments is None else arguments)
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 1
    except (MicrocalcError, ModuleNotFoundError, OSError, RuntimeError, KeyboardInterrupt) as error:
        return _in_one_line(error)


def _in_one_line(error: BaseException) -> int:
    from microcalc.cli import in_one_line  # not sooner: a benchmark measures the memory of what it loads itself

    try:
        return in_one_line(error)
    except ModuleNotFoundError:  # of no extra of microcalc
        name = (getattr(error, "name", None) or "").partition(".")[0]
        if name in ("", *_OURS):
            raise
        install = f"pip install {_PACKAGE_OF.get(name, name)}"
        return in_one_line(MissingExtraError(f"{name} is not installed, expected {install}"))


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End in one line because of a library that a benchmark imports before it can call ``run``."""
    if isinstance(error, ModuleNotFoundError):
        sys.exit(_in_one_line(error))
    sys.__excepthook__(kind, error, trace)


if sys.argv[:1] == ["-m"]:  # Python is about to run the module of a benchmark
    sys.excepthook = _end


def count(text: str) -> int:
    """Return the value of an option that is the number of something; raise ``ArgumentTypeError`` below 1."""
    return _whole(text, least=1)


def whole(text: str) -> int:
    """Return the value of an option that may be 0, such as a seed; raise ``ArgumentTypeError`` below that."""
    return _whole(text, least=0)


def _whole(text: str, *, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text[:40]!r}, expected a whole number of {least} or more")
    return int(text)


def amount(text: str) -> float:
    """Return the value of an option that is measured, such as minutes.

    Raises
    ------
    ArgumentTypeError
        It is not a finite number above 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}, expected a number above 0")
    return value
