"""Process the queue: threads that hand images and exams to worker processes.

If a worker ends without an answer, whatever the cause, only its image is affected: this counts as one of its
attempts. An image that has used all its attempts has failed, and its report says so. If no report can be made of an
exam, it is split: each image gets its own report, or is quarantined.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from microcalc.domain import Intent
from microcalc.errors import InputError, OutputError
from microcalc.execution.child import end_child, reply_of, start_child
from microcalc.node.files import Folder, image_name
from microcalc.node.jobs import JobQueue, QueuedImage
from microcalc.node.settings import Detect, NodeSettings
from microcalc.node.settle import finish, lose
from microcalc.node.watch import Watch
from microcalc.wording import quantity

Answer = Mapping[str, Any]
_LOG = logging.getLogger("microcalc.node")
_COMMAND: Final = [sys.executable, "-P", "-m", "microcalc.node.worker"]
_START_S: Final = 120.0
_PAUSE_S: Final = 2.0  # after the machine failed (disk full, not enough memory)
MOST_IMAGES: Final = 32
"""Images in one report. Our choice: exams have 4 to 12, and archives need minutes for a report of hundreds."""
_LOOK_S: Final = 0.5  # between checks for exams whose waiting time is over


class WorkerEndedError(Exception):
    """The worker process ended without an answer."""


class Worker:
    """One worker process.

    Raises
    ------
    InputError
        The model cannot be loaded.
    WorkerEndedError
        The process ended without an answer.
    OSError
        The process cannot be started.
    """

    def __init__(self, detect: Detect) -> None:
        threads = detect.threads or max(1, (os.cpu_count() or 1) // detect.workers)
        self._process = start_child(_COMMAND, threads=threads, own_session=True)  # the node handles an interrupt
        hello = {"model": detect.model, "threads": threads, "intents": detect.intents, "benign": detect.benign}
        try:
            reply = self.ask(hello, limit_s=_START_S)
            if "error" in reply:
                raise InputError(str(reply["error"]))
        except BaseException:
            self.close()
            raise
        self.models: Mapping[Intent, str] = reply["models"]

    def ask(self, job: Mapping[str, object], *, limit_s: float) -> Answer:
        """Send a job and return the answer; kill the worker after ``limit_s`` seconds."""
        try:
            with reply_of(self._process, job, limit_s=limit_s) as reply:
                return reply
        except (EOFError, OSError):
            raise WorkerEndedError from None

    def kill(self) -> None:
        """Kill the process, whatever it is doing."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and release its pipes."""
        end_child(self._process)


@dataclass(eq=False, slots=True)
class Analysis:
    """The threads that process the queue, one per worker, and their shared state.

    Attributes
    ----------
    made
        Called when a report was made.
    timed
        Called with the duration of each analysis in seconds.
    watch
        Records when work was completed, and when there is none.
    clock
        Returns the time in seconds.
    restarts
        Number of workers that ended unexpectedly.
    """

    settings: NodeSettings
    folder: Folder
    queue: JobQueue
    made: Callable[[], None]
    timed: Callable[[float], None]
    watch: Watch
    clock: Callable[[], float] = time.time
    restarts: int = 0
    stopping: bool = False
    _wake: threading.Condition = field(default_factory=threading.Condition)
    _workers: list[Worker] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, first: Worker) -> None:
        """Start the threads; ``first`` is a worker that is running already."""
        for number in range(self.settings.detect.workers):
            worker = first if number == 0 else None
            thread = threading.Thread(target=self._run, args=(worker,), name=f"worker {number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def notify(self) -> None:
        """Wake a thread, as there is work."""
        with self._wake:
            self._wake.notify()

    def alive(self) -> bool:
        """Return whether all threads are running."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, *, wait_s: float) -> None:
        """Wait up to ``wait_s`` seconds for work in progress, then kill the workers; the rest stays in the queue."""
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
            except (OSError, sqlite3.Error, InputError, OutputError) as error:
                _LOG.error("analysis waits: %s", type(error).__name__)
                self._rest(_PAUSE_S)
            except Exception as error:  # its message could quote a header
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
        """Report an exam that is ready, or analyse an image; return False if there is nothing to do."""
        images = self.queue.claim_exam(now=self.clock(), wait_s=self.settings.report.wait_s, most=MOST_IMAGES)
        if images:
            self._report(worker, images)
            return True
        image = self.queue.next_image()
        if image is not None:
            self._analyse(worker, image)
        elif not self.queue.in_hand():
            self.watch.idle()
        return image is not None

    # Images

    def _analyse(self, worker: Worker, image: QueuedImage) -> None:
        job = {
            "job": "detect",
            "file": str(self.folder.image(image.uid)),
            "detections": str(self.folder.detections(image.uid)),
        }
        try:
            reply = worker.ask(job, limit_s=self.settings.detect.image_s)
        except Exception as error:
            words = "ended without an answer" if isinstance(error, WorkerEndedError) else type(error).__name__
            self._persist(lambda: self._unanswered(image, f"the analysis {words}"))
            raise
        name = image_name(image.uid)
        if "seconds" in reply:
            self.timed(reply["seconds"])
            _LOG.info("image %s: analysed in %.1f s", name, reply["seconds"])
            self._persist(lambda: self.queue.done(image))
            self.watch.progress()
        elif "failed" in reply:
            reason = str(reply["failed"]).removeprefix(f"{name}.dcm: ")
            _LOG.warning("image %s: failed: %s", name, reason)
            self._persist(lambda: self.queue.failed(image, reason))
            self.watch.progress()
        elif "later" in reply:
            _LOG.error("image %s: later: %s", name, reply["later"])
            self._persist(lambda: self.queue.requeue(image, count=False))
            self._rest(_PAUSE_S)
        else:
            self._persist(lambda: self._unanswered(image, f"{_in_words(reply)} in the analysis"))
            self._pause_without_memory(reply)

    def _pause_without_memory(self, reply: Answer) -> None:
        """Pause after a lack of memory, as another program may free some."""
        if "memory" in reply:
            self._rest(_PAUSE_S)

    def _unanswered(self, image: QueuedImage, reason: str) -> None:
        name = image_name(image.uid)
        if self.stopping:
            self.queue.requeue(image, count=False)
        elif image.tries < self.settings.detect.tries:
            _LOG.warning("image %s: attempt %d: %s, trying again", name, image.tries, reason)
            self.queue.requeue(image, count=True)
        else:
            _LOG.error("image %s: failed: %s, %d times", name, reason, image.tries)
            self.queue.failed(image, f"{reason}, {image.tries} times")
            self.watch.progress()

    def _persist(self, change: Callable[[], None]) -> None:
        """Make a change to the queue, and retry while the disk is full; at a stop, leave it to the next start."""
        while True:
            try:
                return change()
            except sqlite3.Error as error:
                if self.stopping:
                    return None
                _LOG.error("queue waits: %s", type(error).__name__)
                self._rest(_PAUSE_S)

    # Exams

    def _report(self, worker: Worker, images: Sequence[QueuedImage]) -> None:
        """Report a claimed exam, or release it."""
        job = {
            "job": "report",
            "images": [self._entry(image) for image in images],
            "kinds": self.settings.report.kinds,
            "codes": self.settings.report.codes,
            "out": str(self.folder.temporary),
        }
        try:
            reply = worker.ask(job, limit_s=self.settings.detect.image_s)
        except Exception as error:
            words = "ended without an answer" if isinstance(error, WorkerEndedError) else type(error).__name__
            self._not_reported(images, f"the report {words}", tries=self.settings.detect.tries)
            raise
        if "reports" in reply:
            for remark in reply.get("remarks", ()):
                _LOG.warning("image %s", remark)
            self._keep(images, reply["reports"])
        elif "later" in reply:
            _LOG.error("report: later: %s", reply["later"])
            self._persist(lambda: self.queue.release(images, count=False))
            self._rest(_PAUSE_S)
        elif "unusable" in reply:
            self._analyse_anew(images, reply["unusable"])
        elif "memory" in reply:
            self._not_reported(images, f"{_in_words(reply)} in the report", tries=self.settings.detect.tries)
            self._pause_without_memory(reply)
        else:
            reason = reply.get("failed") or f"{_in_words(reply)} in the report"
            self._not_reported(images, str(reason), tries=1)

    def _entry(self, image: QueuedImage) -> dict[str, str | None]:
        detections = str(self.folder.detections(image.uid)) if image.reason is None else None
        return {
            "uid": image.uid,
            "file": str(self.folder.image(image.uid)),
            "detections": detections,
            "reason": image.reason,
        }

    def _keep(self, images: Sequence[QueuedImage], reports: Sequence[str]) -> None:
        """Record the reports, which are complete temporary files, publish them, and finish the images."""
        self._persist(lambda: self.queue.reported(images, reports, now=self.clock()))
        if self.stopping and any(self.queue.report_state(uid) is None for uid in reports):
            return  # not recorded, as the disk is full: the next start reports the exam again
        self.watch.progress()
        _LOG.info("exam of %s: %s made", quantity(len(images), "image"), quantity(len(reports), "report"))
        for uid in reports:
            self.folder.publish(uid)
        for image in images:
            finish(self.folder, replace(image, state="reported"))
        self.made()

    def _analyse_anew(self, images: Sequence[QueuedImage], unusable: Sequence[str]) -> None:
        """Requeue the images whose detections are unusable, and release the others."""
        self._persist(lambda: self.queue.release([i for i in images if i.uid not in unusable], count=False))
        for image in (i for i in images if i.uid in unusable):
            _LOG.warning("image %s: its detections are unusable, it is analysed again", image_name(image.uid))
            self.folder.detections(image.uid).unlink(missing_ok=True)
            self._persist(lambda image=image: self.queue.analyse_anew(image))  # type: ignore[misc]

    def _not_reported(self, images: Sequence[QueuedImage], reason: str, *, tries: int) -> None:
        """Try again; after ``tries`` attempts split the exam, and quarantine an image that is alone."""
        if self.stopping or min(image.tries for image in images) < tries:
            self._persist(lambda: self.queue.release(images, count=not self.stopping))
            return
        names = [image_name(image.uid) for image in images]
        for name in names:
            reason = reason.removeprefix(f"{name}.dcm: ")
        if len(images) > 1:
            _LOG.warning(
                "exam of %s: no common report (%s), each image gets its own",
                quantity(len(images), "image"),
                reason,
            )
            self._persist(lambda: self.queue.split_exam(images))
            return
        self._give_up(images[0], f"no report can be made: {reason}")

    def _give_up(self, image: QueuedImage, reason: str) -> None:
        if not self.folder.image(image.uid).exists():
            self._persist(lambda: lose(self.queue, image))
        else:
            _LOG.error("image %s: quarantined: %s", image_name(image.uid), reason)
            self._persist(lambda: self.queue.give_up(image, reason))
            finish(self.folder, replace(image, state="quarantined", reason=reason))
        self.watch.progress()


def _in_words(reply: Answer) -> str:
    return "not enough memory" if "memory" in reply else f"unexpected {reply['fault']}"
