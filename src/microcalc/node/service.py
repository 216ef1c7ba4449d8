"""The whole node: what is started, in which order, and how it ends."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Final, Self

from microcalc import __version__
from microcalc.errors import InputError
from microcalc.node.analyse import Analysis, Worker, WorkerEndedError
from microcalc.node.files import Folder
from microcalc.node.health import HealthServer, Metrics
from microcalc.node.jobs import JobQueue
from microcalc.node.receive import Intake
from microcalc.node.send import Delivery, sender
from microcalc.node.server import DicomServer, Refusals, quiet_libraries
from microcalc.node.settings import MEBIBYTE, NodeSettings
from microcalc.node.settle import settle
from microcalc.node.watch import MOST_REPEATS, Watch

_LOG = logging.getLogger("microcalc.node")
_STOP_S: Final = 30.0
"""Time in which an image, a report or a file in progress may be finished at a stop."""


class Node:
    """A running node, to be used as a context manager.

    Raises
    ------
    InputError
        A port is in use, the folder belongs to another node or holds other files, the queue is damaged, or a
        model or certificate cannot be used.
    OutputError
        The folder cannot be written to.
    """

    def __init__(self, settings: NodeSettings) -> None:
        quiet_libraries()
        self.settings, self.folder = settings, Folder(settings.storage.folder)
        send = sender(settings)
        self.folder.make()
        with ExitStack() as undo:
            self._lock = self.folder.lock()
            undo.callback(self._lock.close)
            first = _first_worker(settings)
            undo.callback(first.close)
            self.queue = JobQueue(self.folder.queue)
            undo.callback(self.queue.close)
            self._lost = self.queue.counts().images["lost"]
            self.queue.start(first.models)
            self.analysis_watch, self.delivery_watch = Watch(), Watch()
            self.delivery = Delivery(settings, self.folder, self.queue, send, self.delivery_watch)
            self.refusals = Refusals()
            self.analysis = Analysis(
                settings,
                self.folder,
                self.queue,
                self.delivery.notify,
                lambda s: self.metrics.seconds.observe(s),
                self.analysis_watch,
            )
            intake = Intake(self.folder, self.queue, settings.storage, first.models, self.analysis.notify)
            settle(intake)
            self.metrics = Metrics(
                self.queue,
                self.folder,
                refusals=self.refusals.counts,
                restarts=lambda: self.analysis.restarts,
            )
            self.health = HealthServer(settings.health, self.metrics, self.faults)
            undo.callback(self.health.stop)
            self.server = DicomServer(settings.listen, intake, self.refusals, intents=settings.detect.intents)
            undo.pop_all()
        self._first = first
        self._listener = threading.Thread(target=self.server.serve, name="listener", daemon=True)

    def __enter__(self) -> Self:
        self.analysis.start(self._first)
        self.delivery.start()
        self.health.start()
        self._listener.start()
        listen = self.settings.listen
        _LOG.info(
            "microcalc %s listens as %s on %s:%d%s; health on %s:%d",
            __version__,
            listen.ae_title,
            listen.address,
            self.server.port,
            "" if listen.tls is None else " with TLS",
            self.settings.health.address,
            self.health.port,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _LOG.info("stopping: work in progress is finished, the rest stays in the queue")
        self.server.stop(wait_s=_STOP_S)
        self._listener.join()
        self.analysis.stop(wait_s=_STOP_S)
        self.delivery.stop(wait_s=_STOP_S)
        self.health.stop()
        self.queue.close()
        self._lock.close()
        _LOG.info("stopped")

    def faults(self) -> list[str]:
        """Return a message for everything that is wrong with the node."""
        left, counts = self.folder.free_bytes(), self.queue.counts()
        put_back, not_sent = self.queue.most_repeats()
        seconds, lost = self.settings.health.stalled_s, counts.images["lost"] - self._lost
        analysed, sent = (not watch.stalled(seconds) for watch in (self.analysis_watch, self.delivery_watch))
        checks = {
            "the listener has ended": self._listener.is_alive(),
            "the analysis has ended": self.analysis.alive(),
            "the delivery has ended": self.delivery.alive(),
            f"images wait, and nothing was analysed or reported for {seconds:g} s": analysed,
            f"reports waiting: {counts.reports_waiting}, and none was sent for {seconds:g} s": sent,
            f"an image was put back {put_back} times in a row": put_back < MOST_REPEATS,
            f"a report could not be sent {not_sent} times in a row": not_sent < MOST_REPEATS,
            f"images lost: {lost}; their files were removed from the folder; send them again": lost <= 0,
            f"disk nearly full: {left // MEBIBYTE} MiB left": left >= self.settings.storage.free_mib * MEBIBYTE,
        }
        return [fault for fault, good in checks.items() if not good]


def _first_worker(settings: NodeSettings) -> Worker:
    """Start the first worker, which loads the models; raise an error of one line if they cannot be loaded."""
    for _ in range(settings.detect.tries):
        try:
            return Worker(settings.detect)
        except WorkerEndedError:
            continue
    raise InputError("the model could not be loaded: its process ended, expected a model that loads")


def run_node(settings: NodeSettings) -> None:
    """Run a node until SIGTERM or SIGINT; its log goes to standard error."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    _LOG.setLevel(logging.INFO)
    logging.raiseExceptions = False  # an unwritable log must not stop the node
    warnings.simplefilter("ignore")  # warnings of libraries quote header values
    threading.excepthook = _log_class
    stop = threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    with Node(settings):
        while not stop.wait(1.0):
            pass


def _log_class(args: threading.ExceptHookArgs) -> None:
    """Log the class of an error that ended a thread; its message could quote a data set."""
    _LOG.error("a thread ended: unexpected %s", args.exc_type.__name__)
