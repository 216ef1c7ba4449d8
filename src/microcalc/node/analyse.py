"""Working through the queue: threads that give images and exams to worker processes.

A worker that ends without an answer, whatever ended it, costs its image a try and nothing else. An
image out of tries is failed, and its report says so. An exam that no report can be made of is taken
apart: each image gets a report of its own, or goes into quarantine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final, cast

from microcalc.domain import Intent
from microcalc.errors import InputError
from microcalc.node.files import Folder, image_name, sync
from microcalc.node.jobs import JobQueue, QueuedImage
from microcalc.node.receive import quarantine
from microcalc.node.settings import Detect, NodeSettings

Answer = Mapping[str, Any]
_LOG = logging.getLogger("microcalc.node")
_COMMAND: Final = [sys.executable, "-P", "-m", "microcalc.node.worker"]
_START_S: Final = 120.0
_PAUSE_S: Final = 2.0  # before going on after the machine failed (disc full, no memory)
MOST_IMAGES: Final = 32
"""Of one report. Ours: exams have 4 to 12 images, and a report of hundreds takes an archive minutes to take."""
_LOOK_S: Final = 0.5  # between looks for exams whose wait is over


class WorkerEndedError(Exception):
    """The worker process ended without an answer."""


class Worker:
    """One worker process.

    Raises
    ------
    InputError
        The model cannot be used.
    WorkerEndedError
        It ended instead of answering.
    OSError
        It cannot be started.
    """

    def __init__(self, detect: Detect) -> None:
        threads = detect.threads or max(1, (os.cpu_count() or 1) // detect.workers)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = str(threads)
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # an interrupt from the keyboard is the node's to answer
        )
        hello = {"model": detect.model, "threads": threads, "intents": detect.intents}
        try:
            reply = self.ask(hello, limit_s=_START_S)
            if "error" in reply:
                raise InputError(str(reply["error"]))
        except BaseException:
            self.close()
            raise
        self.models: Mapping[Intent, str] = reply["models"]

    def ask(self, job: Mapping[str, object], *, limit_s: float) -> Answer:
        """Give it a job and wait for the answer; after the limit it is ended."""
        to_worker, from_worker = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        watchdog = threading.Timer(limit_s, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            to_worker.write(json.dumps(job).encode() + b"\n")
            to_worker.flush()
            line = from_worker.readline()
            if not line.endswith(b"\n"):
                raise WorkerEndedError
            return cast(Answer, json.loads(line))
        except OSError:
            raise WorkerEndedError from None
        finally:
            watchdog.cancel()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """End it and forget it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # a job that never left
                cast(IO[bytes], pipe).close()


@dataclass(eq=False, slots=True)
class Analysis:
    """The threads, one per worker, and what they share.

    Attributes
    ----------
    made
        Called when a report was made.
    timed
        Called with the seconds of each image.
    restarts
        How many workers ended by themselves.
    """

    settings: NodeSettings
    folder: Folder
    queue: JobQueue
    made: Callable[[], None]
    timed: Callable[[float], None]
    restarts: int = 0
    stopping: bool = False
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _workers: list[Worker] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _exams_in_hand: set[str] = field(default_factory=set)
    _report_tries: Counter[str] = field(default_factory=Counter)

    def start(self, first: Worker) -> None:
        """Begin; the first worker is there already."""
        for number in range(self.settings.detect.workers):
            worker = first if number == 0 else None
            thread = threading.Thread(target=self._run, args=(worker,), name=f"worker {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def notify(self) -> None:
        """There is work."""
        with self._wake:
            self._wake.notify()

    def alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, *, wait_s: float) -> None:
        """Let what is in hand be finished for so long, then end the workers: the rest waits in the queue."""
        with self._wake:
            self.stopping = True
            self._wake.notify_all()
        until = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        for worker in list(self._workers):
            worker.kill()
        for thread in self._threads:
            thread.join()

    def _run(self, worker: Worker | None) -> None:
        if worker is not None:
            self._workers.append(worker)
        while not self.stopping:
            try:
                if worker is None:
                    worker = Worker(self.settings.detect)
                    self._workers.append(worker)
                if not self._one_job(worker):
                    self._rest(_LOOK_S)
            except WorkerEndedError:
                self._forget(worker)
                worker = None
            except (OSError, sqlite3.Error, InputError) as error:
                _LOG.error("analysis waits: %s", type(error).__name__)
                self._rest(_PAUSE_S)
            except Exception as error:  # its words could quote a header
                _LOG.error("analysis waits: unexpected %s", type(error).__name__)
                self._rest(_PAUSE_S)
        if worker is not None:
            self._forget(worker)

    def _rest(self, seconds: float) -> None:
        with self._wake:
            if not self.stopping:
                self._wake.wait(seconds)

    def _forget(self, worker: Worker | None) -> None:
        if worker is None:
            return
        if not self.stopping:
            self.restarts += 1
        if worker in self._workers:
            self._workers.remove(worker)
        worker.close()

    def _one_job(self, worker: Worker) -> bool:
        """Report an exam that is ready, else analyse an image; False where there is nothing to do."""
        exam = self._take_exam()
        if exam is not None:
            try:
                self._report(worker, exam)
            finally:
                with self._wake:
                    self._exams_in_hand.discard(exam)
            return True
        image = self.queue.next_image()
        if image is not None:
            self._analyse(worker, image)
        return image is not None

    def _take_exam(self) -> str | None:
        with self._wake:
            ready = self.queue.ready_exams(now=time.time(), wait_s=self.settings.report.wait_s)
            exam = next((exam for exam in ready if exam not in self._exams_in_hand), None)
            if exam is not None:
                self._exams_in_hand.add(exam)
            return exam

    # Images

    def _analyse(self, worker: Worker, image: QueuedImage) -> None:
        detections = self.folder.detections(image.uid, image.model)
        job = {"job": "detect", "file": str(self.folder.image(image.uid, image.model)), "found": str(detections)}
        try:
            reply = worker.ask(job, limit_s=self.settings.detect.image_s)
        except WorkerEndedError:
            self._persist(lambda: self._unanswered(image, "the analysis ended without an answer"))
            raise
        name = image_name(image.uid, image.model)
        if "seconds" in reply:
            self.timed(reply["seconds"])
            _LOG.info("image %s: analysed in %.1f s", name, reply["seconds"])
            self._persist(lambda: self.queue.done(image))
        elif "failed" in reply:
            reason = str(reply["failed"]).removeprefix(f"{name}.dcm: ")
            _LOG.warning("image %s: failed: %s", name, reason)
            self._persist(lambda: self.queue.failed(image, reason))
        elif "later" in reply:
            _LOG.error("image %s: later: %s", name, reply["later"])
            self._persist(lambda: self.queue.again(image, count=False))
            self._rest(_PAUSE_S)
        else:
            self._persist(lambda: self._unanswered(image, f"unexpected {reply['fault']} in the analysis"))

    def _unanswered(self, image: QueuedImage, reason: str) -> None:
        name = image_name(image.uid, image.model)
        if self.stopping:
            self.queue.again(image, count=False)
        elif image.tries < self.settings.detect.tries:
            _LOG.warning("image %s: try %d: %s, once more", name, image.tries, reason)
            self.queue.again(image, count=True)
        else:
            _LOG.error("image %s: failed: %s, %d times", name, reason, image.tries)
            self.queue.failed(image, f"{reason}, {image.tries} times")

    def _persist(self, change: Callable[[], None]) -> None:
        """Make a change to the queue, however long the disc is full; a stop leaves it to the next start."""
        while True:
            try:
                return change()
            except sqlite3.Error as error:
                if self.stopping:
                    return None
                _LOG.error("queue waits: %s", type(error).__name__)
                self._rest(_PAUSE_S)

    # Exams

    def _report(self, worker: Worker, exam: str) -> None:
        images = self.queue.unreported(exam)[:MOST_IMAGES]  # the rest of the exam goes into further reports
        if not images:
            return
        job = {
            "job": "report",
            "images": [self._entry(image) for image in images],
            "kinds": self.settings.report.kinds,
            "codes": self.settings.report.codes,
            "out": str(self.folder.reports),
        }
        try:
            reply = worker.ask(job, limit_s=self.settings.detect.image_s)
        except WorkerEndedError:
            self._not_reported(exam, images, "the report ended without an answer", tries=self.settings.detect.tries)
            raise
        if "reports" in reply:
            self._keep(exam, images, reply["reports"])
        elif "later" in reply:
            _LOG.error("report: later: %s", reply["later"])
            self._rest(_PAUSE_S)
        else:
            reason = reply.get("failed") or f"unexpected {reply['fault']} in the report"
            self._not_reported(exam, images, str(reason), tries=1)

    def _entry(self, image: QueuedImage) -> dict[str, str | None]:
        found = str(self.folder.detections(image.uid, image.model)) if image.state == "done" else None
        return {"file": str(self.folder.image(image.uid, image.model)), "found": found, "reason": image.reason}

    def _keep(self, exam: str, images: Sequence[QueuedImage], reports: Sequence[str]) -> None:
        sync(self.folder.reports)
        self.queue.reported(images, reports, now=time.time())
        self._report_tries.pop(exam, None)
        _LOG.info("exam of %d images: %d reports made", len(images), len(reports))
        for image in images:
            self.folder.image(image.uid, image.model).unlink(missing_ok=True)
            self.folder.detections(image.uid, image.model).unlink(missing_ok=True)
        self.made()

    def _not_reported(self, exam: str, images: Sequence[QueuedImage], reason: str, *, tries: int) -> None:
        """Try again, else take the exam apart, else give the image up."""
        self._report_tries[exam] += 1
        if self.stopping or self._report_tries[exam] < tries:
            return
        del self._report_tries[exam]
        names = [image_name(image.uid, image.model) for image in images]
        for name in names:
            reason = reason.removeprefix(f"{name}.dcm: ")
        if len(images) > 1:
            _LOG.warning("exam of %d images: no report together (%s), each gets its own", len(images), reason)
            self.queue.part(images)
            return
        _LOG.error("image %s: quarantined: no report can be made: %s", names[0], reason)
        self._give_up(images[0], f"no report can be made: {reason}")

    def _give_up(self, image: QueuedImage, reason: str) -> None:
        file = self.folder.image(image.uid, image.model)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        quarantine(self.folder, self.queue, self.settings.storage, file, sha256, reason)
        self.queue.quarantine_image(image, reason)
