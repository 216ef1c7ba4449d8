"""What the workers of a test do, in a module of its own: each of them imports it, and need not import pytest."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from microcalc.errors import InputError


def double(item: int) -> int:
    if item == 3:
        raise InputError("3: an odd one, expected another")
    return 2 * item


def die_at_two(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_twice(file: Path) -> int:
    with file.open("a") as handle:
        handle.write("tried\n")
    tries = len(file.read_text().splitlines())
    if file.name == "b" and tries < 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries


class OddError(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def raise_odd(item: int) -> int:
    raise OddError("o", "dd")


def wait(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(3600)


def threads(item: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def log(item: int) -> None:
    logging.getLogger("microcalc.somewhere").info("item %d", item, extra={"number": item})


def slowest_first(item: int) -> int:
    time.sleep(0.3 * (item == 0))
    return double(item)


def fail_or_sleep(file: Path | None) -> None:
    if file is None:
        raise InputError("1: bad, expected good")
    time.sleep(60)
    file.touch()


def pid(_item: int) -> int:
    return os.getpid()


def is_loaded(module: str) -> bool:
    return module in sys.modules
