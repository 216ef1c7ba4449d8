"""Finds microcalcifications in digital mammograms of any vendor."""

__version__ = "0.1.0"
