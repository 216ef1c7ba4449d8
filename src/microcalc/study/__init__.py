"""The publication's experiment: two networks with hard negative mining against the cascade."""
