"""The measurements behind every speed that the documentation states: ``python -m benchmarks``."""
