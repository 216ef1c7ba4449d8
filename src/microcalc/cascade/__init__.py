"""The baseline: a cascade of boosted Haar-like features."""
