from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Counts the pages that the system has to clear for the second of two arrays, of which the first was freed.
_FAULTS = """
import resource
import numpy as np
from microcalc.execution.memory import keep_freed_memory
if {keeps}:
    keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(3_000_000, dtype=np.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def _faults(*, keeps: bool) -> int:
    code = [sys.executable, "-c", _FAULTS.format(keeps=keeps)]
    return int(subprocess.run(code, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library decides itself what it keeps")
def test_memory_that_was_freed_is_used_again() -> None:
    assert _faults(keeps=True) < 50


def test_what_is_loaded_is_kept_from_the_garbage_collector_once() -> None:
    code = """
import gc
from microcalc.execution.memory import keep_what_is_loaded
keep_what_is_loaded()
kept = gc.get_freeze_count()
later = [[number] for number in range(1000)]
keep_what_is_loaded()
print(kept > 0, gc.get_freeze_count() == kept, all(gc.is_tracked(one) for one in later))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "True"]
