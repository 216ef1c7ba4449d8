"""Health and metrics, over HTTP.

``/health`` answers with 200 while everything runs and with 503 and the reason otherwise; ``/metrics`` uses the text
format of Prometheus; ``/`` gives both in words. Counts come from the queue and so continue after a restart. No page
names an image.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from microcalc.errors import InputError
from microcalc.node.files import Folder
from microcalc.node.jobs import JobQueue
from microcalc.node.settings import Health

_LOG = logging.getLogger("microcalc.node")
_SECONDS: Final = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
_IN_WORDS: Final = {
    "microcalc_image_seconds_count": "Images analysed since the start",
    "microcalc_image_seconds_sum": "Time of their analysis",
    "microcalc_images": "Images",
    "microcalc_refused_total": "Refused",
    "microcalc_exams_open": "Exams without a report",
    "microcalc_reports_waiting": "Reports to be sent",
    "microcalc_reports_sent_total": "Reports sent",
    "microcalc_files_quarantined_total": "Files in quarantine",
    "microcalc_workers_ended_total": "Workers that ended unexpectedly",
    "microcalc_free_bytes": "Free on the disk",
}
"""Sample → its name on the page; other samples are not shown."""
_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics(Collector):
    """The metrics of a node.

    Parameters
    ----------
    refusals
        Returns the number of refusals for each reason.
    restarts
        Returns the number of workers that ended unexpectedly.
    """

    def __init__(
        self, queue: JobQueue, folder: Folder, *, refusals: Callable[[], Mapping[str, int]], restarts: Callable[[], int]
    ) -> None:
        self._queue, self._folder, self._refusals, self._restarts = queue, folder, refusals, restarts
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "microcalc_image_seconds", "Analysis of an image.", buckets=_SECONDS, registry=self.registry
        )
        self.registry.register(self)

    def describe(self) -> Iterator[Metric]:
        """Return no metrics, so that registering the collector does not read the queue."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Return all metrics with their current values."""
        counts = self._queue.counts()
        images = GaugeMetricFamily("microcalc_images", "Images ever taken in, by state.", labels=["state"])
        for state, count in counts.images.items():
            images.add_metric([state], count)
        refused = CounterMetricFamily("microcalc_refused", "Connections and images refused.", labels=["reason"])
        for reason, count in self._refusals().items():
            refused.add_metric([reason], count)
        yield images
        yield refused
        yield GaugeMetricFamily("microcalc_exams_open", "Exams without a report.", counts.exams_open)
        yield GaugeMetricFamily("microcalc_reports_waiting", "Reports to be sent.", counts.reports_waiting)
        yield CounterMetricFamily("microcalc_reports_sent", "Reports sent.", counts.reports_sent)
        yield CounterMetricFamily("microcalc_files_quarantined", "Files in quarantine.", counts.quarantined_files)
        yield CounterMetricFamily("microcalc_workers_ended", "Workers that ended unexpectedly.", self._restarts())
        yield GaugeMetricFamily("microcalc_free_bytes", "Free space on the disk.", self._folder.free_bytes())


class HealthServer:
    """The HTTP server; ``faults`` returns a message for everything that is wrong."""

    def __init__(self, health: Health, metrics: Metrics, faults: Callable[[], list[str]]) -> None:
        handler = type("_Bound", (_Pages,), {"metrics": metrics, "faults": staticmethod(faults)})
        try:
            self._server = _Server((health.address, health.port), handler)
        except OSError as error:
            where = f"{health.address}:{health.port}"
            raise InputError(f"{where}: cannot listen ({error.strerror}), expected a free port here") from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    def start(self) -> None:
        """Start the server."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the server."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that closed their connection."""


class _Pages(BaseHTTPRequestHandler):
    metrics: Metrics
    faults: Callable[[], list[str]]
    timeout = 10

    def do_GET(self) -> None:
        """Answer a request."""
        path = self.path.partition("?")[0]
        try:
            if path == "/health":
                faults = self.faults()
                return self._answer(503 if faults else 200, "\n".join(faults) or "ok")
            if path == "/metrics":
                return self._answer(200, generate_latest(self.metrics.registry).decode(), kind=_TEXT)
            if path == "/":
                return self._answer(200, self._summary())
        except (OSError, sqlite3.Error) as error:
            return self._answer(503, f"queue: {type(error).__name__}")
        return self._answer(404, "/health or /metrics")

    def _summary(self) -> str:
        lines = self.faults() or ["ok"]
        for family in self.metrics.registry.collect():
            for sample in family.samples:
                if sample.name in _IN_WORDS:
                    what = ", ".join([_IN_WORDS[sample.name], *sample.labels.values()])
                    lines.append(f"{what}: {_in_words(sample.name, sample.value)}")
        return "\n".join(lines)

    def _answer(self, code: int, text: str, *, kind: str = "text/plain; charset=utf-8") -> None:
        body = (text.rstrip("\n") + "\n").encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _in_words(name: str, value: float) -> str:
    """Return a value with the unit that the name of the metric states."""
    if "_bytes" in name:
        return f"{value / 1024**3:.1f} GiB"
    return f"{value:.1f} s" if "_seconds_sum" in name else f"{value:.0f}"
