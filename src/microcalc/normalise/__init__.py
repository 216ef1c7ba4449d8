"""Normalisation: every mammogram is brought to one pixel spacing and one unit of noise."""
