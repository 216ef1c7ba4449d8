"""The queue keeps every image and every report, once, and changes as its tables say."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from microcalc.errors import InputError
from microcalc.node.jobs import STANDARD_VIEWS, JobQueue, QueuedImage
from microcalc.node.states import IMAGES, REPORTS, OutOfTurnError, file_of

MODEL = "ab" * 32


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    made = JobQueue(tmp_path / "queue.sqlite")
    yield made
    made.close()


def _image(uid: str, exam: str = "e1", model: str = MODEL) -> QueuedImage:
    return QueuedImage(uid, model, "raw", exam)


def _analysed(queue: JobQueue) -> QueuedImage:
    image = queue.next_image()
    assert image is not None
    queue.done(image)
    return image


def _claim(queue: JobQueue, *, now: float = 1e9, wait_s: float = 0.0, most: int = 32) -> list[QueuedImage]:
    return queue.claim_exam(now=now, wait_s=wait_s, most=most)


def _uids(images: list[QueuedImage]) -> list[str]:
    return [image.uid for image in images]


def _reported(queue: JobQueue, uid: str, report: str) -> None:
    queue.add(_image(uid), place="L CC", now=1.0)
    _analysed(queue)
    queue.reported(_claim(queue), [report], now=2.0)


def test_a_state_says_alone_what_becomes_of_its_file() -> None:
    for table in (IMAGES, REPORTS):
        assert len({(t.before, t.event) for t in table}) == len(table)
        for transition in table:
            assert {t.file for t in table if t.after == transition.after} == {transition.file}
    assert {file_of(t.after) for t in IMAGES if t.file == "removed"} == {"removed"}
    assert {t.event for t in IMAGES if t.file == "removed"} == {"report", "already reported"}


def test_a_change_is_on_the_disc_when_its_function_returns(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path / "queue.sqlite")
    queue.add(_image("1.1"), place="L CC", now=1.0)
    other = sqlite3.connect(tmp_path / "queue.sqlite")
    assert other.execute("SELECT uid FROM image").fetchall() == [("1.1",)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert queue._db.execute("PRAGMA synchronous").fetchone() == (2,)
    other.close()
    queue.close()


def test_a_change_from_another_state_is_refused_and_changes_nothing(queue: JobQueue) -> None:
    queue.add(_image("1.1"), place="L CC", now=1.0)
    waiting = queue.image("1.1")
    assert waiting is not None
    for change in (queue.done, lambda i: queue.give_up(i, "why"), lambda i: queue.reported([i], ["2.1"], now=1.0)):
        with pytest.raises(OutOfTurnError):
            change(waiting)
    with pytest.raises(OutOfTurnError):
        queue.add(_image("1.1"), place="L CC", now=2.0)
    assert queue.image("1.1") == waiting
    assert queue.waiting_reports() == []


def test_the_image_that_waits_longest_comes_first_and_to_one_worker_only(queue: JobQueue) -> None:
    for uid, now in (("1.1", 2.0), ("1.2", 1.0)):  # the clock was put back in between
        queue.add(_image(uid), place="L CC", now=now)
    assert [t and t.uid for t in (queue.next_image() for _ in range(3))] == ["1.1", "1.2", None]


def test_an_image_that_is_put_back_lets_the_others_go_first(queue: JobQueue) -> None:
    for uid in ("1.1", "1.2"):
        queue.add(_image(uid), place="L CC", now=1.0)
    for expected in ("1.1", "1.2", "1.1"):
        image = queue.next_image()
        assert image is not None
        assert (image.uid, image.tries) == (expected, 1)
        queue.requeue(image, count=False)
    assert queue.most_repeats() == (2, 0)


def test_an_exam_is_ready_when_whole_or_when_nothing_came_for_a_while(queue: JobQueue) -> None:
    for number, place in enumerate(STANDARD_VIEWS):
        queue.add(_image(f"1.{number}"), place=place, now=10.0 + number)
        assert _claim(queue) == []  # not analysed yet
        _analysed(queue)
        for now in (20.0, 10.0 + number + 60.0):
            images = _claim(queue, now=now, wait_s=60.0)
            assert len(images) == ((number + 1) if now > 20.0 or number == 3 else 0)
            queue.release(images, count=False)


def test_four_images_of_fewer_views_are_not_whole(queue: JobQueue) -> None:
    for number, place in enumerate(("L CC", "L CC", "R CC", "R MLO")):
        queue.add(_image(f"1.{number}"), place=place, now=1.0)
        _analysed(queue)
    assert _claim(queue, now=2.0, wait_s=60.0) == []


def test_an_exam_waits_no_longer_when_the_clock_is_put_back(queue: JobQueue) -> None:
    queue.add(_image("1.1"), place="L CC", now=1e6)
    _analysed(queue)
    assert _claim(queue, now=100.0, wait_s=60.0) == []
    assert _uids(_claim(queue, now=160.0, wait_s=60.0)) == ["1.1"]


def test_an_image_that_comes_after_the_claim_gets_a_following_report(queue: JobQueue) -> None:
    for number, place in enumerate(STANDARD_VIEWS):
        queue.add(_image(f"1.{number}"), place=place, now=1.0)
        _analysed(queue)
    claimed = _claim(queue, wait_s=120.0)
    queue.add(_image("1.9"), place="L ML", now=3.0)
    late = _analysed(queue)
    queue.reported(claimed, ["2.1"], now=4.0)
    assert late.uid not in _uids(claimed)
    assert _uids(queue.open_images()) == ["1.9"]
    assert _uids(_claim(queue)) == ["1.9"]


def test_an_exam_is_claimed_once_however_many_ask(queue: JobQueue) -> None:
    for number in range(40):
        queue.add(_image(f"1.{number}", exam=f"e{number // 2}"), place="L CC", now=1.0)
        _analysed(queue)
    claims: list[list[QueuedImage]] = []

    def claim() -> None:
        while images := _claim(queue):
            claims.append(images)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(uid for images in claims for uid in _uids(images)) == sorted(f"1.{n}" for n in range(40))
    assert [len(images) for images in claims] == [2] * 20


def test_an_exam_of_many_images_is_claimed_in_parts(queue: JobQueue) -> None:
    for number in range(5):
        queue.add(_image(f"1.{number}"), place="L CC", now=1.0)
        _analysed(queue)
    assert [len(_claim(queue, most=3)) for _ in range(3)] == [3, 2, 0]


def test_images_that_no_report_holds_together_are_ready_alone(queue: JobQueue) -> None:
    for uid in ("1.1", "1.2"):
        queue.add(_image(uid), place="L CC", now=1.0)
        _analysed(queue)
    queue.split_exam(_claim(queue))
    assert [_uids(_claim(queue, now=1.0, wait_s=60.0)) for _ in range(2)] == [["1.1"], ["1.2"]]


def test_a_start_takes_up_what_was_in_hand_without_counting_the_try(queue: JobQueue) -> None:
    for uid, exam in (("1.1", "e1"), ("1.2", "e2"), ("1.3", "e3")):
        queue.add(_image(uid, exam), place="L CC", now=1.0)
    _analysed(queue)
    assert _uids(_claim(queue)) == ["1.1"]
    assert queue.next_image() is not None
    queue.start({"raw": MODEL})
    assert {(i.uid, i.state, i.tries) for i in queue.open_images()} == {
        ("1.1", "analysed", 0), ("1.2", "waiting", 0), ("1.3", "waiting", 0),
    }  # fmt: skip
    first = queue.next_image()
    assert first is not None
    assert first.uid == "1.3"  # what was in hand goes behind the others


def test_another_model_does_what_is_not_reported_anew(queue: JobQueue) -> None:
    _reported(queue, "1.1", "2.1")
    queue.add(_image("1.2"), place="L CC", now=1.0)
    _analysed(queue)
    queue.start({"raw": "new"})
    assert queue.knows("1.1", MODEL)
    assert not queue.knows("1.1", "new")
    anew = queue.next_image()
    assert anew is not None
    assert (anew.uid, anew.model, anew.tries) == ("1.2", "new", 1)


def test_an_image_is_sent_again_to_another_model_and_has_one_report_of_each(queue: JobQueue) -> None:
    _reported(queue, "1.1", "2.1")
    queue.start({"raw": "new"})
    queue.add(_image("1.1", model="new"), place="L CC", now=5.0)
    queue.start({"raw": MODEL})  # back again, before the second report
    assert queue.open_images() == []
    assert queue.knows("1.1", MODEL)
    queue.start({"raw": "new"})
    queue.add(_image("1.1", model="new"), place="L CC", now=6.0)
    _analysed(queue)
    queue.reported(_claim(queue), ["2.2"], now=7.0)
    assert queue.knows("1.1", "new")
    assert queue.knows("1.1", MODEL)
    assert queue.waiting_reports() == ["2.1", "2.2"]


def test_an_image_whose_intent_was_dropped_is_quarantined_with_the_reason(queue: JobQueue) -> None:
    queue.add(QueuedImage("1.1", MODEL, "processed", "e"), place="L CC", now=1.0)
    queue.start({"raw": MODEL})
    image = queue.image("1.1")
    assert image is not None
    assert (image.state, image.reason) == ("quarantined", "its intent is no longer accepted, expected raw")


def test_a_report_is_due_again_after_its_wait_until_sent(queue: JobQueue) -> None:
    _reported(queue, "1.1", "2.1")
    (report,) = queue.due_reports(now=2.0, longest_wait_s=100.0)
    queue.send_later(report, "no connection", due=10.0)
    assert queue.due_reports(now=9.0, longest_wait_s=100.0) == []
    assert queue.due_reports(now=-1e6, longest_wait_s=100.0)  # the clock was put back
    (report,) = queue.due_reports(now=10.0, longest_wait_s=100.0)
    assert report.tries == 1
    queue.sent(report, now=11.0)
    assert queue.due_reports(now=1e9, longest_wait_s=100.0) == []
    assert queue.waiting_reports() == []
    assert queue.counts().reports_sent == 1


def test_a_report_whose_file_is_gone_lets_its_images_be_taken_anew(queue: JobQueue) -> None:
    _reported(queue, "1.1", "2.1")
    queue.lose_report("2.1", "gone")
    assert queue.counts().images["lost"] == 1
    assert not queue.knows("1.1", MODEL)
    _reported(queue, "1.1", "2.1")
    assert queue.waiting_reports() == ["2.1"]
    assert queue.counts().images["lost"] == 0


# The file.

_FIRST_VERSION = """
CREATE TABLE image (
    uid TEXT NOT NULL, model TEXT NOT NULL, intent TEXT NOT NULL, exam TEXT NOT NULL, place TEXT NOT NULL,
    received REAL NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', tries INTEGER NOT NULL DEFAULT 0,
    reason TEXT, report TEXT, PRIMARY KEY (uid, model)
);
CREATE INDEX image_waiting ON image (received) WHERE state = 'waiting';
CREATE INDEX image_unreported ON image (exam) WHERE report IS NULL;
CREATE TABLE report (
    uid TEXT PRIMARY KEY, made REAL NOT NULL, sent REAL, tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0, reason TEXT
);
CREATE INDEX report_waiting ON report (due) WHERE sent IS NULL;
CREATE TABLE quarantine (sha256 TEXT PRIMARY KEY, received REAL NOT NULL, bytes INTEGER NOT NULL, reason TEXT NOT NULL);
INSERT INTO image VALUES
    ('1.1', 'old', 'raw', 'S raw', 'L CC', 1, 'done', 1, NULL, '2.1'),
    ('1.1', 'new', 'raw', 'S raw', 'L CC', 3, 'waiting', 0, NULL, NULL),
    ('1.2', 'old', 'raw', 'S raw', 'L CC', 2, 'failed', 3, 'air', '2.1'),
    ('1.3', 'old', 'raw', 'S raw', 'R CC', 2, 'done', 1, NULL, NULL),
    ('1.4', 'old', 'raw', 'S raw', 'R CC', 2, 'quarantined', 1, 'why', NULL);
INSERT INTO report VALUES ('2.1', 4, NULL, 2, 99, 'away'), ('2.0', 1, 2, 0, 0, NULL);
INSERT INTO quarantine VALUES ('ff', 1, 10, 'no mammogram');
"""


def first_version(file: Path) -> None:
    """Write a queue as the first version left it."""
    db = sqlite3.connect(file)
    db.executescript(_FIRST_VERSION)
    db.close()


def test_a_queue_of_the_first_version_is_taken_over_whole(tmp_path: Path) -> None:
    first_version(tmp_path / "queue.sqlite")
    for _ in range(2):  # once changed, it stays as it is
        queue = JobQueue(tmp_path / "queue.sqlite")
        assert [(i.uid, i.model, i.state) for i in queue.open_images()] == [
            ("1.1", "new", "waiting"), ("1.3", "old", "waiting"),
        ]  # fmt: skip
        assert queue.knows("1.2", "old")
        assert queue.knows("1.4", "whatever")
        assert queue.counts().images == {
            "waiting": 2, "working": 0, "done": 0, "failed": 1, "quarantined": 1, "lost": 0,
        }  # fmt: skip
        assert queue.waiting_reports() == ["2.1"]
        assert (queue.counts().reports_sent, queue.counts().quarantined_bytes) == (1, 10)
        queue.close()


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as one" * 40, None])
def test_a_damaged_or_foreign_queue_is_refused_in_one_line(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "queue.sqlite"
    if content is None:
        db = sqlite3.connect(file)
        db.execute("CREATE TABLE mine (x)")
        db.close()
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(InputError) as caught:
        JobQueue(file)
    assert re.fullmatch(r"queue\.sqlite: .*expected the queue of .*", str(caught.value))
    assert content is None or file.read_bytes() == before


def test_a_queue_with_a_damaged_page_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "queue.sqlite"
    queue = JobQueue(file)
    for number in range(200):
        queue.add(_image(f"1.{number}"), place="L CC", now=1.0)
    queue.close()
    damaged = bytearray(file.read_bytes())
    for start in range(4096, len(damaged), 4096):
        damaged[start : start + 64] = bytes([0xFF]) * 64
    file.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        JobQueue(file)
