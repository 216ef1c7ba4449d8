"""All benchmarks, one after the other."""

from __future__ import annotations

import sys

from benchmarks import detect

sys.exit(detect.main(sys.argv[1:]))
