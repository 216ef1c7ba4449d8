"""Which pixels are samples, and their patches."""
