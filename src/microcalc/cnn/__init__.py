"""The two networks: their shape, their training, mining between them, their export."""
