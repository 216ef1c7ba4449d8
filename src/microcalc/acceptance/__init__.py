"""Measures the simulator against its acceptance points, and simulated images against real ones."""

from microcalc.acceptance.suite import verify

__all__ = ["verify"]
