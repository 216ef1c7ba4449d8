"""Decode compressed pixels of a DICOM file, with one decoder per transfer syntax.

Decoding runs in a separate process (`microcalc.images.dicom.worker`), which is started when it is first needed and
then reused: a codec that crashes or hangs affects one file, not the run.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from microcalc.dicom.tags import shown_uid
from microcalc.errors import UnreadableImageError
from microcalc.execution.child import end_child, reply_of, start_child

Stored = NDArray[np.integer]
"""Stored values (rows, columns), with sign and allocated bits as in the header."""


class Syntax(NamedTuple):
    """A transfer syntax: its name, and pydicom's plugin that decodes it (empty if it is uncompressed)."""

    name: str
    plugin: str = ""
    has_codestream: bool = False


_UID = "1.2.840.10008.1.2"
SYNTAXES: dict[str, Syntax] = {
    _UID: Syntax("implicit little endian"),
    f"{_UID}.1": Syntax("explicit little endian"),
    f"{_UID}.1.99": Syntax("deflated explicit little endian"),
    f"{_UID}.2": Syntax("explicit big endian"),
    # pylibjpeg-rle raises a Rust panic, which is no Exception, on bad data.
    f"{_UID}.5": Syntax("RLE", "pydicom"),
    # pylibjpeg-libjpeg is GPL and returns an image from a truncated stream without error.
    f"{_UID}.4.50": Syntax("JPEG baseline", "gdcm", True),
    f"{_UID}.4.51": Syntax("JPEG extended", "gdcm", True),
    f"{_UID}.4.57": Syntax("JPEG lossless", "gdcm", True),
    f"{_UID}.4.70": Syntax("JPEG lossless SV1", "gdcm", True),
    # gdcm aborts the process when Rows exceed the codestream.
    f"{_UID}.4.80": Syntax("JPEG-LS lossless", "pyjpegls", True),
    f"{_UID}.4.81": Syntax("JPEG-LS near-lossless", "pyjpegls", True),
    # gdcm aborts the process on a header of 60000 x 60000.
    f"{_UID}.4.90": Syntax("JPEG 2000 lossless", "pylibjpeg", True),
    f"{_UID}.4.91": Syntax("JPEG 2000", "pylibjpeg", True),
}
"""Transfer Syntax UID → name and decoder; each decoder was chosen by comparison with the others."""

_WORKER_COMMAND = [sys.executable, "-P", "-m", "microcalc.images.dicom.worker"]
_TIMEOUT_S = 60.0


def transfer_syntax(uid: str, name: str) -> Syntax:
    """Return the name and the decoder of a transfer syntax.

    Raises
    ------
    UnreadableImageError
        The transfer syntax is missing, or not supported.
    """
    syntax = SYNTAXES.get(uid)
    if syntax is None:
        raise UnreadableImageError(
            f"{name}: transfer syntax {shown_uid(uid)}, expected uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000"
        )
    return syntax


def decode_compressed(path: Path, syntax: Syntax, shape: tuple[int, int]) -> Stored:
    """Decode the pixels of a file in the worker process.

    Parameters
    ----------
    path
        The DICOM file.
    shape
        (rows, columns) in the header.

    Raises
    ------
    UnreadableImageError
        The pixel data are truncated or damaged, or the codec crashed or hung.
    """
    request: dict[str, object] = {"path": str(path.resolve()), "syntax": list(syntax), "shape": list(shape)}
    with _lock:
        try:
            reply, payload = _running_worker().ask(request)
        except (EOFError, OSError, ValueError):
            _stop_worker()
            raise UnreadableImageError(
                f"{path.name}: the {syntax.name} decoder crashed or took over {_TIMEOUT_S:g} s, expected intact pixels"
            ) from None
    error = reply.get("error")
    if error is not None:
        raise UnreadableImageError(f"{path.name}: {error}")
    return np.frombuffer(payload, dtype=str(reply["dtype"])).reshape(shape)


@dataclass(frozen=True, slots=True)
class _Worker:
    """The decoding process, and the process that owns it (a fork must not share its pipes)."""

    process: subprocess.Popen[bytes]
    owner: int

    def ask(self, request: dict[str, object]) -> tuple[dict[str, object], bytearray]:
        """Send a request and wait for the reply and its pixel bytes."""
        with reply_of(self.process, request, limit_s=_TIMEOUT_S) as reply:
            return reply, _read_exactly(cast(IO[bytes], self.process.stdout), int(reply.get("bytes", 0)))


def _read_exactly(stream: IO[bytes], count: int) -> bytearray:
    payload = bytearray(count)
    view, done = memoryview(payload), 0
    while done < count:
        got = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        done += got
    return payload


_lock = threading.Lock()
_worker: _Worker | None = None


def _running_worker() -> _Worker:
    global _worker
    if _worker is not None and (_worker.owner != os.getpid() or _worker.process.poll() is not None):
        _stop_worker()
    if _worker is None:
        _worker = _Worker(start_child(_WORKER_COMMAND, threads=1), os.getpid())
    return _worker


def _stop_worker() -> None:
    """Kill the worker; a forked child only drops its reference to its parent's worker."""
    global _worker
    worker, _worker = _worker, None
    if worker is not None and worker.owner == os.getpid():
        end_child(worker.process)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


atexit.register(_stop_worker)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
