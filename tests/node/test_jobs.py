"""The queue keeps every image and every report, once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from microcalc.node.jobs import STANDARD_VIEWS, JobQueue, QueuedImage

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


def test_a_change_is_on_the_disc_when_its_function_returns(tmp_path: Path) -> None:
    queue = JobQueue(tmp_path / "queue.sqlite")
    queue.add(_image("1.1"), place="L CC", now=1.0)
    other = sqlite3.connect(tmp_path / "queue.sqlite")
    assert other.execute("SELECT uid FROM image").fetchall() == [("1.1",)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert queue._db.execute("PRAGMA synchronous").fetchone() == (2,)
    other.close()
    queue.close()


def test_an_image_is_taken_once_for_each_model(queue: JobQueue) -> None:
    queue.add(_image("1.1"), place="L CC", now=1.0)
    assert queue.knows("1.1", MODEL)
    assert not queue.knows("1.1", "other")
    with pytest.raises(sqlite3.IntegrityError):
        queue.add(_image("1.1"), place="L CC", now=2.0)
    assert queue.counts().images["waiting"] == 1


def test_the_image_that_waits_longest_comes_first_and_to_one_worker_only(queue: JobQueue) -> None:
    for uid, now in (("1.1", 2.0), ("1.2", 1.0)):
        queue.add(_image(uid), place="L CC", now=now)
    taken = [queue.next_image() for _ in range(3)]
    assert [t and t.uid for t in taken] == ["1.2", "1.1", None]


def test_an_exam_is_ready_when_whole_or_when_nothing_came_for_a_while(queue: JobQueue) -> None:
    for number, place in enumerate(STANDARD_VIEWS):
        queue.add(_image(f"1.{number}"), place=place, now=10.0 + number)
        assert queue.ready_exams(now=1e9, wait_s=0.0) == []  # not analysed yet
        _analysed(queue)
        whole = number == 3
        assert queue.ready_exams(now=20.0, wait_s=60.0) == ["e1"] * whole
        assert queue.ready_exams(now=10.0 + number + 60.0, wait_s=60.0) == ["e1"]


def test_four_images_of_fewer_views_are_not_whole(queue: JobQueue) -> None:
    for number, place in enumerate(("L CC", "L CC", "R CC", "R MLO")):
        queue.add(_image(f"1.{number}"), place=place, now=1.0)
        _analysed(queue)
    assert queue.ready_exams(now=2.0, wait_s=60.0) == []


def test_an_image_that_comes_after_its_exam_was_reported_gets_a_report_without_the_others(queue: JobQueue) -> None:
    queue.add(_image("1.1"), place="L CC", now=1.0)
    first = _analysed(queue)
    queue.reported([first], ["2.1"], now=2.0)
    queue.add(_image("1.2"), place="R CC", now=3.0)
    second = _analysed(queue)
    assert queue.ready_exams(now=100.0, wait_s=1.0) == ["e1"]
    assert [i.uid for i in queue.unreported("e1")] == [second.uid]


def test_images_that_no_report_holds_together_are_ready_alone(queue: JobQueue) -> None:
    for uid in ("1.1", "1.2"):
        queue.add(_image(uid), place="L CC", now=1.0)
        _analysed(queue)
    queue.part(queue.unreported("e1"))
    assert queue.ready_exams(now=1.0, wait_s=60.0) == ["1.1", "1.2"]


def test_a_start_takes_up_what_was_in_hand_without_counting_the_try(queue: JobQueue) -> None:
    queue.add(_image("1.1"), place="L CC", now=1.0)
    queue.next_image()
    assert queue.next_image() is None
    queue.recover({"raw": MODEL})
    again = queue.next_image()
    assert again is not None
    assert (again.uid, again.tries) == ("1.1", 1)


def test_another_model_does_what_is_not_reported_anew(queue: JobQueue) -> None:
    for uid in ("1.1", "1.2"):
        queue.add(_image(uid), place="L CC", now=1.0)
        image = _analysed(queue)
        if uid == "1.1":
            queue.reported([image], ["2.1"], now=2.0)
    queue.recover({"raw": "new"})
    assert queue.knows("1.1", MODEL)
    assert not queue.knows("1.1", "new")
    anew = queue.next_image()
    assert anew is not None
    assert (anew.uid, anew.model) == ("1.2", "new")


def test_a_report_is_due_again_after_its_wait_until_sent(queue: JobQueue) -> None:
    queue.add(_image("1.1"), place="L CC", now=1.0)
    queue.reported([_analysed(queue)], ["2.1"], now=2.0)
    (report,) = queue.due_reports(now=2.0)
    queue.send_later(report, "no connection", due=10.0)
    assert queue.due_reports(now=9.0) == []
    (report,) = queue.due_reports(now=10.0)
    assert report.tries == 1
    queue.sent(report, now=11.0)
    assert queue.due_reports(now=1e9) == []
    assert queue.reports_in_use() == set()
    assert queue.counts().reports_sent == 1


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["add", "take", "done", "failed", "again", "recover", "report", "part"]), max_size=40))
def test_no_order_of_events_loses_an_image_or_reports_it_twice(events: list[str]) -> None:
    queue, taken, added, reports = JobQueue(Path(":memory:")), [], 0, 0
    reported: list[str] = []
    for event in events:
        if event == "add":
            queue.add(_image(f"1.{added}", exam=f"e{added % 2}"), place="L CC", now=float(added))
            added += 1
        elif event == "take":
            taken += [image for image in [queue.next_image()] if image is not None]
        elif event == "recover":
            queue.recover({"raw": MODEL})
            taken = []
        elif event in ("done", "failed", "again") and taken:
            image = taken.pop()
            {"done": lambda i: queue.done(i), "failed": lambda i: queue.failed(i, "why"),
             "again": lambda i: queue.again(i, count=True)}[event](image)  # fmt: skip
        elif event in ("report", "part"):
            for exam in queue.ready_exams(now=1e9, wait_s=0.0):
                images = queue.unreported(exam)
                if event == "part":
                    queue.part(images)
                else:
                    reports += 1
                    queue.reported(images, [f"2.{reports}"], now=1.0)
                    reported += [image.uid for image in images]
    assert len(reported) == len(set(reported))
    left = queue.images_in_use()
    assert {uid for uid, _ in left} | set(reported) == {f"1.{n}" for n in range(added)}
    assert not {uid for uid, _ in left} & set(reported)
    assert sum(queue.counts().images.values()) == added
    queue.close()
