import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.execution import work
from tests.waiting import wait_until

from microcalc.errors import InputError, WorkerDiedError
from microcalc.execution.executor import Executor, Processes, Serial, executor_of, run_in_order


@pytest.mark.parametrize("executor", [Serial(), Processes(2)])
def test_every_item_has_one_outcome_and_an_error_ends_no_other(executor: Executor) -> None:
    outcomes = {o.item: o for o in executor.run(work.double, range(8))}
    assert {i: o.result() for i, o in outcomes.items() if o.error is None} == {i: 2 * i for i in range(8) if i != 3}
    with pytest.raises(InputError, match="an odd one"):
        outcomes[3].result()


def test_a_worker_that_dies_costs_the_item_that_killed_it_and_no_other() -> None:
    outcomes = {o.item: o for o in Processes(2).run(work.die_at_two, range(9))}
    assert sorted(outcomes) == list(range(9))
    assert isinstance(outcomes[2].error, WorkerDiedError)
    assert [i for i, o in outcomes.items() if o.error is not None] == [2]


def test_an_item_whose_process_is_killed_from_outside_is_not_the_failed_one(tmp_path: Path) -> None:
    outcomes = {o.item.name: o for o in Processes(2).run(work.die_twice, [tmp_path / name for name in "abc"])}
    assert sorted(outcomes) == ["a", "b", "c"]
    assert [o.error for o in outcomes.values()] == [None] * 3
    assert outcomes["b"].result() == 3


def test_an_error_that_cannot_travel_between_processes_arrives_in_words() -> None:
    (outcome,) = Processes(2).run(work.raise_odd, [1])
    assert str(outcome.error) == "OddError: odd"


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            taken.append(i)
            yield i

    outcomes = Processes(2).run(work.double, items())
    next(outcomes)
    assert len(taken) <= 5


def test_workers_compute_with_one_thread() -> None:
    assert [o.result() for o in Processes(2).run(work.threads, [1])] == ["1"]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_workers_log_is_logged_here(workers: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "microcalc"):
        list(executor_of(workers).run(work.log, [1, 2]))
    assert sorted(caplog.messages) == ["item 1", "item 2"]
    assert {record.__dict__["number"] for record in caplog.records} == {1, 2}


@pytest.mark.parametrize("workers", [1, 2])
def test_results_in_order_do_not_depend_on_which_is_done_first(workers: int) -> None:
    assert run_in_order(executor_of(workers), work.slowest_first, [0, 1, 2, 1], work="doubling") == [0, 2, 4, 2]
    assert run_in_order(executor_of(workers), work.double, [], work="doubling") == []


def test_the_first_error_ends_the_work_on_the_others_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1: bad"):
        run_in_order(Processes(2), work.fail_or_sleep, [tmp_path / "slept", None], work="waiting")
    assert not (tmp_path / "slept").exists()  # nobody waited for the other to be done


def test_runs_in_a_block_share_their_processes_until_one_dies() -> None:
    with executor_of(2) as executor:
        first, second = (set(run_in_order(executor, work.pid, range(20), work="counting")) for _ in range(2))
        assert len(first | second) <= 2
        assert [o.item for o in executor.run(work.die_at_two, range(4)) if o.error is not None] == [2]
        assert not first & set(run_in_order(executor, work.pid, range(20), work="counting"))
        with pytest.raises(InputError):
            run_in_order(executor, work.double, [3], work="doubling")
        assert run_in_order(executor, work.double, [1], work="doubling") == [2]


def test_processes_may_import_a_module_before_there_is_an_item() -> None:
    assert "tabnanny" not in sys.modules
    with Processes(1) as executor:
        executor.prepare("tabnanny")
        (outcome,) = executor.run(work.is_loaded, ["tabnanny"])
    assert outcome.result()
    assert "tabnanny" not in sys.modules


def test_one_worker_is_this_process() -> None:
    assert isinstance(executor_of(1), Serial)
    assert executor_of(3) == Processes(3)


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from tests.execution.work import wait
from microcalc.execution.executor import Processes
if __name__ == "__main__":
    list(Processes(1).run(wait, [Path({str(tmp_path)!r})]))
"""
    root = Path(__file__).resolve().parents[2]
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    with subprocess.Popen([sys.executable, str(script)], cwd=root, env=environment) as started:
        try:
            wait_until(lambda: any(p.name.isdigit() for p in tmp_path.iterdir()))
        finally:
            started.kill()
    (pid,) = [p.name for p in tmp_path.iterdir() if p.name.isdigit()]
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
