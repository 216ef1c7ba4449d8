"""A child process answers in lines of JSON, and neither its crash nor its silence stops the process that asks."""

from __future__ import annotations

import signal
import sys

import pytest

from microcalc.execution.child import end_child, reply_of, start_child

_ECHO = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"given": json.loads(line)}), flush=True)
    sys.stdout.write("pixels"); sys.stdout.flush()
"""


def _child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_each_request_has_its_reply_and_what_follows_it() -> None:
    child = start_child(_child(_ECHO), threads=1)
    for number in range(3):
        with reply_of(child, {"number": number}, limit_s=60) as reply:
            assert reply == {"given": {"number": number}}
            assert child.stdout is not None
            assert child.stdout.read(6) == b"pixels"
    end_child(child)
    assert child.poll() == -signal.SIGKILL


@pytest.mark.parametrize("code", ["", "print('{', end='')", "import os; os._exit(139)"])
def test_a_child_that_ends_before_it_replies_is_told_as_the_end_of_its_output(code: str) -> None:
    child = start_child(_child(code), threads=1)
    with pytest.raises((EOFError, BrokenPipeError)), reply_of(child, {}, limit_s=60):
        pass
    end_child(child)


def test_a_child_that_hangs_is_killed() -> None:
    child = start_child(_child("import time; time.sleep(600)"), threads=1)
    with pytest.raises((EOFError, BrokenPipeError)), reply_of(child, {}, limit_s=0.2):
        pass
    assert child.wait() == -signal.SIGKILL
    end_child(child)


def test_a_child_has_the_threads_that_it_is_given_and_finds_this_package() -> None:
    code = """
import json, os, sys, microcalc
sys.stdin.readline()
print(json.dumps({"threads": os.environ["OMP_NUM_THREADS"]}))
"""
    child = start_child(_child(code), threads=3)
    with reply_of(child, {}, limit_s=60) as reply:
        assert reply == {"threads": "3"}
    end_child(child)
