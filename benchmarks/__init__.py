"""Every speed that is claimed, measured beside what it is compared to: ``python -m benchmarks``."""
