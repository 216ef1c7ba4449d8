"""A child process that answers in lines of JSON: for work in which a library may crash or hang, as decoding may.

A crash ends the child alone, and a child that hangs is killed. ``executor`` serves for all other work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, cast


def start_child(command: Sequence[str], *, threads: int, own_session: bool = False) -> subprocess.Popen[bytes]:
    """Start a process that can import this package, however the path of this process was set.

    Parameters
    ----------
    threads
        Number of threads of its arithmetic.
    own_session
        Whether an interrupt from the keyboard does not reach it.

    Raises
    ------
    OSError
        The process cannot be started.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = str(threads)
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=own_session,
    )


def end_child(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and release its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # a request that was never sent
            cast(IO[bytes], pipe).close()


@contextmanager
def reply_of(
    process: subprocess.Popen[bytes], request: Mapping[str, object], *, limit_s: float
) -> Iterator[dict[str, Any]]:
    """Send a request and yield the reply; kill the process if the block has not ended after ``limit_s`` seconds.

    The block may read what follows the reply from ``process.stdout``.

    Raises
    ------
    EOFError
        The process ended before it replied.
    OSError
        The process does not read any more.
    """
    to_child, from_child = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    watchdog = threading.Timer(limit_s, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        to_child.write(json.dumps(request).encode() + b"\n")
        to_child.flush()
        line = from_child.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        yield json.loads(line)
    finally:
        watchdog.cancel()
