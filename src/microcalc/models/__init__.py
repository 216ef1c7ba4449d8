"""Models: a folder with a scorer and the numbers that turn its ratings into findings."""
