"""Read and write tables of images and annotations, read public data sets, and make simulated ones."""
