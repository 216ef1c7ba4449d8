"""The durable queue: what came in, how far it is, which report it went into.

One SQLite file in WAL mode; a change is on the disc when its function returns. An image is known by
its SOP Instance UID and the model that looks at it, and stands in one report at most: the same
image again, also after a restart, is told from a new one here.

An image is ``waiting``, ``working``, then ``done`` or ``failed``; ``quarantined`` where no report
could speak of it. Names and IDs of patients are not stored.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from microcalc.domain import Intent

ImageState = Literal["waiting", "working", "done", "failed", "quarantined"]

STANDARD_VIEWS: Final = ("L CC", "L MLO", "R CC", "R MLO")
"""With these an exam is whole."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS image (
    uid TEXT NOT NULL, model TEXT NOT NULL, intent TEXT NOT NULL, exam TEXT NOT NULL, place TEXT NOT NULL,
    received REAL NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0,
    reason TEXT, report TEXT, PRIMARY KEY (uid, model)
);
CREATE INDEX IF NOT EXISTS image_waiting ON image (received) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS image_unreported ON image (exam) WHERE report IS NULL;
CREATE TABLE IF NOT EXISTS report (
    uid TEXT PRIMARY KEY, made REAL NOT NULL, sent REAL, tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0, reason TEXT
);
CREATE INDEX IF NOT EXISTS report_waiting ON report (due) WHERE sent IS NULL;
CREATE TABLE IF NOT EXISTS quarantine (
    sha256 TEXT PRIMARY KEY, received REAL NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL
);
"""
_IMAGE = "SELECT uid, model, intent, exam, tries, state, reason FROM image"


@dataclass(frozen=True, slots=True)
class QueuedImage:
    """An image of the queue.

    Attributes
    ----------
    uid, model
        SOP Instance UID, and SHA-256 of the model for its intent.
    exam
        What its report speaks of: study and intent, or the image alone.
    tries
        How often its analysis began.
    reason
        Why it failed; None where it did not.
    """

    uid: str
    model: str
    intent: Intent
    exam: str
    tries: int = 0
    state: ImageState = "waiting"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class QueuedReport:
    """A report that is to be sent: its SOP Instance UID, and how often that was tried."""

    uid: str
    tries: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What the queue holds, and what has gone through it."""

    images: Mapping[ImageState, int]
    exams_open: int
    reports_waiting: int
    reports_sent: int
    quarantined_files: int
    quarantined_bytes: int


class JobQueue:
    """The queue in its file; every method may be called from any thread.

    Raises
    ------
    sqlite3.Error
        From every method, where the disc is full or fails; nothing has changed then.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # in WAL mode NORMAL would lose the last changes
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    # Images

    def recover(self, models: Mapping[Intent, str]) -> None:
        """After a start: what a stopped node was working on waits again; what another model did is done anew."""
        with self._change() as db:
            db.execute("UPDATE image SET state = 'waiting', tries = max(tries - 1, 0) WHERE state = 'working'")
            for intent, model in models.items():
                db.execute(
                    "UPDATE OR REPLACE image SET model = ?, state = 'waiting', tries = 0, reason = NULL "
                    "WHERE report IS NULL AND state <> 'quarantined' AND intent = ? AND model <> ?",
                    (model, intent, model),
                )

    def knows(self, uid: str, model: str) -> bool:
        """Whether the image is in the queue or has gone through it."""
        return bool(self._rows("SELECT 1 FROM image WHERE uid = ? AND model = ?", uid, model))

    def add(self, image: QueuedImage, *, place: str, now: float) -> None:
        """Put an image in; ``place`` is its breast and view as of ``STANDARD_VIEWS``."""
        with self._change() as db:
            db.execute(
                "INSERT INTO image (uid, model, intent, exam, place, received) VALUES (?, ?, ?, ?, ?, ?)",
                (image.uid, image.model, image.intent, image.exam, place, now),
            )

    def next_image(self) -> QueuedImage | None:
        """The image that waits longest, from now on being worked on."""
        with self._change() as db:
            found = db.execute(f"{_IMAGE} WHERE state = 'waiting' ORDER BY received LIMIT 1").fetchone()
            if found is None:
                return None
            image = replace(QueuedImage(*found), tries=found[4] + 1, state="working")
            self._set_state(image, "working", None, tries=image.tries)
            return image

    def done(self, image: QueuedImage) -> None:
        """It was analysed."""
        self._set_state(image, "done", None, tries=image.tries)

    def failed(self, image: QueuedImage, reason: str) -> None:
        """It cannot be analysed."""
        self._set_state(image, "failed", reason, tries=image.tries)

    def again(self, image: QueuedImage, *, count: bool) -> None:
        """It is to be tried again; ``count``: the try that was counts."""
        self._set_state(image, "waiting", None, tries=image.tries - (not count))

    def _set_state(self, image: QueuedImage, state: ImageState, reason: str | None, *, tries: int) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE image SET state = ?, reason = ?, tries = ? WHERE uid = ? AND model = ?",
                (state, reason, tries, image.uid, image.model),
            )

    # Exams

    def ready_exams(self, *, now: float, wait_s: float) -> list[str]:
        """Exams to report: all analysed, and whole, of one image for good, or without a new image for ``wait_s``."""
        marks = ", ".join("?" * len(STANDARD_VIEWS))
        found = self._rows(
            "SELECT exam FROM image WHERE report IS NULL AND state <> 'quarantined' GROUP BY exam "
            "HAVING sum(state IN ('waiting', 'working')) = 0 AND "
            "(exam = max(uid) OR max(received) <= ? OR "
            f"count(DISTINCT CASE WHEN place IN ({marks}) THEN place END) = ?) "
            "ORDER BY max(received)",
            now - wait_s,
            *STANDARD_VIEWS,
            len(STANDARD_VIEWS),
        )
        return [str(exam) for (exam,) in found]

    def unreported(self, exam: str) -> list[QueuedImage]:
        """The images of an exam that stand in no report, in the order they came."""
        found = self._rows(
            f"{_IMAGE} WHERE exam = ? AND report IS NULL AND state <> 'quarantined' ORDER BY received, uid", exam
        )
        return [QueuedImage(*row) for row in found]  # type: ignore[arg-type]

    def reported(self, images: Sequence[QueuedImage], reports: Sequence[str], *, now: float) -> None:
        """Reports were made of images; their UIDs, that of the structured report first."""
        with self._change() as db:
            for uid in reports:
                db.execute("INSERT OR IGNORE INTO report (uid, made) VALUES (?, ?)", (uid, now))
            for image in images:
                db.execute(
                    "UPDATE image SET report = ? WHERE uid = ? AND model = ?", (reports[0], image.uid, image.model)
                )

    def part(self, images: Sequence[QueuedImage]) -> None:
        """No report can speak of these images together: each becomes an exam of its own."""
        with self._change() as db:
            for image in images:
                db.execute("UPDATE image SET exam = uid WHERE uid = ? AND model = ?", (image.uid, image.model))

    # Reports

    def due_reports(self, *, now: float, limit: int = 20) -> list[QueuedReport]:
        """Reports that are to be sent now, the oldest first."""
        found = self._rows(
            "SELECT uid, tries FROM report WHERE sent IS NULL AND due <= ? ORDER BY made, uid LIMIT ?", now, limit
        )
        return [QueuedReport(*row) for row in found]  # type: ignore[arg-type]

    def sent(self, report: QueuedReport, *, now: float) -> None:
        """It was sent."""
        with self._lock:
            self._db.execute("UPDATE report SET sent = ?, reason = NULL WHERE uid = ?", (now, report.uid))

    def send_later(self, report: QueuedReport, reason: str, *, due: float) -> None:
        """It could not be sent; when to try again."""
        with self._lock:
            self._db.execute(
                "UPDATE report SET tries = tries + 1, reason = ?, due = ? WHERE uid = ?", (reason, due, report.uid)
            )

    # Quarantine

    def quarantine_file(self, sha256: str, reason: str, *, size: int, now: float) -> None:
        """A file that no image could be made of; the same bytes again are one."""
        with self._lock:
            self._db.execute(
                "INSERT OR IGNORE INTO quarantine (sha256, received, bytes, reason) VALUES (?, ?, ?, ?)",
                (sha256, now, size, reason),
            )

    def quarantine_image(self, image: QueuedImage, reason: str) -> None:
        """An image that no report can speak of."""
        self._set_state(image, "quarantined", reason, tries=image.tries)

    # What there is

    def images_in_use(self) -> set[tuple[str, str]]:
        """(UID, model) of the images that are still needed."""
        found = self._rows("SELECT uid, model FROM image WHERE report IS NULL AND state <> 'quarantined'")
        return {(str(uid), str(model)) for uid, model in found}

    def reports_in_use(self) -> set[str]:
        """UIDs of the reports that are still to be sent."""
        return {str(uid) for (uid,) in self._rows("SELECT uid FROM report WHERE sent IS NULL")}

    def counts(self) -> Counts:
        """How much of everything there is."""
        with self._lock:
            images = dict.fromkeys(("waiting", "working", "done", "failed", "quarantined"), 0)
            images |= self._db.execute("SELECT state, count(*) FROM image GROUP BY state").fetchall()
            (exams,) = self._db.execute(
                "SELECT count(DISTINCT exam) FROM image WHERE report IS NULL AND state <> 'quarantined'"
            ).fetchone()
            waiting, sent = self._db.execute(
                "SELECT count(*) FILTER (WHERE sent IS NULL), count(sent) FROM report"
            ).fetchone()
            files, size = self._db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM quarantine").fetchone()
        return Counts(images, exams, waiting, sent, files, size)  # type: ignore[arg-type]
