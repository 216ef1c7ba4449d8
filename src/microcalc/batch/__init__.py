"""Detecting in many images: what was given, what is done with each, and the folder of the results."""
