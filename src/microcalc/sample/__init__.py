"""Samples: labelled pixels of normalised images, and the patches around them."""
