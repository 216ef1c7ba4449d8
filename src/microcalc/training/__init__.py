"""Training a model from a recipe and a table."""
