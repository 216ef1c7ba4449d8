"""The durable queue: which images were received, what state they are in, and which report includes them.

The queue is one SQLite file in WAL mode. A change is one transaction, checks the state from which it starts
(``states``), and is on the disk when its function returns. An image is identified by its SOP Instance UID and
is in at most one report of a model: an image that is sent again, also after a restart, is recognised here.
Names and IDs of patients are not stored.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from microcalc.domain import Intent
from microcalc.node.schema import open_database
from microcalc.node.states import IMAGES, OPEN, REPORTS, ImageState, move, move_one

STANDARD_VIEWS: Final = ("L CC", "L MLO", "R CC", "R MLO")
"""An exam is complete with these."""

_IMAGE: Final = "SELECT uid, model, intent, exam, tries, put_back, state, reason FROM image"
_OPEN: Final = "state IN ({})".format(", ".join(f"'{state}'" for state in OPEN))
_MOST_DUE: Final = 20  # reports that one round of sending takes
_LAST: Final = "(SELECT coalesce(max(turn), 0) + 1 FROM image)"


@dataclass(frozen=True, slots=True)
class QueuedImage:
    """An image in the queue.

    Attributes
    ----------
    uid, model
        SOP Instance UID, and SHA-256 of the model for its intent.
    exam
        Key of the images that share a report: ``ExamHeader.key`` and intent, or the UID of the image alone.
    tries
        How often its analysis was started, and after that its report.
    put_back
        How often it was put back in the queue for a reason that is not its own.
    reason
        Why its analysis failed, or why it is quarantined; None if neither is the case.
    """

    uid: str
    model: str
    intent: Intent
    exam: str
    tries: int = 0
    put_back: int = 0
    state: ImageState = "waiting"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class QueuedReport:
    """A report that is to be sent: its SOP Instance UID, and the number of attempts so far."""

    uid: str
    tries: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of images, exams, reports and quarantined files.

    Attributes
    ----------
    images
        Numbers of images that are waiting, working, done, failed (their analysis failed), quarantined and lost.
    """

    images: Mapping[str, int]
    exams_open: int
    reports_waiting: int
    reports_sent: int
    quarantined_files: int
    quarantined_bytes: int


class JobQueue:
    """The queue in its file; every method may be called from any thread.

    Raises
    ------
    InputError
        The file is damaged, or belongs to another program.
    sqlite3.Error
        Raised by every method if the disk is full or fails; nothing was changed then.
    OutOfTurnError
        Raised by every method that changes an image or a report whose state does not allow it (``states``).
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.RLock()
        self._db = open_database(file)

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

    def start(self, models: Mapping[Intent, str]) -> None:
        """Resume the queue after a start with these models.

        Work that was in progress when the node stopped waits again, behind the other images. An image without a
        report that was queued for another model waits for this one, unless a report of this model includes it
        already. It is quarantined if its intent has no model any more.
        """
        with self._change() as db:
            move(
                db, IMAGES, "start", "TRUE", also=f"tries = max(tries - 1, 0), put_back = put_back + 1, turn = {_LAST}"
            )
            known = ", ".join("?" * len(models))
            reason = f"its intent is no longer accepted, expected {' or '.join(models)}"
            move(db, IMAGES, "drop intent", f"intent NOT IN ({known})", *models, also="reason = ?", given=[reason])
            for intent, model in models.items():
                other = "intent = ? AND model <> ?"
                again = "EXISTS (SELECT 1 FROM history h WHERE h.uid = image.uid AND h.model = ?)"
                move(db, IMAGES, "already reported", f"{other} AND {again}", intent, model, model,
                      also="model = ?", given=[model])  # fmt: skip
                move(db, IMAGES, "change model", other, intent, model,
                      also="model = ?, tries = 0, put_back = 0, reason = NULL", given=[model])  # fmt: skip
            db.execute("UPDATE report SET due = 0 WHERE state = 'waiting'")  # perhaps to another destination

    def knows(self, uid: str, model: str) -> bool:
        """Return whether the image is in the queue, was reported with this model, or is quarantined."""
        return bool(
            self._rows(
                "SELECT 1 FROM image WHERE uid = ? AND state <> 'lost' AND (state <> 'reported' "
                "OR EXISTS (SELECT 1 FROM history h WHERE h.uid = image.uid AND h.model = ?))",
                uid,
                model,
            )
        )

    def image(self, uid: str) -> QueuedImage | None:
        """Return an image, whatever its state; None if it was never received."""
        rows = self._rows(f"{_IMAGE} WHERE uid = ?", uid)
        return QueuedImage(*rows[0]) if rows else None  # type: ignore[arg-type]

    def add(self, image: QueuedImage, *, place: str, now: float) -> None:
        """Add an image; ``place`` is its breast and view as in ``STANDARD_VIEWS``."""
        with self._change() as db:
            values = (image.uid, image.model, image.intent, image.exam, place, now)
            if db.execute("SELECT 1 FROM image WHERE uid = ?", (image.uid,)).fetchone():
                also = (
                    "model = ?, intent = ?, exam = ?, place = ?, received = ?, report = NULL, reason = NULL, tries = 0"
                )
                move_one(
                    db, IMAGES, "receive", image.uid, also=f"{also}, put_back = 0, turn = {_LAST}", given=values[1:]
                )
            else:
                db.execute(
                    "INSERT INTO image (uid, model, intent, exam, place, received, turn) "
                    f"VALUES (?, ?, ?, ?, ?, ?, {_LAST})",
                    values,
                )

    def set_exam(self, uid: str, exam: str) -> None:
        """Set the exam of an open image."""
        with self._change() as db:
            db.execute(f"UPDATE image SET exam = ? WHERE uid = ? AND {_OPEN}", (exam, uid))

    def next_image(self) -> QueuedImage | None:
        """Return the next waiting image and mark it as being worked on; None if no image waits."""
        with self._change() as db:
            row = db.execute(f"{_IMAGE} WHERE state = 'waiting' ORDER BY turn LIMIT 1").fetchone()
            if row is None:
                return None
            image = QueuedImage(*row)
            move_one(db, IMAGES, "take", image.uid, also="tries = tries + 1")
            return replace(image, tries=image.tries + 1, state="working")

    def done(self, image: QueuedImage) -> None:
        """Record that the image was analysed."""
        self._move_one("analyse", image, also="tries = 0, put_back = 0")

    def failed(self, image: QueuedImage, reason: str) -> None:
        """Record that the image cannot be analysed, and why."""
        self._move_one("analyse", image, also="tries = 0, put_back = 0, reason = ?", given=[reason])

    def requeue(self, image: QueuedImage, *, count: bool) -> None:
        """Requeue the image behind the others; if ``count``, this attempt counts."""
        fair = "" if count else "tries = max(tries - 1, 0), put_back = put_back + 1, "
        self._move_one("put back", image, also=f"{fair}turn = {_LAST}")

    def give_up(self, image: QueuedImage, reason: str) -> None:
        """Record that no report can include the image, and why."""
        self._move_one("give up", image, also="reason = ?", given=[reason])

    def analyse_anew(self, image: QueuedImage) -> None:
        """Requeue an image of a claimed exam for another analysis."""
        self._move_one("analyse anew", image, also=f"tries = 0, put_back = put_back + 1, reason = NULL, turn = {_LAST}")

    def lose(self, image: QueuedImage, reason: str) -> None:
        """Record that the image's file is missing."""
        self._move_one("lose", image, also="reason = ?", given=[reason])

    def _move_one(self, event: str, image: QueuedImage, *, also: str, given: Sequence[object] = ()) -> None:
        with self._change() as db:
            move_one(db, IMAGES, event, image.uid, also=also, given=given)

    # Exams

    def claim_exam(self, *, now: float, wait_s: float, most: int) -> list[QueuedImage]:
        """Claim the images of an exam that is ready, in the order of their arrival; none if no exam is ready.

        An exam is ready when all its images are analysed and it is complete, or will never have more than one
        image, or had no new image for ``wait_s``. An image that arrives after the claim is in a later report. If
        the clock was set back, the waiting time starts anew.

        Parameters
        ----------
        now
            The time in seconds.
        wait_s
            Waiting time after the last image of an incomplete exam.
        most
            Largest number of images to claim.
        """
        marks = ", ".join("?" * len(STANDARD_VIEWS))
        with self._change() as db:
            db.execute(f"UPDATE image SET received = ? WHERE received > ? AND {_OPEN}", (now, now))
            exam = db.execute(
                "SELECT exam FROM image WHERE state IN ('waiting', 'working', 'analysed') GROUP BY exam "
                "HAVING sum(state <> 'analysed') = 0 AND (exam = max(uid) OR max(received) <= ? "
                f"OR count(DISTINCT CASE WHEN place IN ({marks}) THEN place END) = ?) ORDER BY min(turn) LIMIT 1",
                (now - wait_s, *STANDARD_VIEWS, len(STANDARD_VIEWS)),
            ).fetchone()
            if exam is None:
                return []
            rows = db.execute(
                f"{_IMAGE} WHERE exam = ? AND state = 'analysed' ORDER BY received, rowid LIMIT ?", (*exam, most)
            ).fetchall()
            images = [replace(QueuedImage(*row), tries=row[4] + 1, state="reporting") for row in rows]
            for image in images:
                move_one(db, IMAGES, "claim", image.uid, also="tries = tries + 1")
            return images

    def release(self, images: Sequence[QueuedImage], *, count: bool) -> None:
        """Release a claimed exam; if ``count``, this attempt to report it counts."""
        fair = "" if count else "tries = max(tries - 1, 0), put_back = put_back + 1, "
        self._release(images, f"{fair}turn = {_LAST}")

    def split_exam(self, images: Sequence[QueuedImage]) -> None:
        """Record that no report can include these images together: each becomes a separate exam."""
        self._release(images, "exam = uid, tries = 0")

    def _release(self, images: Sequence[QueuedImage], also: str) -> None:
        with self._change() as db:
            for image in images:
                move_one(db, IMAGES, "release", image.uid, also=also)

    def reported(self, images: Sequence[QueuedImage], reports: Sequence[str], *, now: float) -> None:
        """Record the UIDs of the reports of claimed images, that of the structured report first."""
        with self._change() as db:
            for uid in reports:
                db.execute("INSERT OR IGNORE INTO report (uid, first, made) VALUES (?, ?, ?)", (uid, reports[0], now))
                move(db, REPORTS, "make", "uid = ?", uid, also="tries = 0, due = 0, reason = NULL")
            for image in images:
                move_one(db, IMAGES, "report", image.uid, also="report = ?", given=[reports[0]])
                db.execute("INSERT OR REPLACE INTO history VALUES (?, ?, ?)", (image.uid, image.model, reports[0]))

    # Reports

    def due_reports(self, *, now: float, longest_wait_s: float) -> list[QueuedReport]:
        """Return the reports that are due, the longest overdue first."""
        rows = self._rows(
            "SELECT uid, tries FROM report WHERE state = 'waiting' AND (due <= ? OR due > ?) "
            "ORDER BY due, rowid LIMIT ?",
            now,
            now + longest_wait_s,  # the clock was set back
            _MOST_DUE,
        )
        return [QueuedReport(*row) for row in rows]  # type: ignore[arg-type]

    def sent(self, report: QueuedReport, *, now: float) -> None:
        """Record that the report arrived at its destination."""
        with self._change() as db:
            move_one(db, REPORTS, "send", report.uid, also="sent = ?, reason = NULL", given=[now])

    def send_later(self, report: QueuedReport, reason: str, *, due: float) -> None:
        """Record why the report could not be sent, and when to try again."""
        with self._change() as db:
            db.execute(
                "UPDATE report SET tries = tries + 1, reason = ?, due = ? WHERE uid = ? AND state = 'waiting'",
                (reason, due, report.uid),
            )

    def lose_report(self, uid: str, reason: str) -> None:
        """Record that the file of an unsent report is missing; its images are accepted when they are sent again."""
        with self._change() as db:
            (first,) = db.execute("SELECT first FROM report WHERE uid = ?", (uid,)).fetchone()
            move_one(db, REPORTS, "lose", uid, also="reason = ?", given=[reason])
            move(db, IMAGES, "lose", "report = ?", first, also="reason = ?", given=[reason])
            db.execute("DELETE FROM history WHERE report = ?", (first,))

    def report_state(self, uid: str) -> str | None:
        """Return the state of a report; None if there is no such report."""
        rows = self._rows("SELECT state FROM report WHERE uid = ?", uid)
        return str(rows[0][0]) if rows else None

    # Quarantine

    def quarantine_file(self, sha256: str, reason: str, *, size: int, now: float) -> None:
        """Record a quarantined file; the same bytes are counted once."""
        with self._change() as db:
            db.execute(
                "INSERT INTO quarantine (sha256, received, bytes, reason) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET bytes = max(bytes, excluded.bytes), reason = excluded.reason",
                (sha256, now, size, reason),
            )

    # Inventory

    def open_images(self) -> list[QueuedImage]:
        """Return the images that still need their file, in the order of the queue."""
        return [QueuedImage(*row) for row in self._rows(f"{_IMAGE} WHERE {_OPEN} ORDER BY turn")]  # type: ignore[arg-type]

    def waiting_reports(self) -> list[str]:
        """Return the UIDs of the reports that are still to be sent."""
        return [str(uid) for (uid,) in self._rows("SELECT uid FROM report WHERE state = 'waiting'")]

    def in_hand(self) -> bool:
        """Return whether an image waits for its analysis or is being analysed, or an exam is being reported."""
        return bool(self._rows("SELECT 1 FROM image WHERE state IN ('waiting', 'working', 'reporting') LIMIT 1"))

    def most_repeats(self) -> tuple[int, int]:
        """Return the largest number of times that any image was put back, and that any report could not be sent."""
        ((images,),) = self._rows(f"SELECT coalesce(max(put_back), 0) FROM image WHERE {_OPEN}")
        ((reports,),) = self._rows("SELECT coalesce(max(tries), 0) FROM report WHERE state = 'waiting'")
        return int(str(images)), int(str(reports))

    def counts(self) -> Counts:
        """Return the numbers of images, exams, reports and quarantined files."""
        with self._lock:
            images = dict.fromkeys(("waiting", "working", "done", "failed", "quarantined", "lost"), 0)
            images |= self._db.execute(
                "SELECT CASE WHEN state NOT IN ('analysed', 'reporting', 'reported') THEN state "
                "WHEN reason IS NULL THEN 'done' ELSE 'failed' END AS fate, count(*) FROM image GROUP BY fate"
            ).fetchall()
            (exams,) = self._db.execute(f"SELECT count(DISTINCT exam) FROM image WHERE {_OPEN}").fetchone()
            waiting, sent = self._db.execute(
                "SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'sent') FROM report"
            ).fetchone()
            files, size = self._db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM quarantine").fetchone()
        return Counts(images, exams, waiting, sent, files, size)
