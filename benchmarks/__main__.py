"""Run benchmarks: by default detection and the speed of the cascade, else the named one (see README.md)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from benchmarks import run
from microcalc.errors import InputError

NAMES = (
    "detect",
    "cascade",
    "content",
    "engines",
    "evaluate",
    "folder",
    "folds",
    "gpu",
    "headers",
    "kinds",
    "mining",
    "near_calcium",
    "node",
    "peers",
    "simulate",
    "tables",
    "view",
)


def main(arguments: Sequence[str]) -> int:
    """Run the named benchmark, or by default those that take a minute; return the highest exit code."""
    if arguments and arguments[0] in NAMES:
        return _run(arguments[0], arguments[1:])
    if arguments and not arguments[0].startswith("-"):
        raise InputError(f"{arguments[0]}: no such benchmark, expected {', '.join(NAMES[:-1])} or {NAMES[-1]}")
    return max(_run("detect", arguments), _run("cascade", ["--speed-only"]))


def _run(name: str, arguments: Sequence[str]) -> int:
    return int(importlib.import_module(f"benchmarks.{name}").main(arguments))


if __name__ == "__main__":
    sys.exit(run(main))
