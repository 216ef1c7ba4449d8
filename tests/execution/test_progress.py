import logging
from types import SimpleNamespace

import pytest

from microcalc.execution import progress
from microcalc.execution.progress import Progress, in_words, track


def test_the_last_item_is_always_said_and_those_between_no_more_than_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "microcalc.progress"):
        assert list(track(range(1000), "counting", total=1000)) == list(range(1000))
    assert caplog.messages[-1] == "counting: 1000 of 1000"
    assert len(caplog.messages) < 100


def test_what_an_earlier_start_has_done_counts_as_done_and_not_as_fast(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO, "microcalc.progress"):
        list(track("ab", "counting", total=12, before=7))
    assert caplog.messages == ["counting: 8 of 12, 40 s left", "counting: 9 of 12, 30 s left"]


def test_items_that_were_there_do_not_make_the_others_look_fast(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, slow = [0.01 * n for n in range(501)], [5.0 + 10.0 * n for n in range(1, 41)]
    clock = iter(there + slow)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO, "microcalc.progress"):
        list(track(range(540), "counting", total=600))
    assert caplog.messages[-1] == "counting: 540 of 600, 10 min left"


def test_a_record_carries_the_numbers_for_a_program(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "microcalc.progress"):
        list(track([1], "counting", total=1))
    assert caplog.records[0].__dict__["progress"] == Progress("counting", 1, 1, 0.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7500, "2 h 5 min")]
)
def test_durations_are_said_as_a_person_would(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
