"""The project's own table of images and annotations, and readers of public data sets."""
