"""Reading mammograms from pictures (PNG, TIFF, JPEG), which have no header to speak of."""
