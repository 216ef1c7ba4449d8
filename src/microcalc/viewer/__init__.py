"""The viewer: a page in the browser that shows mammograms with marks, and in which readers annotate them.

``sources`` opens what was given as one ``catalogue``; ``pixels`` cuts images into 16-bit tiles; ``marks`` says what is
drawn over them; ``journal`` keeps what readers do; ``server`` and ``guard`` hand all of it to the page, and to nobody
else. The page itself is in ``page/``.
"""
