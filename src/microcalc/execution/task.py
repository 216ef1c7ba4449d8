"""One item of the work on a cluster: what is sent to a worker, what is done there, and what comes back.

Relative paths become those of the process that sends the item; what the worker logs is logged there.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import pickle
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from microcalc import __version__
from microcalc.errors import ClusterError
from microcalc.execution.executor import LOGGER, attempt


@functools.cache
def build() -> str:
    """Return the versions of the package, of Python and of Dask, and a short hash of the package's code."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    python = ".".join(platform.python_version_tuple()[:2])
    return f"microcalc {__version__} (code {digest.hexdigest()[:8]}, Python {python}, Dask {version('distributed')})"


class _Pickler(pickle.Pickler):
    """Makes relative paths absolute: a worker has another current folder."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Path) and not value.is_absolute():
            return type(value), (str(value.absolute()),)
        return NotImplemented


def pickled(value: object) -> bytes:
    """Return what a worker unpickles to the value, with the paths in it made absolute."""
    content = io.BytesIO()
    _Pickler(content, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return content.getvalue()


def call(payload: bytes, build_here: str, topic: str, level: int) -> bytes:
    """Run a function on its item; called in a worker.

    Parameters
    ----------
    payload
        Pickled function and item.
    build_here
        Build of the process that sent them.
    topic
        Name of the events that carry what is logged.
    level
        Least level that is logged.

    Returns
    -------
    The pickled ``Attempt``: result or error of the function.

    Raises
    ------
    ClusterError
        The worker has another build.
    """
    if build() != build_here:
        raise ClusterError(f"a worker has {build()}, expected {build_here} as where the work was started")
    with _logging_to(topic, level):
        function, item = pickle.loads(payload)
        return pickle.dumps(attempt(function, item), protocol=pickle.HIGHEST_PROTOCOL)


@contextmanager
def _logging_to(topic: str, level: int) -> Iterator[None]:
    """Send what this thread logs to the process that started the work."""
    from distributed import get_worker

    logger, handler = logging.getLogger(LOGGER), _Sender(get_worker(), topic)
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Sender(QueueHandler):
    """Sends records as events of the cluster: each arrives before the result of the task that logged it."""

    def __init__(self, worker: Any, topic: str) -> None:
        super().__init__(SimpleQueue())  # prepares records to be pickled; the queue stays empty
        self._worker, self._topic, self._thread = worker, topic, threading.get_ident()

    def enqueue(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:  # a worker may run several tasks
            self._worker.log_event(self._topic, pickle.dumps(record))


def log_record(event: tuple[float, bytes]) -> None:
    """Log what a worker has logged; called for each event of the topic."""
    record: logging.LogRecord = pickle.loads(event[1])
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        with suppress(Exception):  # a handler that fails, as on a closed output, fails in the main thread too
            logger.handle(record)
