"""Measures the simulator against its acceptance points, and simulated images against real ones."""

from microcalc.validation.suite import verify

__all__ = ["verify"]
