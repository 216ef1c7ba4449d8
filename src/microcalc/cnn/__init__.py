"""The pair of convolutional networks: architecture, training, mining, export and scoring."""
