"""A few random histories of a node; the long form is ``python -m benchmarks.node histories``."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.node.histories import History


def test_whatever_happens_an_image_that_was_taken_ends_in_one_report_or_in_quarantine() -> None:
    run_state_machine_as_test(
        History, settings=settings(max_examples=12, stateful_step_count=25, deadline=None, derandomize=True)
    )
