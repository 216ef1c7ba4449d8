"""Short histories of a node; the long form is ``python -m benchmarks.node histories``."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.node.histories import LIVES, History, Step, kill_before_every_line


def test_whatever_happens_an_image_that_was_taken_ends_in_one_report_or_in_quarantine() -> None:
    run_state_machine_as_test(
        History, settings=settings(max_examples=12, stateful_step_count=25, deadline=None, derandomize=True)
    )


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES.keys())
def test_a_node_killed_before_any_line_of_its_life_loses_and_doubles_nothing(life: tuple[Step, ...]) -> None:
    counts = kill_before_every_line(life, thorough=False)
    assert counts["lines"] > 400
    assert counts["kills"] > 30
