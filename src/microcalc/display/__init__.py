"""Mammograms as grey levels, with what was found drawn on them."""
