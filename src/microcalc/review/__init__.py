"""Model-assisted annotation: a model proposes places, a reader gives verdicts."""
