"""Validation of the simulator: acceptance criteria, and comparison of simulated with real images."""

from microcalc.validation.suite import verify

__all__ = ["verify"]
