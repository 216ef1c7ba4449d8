"""Brings every mammogram to one spacing and one noise unit."""
