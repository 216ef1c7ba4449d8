"""Simulated mammograms with exact truth, and simulated calcifications for real ones."""
