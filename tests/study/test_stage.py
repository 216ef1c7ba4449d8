from __future__ import annotations

import json
import multiprocessing
import threading
import time
from pathlib import Path

import pytest
from tests.logs import KilledError, logged
from tests.waiting import wait_until

from microcalc.study import stage as stage_module
from microcalc.study.stage import Stage, after, run_stage


def test_the_same_inputs_give_the_same_folder_and_any_other_input_another(tmp_path: Path) -> None:
    first = Stage(tmp_path, "exams", {"seed": 1})
    assert Stage(tmp_path, "exams", {"seed": 1}).folder == first.folder
    others = [
        Stage(tmp_path, "exams", {"seed": 2}),
        Stage(tmp_path, "samples", {"seed": 1}),
        after(tmp_path, "exams", {"seed": 1}, first),
        after(tmp_path, "exams", {"seed": 1}, Stage(tmp_path, "exams", {"seed": 2})),
    ]
    assert len({first.key, *(o.key for o in others)}) == 5


def test_other_code_gives_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = ("microcalc.study.samples",)
    of_code = Stage(tmp_path, "samples", {}, modules=modules)
    assert of_code.key == Stage(tmp_path, "samples", {}, modules=modules).key
    before = of_code.key
    assert before != Stage(tmp_path, "samples", {}, modules=("microcalc.study.scoring",)).key
    monkeypatch.setattr(stage_module, "code_version", lambda *_modules: "changed")
    assert of_code.key != before


def test_a_stage_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    stage, runs = Stage(tmp_path, "exams", {}), list[int]()
    with logged() as messages:
        for _ in range(2):
            run_stage(stage, lambda: runs.append(1))
    assert runs == [1]
    assert messages[-1].startswith("exams: already done")
    document = json.loads((stage.folder / "done.json").read_text())
    assert (document["stage"], document["key"]) == ("exams", stage.key)


def test_a_stage_that_fails_is_not_done_and_its_seconds_are_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "exams", {})

    def work() -> None:
        time.sleep(0.15)

    def fail() -> None:
        work()
        raise KilledError

    with pytest.raises(KilledError):
        run_stage(stage, fail)
    assert not (stage.folder / "done.json").exists()
    run_stage(stage, work)
    assert stage.is_done
    assert stage.seconds >= 0.3


def _hold(run: Path, started: Path, go: Path) -> None:
    def work() -> None:
        started.touch()
        wait_until(go.exists)

    run_stage(Stage(run, "exams", {}), work)


def _touch_after_a_message(go: Path, messages: list[str]) -> None:
    wait_until(lambda: messages)
    go.touch()


def test_two_processes_are_never_at_one_stage(tmp_path: Path) -> None:
    started, go = tmp_path / "started", tmp_path / "go"
    other = multiprocessing.get_context("spawn").Process(target=_hold, args=(tmp_path, started, go))
    other.start()
    wait_until(started.exists)
    with logged() as messages:
        threading.Thread(target=_touch_after_a_message, args=(go, messages)).start()
        run_stage(Stage(tmp_path, "exams", {}), lambda: pytest.fail("was done by the other"))
    other.join()
    assert messages[0] == "exams: waiting for another process that works on it"
    assert messages[1].startswith("exams: already done")


def test_the_seconds_of_a_stage_that_is_killed_are_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "_WRITE_EVERY_S", 0.02)
    stage, seen = Stage(tmp_path, "exams", {}), list[float]()

    def work() -> None:
        while not seen or seen[-1] == 0.0:
            time.sleep(0.02)
            seen.append(stage.seconds)

    run_stage(stage, work)
    assert seen[-1] > 0
